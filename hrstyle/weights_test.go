package hrstyle

import (
	"archive/zip"
	"encoding/binary"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"hrlab/hrstyle/device"
	"hrlab/hrstyle/safetensors"
	"hrlab/hrstyle/sample"
	"hrlab/picture"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

// Weights are fetched from a server or a file into the cache directory, and watched there.
func TestFetchVGG(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	if _, err := OpenVGG("auto"); err == nil || !strings.HasPrefix(err.Error(), ErrNoVGG.Error()) {
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
	writePTH(t, filepath.Join(dir, "vgg19.pth"), tensors)
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	report := func(string, int64, int64) {}

	for _, source := range []string{server.URL + "/model.safetensors", filepath.Join(dir, "model.safetensors"), filepath.Join(dir, "vgg19.pth")} {
		path, err := FetchVGG(t.Context(), source, report)
		if err != nil {
			t.Fatal(err)
		}
		got, err := OpenVGG("auto")
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
	if _, err := OpenVGG("auto"); err == nil || !strings.Contains(err.Error(), "has changed since it was fetched") {
		t.Errorf("after a bit flipped: %v", err)
	}
	before := Torchvision
	t.Cleanup(func() { Torchvision = before })
	Torchvision = safetensors.Source{URL: server.URL + "/model.safetensors"}
	if _, err := FetchVGG(t.Context(), "", report); err != nil { // the next setup mends it
		t.Fatal(err)
	}
	if got, err := OpenVGG("auto"); err != nil || !reflect.DeepEqual(got.weights, want.weights) {
		t.Errorf("after another fetch: %v", err)
	}
}

// writePTH writes tensors as torch.save does: a zip of storages, and a pickle (opcodes: Python's Lib/pickletools.py).
func writePTH(t *testing.T, path string, tensors map[string]safetensors.Tensor) {
	t.Helper()
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	archive := zip.NewWriter(out)
	member := func(name string) io.Writer {
		w, err := archive.CreateHeader(&zip.FileHeader{Name: "archive/" + name, Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	text := func(s string) string { return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s }
	number := func(n int) string { return "J" + string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }
	numbers := func(values []int) (s []string) {
		for _, v := range values {
			s = append(s, number(v))
		}
		return s
	}
	pickle := []string{"\x80\x02ccollections\nOrderedDict\n)R("}
	for i, name := range slices.Sorted(maps.Keys(tensors)) {
		v := tensors[name]
		key, strides, n := strconv.Itoa(i), make([]int, len(v.Shape)), 1
		for axis, d := range slices.Backward(v.Shape) {
			strides[axis] = n
			n *= d
		}
		pickle = append(pickle, text(name)+"ctorch._utils\n_rebuild_tensor_v2\n(("+text("storage")+"ctorch\nFloatStorage\n"+text(key)+text("cpu")+number(n)+"tQ",
			"K\x00(", strings.Join(numbers(v.Shape), ""), "t(", strings.Join(numbers(strides), ""), "t\x89ccollections\nOrderedDict\n)RtR")
		if err := binary.Write(member("data/"+key), binary.LittleEndian, v.Data); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(member("data.pkl"), strings.Join(pickle, "")+"u."); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
}

// Random filters have maps of the size that VGG19's have on photographs.
func TestRandomVGG(t *testing.T) {
	e := openTest(t, device.CPU, dtypes.Float32, RandomVGG())
	e.prepare()
	p := picture.Picture{Image: sample.Content(96, 96)}
	var names []string
	outputs := e.call("rms", func(in []*Node) (out []*Node) {
		v := e.vggGraph(in[1:])
		v.forward(in[0])
		names = nil
		for _, l := range vgg19 {
			names, out = append(names, l.name), append(out, Sqrt(ReduceAllMean(Square(v.maps[l.name]))))
		}
		return out
	}, append([]any{upload(e, normalised(p), 1, 96, 96, 3)}, e.prepared...)...)
	for i, out := range outputs {
		if r := download[float64](out)[0] / vgg19[i].rms; r < 0.5 || r > 2 {
			t.Errorf("%s: root mean square is %.2f of VGG19's", names[i], r)
		}
	}
}
