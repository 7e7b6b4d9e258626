package safetensors

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// file makes a file of a header and values.
func file(header string, values ...byte) []byte {
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), values...)
}

func read(b []byte) (*File, error) { return Read("x", bytes.NewReader(b), int64(len(b))) }

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	want := map[string]Tensor{
		"a":     {Shape: []int{2, 3}, Data: []float32{1, -2, 3.5, 0, math.MaxFloat32, math.SmallestNonzeroFloat32}},
		"é \"q": {Shape: []int{}, Data: []float32{7}},
		"empty": {Shape: []int{0, 4}, Data: []float32{}},
	}
	if err := Write(path, want, map[string]string{"k": "v"}); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Metadata["k"] != "v" || len(f.entries) != 3 {
		t.Errorf("metadata %v, entries %v", f.Metadata, f.entries)
	}
	for name, w := range want {
		got, err := f.Tensor(name)
		if err != nil || !reflect.DeepEqual(got, w) {
			t.Errorf("%q: %v %v, want %v", name, got, err, w)
		}
	}
}

func TestHalfPrecision(t *testing.T) {
	f, err := read(file(`{"h":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"BF16","shape":[1],"data_offsets":[4,6]}}`,
		0x00, 0x3e, 0x01, 0x80, 0xc0, 0x3f)) // 1.5, the least negative number (a subnormal), 1.5
	if err != nil {
		t.Fatal(err)
	}
	h, err := f.Tensor("h", 2)
	if err != nil || h.Data[0] != 1.5 || float64(h.Data[1]) != -math.Pow(2, -24) {
		t.Errorf("F16: %v %v", h.Data, err)
	}
	b, err := f.Tensor("b", 1)
	if err != nil || b.Data[0] != 1.5 {
		t.Errorf("BF16: %v %v", b.Data, err)
	}
}

func TestBadFiles(t *testing.T) {
	one := func(dtype, shape, offsets string) []byte {
		return file(`{"w":{"dtype":"`+dtype+`","shape":`+shape+`,"data_offsets":`+offsets+`}}`, make([]byte, 8)...)
	}
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "0 bytes is too short"},
		{"text", []byte("this is not a tensor file"), "a header of"},
		{"long header", append(bytes.Repeat([]byte{255}, 8), '{', '}'), "a header of 18446744073709551615 bytes"},
		{"no JSON", file("{]"), "no JSON"},
		{"wrong type", one("F99", "[2]", "[0,8]"), `unknown type "F99"`},
		{"shape", one("F32", "[3]", "[0,8]"), `tensor "w": F32 of shape [3] takes 12 bytes, but the header gives it 8`},
		{"negative", one("F32", "[-2]", "[0,8]"), "shape [-2]"},
		{"overflow", one("F32", "[4294967296,4294967296]", "[0,8]"), "shape [4294967296 4294967296]"},
		{"reversed", one("F32", "[2]", "[8,0]"), "no range"},
		{"truncated", one("F32", "[4]", "[0,16]"), "truncated"},
	} {
		_, err := read(c.data)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v; want %q", c.name, err, c.want)
		}
	}
	for _, c := range []struct {
		name  string
		data  []byte
		shape []int
		want  string
	}{
		{"missing", file(`{}`), nil, `tensor "w" is missing`},
		{"shape", one("F32", "[2]", "[0,8]"), []int{1, 2}, `tensor "w" has shape [2]; it must be [1 2]`},
		{"type", one("I64", "[1]", "[0,8]"), nil, `tensor "w" is I64; allowed: F32, F16, BF16`},
		{"infinite", file(`{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 0, 0, 0x80, 0x7f), nil, `holds +Inf at index 0`},
	} {
		f, err := read(c.data)
		if err != nil {
			t.Fatal(c.name, err)
		}
		if _, err := f.Tensor("w", c.shape...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", c.name, err, c.want)
		}
	}
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("directory: %v", err)
	}
	if _, err := Open("nowhere"); err == nil || err.Error() != "nowhere: no such file or directory" {
		t.Errorf("missing file: %v", err)
	}
}

// A write that fails leaves what was there.
func TestWriteKeepsTheOldFile(t *testing.T) {
	dir := t.TempDir()
	if err := Write(filepath.Join(dir, "no", "x"), nil, nil); err == nil || !strings.Contains(err.Error(), "no such file or directory") {
		t.Errorf("missing directory: %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(file(`{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"a":"b"}}`, make([]byte, 8)...))
	f.Add(file(`{"w":{"dtype":"BF16","shape":[2,0],"data_offsets":[0,0]}}`))
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"))
	for _, path := range []string{"testdata/zip.pth", "testdata/legacy.pth", "testdata/module.pth"} {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := read(data)
		if err != nil {
			return
		}
		for name := range file.entries {
			tensor, err := file.Tensor(name)
			if err != nil {
				continue
			}
			count := 1
			for _, n := range tensor.Shape {
				count *= n
			}
			if count != len(tensor.Data) {
				t.Fatalf("%q: shape %v has %d values", name, tensor.Shape, len(tensor.Data))
			}
		}
	})
}

// Files of torch.save, as testdata/torch.py made them: after PyTorch 1.6 and before.
func TestTorch(t *testing.T) {
	for _, path := range []string{"testdata/zip.pth", "testdata/legacy.pth"} {
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for name, want := range map[string]Tensor{
			"features.0.weight": {[]int{2, 3, 2}, []float32{-.5, -.375, -.25, -.125, 0, .125, .25, .375, .5, .625, .75, .875}},
			"view":              {[]int{2, 3}, []float32{4, 5, 6, 7, 8, 9}},
			"half":              {[]int{2}, []float32{1.5, -2}},
			"bfloat":            {[]int{1}, []float32{1.5}},
		} {
			if got, err := f.Tensor(name, want.Shape...); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %s: %v %v, want %v", path, name, got, err, want)
			}
		}
		if _, err := f.Tensor("long"); err == nil || err.Error() != path+`: tensor "long" is I64; allowed: F32, F16, BF16` {
			t.Error(err)
		}
	}
	for path, want := range map[string]string{
		"testdata/turned.pth": `testdata/turned.pth: not a PyTorch file of tensors: tensor "turned" is not contiguous`,
		"testdata/module.pth": "testdata/module.pth: not a PyTorch file of tensors: ",
	} {
		if _, err := Open(path); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	whole, err := os.ReadFile("testdata/legacy.pth")
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole { // cut anywhere: an error, or what is whole
		if f, err := read(whole[:n]); err == nil && len(f.entries) != 5 {
			t.Errorf("cut at %d of %d: %v", n, len(whole), f.entries)
		}
	}
}
