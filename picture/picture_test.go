package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// drawn is a picture of w x h pixels: colours that change from one side to the other.
func drawn(w, h int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			img.SetRGBA(x, y, color.RGBA{uint8(255 * x / w), uint8(255 * y / h), uint8(128 + 100*math.Sin(float64(x+y)/5)), 255})
		}
	}
	return img
}

func TestSaveAndLoad(t *testing.T) {
	dir, img := t.TempDir(), drawn(40, 30)
	for _, name := range []string{"a.png", "a.jpg", "A.JPEG", "a.webp"} {
		path := filepath.Join(dir, name)
		if err := Save(path, img, Encoding{Comment: "made with random filters"}); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(data, []byte("made with random filters")) {
			t.Errorf("%s: the comment is not there (%v)", name, err)
		}
		p, err := Load(path)
		if err != nil || p.Bounds() != img.Bounds() {
			t.Errorf("%s: %v %v", name, p.Bounds(), err)
		}
		if name == "a.png" && p.Image.(*image.RGBA).RGBAAt(7, 9) != img.RGBAAt(7, 9) {
			t.Error("PNG lost something")
		}
	}
	if err := Save(filepath.Join(dir, "a.gif"), img, Encoding{}); err == nil || !strings.Contains(err.Error(), `unknown picture format ".gif"; allowed: .png, .jpg, .jpeg, .webp`) {
		t.Error(err)
	}
	clear := image.NewNRGBA(image.Rect(0, 0, 20, 20)) // transparent
	if err := Save(filepath.Join(dir, "clear.png"), clear, Encoding{}); err != nil {
		t.Fatal(err)
	}
	p, err := Load(filepath.Join(dir, "clear.png"))
	if err != nil || color.RGBAModel.Convert(p.At(3, 3)) != (color.RGBA{255, 255, 255, 255}) {
		t.Errorf("transparency shows %v, want white (%v)", p.At(3, 3), err)
	}
}

// A picture keeps the bytes of its file, wherever it was read from, damaged ends included; one made in memory has none.
func TestFile(t *testing.T) {
	all := fixtures(t)
	for _, name := range []string{"icc-16.png", "cmyk.jpg", "no-end.jpg", "plain.tiff", "animated.webp"} {
		p, err := Load(filepath.Join("testdata/pictures", name))
		if err != nil || !bytes.Equal(p.File(), all[name]) {
			t.Errorf("%s: %d bytes of %d (%v)", name, len(p.File()), len(all[name]), err)
		}
		again, err := Read("again", iotest.OneByteReader(bytes.NewReader(p.File())))
		if err != nil || again.Name != "again" || again.Digest() != p.Digest() || !bytes.Equal(again.File(), all[name]) || !slices.Equal(again.Notes, p.Notes) {
			t.Errorf("%s read again: %v %v", name, again.Notes, err)
		}
	}
	if file := (Picture{Image: drawn(20, 20)}).File(); file != nil {
		t.Errorf("a file of %d bytes", len(file))
	}
	if _, err := Read("name", iotest.ErrReader(errors.New("gone"))); err == nil || err.Error() != "name: gone" {
		t.Error(err)
	}
}

// Every format, colour space and odd container shows what Pillow with LittleCMS shows (testdata/pictures/pictures.py),
// within 2 of 255: 1 for what rounds otherwise, and 2 for the cosine transform of JPEG.
func TestFormats(t *testing.T) {
	const (
		animated, cut = "is animated: its first frame is taken", "is cut short: its end is missing"
		adobe, p3     = "is brought from Adobe RGB (1998) to sRGB", "is brought from Display P3 to sRGB"
		grey, inks    = "is brought from grey 1.5 to sRGB", "is brought from inks to sRGB"
	)
	notes := map[string]string{
		"animated.webp": animated, "animated.png": animated, "animated.gif": animated, "part.webp": animated,
		"still.png":      "is animated: the picture that stands before its frames is taken",
		"no-end.png":     cut,
		"no-end.jpg":     cut,
		"bad-pixels.png": `has a wrong checksum in a chunk "IDAT"`,
		"bad-text.png":   `has a damaged chunk "tEXt", which is left out`,
		"gamut-p3.png":   p3,
		"icc-16.png":     p3,
		"icc-alpha.png":  p3,
		"icc-grey.jpg":   grey,
		"icc-grey.tiff":  grey,
		"icc-inks.jpg":   inks,
		"chunk-gama.png": "is brought from gamma 0.55556 to sRGB", "chunk-gama-grey.png": "is brought from gamma 1 to sRGB",
		"chunk-chrm.png":      "is brought from its own primaries to sRGB",
		"chunk-gama-chrm.png": "is brought from gamma 0.45455 and its own primaries to sRGB",
		"chunk-gama-srgb.png": "", "chunk-gama-chrm-srgb.png": "", "chunk-chrm-srgb.png": "",
		"chunk-srgb-first.png": "", "chunk-cicp-srgb.png": "", "chunk-iccp-first.png": adobe,
		"chunk-cicp-p3.png": "is brought from cICP 12-13 to sRGB", "chunk-cicp-2020.png": "is brought from cICP 9-14 to sRGB",
		"chunk-cicp-pq.png":   "has a colour code that is not supported (cICP 9-16-0-1), which is left out; " + adobe,
		"gamut-grey-xyz.png":  grey,
		"icc-grey-alpha.png":  grey,
		"misfit-grey.png":     "is taken as sRGB: grey 1.5 is for grey pictures, and it is RGB",
		"misfit-rgb.png":      "is taken as sRGB: Adobe RGB (1998) is for RGB pictures, and it is grey",
		"misfit-inks.jpg":     "is taken as sRGB: inks is for CMYK pictures, and it is RGB",
		"misfit-sides.png":    "is taken as sRGB: its ICC profile cannot be read",
		"misfit-part.jpg":     "is taken as sRGB: a part of its ICC profile is missing",
		"gamut-side.png":      "is brought from first side to sRGB",
		"misfit-damaged.png":  "is taken as sRGB: its ICC profile cannot be read",
		"exif-and-icc.jpg":    p3,
		"gamut-samples.png":   "is brought from samples to sRGB",
		"gamut-linear.png":    "is brought from linear to sRGB",
		"gamut-prophoto.png":  "is brought from ProPhoto RGB to sRGB",
		"gamut-grey-lab.png":  "is brought from grey L* to sRGB",
		"gamut-lut8.png":      "is brought from lut8Type to sRGB",
		"gamut-lut16.png":     "is brought from lut16Type to sRGB",
		"gamut-lut16-xyz.png": "is brought from lut16Type XYZ to sRGB",
		"gamut-lutab.png":     "is brought from lutAToBType to sRGB",
		"gamut-lutab-xyz.png": "is brought from lutAToBType XYZ to sRGB",
		"gamut-formula1.png":  "is brought from formula 1 to sRGB",
		"gamut-formula2.png":  "is brought from formula 2 to sRGB",
		"gamut-formula4.png":  "is brought from formula 4 to sRGB",
		"gamut-inks.tiff":     inks, "gamut-inks-lutab.tiff": inks,
	}
	for name := range fixtures(t) {
		got, err := Load(filepath.Join("testdata/pictures", name))
		if err != nil {
			t.Error(err)
			continue
		}
		want, err := Load(filepath.Join("testdata/pictures/expected", name+".png"))
		if err != nil {
			t.Fatal(err)
		}
		allowed := 1
		if strings.HasSuffix(name, ".jpg") {
			allowed = 2
		}
		if got.Bounds() != want.Bounds() {
			t.Errorf("%s: %v, Pillow %v", name, got.Bounds(), want.Bounds())
		} else if d := furthest(got, want); d > allowed {
			t.Errorf("%s: %d from Pillow's, allowed %d", name, d, allowed)
		}
		note, known := notes[name]
		if !known && (strings.HasPrefix(name, "icc") || strings.HasPrefix(name, "exif") || name == "gamut-adobe.png") {
			note = adobe
		}
		if got := strings.Join(got.Notes, "; "); got != note {
			t.Errorf("%s: notes %q, want %q", name, got, note)
		}
	}
}

// Along every line of the cube, colours change in one direction only.
func TestMonotone(t *testing.T) {
	for name, s := range map[string]*space{
		"Adobe RGB": adobeRGB, "BT.2020": rgbSpace("", codedPrimaries[9], videoCurve), "DCI P3": rgbSpace("", codedPrimaries[11], power(2.6)),
	} {
		for line := range 3 * 9 * 9 {
			row := image.NewRGBA(image.Rect(0, 0, 256, 1))
			for x := range 256 {
				pixel := row.Pix[4*x:][:4]
				axis := line % 3
				pixel[axis], pixel[(axis+1)%3], pixel[(axis+2)%3], pixel[3] = uint8(x), uint8(line/3%9*255/8), uint8(line/27*255/8), 255
			}
			out := s.onWhite(row)
			for c := range 3 {
				up, down := false, false
				for x := 1; x < 256; x++ {
					step := int(out.Pix[4*x+c]) - int(out.Pix[4*x-4+c])
					up, down = up || step > 0, down || step < 0
				}
				if up && down {
					t.Errorf("%s, line %d: channel %d goes up and down", name, line, c)
				}
			}
		}
	}
}

// A file that ends early is shown with what it has, or refused as cut, wherever it ends.
func TestCutPictures(t *testing.T) {
	for name, data := range fixtures(t) {
		whole, _, _, err := decode(data)
		if err != nil {
			t.Fatal(err)
		}
		for part := 1; part < 50; part++ {
			some := data[:len(data)*part/50]
			got, notes, _, err := decode(some)
			said := strings.Join(notes, "; ")
			switch {
			case err != nil && err.Error() == "the file is cut short":
			case err != nil && len(some) < 30 && strings.HasPrefix(err.Error(), "not a picture"):
			case err == nil && (strings.Contains(said, "cut short") || strings.Contains(said, "cannot be read")):
			case err != nil || !bytes.Equal(got.Pix, whole.Pix):
				t.Errorf("%d/50 of %s: %v, %v: no word says that it looks otherwise", part, name, notes, err)
			}
		}
	}
}

// What is not read is named, and not called damaged.
func TestUnsupportedPictures(t *testing.T) {
	all := fixtures(t)
	change := func(name, from, to string) []byte {
		if !bytes.Contains(all[name], []byte(from)) {
			t.Fatalf("%s has no %q", name, from)
		}
		return bytes.Replace(all[name], []byte(from), []byte(to), 1)
	}
	tag := func(name string, tag, renamed uint16, value byte) []byte {
		data := bytes.Clone(all[name])
		for at := binary.LittleEndian.Uint32(data[4:]) + 2; int(at)+12 < len(data); at += 12 {
			if entry := data[at:]; binary.LittleEndian.Uint16(entry) == tag {
				binary.LittleEndian.PutUint16(entry, renamed)
				copy(entry[8:], []byte{value, 0, 0, 0})
				return data
			}
		}
		t.Fatalf("%s has no tag %d", name, tag)
		return nil
	}
	// Progressive, with an interval of restarts that its scans have no markers for.
	restarts := slices.Insert(bytes.Clone(all["progressive.jpg"]), 2, []byte("\xff\xdd\x00\x04\x00\x02")...)
	for _, c := range []struct {
		data []byte
		want string
	}{
		{change("444.jpg", "\xff\xc0\x00\x11\x08", "\xff\xc1\x00\x11\x0c"), "JPEG with 12 bits per sample is not supported: export it as PNG"},
		{change("444.jpg", "\xff\xc0\x00\x11", "\xff\xc9\x00\x11"), "JPEG with arithmetic coding is not supported: export it as PNG"},
		{change("444.jpg", "\xff\xc0\x00\x11", "\xff\xc3\x00\x11"), "lossless JPEG is not supported: export it as PNG"},
		{change("444.jpg", "\xff\xc0\x00\x11", "\xff\xc5\x00\x11"), "hierarchical JPEG is not supported: export it as PNG"},
		{change("444.jpg", "\xff\xc0\x00\x11\x08\x00\x15\x00\x1d\x03\x01\x11", "\xff\xc0\x00\x11\x08\x00\x15\x00\x1d\x03\x01\x31"), "unsupported JPEG feature: luma/chroma subsampling ratio; export it as PNG"},
		{restarts, "unsupported JPEG feature: restart markers in scans of one colour; export it as PNG"},
		{change("plain.bmp", "\x01\x00\x18\x00\x00", "\x01\x00\x18\x00\x04"), "BMP with 24 bits per pixel and compression 4 is not supported: export it as PNG"},
		{change("plain.tiff", "II*\x00", "II+\x00"), "BigTIFF is not supported: export it as PNG"},
		{tag("tiles.tiff", 259, 259, 6), "TIFF with old JPEG is not supported: export it as PNG"},
		{tag("plain.tiff", 262, 262, 8), "TIFF with L*a*b* is not supported: export it as PNG"},
		{tag("plain.tiff", 262, 262, 6), "TIFF in YCbCr that is not JPEG is not supported: export it as PNG"},
		{tag("grey-16.tiff", 258, 258, 12), "TIFF with 12 bits per sample is not supported: export it as PNG"},
		{tag("plain.tiff", 284, 339, 2), "TIFF with signed samples is not supported: export it as PNG"},
		{tag("plain.tiff", 284, 339, 3), "TIFF with floating point samples is not supported: export it as PNG"},
		{[]byte("\x00\x00\x00\x1cftypheic"), "a HEIC or AVIF picture: export it as JPEG or PNG"},
		{[]byte("\xff\x0a\xfa\x1f"), "a JPEG XL picture: export it as JPEG or PNG"},
		{change("bad-text.png", "IDATx", "IDATy"), "damaged picture (zlib: invalid header)"},
		{change("bad-text.png", "IHDR\x00", "IHDR\x01"), `damaged picture (the checksum of its chunk "IHDR" is wrong)`},
	} {
		if _, _, _, err := decode(c.data); err == nil || err.Error() != c.want {
			t.Errorf("%v; want %s", err, c.want)
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
	for _, err := range []error{png.Encode(&good, drawn(40, 40)), png.Encode(&tiny, drawn(1, 1)), jpeg.Encode(&jpg, drawn(40, 40), nil)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	huge := bytes.Clone(good.Bytes())
	copy(huge[16:], []byte{0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30}) // 30000x30000 in the header
	binary.BigEndian.PutUint32(huge[29:], crc32.ChecksumIEEE(huge[12:29]))
	copy(tiny.Bytes()[16:], []byte{0, 0, 0, 0}) // a width of 0 in the header
	binary.BigEndian.PutUint32(tiny.Bytes()[29:], crc32.ChecksumIEEE(tiny.Bytes()[12:29]))
	for _, c := range []struct{ path, want string }{
		{filepath.Join(dir, "none.png"), "no such file or directory"},
		{dir, "not a regular file"},
		{write("empty.png", nil), "not a picture in a format known here"},
		{write("text.png", []byte("no picture at all")), "not a picture in a format known here"},
		{write("cut.png", good.Bytes()[:good.Len()/2]), "the file is cut short"},
		{write("cut.jpg", jpg.Bytes()[:jpg.Len()/2]), "the file is cut short"},
		{write("tiny.png", tiny.Bytes()), "0x1 is smaller than 1 px"},
		{write("huge.png", huge), "30000x30000 takes 7.2 GB of memory to read; allowed: 0.9"},
	} {
		_, err := Load(c.path)
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

// A picture becomes a file of the same Digest: its own, or a PNG where it has none or was changed since.
func TestEncoded(t *testing.T) {
	deep := image.NewNRGBA64(image.Rect(2, 3, 22, 20)) // translucent, of 16 bits
	for y := range 17 {
		for x := range 20 {
			deep.Set(2+x, 3+y, color.NRGBA64{uint16(x * 3001), uint16(y * 3331), 777, uint16(65535 - 2999*x)})
		}
	}
	path := filepath.Join(t.TempDir(), "a.jpg")
	if err := Save(path, deep, Encoding{}); err != nil {
		t.Fatal(err)
	}
	loaded, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := loaded
	changed.Image = deep
	for name, p := range map[string]Picture{"loaded": loaded, "changed": changed, "made": {Name: "m", Image: deep}} {
		data, err := p.Encoded()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Read(name, bytes.NewReader(data))
		if err != nil || again.Digest() != p.Digest() || bytes.Equal(data, loaded.File()) != (name == "loaded") {
			t.Errorf("%s: %d bytes of another picture, or %v", name, len(data), err)
		}
	}
}
