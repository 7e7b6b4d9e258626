package device

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/shirou/gopsutil/v4/disk"
)

// TestInstallReal downloads and builds, three times over: kills at every stage, two installations at once, repairs.
func TestInstallReal(t *testing.T) {
	if os.Getenv("HRLAB_TEST_INSTALL") == "" {
		t.Skip("downloads 274 MB and compiles for minutes: set HRLAB_TEST_INSTALL=1")
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("PJRT_PLUGIN_LIBRARY_PATH", "")
	if err := os.Unsetenv("PJRT_PLUGIN_LIBRARY_PATH"); err != nil {
		t.Fatal(err)
	}
	root, err := userDir()
	if err != nil {
		t.Fatal(err)
	}

	for _, stage := range []string{"fetch", "unpack", "strip", "compile"} {
		child := exec.Command(os.Args[0], "-test.run=^TestInstallChild$")
		child.Env = append(os.Environ(), "HRLAB_TEST_CHILD=1")
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "stage "+stage) {
				break
			}
		}
		time.Sleep(time.Second / 2)
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := child.Wait(); err == nil {
			t.Fatalf("killed in stage %s, yet it ended well", stage)
		}
		if path, ok := Plugins()[CPU]; ok {
			t.Errorf("killed in stage %s: %s is taken for a plugin", stage, path)
		}
	}

	// Two at once: the first builds, and sweeps up; the second waits and finds it done.
	began, stages := time.Now(), map[string]int{}
	var mu sync.Mutex
	var both sync.WaitGroup
	least := free(t, root)
	start := least
	for range 2 {
		both.Go(func() {
			var last string
			var lastDone int64
			path, err := InstallCPU(t.Context(), func(stage string, done, total int64) {
				mu.Lock()
				defer mu.Unlock()
				if stage == last && done < lastDone || done > total {
					t.Errorf("%s went from %d to %d of %d", stage, lastDone, done, total)
				}
				if stage != last {
					stages[stage]++
				}
				last, lastDone = stage, done
				least = min(least, free(t, root))
			})
			if err != nil || path != filepath.Join(root, pluginLink) {
				t.Errorf("%s: %v", path, err)
			}
		})
	}
	both.Wait()
	t.Logf("installed in %v, %d MB at most while at it; stages %v", time.Since(began), (start-least)>>20, stages)
	for _, stage := range []string{"wait for another installation", "fetch " + wheel, "unpack", "strip " + libraryCC, "compile", "check"} {
		if stages[stage] != 1 {
			t.Errorf("stage %s: %d times, want once", stage, stages[stage])
		}
	}
	left, err := os.ReadDir(root)
	if err != nil || len(left) != 3 || left[0].Name() != ".hrlab.lock" || left[1].Name() != cpuFolder() || left[2].Name() != pluginLink {
		t.Errorf("in %s: %v %v", root, left, err)
	}
	t.Logf("%d MB in the end", size(root)>>20)

	again := func(what string, want bool) {
		t.Helper()
		began, built := time.Now(), false
		_, err := InstallCPU(t.Context(), func(stage string, _, _ int64) { built = built || stage == "compile" })
		if err != nil || built != want {
			t.Errorf("%s: built %v, want %v: %v", what, built, want, err)
		}
		t.Logf("%s: %v", what, time.Since(began))
	}
	again("nothing to do", false)
	if err := os.Remove(filepath.Join(root, pluginLink)); err != nil {
		t.Fatal(err)
	}
	again("killed between folder and link", false)
	if err := os.Truncate(filepath.Join(root, cpuFolder(), libraryFW), 1000); err != nil {
		t.Fatal(err)
	}
	again("a broken library", true)
	if err := os.Mkdir(filepath.Join(root, "hrlab-cpu-000000000000"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(root, pluginLink)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("hrlab-cpu-000000000000/plugin.so", filepath.Join(root, pluginLink)); err != nil {
		t.Fatal(err)
	}
	again("an earlier version", false)
	if old, err := filepath.Glob(filepath.Join(root, "hrlab-cpu-0*")); err != nil || len(old) != 0 {
		t.Errorf("left behind: %v %v", old, err)
	}

	d, err := Open(CPU)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Finalize()
	if got := MustNewExec(d.Backend, func(x *Node) *Node { return Add(x, x) }).MustCall1(float32(2)).Value(); got != float32(4) {
		t.Errorf("2 + 2 = %v", got)
	}
}

// TestInstallChild is the process that TestInstallReal kills.
func TestInstallChild(t *testing.T) {
	if os.Getenv("HRLAB_TEST_CHILD") == "" {
		t.Skip("part of TestInstallReal")
	}
	_, err := InstallCPU(t.Context(), func(stage string, _, _ int64) { _, _ = os.Stdout.WriteString("stage " + stage + "\n") })
	t.Error("not killed: ", err)
}

func free(t *testing.T, dir string) uint64 {
	t.Helper()
	usage, err := disk.Usage(dir)
	if err != nil {
		t.Fatal(err)
	}
	return usage.Free
}

// A plugin that is not hrlab's is taken as it is.
func TestInstallForeign(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	root, err := userDir()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(root, pluginLink)
	if err := os.MkdirAll(root, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(link, []byte("somebody's"), 0o666); err != nil {
		t.Fatal(err)
	}
	path, err := InstallCPU(t.Context(), nil)
	if data, _ := os.ReadFile(link); err != nil || path != link || string(data) != "somebody's" {
		t.Errorf("%s %v, and %q is there", path, err, data)
	}
}

// The check that an installation ends with passes over what is there, and notices what is not a plugin.
func TestWorks(t *testing.T) {
	dir := filepath.Dir(realpath(t, plugin(t)))
	if _, err := os.Stat(filepath.Join(dir, checkFile)); err != nil {
		t.Skip("not the plugin of this project: ", err)
	}
	if err := works(t.Context(), dir); err != nil {
		t.Error(err)
	}
	err := command(t.Context(), t.TempDir(), filepath.Join(dir, checkFile), "nothing.so")
	if err == nil || !strings.HasPrefix(err.Error(), "check: exit status 1: error: nothing.so: cannot open") {
		t.Error(err)
	}
}

// Children end with their context, and their complaints are cut to a line.
func TestCommand(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	go func() {
		defer cancel()
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(dir, "began")); err == nil {
				return
			}
			time.Sleep(time.Second / 100)
		}
	}()
	if err := command(ctx, dir, "sh", "-c", `touch "$TMPDIR/began"; sleep 3600; true`); err != context.Canceled { //nolint:errorlint // no wrapping
		t.Error(err)
	}
	for script, want := range map[string]string{
		"echo one; echo 'x.cc:1: error: two'; echo 'error: three'; exit 3": "sh: exit status 3: x.cc:1: error: two",
		"echo one; echo two >&2; exit 3":                                   "sh: exit status 3: two",
		"kill -SEGV $$":                                                    "sh: signal: segmentation fault",
	} {
		if err := command(t.Context(), t.TempDir(), "sh", "-c", script); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", script, err, want)
		}
	}
}

// The wheels themselves, 2.2 GB of them, where there may be no GPU: the plugin then says that it finds none, which it
// can only once its libraries are found.
func TestInstallRealCUDA(t *testing.T) {
	if os.Getenv("HRLAB_TEST_INSTALL") == "" {
		t.Skip("fetches 2.2 GB: set HRLAB_TEST_INSTALL=1")
	}
	if !HasNVIDIA() {
		fakeDriver(t, "580.65.06")
	}
	t.Setenv("HOME", t.TempDir())
	path, err := InstallCUDA(t.Context(), func(stage string, done, total int64) { t.Log(stage, done, total) })
	if err != nil {
		t.Fatal(err)
	}
	version, cudnn, ptxas := CUDAParts(path)
	if version == "" || cudnn == "" || ptxas == "" {
		t.Error(version, cudnn, ptxas)
	}
	d, err := Open(CUDA)
	if err != nil {
		t.Log(err)
		if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "cannot open shared object") {
			t.Error(err)
		}
		return
	}
	d.Finalize()
}
