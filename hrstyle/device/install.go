package device

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	_ "embed" // the plugin's source
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"
	"github.com/shirou/gopsutil/v4/disk"
)

//go:embed plugin/shim.cc
var shim []byte

//go:embed plugin/mlir.h
var mlir []byte

// The wheel whose shared libraries hold XLA's CPU client.
const (
	wheel     = "tensorflow-cpu==2.21.0"
	wheelHash = "2b847d217b02ee7731ed91431daf3250daa0196c3c94614d23be27232e6e5b6c"
	wheelSize = 273829956
)

// space is what an installation needs while it runs, in bytes; 640 MB remain.
const space = 2_500_000_000

// Tool is a program that InstallCPU runs, and the Debian package that has it.
type Tool struct{ Name, Package string }

// MissingTools lists the programs that InstallCPU needs and that are not there.
func MissingTools() (missing []Tool) {
	if exec.Command("python3", "-m", "pip", "--version").Run() != nil { //nolint:noctx // at once
		missing = append(missing, Tool{"python3 with pip", "python3-pip"})
	}
	if clang() == "" {
		missing = append(missing, Tool{"clang++", "clang"})
	}
	return missing
}

// clang finds the compiler. GCC will not do: it compiles the plugin, which then crashes, since absl::Status is passed
// as clang passes trivial_abi types.
func clang() string {
	names := []string{"clang++"}
	for v := 25; v >= 14; v-- {
		names = append(names, fmt.Sprintf("clang++-%d", v))
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// InstallCPU builds the XLA:CPU plugin into the user's directory of plugins, unless it is there, and returns its path.
// It fetches a Python wheel by pip (so that the user's index and proxy hold) and compiles a shim against it; linux/amd64
// only. report is told the stage and how far it is (total 0: not known). A kill at any moment leaves no plugin or a
// whole one; of two installations at once the second waits for the first.
func InstallCPU(ctx context.Context, report func(stage string, done, total int64)) (path string, err error) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", fmt.Errorf("the XLA:CPU plugin is built on linux/amd64 only, not on %s/%s; --device go works everywhere", runtime.GOOS, runtime.GOARCH)
	}
	root, err := userDir()
	if err != nil {
		return "", err
	}
	hash := sha256.Sum256(append(append([]byte(wheelHash), shim...), mlir...))
	name := fmt.Sprintf("hrlab-cpu-%x", hash[:6])
	dir, link := filepath.Join(root, name), filepath.Join(root, "pjrt_c_api_cpu_plugin.so")
	target := filepath.Join(name, "plugin.so")
	installed := func() bool {
		now, err := os.Readlink(link)
		if err != nil || now != target {
			return false
		}
		_, err = os.Stat(link)
		return err == nil
	}
	if installed() {
		return link, nil
	}
	for _, tool := range MissingTools() {
		return "", fmt.Errorf("%s is missing: apt-get install %s", tool.Name, tool.Package)
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	lock := flock.New(filepath.Join(root, ".hrlab.lock"))
	if free, err := lock.TryLock(); err != nil {
		return "", err
	} else if !free {
		report("wait for another installation", 0, 0)
		if _, err := lock.TryLockContext(ctx, time.Second/2); err != nil {
			return "", err
		}
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if installed() {
		return link, nil
	}
	if usage, err := disk.UsageWithContext(ctx, root); err == nil && usage.Free < space {
		return "", fmt.Errorf("%s: %.1f GB free; the installation needs %.1f, of which 0.64 remain", root, float64(usage.Free)/1e9, space/1e9)
	}
	old, _ := filepath.Glob(filepath.Join(root, "hrlab-cpu-*"))   //nolint:errcheck // the pattern is right
	left, _ := filepath.Glob(filepath.Join(root, ".hrlab-tmp-*")) //nolint:errcheck // the pattern is right
	for _, d := range left {                                      // of an installation that was killed
		if err := os.RemoveAll(d); err != nil {
			return "", err
		}
	}
	tmp, err := os.MkdirTemp(root, ".hrlab-tmp-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if err := build(ctx, tmp, name, report); err != nil {
		return "", err
	}
	for _, d := range old { // of an earlier version, or without its link
		if err := os.RemoveAll(d); err != nil {
			return "", err
		}
	}
	if err := os.Rename(filepath.Join(tmp, name), dir); err != nil {
		return "", err
	}
	return link, renameio.Symlink(target, link)
}

// build makes the folder name, with the plugin and its libraries, in tmp.
func build(ctx context.Context, tmp, name string, report func(stage string, done, total int64)) error {
	file, err := fetch(ctx, tmp, report)
	if err != nil {
		return err
	}
	include, lib := filepath.Join(tmp, "tensorflow", "include"), filepath.Join(tmp, name)
	if err := unpack(ctx, file, tmp, report); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(file), err)
	}
	libraries := []string{"libtensorflow_cc.so.2", "libtensorflow_framework.so.2"}
	if err := os.Mkdir(lib, 0o755); err != nil {
		return err
	}
	for _, l := range libraries {
		if err := os.Rename(filepath.Join(tmp, "tensorflow", l), filepath.Join(lib, l)); err != nil {
			return err
		}
		if strip, err := exec.LookPath("strip"); err == nil { // a quarter smaller; not needed
			report("strip "+l, 0, 0)
			if err := command(ctx, tmp, strip, "--strip-unneeded", filepath.Join(lib, l)); err != nil {
				return err
			}
		}
	}
	for _, header := range []string{"IR/BuiltinOps", "IR/DialectRegistry", "IR/MLIRContext", "IR/OwningOpRef", "Support/LLVM"} {
		path := filepath.Join(tmp, "stub", "mlir", header+".h")
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, mlir, 0o666)); err != nil {
			return err
		}
	}
	source := filepath.Join(tmp, "shim.cc")
	if err := os.WriteFile(source, shim, 0o666); err != nil {
		return err
	}
	report("compile", 0, 0)
	args := []string{"-std=c++17", "-O2", "-DNDEBUG", "-fPIC", "-w", "-fvisibility=hidden", "-shared", "-o", filepath.Join(lib, "plugin.so"), "-I" + filepath.Join(tmp, "stub"), "-I" + include}
	for _, dir := range []string{"external/ml_dtypes_py", "third_party/eigen3", "external/com_google_protobuf/src", "external/highwayhash", "external/farmhash_archive/src"} {
		args = append(args, "-I"+filepath.Join(include, dir))
	}
	// The plugin is opened by its own path or by the link in the folder above: its libraries are found from both.
	args = append(args, source, "-L"+lib, "-l:"+libraries[0], "-l:"+libraries[1], "-Wl,-z,defs", "-Wl,-rpath,$ORIGIN:$ORIGIN/"+name)
	return command(ctx, tmp, clang(), args...)
}

// fetch downloads the wheel by pip, which checks its hash.
func fetch(ctx context.Context, tmp string, report func(stage string, done, total int64)) (string, error) {
	requirements, dir := filepath.Join(tmp, "requirements.txt"), filepath.Join(tmp, "wheel")
	if err := os.WriteFile(requirements, []byte(wheel+" --hash=sha256:"+wheelHash+"\n"), 0o666); err != nil {
		return "", err
	}
	done := make(chan struct{})
	go func() { // pip tells a pipe nothing: look at what it has written
		for {
			report("fetch "+wheel, size(tmp), wheelSize)
			select {
			case <-done:
				return
			case <-time.After(time.Second / 4):
			}
		}
	}()
	err := command(ctx, tmp, "python3", "-m", "pip", "download", "--quiet", "--no-cache-dir", "--disable-pip-version-check",
		"--no-deps", "--only-binary", ":all:", "--python-version", "3.11", "--platform", "manylinux_2_27_x86_64",
		"--require-hashes", "-r", requirements, "-d", dir)
	close(done)
	if err != nil {
		return "", err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil || len(files) != 1 {
		return "", fmt.Errorf("pip download %s left %d files", wheel, len(files))
	}
	return files[0], nil
}

// size is the bytes of the files in dir.
func size(dir string) (total int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error { // files come and go meanwhile
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				total += info.Size()
			}
		}
		return nil
	})
	return total
}

// unpack extracts headers and libraries from the wheel.
func unpack(ctx context.Context, file, tmp string, report func(stage string, done, total int64)) error {
	archive, err := zip.OpenReader(file)
	if err != nil {
		return err
	}
	defer archive.Close() //nolint:errcheck // read only
	var wanted []*zip.File
	var total, done int64
	for _, f := range archive.File {
		if strings.HasPrefix(f.Name, "tensorflow/include/") || strings.HasPrefix(f.Name, "tensorflow/libtensorflow_") {
			wanted, total = append(wanted, f), total+int64(f.UncompressedSize64)
		}
	}
	for _, f := range wanted {
		if err := ctx.Err(); err != nil {
			return err
		}
		report("unpack", done, total)
		if err := extract(f, tmp); err != nil {
			return err
		}
		done += int64(f.UncompressedSize64)
	}
	return os.Remove(file)
}

func extract(f *zip.File, dir string) error {
	if f.FileInfo().IsDir() {
		return nil
	}
	path := filepath.Join(dir, filepath.FromSlash(f.Name)) // the archive's hash is known: its names are safe
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	in, err := f.Open()
	if err != nil {
		return err
	}
	out, err := os.Create(path)
	if err == nil {
		_, err = io.Copy(out, in)
		err = errors.Join(err, out.Close())
	}
	return errors.Join(err, in.Close())
}

// command runs a program whose temporary files go to tmp; its last line of complaint becomes the error.
func command(ctx context.Context, tmp, program string, args ...string) error {
	c := exec.CommandContext(ctx, program, args...)
	c.Env = append(os.Environ(), "TMPDIR="+tmp)
	output, err := c.CombinedOutput()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	for _, l := range lines {
		if strings.Contains(strings.ToLower(l), "error") { // the first error tells more than the last line
			lines = []string{l}
			break
		}
	}
	return fmt.Errorf("%s: %w: %s", filepath.Base(program), err, lines[len(lines)-1])
}
