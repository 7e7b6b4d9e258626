package nvidia

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// fake makes a program in the place of nvidia-smi that writes its arguments to a file, whose path it returns.
func fake(t *testing.T, text string) (asked string) {
	t.Helper()
	bin := t.TempDir()
	asked = filepath.Join(bin, "asked")
	if err := os.WriteFile(filepath.Join(bin, "nvidia-smi"), []byte("#!/bin/sh\necho \"$*\" >"+asked+"\n"+text), 0o777); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	return asked
}

func expectAsked(t *testing.T, file, want string) {
	t.Helper()
	if text, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(text)) != want {
		t.Errorf("asked %s, want %s: %v", text, want, err)
	}
}

// Every GPU is a row.
func TestQuery(t *testing.T) {
	asked := fake(t, "echo '580.65.06, NVIDIA H100 80GB HBM3, 81559 MiB'\necho '580.65.06, NVIDIA T4, [N/A]'\n")
	gpus, err := Query(t.Context(), "driver_version", "name", "memory.total")
	want := [][]string{{"580.65.06", "NVIDIA H100 80GB HBM3", "81559 MiB"}, {"580.65.06", "NVIDIA T4", "[N/A]"}}
	if err != nil || !reflect.DeepEqual(gpus, want) {
		t.Errorf("%q %v", gpus, err)
	}
	expectAsked(t, asked, "--query-gpu=driver_version,name,memory.total --format=csv,noheader")
	fake(t, "echo 'NVIDIA-SMI has failed'\nexit 9\n")
	if gpus, err := Query(t.Context(), "name"); err == nil {
		t.Errorf("%q", gpus)
	}
}

// A GPU is watched until the reader, the program or the context ends; the program then ends too.
func TestWatch(t *testing.T) {
	asked := fake(t, "echo '[N/A], 3'\necho '37, 2048'\nexec sleep 1000\n")
	var rows [][]string
	for row := range Watch(t.Context(), "3", 2*time.Second, "utilization.gpu", "memory.used") {
		if rows = append(rows, row); len(rows) == 2 {
			break
		}
	}
	if want := [][]string{{"[N/A]", "3"}, {"37", "2048"}}; !reflect.DeepEqual(rows, want) {
		t.Errorf("%q", rows)
	}
	expectAsked(t, asked, "--query-gpu=utilization.gpu,memory.used --format=csv,noheader,nounits --id=3 --loop=2")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range Watch(ctx, "3", time.Second, "name") {
		cancel()
	}
	fake(t, "echo one\nexit 3\n")
	rows = nil
	for row := range Watch(t.Context(), "0", time.Second, "name") {
		rows = append(rows, row)
	}
	if len(rows) != 1 {
		t.Errorf("%q", rows)
	}
}

// On Windows' Linux the program is not in PATH.
func TestWSL(t *testing.T) {
	asked := fake(t, "echo 7\n")
	before := wsl
	t.Cleanup(func() { wsl = before })
	wsl = filepath.Join(filepath.Dir(asked), "nvidia-smi")
	t.Setenv("PATH", "")
	if gpus, err := Query(t.Context(), "index"); err != nil || gpus[0][0] != "7" {
		t.Errorf("%q %v", gpus, err)
	}
	wsl = filepath.Join(t.TempDir(), "none")
	if _, err := Query(t.Context(), "index"); err == nil {
		t.Error("there is none")
	}
	for range Watch(t.Context(), "0", time.Second, "index") {
		t.Error("there is none")
	}
}

// The real program, where there is one, knows the fields that hrlab asks for.
func TestReal(t *testing.T) {
	if _, err := exec.LookPath("nvidia-smi"); err != nil {
		t.Skip("no nvidia-smi here")
	}
	gpus, err := Query(t.Context(), "driver_version", "name", "memory.total", "memory.free")
	if err != nil || len(gpus) == 0 || len(gpus[0]) != 4 || !strings.HasSuffix(gpus[0][2], " MiB") {
		t.Fatalf("%q %v", gpus, err)
	}
	for row := range Watch(t.Context(), "0", 2*time.Second, "utilization.gpu", "memory.used") {
		if len(row) != 2 || strings.Contains(row[1], "MiB") {
			t.Errorf("%q", row)
		}
		return
	}
	t.Error("no word of GPU 0")
}
