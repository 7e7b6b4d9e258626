package device

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func quiet(string, int64, int64) {}

func TestInstallWithoutTools(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("PATH", t.TempDir())
	_, err := InstallCPU(t.Context(), quiet)
	if err == nil || err.Error() != "python3 with pip is missing: apt-get install python3-pip" {
		t.Error(err)
	}
	if left, _ := os.ReadDir(os.Getenv("HOME")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// What an installation that was killed leaves is not taken for a plugin, and goes with the next one, even if that one
// is stopped too.
func TestInstallStopped(t *testing.T) {
	if len(MissingTools(CPU)) > 0 {
		t.Skip("needs ", MissingTools(CPU))
	}
	home := t.TempDir()
	t.Setenv("HOME", home)
	root := filepath.Join(home, ".local", "lib", "go-xla")
	for _, dir := range []string{".hrlab-tmp-1/hrlab-cpu-0", "hrlab-cpu-000000000000"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := InstallCPU(ctx, func(stage string, _, _ int64) {
		if strings.HasPrefix(stage, "fetch") {
			cancel()
		}
	})
	if err == nil || ctx.Err() == nil {
		t.Errorf("stopped while fetching: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(root, ".hrlab-tmp-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if found := Plugins(); found[CPU] != "" {
		t.Errorf("taken for a plugin: %v", found)
	}
}

// An index that serves other bytes is refused by pip's hash check.
func TestInstallWrongHash(t *testing.T) {
	if len(MissingTools(CPU)) > 0 {
		t.Skip("needs ", MissingTools(CPU))
	}
	home, links := t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("PIP_NO_INDEX", "1")
	t.Setenv("PIP_FIND_LINKS", links)
	if err := os.WriteFile(filepath.Join(links, "tensorflow_cpu-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl"), []byte("other bytes"), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := InstallCPU(t.Context(), quiet)
	if err == nil || !strings.Contains(err.Error(), "HASH") || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(home, ".local", "lib", "go-xla", "[^.]*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
