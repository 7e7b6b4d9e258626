package hrstyle

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBadGenerators(t *testing.T) {
	dir := t.TempDir()
	whole, err := os.ReadFile("testdata/hrnet_init.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"short": {whole[:len(whole)-100], "the file is truncated"},
		"other": {bytes.Replace(whole, []byte(`"4_1.spatial.weight"`), []byte(`"4_1.spatial.wrong!"`), 1), `tensor "4_1.spatial.weight" is missing`},
		"text":  {[]byte("some text that is no generator"), "not a safetensors file"},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, c.data, 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadGenerator(path); err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
	if _, err := LoadCheckpoint("testdata/hrnet_init.safetensors"); err == nil || !strings.Contains(err.Error(), "not a checkpoint") {
		t.Error(err)
	}
	for name, want := range map[string]string{"testdata/hrnet_init.safetensors": `tensor "features.0.weight" is missing`, dir: "not a regular file"} {
		if _, err := LoadVGG(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", name, err, want)
		}
	}
}
