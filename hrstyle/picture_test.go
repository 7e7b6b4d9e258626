package hrstyle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	wide := Pair{Picture{Name: "wide.png", Image: sample.Content(400, 20)}, Picture{Name: "s", Image: sample.Style(32, 32)}}
	c := Default
	c.Size = 128
	if _, err := wide.Fitted(c); err == nil || err.Error() != "wide.png: 400x20 becomes too small: 128x8 is smaller than 16 px" {
		t.Error(err)
	}
}

// A picture goes to a tensor and back without loss, whatever image type holds it.
func TestNormalised(t *testing.T) {
	want := sample.Content(20, 16)
	grey := image.NewGray(image.Rect(3, 5, 20, 21)) // bounds that do not begin at 0
	grey.SetGray(4, 6, color.Gray{77})
	for name, img := range map[string]image.Image{"RGBA": want, "part": want.SubImage(image.Rect(2, 2, 18, 16)), "grey": grey} {
		p := Picture{Name: name, Image: img}
		b := p.Bounds()
		got := denormalised(p.normalised(), b.Dx(), b.Dy())
		for y := range b.Dy() {
			for x := range b.Dx() {
				r, g, bl, _ := img.At(b.Min.X+x, b.Min.Y+y).RGBA()
				if c := got.NRGBA64At(x, y); c != (color.NRGBA64{uint16(r), uint16(g), uint16(bl), 0xffff}) {
					t.Fatalf("%s at %d,%d: %v", name, x, y, c)
				}
			}
		}
	}
}

func TestSaveAndLoad(t *testing.T) {
	dir, img := t.TempDir(), sample.Content(40, 30)
	for _, name := range []string{"a.png", "a.jpg", "A.JPEG", "a.webp"} {
		path := filepath.Join(dir, name)
		if err := SavePicture(path, img, Encoding{Comment: "made with random filters"}); err != nil {
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
	if err := SavePicture(filepath.Join(dir, "a.gif"), img, Encoding{}); err == nil || !strings.Contains(err.Error(), `unknown picture format ".gif"; allowed: .png, .jpg, .jpeg, .webp`) {
		t.Error(err)
	}
	clear := image.NewNRGBA(image.Rect(0, 0, 20, 20)) // transparent
	if err := SavePicture(filepath.Join(dir, "clear.png"), clear, Encoding{}); err != nil {
		t.Fatal(err)
	}
	p, err := LoadPicture(filepath.Join(dir, "clear.png"))
	if err != nil || color.RGBAModel.Convert(p.At(3, 3)) != (color.RGBA{255, 255, 255, 255}) {
		t.Errorf("transparency shows %v, want white (%v)", p.At(3, 3), err)
	}
}

// Every format shows what Pillow shows (testdata/pictures/pictures.py). Pillow's JPEG decoder is libjpeg-turbo, whose
// inverse cosine transform rounds otherwise: a difference of 1 in luma and chroma is up to 3 in RGB. A conversion of
// colours is given 2.
func TestFormats(t *testing.T) {
	files, err := filepath.Glob("testdata/pictures/*.*")
	if err != nil || len(files) < 30 {
		t.Fatal(files, err)
	}
	notes := map[string]string{
		"animated.webp": "is animated: its first frame is taken", "animated.png": "is animated: its first frame is taken", "animated.gif": "is animated: its first frame is taken",
		"p3.jpg": "is brought from Display P3 (gamma 2.2) to sRGB", "p3.png": "is brought from Display P3 (gamma 2.2) to sRGB",
		"adobe.webp": "is brought from Adobe RGB (1998) to sRGB",
	}
	for _, path := range files {
		name := filepath.Base(path)
		if strings.HasSuffix(name, ".py") {
			continue
		}
		got, err := LoadPicture(path)
		if err != nil {
			t.Error(err)
			continue
		}
		want, err := LoadPicture(filepath.Join("testdata/pictures/expected", name+".png"))
		if err != nil {
			t.Fatal(err)
		}
		allowed := 1
		switch {
		case strings.HasPrefix(name, "p3.jpg"):
			allowed = 5
		case strings.HasSuffix(name, ".jpg") || strings.HasSuffix(name, "lossy.webp"):
			allowed = 3
		case notes[name] != "":
			allowed = 2
		}
		if got.Bounds() != want.Bounds() {
			t.Errorf("%s: %v, Pillow %v", name, got.Bounds(), want.Bounds())
		} else if d := furthest(got, want); d > allowed {
			t.Errorf("%s: %d from Pillow's, allowed %d", name, d, allowed)
		}
		if note := strings.Join(got.Notes, "; "); note != notes[name] {
			t.Errorf("%s: notes %q, want %q", name, note, notes[name])
		}
	}
}

// furthest is the largest difference of two opaque pictures of one size, of 255.
func furthest(a, b Picture) (d int) {
	p, q := a.Image.(*image.RGBA).Pix, b.Image.(*image.RGBA).Pix
	for i := range p {
		d = max(d, int(p[i])-int(q[i]), int(q[i])-int(p[i]))
	}
	return d
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
		{write("huge.png", huge), "30000x30000 takes 7.2 GB of memory to read; allowed: 0.9"},
	} {
		_, err := LoadPicture(c.path)
		if err == nil || !strings.HasPrefix(err.Error(), c.path+": ") || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v; want %s: … %s", err, c.path, c.want)
		}
	}
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		dir:                                   "unknown picture format",
		filepath.Join(dir, "no", "a.png"):     "cannot be written: no such file or directory",
		filepath.Join(dir, "a"):               `unknown picture format ""`,
		filepath.Join(dir, "fine.png"):        "",
		filepath.Join("/proc", "hrlab.png"):   "cannot be written",
		mkdir(t, filepath.Join(dir, "d.png")): "is a directory",
	} {
		if err := (Encoding{}).Check(path); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
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
