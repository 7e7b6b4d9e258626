package device

import (
	"archive/zip"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeDriver makes this machine look as if it had an NVIDIA driver of that version, and nvidia-smi.
func fakeDriver(t *testing.T, version string) {
	t.Helper()
	root, bin := t.TempDir(), t.TempDir()
	write(t, filepath.Join(root, "proc/driver/nvidia/version"), "NVRM version: NVIDIA UNIX x86_64 Kernel Module  "+version+"  Tue Sep  9 01:16:42 UTC 2025\nGCC version: 12.2.0\n", 0o666)
	write(t, filepath.Join(bin, "nvidia-smi"), "#!/bin/sh\necho '"+version+", NVIDIA Fake 4090, 24564 MiB, 24000 MiB'\n", 0o777)
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	before := system
	system = root
	t.Cleanup(func() { system = before })
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil { //nolint:gosec // a script must be executable
		t.Fatal(err)
	}
}

func TestDriver(t *testing.T) {
	fakeDriver(t, "580.65.06")
	d, ok := FindDriver(t.Context())
	if !ok || d.Version != "580.65.06" || len(d.GPUs) != 1 || d.GPUs[0] != "NVIDIA Fake 4090, 24564 MiB, 24000 MiB" {
		t.Errorf("%+v %v", d, ok)
	}
	open := "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  595.10  Release Build\n"
	write(t, filepath.Join(system, "proc/driver/nvidia/version"), open, 0o666)
	if d, _ := FindDriver(t.Context()); d.Version != "595.10" {
		t.Errorf("open kernel module: %+v", d)
	}
	fakeDriver(t, "535.183.01")
	for _, install := range []func() error{
		func() error { _, err := InstallCUDA(t.Context(), quiet); return err },
		func() error { _, err := Open(CUDA); return err },
	} {
		if err := install(); err == nil || err.Error() != "NVIDIA driver 535.183.01 is too old: CUDA 13 needs version 580 or newer" {
			t.Error(err)
		}
	}
	system = t.TempDir()
	if _, err := InstallCUDA(t.Context(), quiet); err == nil || !strings.HasPrefix(err.Error(), "no NVIDIA driver found: ") {
		t.Error(err)
	}
}

// wheelFile writes a wheel with the given files and returns its line of requirements.
func wheelFile(t *testing.T, dir, name, version string, files map[string]string) string {
	t.Helper()
	path := filepath.Join(dir, fmt.Sprintf("%s-%s-py3-none-manylinux_2_27_x86_64.whl", strings.ReplaceAll(name, "-", "_"), version))
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(out)
	info := fmt.Sprintf("%s-%s.dist-info/", strings.ReplaceAll(name, "-", "_"), version)
	files[info+"METADATA"] = "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n"
	files[info+"WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: py3-none-manylinux_2_27_x86_64\n"
	files[info+"RECORD"] = ""
	for file, text := range files {
		f, err := w.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s==%s --hash=sha256:%x\n", name, version, sha256.Sum256(data))
}

// The installation itself, by the real pip from wheels made here: layout, discovery, and what a second one does. No GPU
// is needed up to the point where the plugin, which is no library, is opened.
func TestInstallCUDA(t *testing.T) {
	if len(MissingTools(CUDA)) > 0 {
		t.Skip("needs ", MissingTools(CUDA))
	}
	fakeDriver(t, "580.65.06")
	home, links := t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("PIP_NO_INDEX", "1")
	t.Setenv("PIP_FIND_LINKS", links)
	before := cudaWheels
	t.Cleanup(func() { cudaWheels = before })
	cudaWheels = wheelFile(t, links, "jax-cuda13-pjrt", "0.1", map[string]string{"jax_plugins/xla_cuda13/xla_cuda_plugin.so": "no library"}) +
		wheelFile(t, links, "nvidia-cudnn-cu13", "9.1", map[string]string{"nvidia/cudnn/lib/libcudnn.so.9": "x"}) +
		wheelFile(t, links, "nvidia-cuda-nvcc", "13.5", map[string]string{"nvidia/cu13/bin/ptxas": "x"})

	path, err := InstallCUDA(t.Context(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(home, ".local", "lib", "go-xla")
	if want := filepath.Join(root, "nvidia", "pjrt_c_api_cuda_plugin.so"); path != want || Plugins()[CUDA] != want || Plugins()[CPU] != "" {
		t.Errorf("installed %s, found %v, want %s", path, Plugins(), want)
	}
	for _, file := range []string{"cu13/bin/ptxas", "bin/ptxas", "cudnn/lib/libcudnn.so.9"} { // bin/ptxas is a link
		if _, err := os.Stat(filepath.Join(root, "nvidia", file)); err != nil {
			t.Error(err)
		}
	}
	version, cudnn, ptxas := CUDAParts(path)
	if version != "jax-cuda13-pjrt==0.1" || !strings.HasSuffix(cudnn, "libcudnn.so.9") || !strings.HasSuffix(ptxas, "cu13/bin/ptxas") {
		t.Error(version, cudnn, ptxas)
	}
	if left, _ := filepath.Glob(filepath.Join(root, tmpPrefix+"*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := Open(CUDA); err == nil || !strings.HasPrefix(err.Error(), path+" cannot be opened: ") {
		t.Error(err)
	}

	// A second installation fetches nothing; other wheels replace the first.
	t.Setenv("PIP_FIND_LINKS", t.TempDir())
	if again, err := InstallCUDA(t.Context(), quiet); err != nil || again != path {
		t.Error(again, err)
	}
	t.Setenv("PIP_FIND_LINKS", links)
	cudaWheels = strings.Replace(cudaWheels, "==0.1 ", "==0.2 ", 1)
	if _, err := InstallCUDA(t.Context(), quiet); err == nil || !strings.HasPrefix(err.Error(), "CUDA plugin: pip install: ") || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
	if Plugins()[CUDA] != path {
		t.Error("a failed installation took the one before away")
	}
	cudaWheels = wheelFile(t, links, "jax-cuda13-pjrt", "0.3", map[string]string{"jax_plugins/xla_cuda13/xla_cuda_plugin.so": "no library", "nvidia/x": ""})
	if _, err := InstallCUDA(t.Context(), quiet); err != nil {
		t.Error(err)
	}
	if folders, _ := filepath.Glob(filepath.Join(root, cudaPrefix+"*")); len(folders) != 1 {
		t.Errorf("earlier versions: %v", folders)
	}

	// Another's plugin is left alone.
	if err := os.Remove(filepath.Join(root, "nvidia")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "nvidia", cudaPlugin), "another's", 0o666)
	if got, err := InstallCUDA(t.Context(), quiet); err != nil || got != path {
		t.Error(got, err)
	}
	if data, _ := os.ReadFile(path); string(data) != "another's" {
		t.Error("replaced")
	}
}
