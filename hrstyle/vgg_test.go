package hrstyle

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"hrlab/hrstyle/safetensors"
)

// Weights are fetched from a server or a file into the cache directory, and watched there.
func TestFetchVGG(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	if _, err := openVGG("auto"); err == nil || !strings.HasPrefix(err.Error(), ErrNoVGG.Error()) {
		t.Fatal(err)
	}
	want := RandomVGG()
	dir := t.TempDir()
	tensors := map[string]safetensors.Tensor{"classifier.0.weight": {Shape: []int{1000}, Data: make([]float32, 1000)}}
	for i, l := range vgg19 {
		tensors[l.tensor("weight")], tensors[l.tensor("bias")] = want.weights[2*i], want.weights[2*i+1]
	}
	if err := safetensors.Write(filepath.Join(dir, "model.safetensors"), tensors, nil); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	report := func(string, int64, int64) {}

	for _, source := range []string{server.URL + "/model.safetensors", filepath.Join(dir, "model.safetensors")} {
		path, err := FetchVGG(t.Context(), source, report)
		if err != nil {
			t.Fatal(err)
		}
		got, err := openVGG("auto")
		if err != nil || !reflect.DeepEqual(got.weights, want.weights) || got.Random() {
			t.Fatalf("%s: the weights differ, or %v", source, err)
		}
		if again, err := FetchVGG(t.Context(), "", report); err != nil || again != path {
			t.Errorf("with the weights there: %s %v", again, err)
		}
	}

	path, err := CachedVGG()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-2] ^= 1 // a bit of the last bias
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := openVGG("auto"); err == nil || !strings.Contains(err.Error(), "has changed since it was fetched") {
		t.Errorf("after a bit flipped: %v", err)
	}
}
