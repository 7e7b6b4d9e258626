package picture

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// fixtures are the pictures of testdata, by name.
func fixtures(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/pictures/*.*")
	if err != nil || len(files) < 30 {
		t.Fatal(files, err)
	}
	all := map[string][]byte{}
	for _, path := range files {
		if strings.HasSuffix(path, ".py") {
			continue
		}
		if all[filepath.Base(path)], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// hostile makes pictures that are damaged or lie about themselves.
func hostile(t *testing.T) map[string][]byte {
	all := map[string][]byte{}
	random := rand.New(rand.NewPCG(1, 2))
	good := fixtures(t)
	for name, data := range good {
		all["cut-"+name] = data[:len(data)*2/3]
		bent := bytes.Clone(data)
		for range 6 { // in the header
			bent[8+random.IntN(min(60, len(bent)-8))] ^= byte(1 << random.IntN(8))
		}
		all["bent-"+name] = bent
	}
	// Decompression bombs and sizes that are lies.
	size := func(w, h uint32) []byte {
		data := bytes.Clone(good["rgb.png"])
		binary.BigEndian.PutUint32(data[16:], w)
		binary.BigEndian.PutUint32(data[20:], h)
		binary.BigEndian.PutUint32(data[29:], crc32.ChecksumIEEE(data[12:29]))
		return data
	}
	all["zero.png"], all["wide.png"], all["huge.png"] = size(0, 0), size(1<<31-1, 16), size(60000, 60000)
	all["largest.png"] = size(10000, 10000)
	var bomb bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&bomb, uniform{image.Rect(0, 0, 10000, 8000)}); err != nil {
		t.Fatal(err)
	}
	all["bomb.png"] = bomb.Bytes()
	frames := &gif.GIF{Config: image.Config{Width: 4000, Height: 4000}}
	for range 40 {
		frames.Image = append(frames.Image, image.NewPaletted(image.Rect(0, 0, 4000, 4000), color.Palette{color.Black, color.White}))
		frames.Delay = append(frames.Delay, 1)
	}
	bomb = bytes.Buffer{}
	if err := gif.EncodeAll(&bomb, frames); err != nil {
		t.Fatal(err)
	}
	all["bomb.gif"] = bomb.Bytes()
	// A JPEG whose frame header says 65,500 x 65,500, or as much as is allowed with every coefficient kept.
	for name, side := range map[string]uint16{"huge.jpg": 65500, "large.jpg": 6500} {
		data := bytes.Clone(good["progressive.jpg"])
		frame := bytes.Index(data, []byte{0xff, 0xc2})
		binary.BigEndian.PutUint16(data[frame+5:], side)
		binary.BigEndian.PutUint16(data[frame+7:], side)
		all[name] = data
	}
	// An EXIF block whose directory points behind its end, and one that counts 65,535 entries.
	for name, exif := range map[string]string{"behind": "II*\x00\xff\xff\xff\x7f", "many": "II*\x00\x08\x00\x00\x00\xff\xff\x12\x01\x03\x00"} {
		segment := binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(len(exif)+8))
		all["exif-"+name+".jpg"] = slices.Insert(bytes.Clone(good["444.jpg"]), 2, append(append(segment, "Exif\x00\x00"...), exif...)...)
	}
	// Tiles, canvases and headers that are larger than any picture, with next to nothing in them.
	for name, sides := range map[string]uint16{"large": 9400, "huge": 60000} {
		for kind, at := range map[string][2]int{"plain.bmp": {18, 22}, "rle8.bmp": {18, 22}, "part.gif": {6, 8}, "part.webp": {24, 27}} {
			data := bytes.Clone(good[kind])
			binary.LittleEndian.PutUint16(data[at[0]:], sides)
			binary.LittleEndian.PutUint16(data[at[1]:], sides)
			all[name+"-"+kind] = data
		}
		data := bytes.Clone(good["planes-tiles.tiff"])
		for at := binary.LittleEndian.Uint32(data[4:]) + 2; int(at)+12 < len(data); at += 12 {
			if tag := binary.LittleEndian.Uint16(data[at:]); tag == 256 || tag == 257 || tag == 322 || tag == 323 {
				binary.LittleEndian.PutUint16(data[at+8:], sides)
			}
		}
		all[name+".tiff"] = data
	}
	// Profiles that count four billion tags, and one that is packed zeros.
	many := bytes.Clone(good["icc.bmp"])
	copy(many[bytes.Index(many, []byte("acsp"))+92:], "\xff\xff\xff\xff")
	all["many.bmp"] = many
	var packed bytes.Buffer
	pack := zlib.NewWriter(&packed)
	pack.Write(make([]byte, 100<<20)) //nolint:errcheck // a buffer takes everything
	pack.Close()                      //nolint:errcheck // a buffer takes everything
	chunk := binary.BigEndian.AppendUint32(nil, uint32(packed.Len()+5))
	chunk = append(append(chunk, "iCCPicc\x00\x00"...), packed.Bytes()...)
	all["profile.png"] = slices.Insert(bytes.Clone(good["rgb.png"]), 33, binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))...)
	return all
}

// uniform is a picture of one colour that takes no memory.
type uniform struct{ image.Rectangle }

func (uniform) ColorModel() color.Model   { return color.RGBAModel }
func (u uniform) Bounds() image.Rectangle { return u.Rectangle }
func (uniform) At(int, int) color.Color   { return color.RGBA{9, 9, 9, 255} }

// Whatever a file says, reading it ends in a picture or in one line, and takes less than 1 GB.
func TestHostilePictures(t *testing.T) {
	if dir := os.Getenv("HRLAB_TEST_PICTURES"); dir != "" { // the process that is measured
		files, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, path := range files {
			p, err := Load(path)
			fmt.Printf("READ %v %v\n", err, p.Image != nil)
			debug.FreeOSMemory() // the next one's peak has none of this one's garbage, which a busy machine collects late
		}
		status, _ := os.ReadFile("/proc/self/status")
		_, peak, _ := strings.Cut(string(status), "VmHWM:")
		fmt.Println("PEAK", strings.Fields(peak)[0])
		return
	}
	if testing.Short() {
		t.Skip("measures memory, which -race multiplies")
	}
	dir := t.TempDir()
	all := hostile(t)
	if len(all) < 60 {
		t.Errorf("%d pictures, want 60", len(all))
	}
	for name, data := range all {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	child := exec.Command(os.Args[0], "-test.run=^TestHostilePictures$", "-test.v")
	child.Env = append(os.Environ(), "HRLAB_TEST_PICTURES="+dir, "GLIBC_TUNABLES=")
	out, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%.3000s", err, out)
	}
	read, refused := 0, 0
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "READ ") {
			read++
			if !strings.HasPrefix(line, "READ <nil> true") {
				refused++
			}
		}
	}
	if read != len(all) || refused < 20 {
		t.Errorf("%d of %d pictures read, %d refused: a message of more than one line?\n%s", read, len(all), refused, out)
	}
	var kilobytes int
	if _, peak, ok := strings.Cut(string(out), "PEAK "); !ok {
		t.Error("no peak of memory")
	} else if _, err := fmt.Sscan(peak, &kilobytes); err != nil || kilobytes > 1_000_000 {
		t.Errorf("peak of %d kB (%v); allowed: 1,000,000", kilobytes, err)
	}
	t.Logf("%d pictures, %d refused, peak %d MB", read, refused, kilobytes/1000)
}

// Any bytes are a picture or an error. Large ones are passed over: they only take time.
func FuzzDecode(f *testing.F) {
	for _, data := range fixtures(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := open(data); err == nil && c.memory > 1<<24 {
			return
		}
		pixels, notes, exif, err := decode(data)
		if said := fmt.Sprint(notes, err); strings.Contains(said, "\n") || strings.Contains(said, "runtime error") {
			t.Errorf("more than one line, or an index that is not checked: %s", said)
		}
		if err != nil {
			return
		}
		if !pixels.Opaque() || len(pixels.Pix) != 4*pixels.Rect.Dx()*pixels.Rect.Dy() {
			t.Errorf("%v with %d bytes", pixels.Rect, len(pixels.Pix))
		}
		upright(exif, 16, 16)
	})
}
