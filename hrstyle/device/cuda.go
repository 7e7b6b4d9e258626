package device

import (
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed" // the list of wheels
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"hrlab/nvidia"
)

// cudaWheels are the CUDA plugin, which has no dependencies of its own, and NVIDIA's libraries as the extra with-cuda
// of jax-cuda13-plugin asks for them, with pip's hashes.
//
//go:embed cuda-requirements.txt
var cudaWheels string

const (
	cudaLink     = "nvidia" // where go-xla looks for CUDA's plugin and libraries
	cudaPlugin   = "pjrt_c_api_cuda_plugin.so"
	cudaList     = "requirements.txt" // in the folder: what it was made of
	cudaPrefix   = "hrlab-cuda-"
	cudaWritten  = 6_200_000_000 // by pip: wheels and what they hold
	cudaSpace    = 7_000_000_000
	minimumMajor = 580 // of the driver, for CUDA 13
)

// system is the root of the files that tell of a driver; tests put theirs there.
var system = "/"

// Driver is the NVIDIA driver of this machine.
type Driver struct {
	Version string   // such as 580.65.06, or empty if not known
	GPUs    []string // name, memory and free memory of each GPU, as nvidia-smi prints them
}

// HasNVIDIA says whether there is an NVIDIA driver: one for Linux, or within WSL that of Windows.
func HasNVIDIA() bool {
	for _, path := range []string{"dev/nvidiactl", "proc/driver/nvidia/version", "usr/lib/wsl/lib/libcuda.so.1"} {
		if _, err := os.Stat(filepath.Join(system, path)); err == nil {
			return true
		}
	}
	return false
}

// FindDriver asks the kernel and nvidia-smi about the driver. ok says whether there is one. It takes ten seconds at most.
func FindDriver(ctx context.Context) (d Driver, ok bool) {
	if !HasNVIDIA() {
		return d, false
	}
	if text, err := os.ReadFile(filepath.Join(system, "proc/driver/nvidia/version")); err == nil {
		if m := regexp.MustCompile(`Kernel Module.*?\s(\d+\.[0-9.]+)\s`).FindSubmatch(text); m != nil {
			d.Version = string(m[1])
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	gpus, err := nvidia.Query(ctx, "driver_version", "name", "memory.total", "memory.free")
	if err != nil {
		return d, true // the driver is there, and says no more
	}
	for _, gpu := range gpus {
		if len(gpu) > 1 {
			d.Version = cmp.Or(d.Version, gpu[0])
			d.GPUs = append(d.GPUs, strings.Join(gpu[1:], ", "))
		}
	}
	return d, true
}

var errNoDriver = errors.New("no NVIDIA driver found")

// checkDriver says why CUDA 13 cannot run here.
func checkDriver(ctx context.Context) error {
	d, ok := FindDriver(ctx)
	if !ok {
		return errNoDriver
	}
	major, _, _ := strings.Cut(d.Version, ".")
	if v, err := strconv.Atoi(major); err == nil && v < minimumMajor {
		return fmt.Errorf("NVIDIA driver %s is too old: CUDA 13 needs version %d or newer", d.Version, minimumMajor)
	}
	return nil
}

// InstallCUDA installs the CUDA plugin and NVIDIA's libraries into go-xla's layout in the user's directory of plugins,
// as InstallCPU does its plugin:
//
//	~/.local/lib/go-xla/hrlab-cuda-<hash>/  pjrt_c_api_cuda_plugin.so, cu13/, cudnn/, nccl/, nvshmem/, bin/ptxas (4 GB)
//	~/.local/lib/go-xla/nvidia              a link to it
//
// pip fetches the wheels, 2.2 GB, and checks their hashes. Driver, operating system and free disk space are checked first.
func InstallCUDA(ctx context.Context, report func(stage string, done, total int64)) (path string, err error) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", fmt.Errorf("CUDA is for linux/amd64 only, not for %s/%s: go-xla has no plugin for it either", runtime.GOOS, runtime.GOARCH)
	}
	if err := checkDriver(ctx); errors.Is(err, errNoDriver) {
		return "", fmt.Errorf("%w: CUDA needs an NVIDIA GPU and its driver, version %d or newer", err, minimumMajor)
	} else if err != nil {
		return "", err
	}
	return installation{
		kind: CUDA, folder: fmt.Sprintf("%s%x", cudaPrefix, sha256.Sum256([]byte(cudaWheels)))[:len(cudaPrefix)+12], prefix: cudaPrefix,
		link: cudaLink, space: cudaSpace, needed: "3.8",
		works: wholeCUDA, build: buildCUDA,
	}.install(ctx, report)
}

// wholeCUDA says why dir does not hold the plugin, made of the wheels of today. Whether it works only a GPU can tell.
func wholeCUDA(_ context.Context, dir string) error {
	if list, err := os.ReadFile(filepath.Join(dir, cudaList)); err != nil || string(list) != cudaWheels {
		return errors.New("made of other wheels")
	}
	_, err := os.Stat(filepath.Join(dir, cudaPlugin))
	return err
}

// buildCUDA lets pip unpack the wheels and moves their parts to where the plugin looks for them: it searches
// ../nvidia/cu13/lib, ../nvidia/cudnn/lib and so on from its own folder.
func buildCUDA(ctx context.Context, tmp, dir string, report func(stage string, done, total int64)) error {
	site := filepath.Join(tmp, "site")
	args := []string{"install", "--target", site, "--no-compile", "--python-version", "3.12"}
	for _, platform := range []string{"manylinux_2_27", "manylinux_2_25", "manylinux_2_17", "manylinux_2_12", "manylinux2014", "manylinux2010", "manylinux1"} {
		args = append(args, "--platform", platform+"_x86_64")
	}
	if err := pip(ctx, tmp, cudaWheels, "fetch CUDA's libraries", cudaWritten, report, args...); err != nil {
		return fmt.Errorf("pip install: %w; look at the network and at python3 -m pip config list", err)
	}
	return errors.Join(
		os.Rename(filepath.Join(site, "nvidia"), dir),
		os.Rename(filepath.Join(site, "jax_plugins/xla_cuda13/xla_cuda_plugin.so"), filepath.Join(dir, cudaPlugin)),
		os.MkdirAll(filepath.Join(dir, "bin"), 0o755),
		os.Symlink("../cu13/bin/ptxas", filepath.Join(dir, "bin", "ptxas")), // as go-xla's installer does
		os.WriteFile(filepath.Join(dir, cudaList), []byte(cudaWheels), 0o644),
	)
}

// CUDAParts returns what lies beside the CUDA plugin at a path: its version and the paths of cuDNN and ptxas, each empty if
// not found.
func CUDAParts(plugin string) (version, cudnn, ptxas string) {
	dir := filepath.Dir(plugin)
	if list, err := os.ReadFile(filepath.Join(dir, cudaList)); err == nil {
		version, _, _ = strings.Cut(string(list), " ")
	}
	find := func(pattern string) string {
		if files, err := filepath.Glob(filepath.Join(dir, pattern)); err == nil && len(files) > 0 {
			return files[0]
		}
		return ""
	}
	return version, find("cudnn/lib/libcudnn.so.*"), cmp.Or(find("cu*/bin/ptxas"), find("bin/ptxas"))
}
