package device

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// plugin is the path of the XLA:CPU plugin, which make test installs.
func plugin(t *testing.T) string {
	t.Helper()
	path, ok := Plugins()[CPU]
	if !ok {
		skip(t, missing[CPU])
	}
	return path
}

// skip skips the test for a reason that make test allows none to be skipped for.
func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("HRLAB_TEST_REQUIRE_XLA") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func TestPluginSlots(t *testing.T) {
	path, program := plugin(t), filepath.Join(t.TempDir(), "slots")
	if !strings.Contains(realpath(t, path), "hrlab-cpu-") {
		skip(t, path+" is not the plugin of this project")
	}
	header, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}/pjrt", "github.com/gomlx/go-xla").Output()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cc", "-o", program, "-I"+strings.TrimSpace(string(header)), "testdata/slots.c", "-ldl").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(program, path).Output()
	want := "version 0.90\n" +
		"inside: UNIMPLEMENTED this call of the PJRT API is not implemented by hrlab's XLA:CPU plugin\n" +
		"past the end: UNIMPLEMENTED this call of the PJRT API is not implemented by hrlab's XLA:CPU plugin\n"
	if err != nil || string(out) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out, want)
	}
}

func realpath(t *testing.T, path string) string {
	t.Helper()
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	return real
}

// Each device computes, in both types, and says what it is.
func TestOpen(t *testing.T) {
	plugin(t)
	for _, kind := range []Kind{CPU, Go} {
		d, err := Open(kind)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Finalize()
		if d.Kind != kind || d.Name == "" || d.Why != "as asked for" {
			t.Errorf("%s: %+v", kind, d)
		}
		for _, dtype := range []dtypes.DType{dtypes.Float32, dtypes.Float64} {
			exec := MustNewExec(d.Backend, func(x *Node) *Node {
				x = ConvertDType(x, dtype)
				return ConvertDType(Gradient(ReduceAllSum(Mul(x, Square(x))), x)[0], dtypes.Float64)
			})
			if got := fmt.Sprint(exec.MustCall1([]float32{1, 2, -3}).Value()); got != "[3 12 27]" {
				t.Errorf("%s %s: %s", kind, dtype, got)
			}
			exec.Finalize()
		}
	}
}

// Errors of the plugin come back as errors, and memory stays flat over thousands of executions, donated buffers too.
func TestPluginErrorsAndMemory(t *testing.T) {
	plugin(t)
	d, err := Open(CPU)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Finalize()
	large := MustNewExec(d.Backend, func(x *Node) *Node { return BroadcastToDims(x, 1<<30, 1<<20) })
	if _, err := large.Call1(float32(1)); err == nil {
		t.Error("four petabytes were allocated")
	}
	exec := MustNewExec(d.Backend, func(x *Node) *Node { return AddScalar(MulScalar(x, 0.5), 1) })
	defer exec.Finalize()
	x := tensors.FromFlatDataAndDimensions(make([]float32, 1<<18), 1<<18) // 1 MB
	var before int
	for n := range 3000 {
		donated, err := DonateTensorBuffer(x, d.Backend, 0)
		if err != nil {
			t.Fatal(err)
		}
		x = exec.MustCall1(donated)
		if n == 500 {
			before = resident(t)
		}
	}
	if v := tensors.MustCopyFlatData[float32](x)[7]; v != 2 {
		t.Errorf("after 3000 executions: %v, want 2", v)
	}
	if after := resident(t); after > before+64<<20 {
		t.Errorf("memory grew from %d to %d MB over 2,500 executions", before>>20, after>>20)
	}
}

// resident is the memory of this process, in bytes.
func resident(t *testing.T) (bytes int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("no /proc: ", err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

func TestFind(t *testing.T) {
	home, other := t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	touch := func(parts ...string) string {
		path := filepath.Join(parts...)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("no library"), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	root := filepath.Join(home, ".local", "lib", "go-xla")
	cpu, cuda := touch(root, "pjrt_c_api_cpu_plugin.so"), touch(root, "nvidia", "pjrt_c_api_cuda_plugin.so")
	if got := Plugins(); got[CPU] != cpu || got[CUDA] != cuda {
		t.Errorf("in HOME: %v", got)
	}
	t.Setenv("PJRT_PLUGIN_LIBRARY_PATH", ":"+other+":"+root)
	mine := touch(other, "pjrt_c_api_cpu_v0.114.0_plugin.so")
	if err := os.Symlink("nowhere", filepath.Join(other, "pjrt_c_api_cuda_plugin.so")); err != nil {
		t.Fatal(err)
	}
	if got := Plugins(); got[CPU] != mine || got[CUDA] != cuda {
		t.Errorf("in PJRT_PLUGIN_LIBRARY_PATH: %v, want %s, and no link to nowhere but %s", got, mine, cuda)
	}
	if _, err := Open(CPU); err == nil || !strings.HasPrefix(err.Error(), mine+" cannot be opened: ") {
		t.Errorf("a file that is no library: %v", err)
	}
	t.Setenv("PJRT_PLUGIN_LIBRARY_PATH", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	if _, err := Open(CPU); err == nil || err.Error() != "no XLA:CPU plugin found: run hrlab setup" {
		t.Error(err)
	}
	d, err := Open(Auto)
	if err != nil || d.Kind != Go || !strings.Contains(d.Why, "no XLA:CPU plugin found: run hrlab setup; pure Go is slow") {
		t.Errorf("auto without plugins: %+v %v", d, err)
	}
	if _, err := Open("tpu"); err == nil || err.Error() != "device tpu: unknown; allowed: auto, cuda, cpu, go" {
		t.Error(err)
	}
}

func TestNoCUDA(t *testing.T) {
	if HasNVIDIA() {
		t.Skip("there is a GPU here")
	}
	if _, err := Open(CUDA); err == nil || err.Error() != "no NVIDIA driver found" {
		t.Error(err)
	}
}
