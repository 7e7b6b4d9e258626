package hrstyle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/draw"
	"golang.org/x/image/tiff"

	"hrlab/hrstyle/sample"
)

func TestFittedSizes(t *testing.T) {
	for _, c := range []struct{ w, h, size, square, wantW, wantH int }{
		{600, 400, 500, 0, 500, 332},
		{400, 600, 500, 0, 332, 500},
		{500, 500, 500, 0, 500, 500},
		{600, 400, 500, 1, 500, 500},
		{100, 50, 130, 0, 132, 64},
		{1000, 1, 128, 0, 128, 4},
	} {
		if w, h := fitted(c.w, c.h, c.size, c.square == 1); w != c.wantW || h != c.wantH {
			t.Errorf("%dx%d at %d: %dx%d, want %dx%d", c.w, c.h, c.size, w, h, c.wantW, c.wantH)
		}
	}
	wide := Pair{Picture{"wide.png", sample.Content(400, 20)}, Picture{"s", sample.Style(32, 32)}}
	c := Default
	c.Size = 128
	if _, _, err := wide.fitted(c); err == nil || err.Error() != "wide.png: 400x20 becomes too small: 128x8 is smaller than 16 px" {
		t.Error(err)
	}
}

// A picture goes to a tensor and back without loss, whatever image type holds it.
func TestNormalised(t *testing.T) {
	want := sample.Content(20, 16)
	grey := image.NewGray(image.Rect(3, 5, 20, 21)) // bounds that do not begin at 0
	grey.SetGray(4, 6, color.Gray{77})
	for name, img := range map[string]image.Image{"RGBA": want, "part": want.SubImage(image.Rect(2, 2, 18, 16)), "grey": grey} {
		p := Picture{name, img}
		b := p.Bounds()
		got := denormalised(p.normalised(), b.Dx(), b.Dy())
		for y := range b.Dy() {
			for x := range b.Dx() {
				r, g, bl, _ := img.At(b.Min.X+x, b.Min.Y+y).RGBA()
				if c := got.NRGBAAt(x, y); c != (color.NRGBA{uint8(r >> 8), uint8(g >> 8), uint8(bl >> 8), 255}) {
					t.Fatalf("%s at %d,%d: %v", name, x, y, c)
				}
			}
		}
	}
}

func TestSaveAndLoad(t *testing.T) {
	dir, img := t.TempDir(), sample.Content(40, 30)
	for _, name := range []string{"a.png", "a.jpg", "A.JPEG"} {
		path := filepath.Join(dir, name)
		if err := SavePicture(path, img, "made with random filters"); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(data, []byte("made with random filters")) {
			t.Errorf("%s: the comment is not there (%v)", name, err)
		}
		p, err := LoadPicture(path)
		if err != nil || p.Bounds() != img.Bounds() {
			t.Errorf("%s: %v %v", name, p.Bounds(), err)
		}
		if name == "a.png" && p.Image.(*image.RGBA).RGBAAt(7, 9) != img.RGBAAt(7, 9) {
			t.Error("PNG lost something")
		}
	}
	if err := SavePicture(filepath.Join(dir, "a.gif"), img, ""); err == nil || !strings.Contains(err.Error(), `unknown picture format ".gif"; allowed: .png, .jpg, .jpeg`) {
		t.Error(err)
	}
	clear := image.NewNRGBA(image.Rect(0, 0, 20, 20)) // transparent
	if err := SavePicture(filepath.Join(dir, "clear.png"), clear, ""); err != nil {
		t.Fatal(err)
	}
	p, err := LoadPicture(filepath.Join(dir, "clear.png"))
	if err != nil || color.RGBAModel.Convert(p.At(3, 3)) != (color.RGBA{255, 255, 255, 255}) {
		t.Errorf("transparency shows %v, want white (%v)", p.At(3, 3), err)
	}
}

// A photograph is turned upright. corners holds where the stored top left, top right, bottom right and bottom left go.
func TestOrientation(t *testing.T) {
	colours := [4]color.RGBA{{250, 20, 20, 255}, {20, 250, 20, 255}, {20, 20, 250, 255}, {250, 250, 20, 255}}
	stored := image.NewRGBA(image.Rect(0, 0, 64, 32))
	for y := range 32 {
		for x := range 64 {
			stored.SetRGBA(x, y, colours[[2][2]int{{0, 1}, {3, 2}}[y/16][x/32]])
		}
	}
	var jpg bytes.Buffer
	if err := jpeg.Encode(&jpg, stored, &jpeg.Options{Quality: 100}); err != nil {
		t.Fatal(err)
	}
	for orientation, corners := range map[byte][4]int{ // shown clockwise from the top left: which stored corner
		1: {0, 1, 2, 3}, 2: {1, 0, 3, 2}, 3: {2, 3, 0, 1}, 4: {3, 2, 1, 0}, 5: {0, 3, 2, 1}, 6: {3, 0, 1, 2}, 7: {2, 1, 0, 3}, 8: {1, 2, 3, 0},
	} {
		exif := append([]byte("\xff\xe1\x00\x22Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00"), orientation, 0, 0, 0, 0, 0, 0, 0)
		path := filepath.Join(t.TempDir(), "o.jpg")
		if err := os.WriteFile(path, slices.Insert(bytes.Clone(jpg.Bytes()), 2, exif...), 0o666); err != nil {
			t.Fatal(err)
		}
		p, err := LoadPicture(path)
		if err != nil {
			t.Fatal(err)
		}
		w, h := p.Bounds().Dx(), p.Bounds().Dy()
		if (orientation >= 5) != (h > w) {
			t.Errorf("orientation %d: %dx%d", orientation, w, h)
		}
		for i, at := range [4]image.Point{{4, 4}, {w - 5, 4}, {w - 5, h - 5}, {4, h - 5}} {
			r, g, b, _ := p.At(p.Bounds().Min.X+at.X, p.Bounds().Min.Y+at.Y).RGBA()
			want := colours[corners[i]]
			if d := max(distance8(r, want.R), distance8(g, want.G), distance8(b, want.B)); d > 4 {
				t.Errorf("orientation %d, corner %d: off by %d", orientation, i, d)
			}
		}
	}
}

func distance8(v uint32, want uint8) int {
	d := int(v>>8) - int(want)
	return max(d, -d)
}

// Other formats show what they hold; HEIC is refused with a hint.
func TestFormats(t *testing.T) {
	dir, img := t.TempDir(), sample.Content(40, 30)
	for name, encode := range map[string]func(w io.Writer) error{
		"a.bmp":  func(w io.Writer) error { return bmp.Encode(w, img) },
		"a.tiff": func(w io.Writer) error { return tiff.Encode(w, img, nil) },
		"a.gif":  func(w io.Writer) error { return gif.Encode(w, img, nil) },
		"16.png": func(w io.Writer) error {
			deep := image.NewRGBA64(img.Bounds())
			draw.Draw(deep, deep.Bounds(), img, image.Point{}, draw.Src)
			return png.Encode(w, deep)
		},
	} {
		var buf bytes.Buffer
		if err := encode(&buf); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, buf.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
		p, err := LoadPicture(path)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		allowed := map[string]int{"a.gif": 60}[name] // 256 colours
		r, g, b, _ := p.At(7, 9).RGBA()
		want := img.RGBAAt(7, 9)
		if d := max(distance8(r, want.R), distance8(g, want.G), distance8(b, want.B)); d > allowed {
			t.Errorf("%s is off by %d", name, d)
		}
	}
	heic := filepath.Join(dir, "a.heic")
	if err := os.WriteFile(heic, []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadPicture(heic); err == nil || !strings.Contains(err.Error(), "a HEIC or AVIF picture: export it as JPEG or PNG") {
		t.Error(err)
	}
}

func TestBadPictures(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var good, tiny, jpg bytes.Buffer
	for _, err := range []error{png.Encode(&good, sample.Content(40, 40)), png.Encode(&tiny, sample.Content(1, 1)), jpeg.Encode(&jpg, sample.Content(40, 40), nil)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	huge := bytes.Clone(good.Bytes())
	copy(huge[16:], []byte{0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30}) // 30000x30000 in the header
	binary.BigEndian.PutUint32(huge[29:], crc32.ChecksumIEEE(huge[12:29]))
	for _, c := range []struct{ path, want string }{
		{filepath.Join(dir, "none.png"), "no such file or directory"},
		{dir, "not a regular file"},
		{write("empty.png", nil), "not a picture in a format known here"},
		{write("text.png", []byte("no picture at all")), "not a picture in a format known here"},
		{write("cut.png", good.Bytes()[:good.Len()/2]), "damaged picture"},
		{write("cut.jpg", jpg.Bytes()[:jpg.Len()/2]), "damaged picture"},
		{write("tiny.png", tiny.Bytes()), "1x1 is smaller than 16 px"},
		{write("huge.png", huge), "30000x30000 has more than 160 million pixels"},
	} {
		_, err := LoadPicture(c.path)
		if err == nil || !strings.HasPrefix(err.Error(), c.path+": ") || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v; want %s: … %s", err, c.path, c.want)
		}
	}
}

func TestCheckOutput(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		dir:                                   "unknown picture format",
		filepath.Join(dir, "no", "a.png"):     "cannot be written: no such file or directory",
		filepath.Join(dir, "a"):               `unknown picture format ""`,
		filepath.Join(dir, "fine.png"):        "",
		filepath.Join("/proc", "hrlab.png"):   "cannot be written",
		mkdir(t, filepath.Join(dir, "d.png")): "is a directory",
	} {
		if err := CheckOutput(path); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v; want %q", path, err, want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*fine*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func mkdir(t *testing.T, path string) string {
	t.Helper()
	if err := os.MkdirAll(path, 0o777); err != nil {
		t.Fatal(err)
	}
	return path
}

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

func ExampleConfig_Validate() {
	c := Default
	c.Gram = "median"
	fmt.Println(c.Validate())
	// Output: gram median: allowed: sum, mean
}
