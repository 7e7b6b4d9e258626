package hrstyle

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
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
		_, err := LoadGenerator(path)
		if err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
		if _, read := ReadGenerator(path, bytes.NewReader(c.data), int64(len(c.data))); read == nil || err == nil || read.Error() != err.Error() {
			t.Errorf("%s: %v of a reader; want %v", name, read, err)
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

// A checkpoint is the same from a file and from a reader, except that only a file is where the fit goes on saving it.
func TestReadCheckpoint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.safetensors")
	start := (&Generator{flat: initialParameters(3)}).Start(Default)
	start.Step, start.Elapsed, start.Content, start.Style, start.pair, start.vgg = 7, time.Minute, "day.png", "dusk.png", "pair", "random"
	if err := start.Save(path); err != nil {
		t.Fatal(err)
	}
	file, err := LoadCheckpoint(path)
	if err != nil || file.Config.Checkpoint != path {
		t.Fatal(file, err)
	}
	data, err := start.Encode()
	if err != nil {
		t.Fatal(err)
	}
	read, err := ReadCheckpoint("somewhere", bytes.NewReader(data), int64(len(data)))
	if err != nil || !reflect.DeepEqual(read, start) {
		t.Errorf("%+v %v, want %+v", read, err, start)
	}
	if file.Config.Checkpoint = ""; !reflect.DeepEqual(file, start) {
		t.Errorf("%+v of the file, want %+v", file, start)
	}
	if _, err := ReadCheckpoint("somewhere", bytes.NewReader(data[:100]), 100); err == nil || !strings.HasPrefix(err.Error(), "somewhere: ") {
		t.Error(err)
	}
}
