package picture

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// field is an entry of an EXIF block: an integer, text, raw bytes, or the fields of a directory that it points to.
type field struct {
	tag, kind uint16
	value     any
}

var byteOrders = []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian}

// exifBytes writes an EXIF block; thumbnail follows the first directory, as a directory with a JPEG file.
func exifBytes(order binary.AppendByteOrder, thumbnail []byte, fields ...field) []byte {
	b := order.AppendUint32(order.AppendUint16([]byte("II"), 42), 8)
	if order == binary.BigEndian {
		copy(b, "MM")
	}
	put := order.(binary.ByteOrder)
	var write func(fields []field) (next int)
	write = func(fields []field) int {
		at := len(b) + 2
		b = order.AppendUint16(b, uint16(len(fields)))
		b = append(b, make([]byte, 12*len(fields)+4)...)
		for i, f := range fields {
			value, count := []byte(nil), -1
			switch v := f.value.(type) {
			case int:
				value = map[int64][]byte{1: {byte(v)}, 2: order.AppendUint16(nil, uint16(v)), 4: order.AppendUint32(nil, uint32(v))}[typeSize[f.kind]]
			case string:
				value = []byte(v)
			case []byte:
				value = v
			case []field:
				value, count = order.AppendUint32(nil, uint32(len(b))), 1
				write(v)
			}
			if count < 0 {
				count = len(value) / int(max(1, typeSize[f.kind]))
			}
			entry := b[at+12*i:][:12]
			put.PutUint16(entry, f.tag)
			put.PutUint16(entry[2:], f.kind)
			put.PutUint32(entry[4:], uint32(count))
			if len(value) <= 4 {
				copy(entry[8:], value)
				continue
			}
			put.PutUint32(entry[8:], uint32(len(b)))
			b = append(b, value...)
		}
		return at + 12*len(fields)
	}
	next := write(fields)
	if thumbnail != nil {
		put.PutUint32(b[next:], uint32(len(b)))
		write([]field{{0x0103, 3, 6}, {0x0201, 4, len(b) + 2 + 3*12 + 4}, {0x0202, 4, len(thumbnail)}})
		b = append(b, thumbnail...)
	}
	return b
}

// exifTool reads tags of files by the names that ExifTool has for them. Without ExifTool the test is over: what it would
// compare was committed as the test's values.
func exifTool(t *testing.T, tags []string, files ...string) []map[string]any {
	t.Helper()
	if _, err := exec.LookPath("exiftool"); err != nil {
		t.Skip("no exiftool to compare with: apt-get install libimage-exiftool-perl")
	}
	out, err := exec.Command("exiftool", slices.Concat([]string{"-j", "-n", "-a", "-G1", "-m"}, tags, files)...).Output()
	var all []map[string]any
	if err != nil || json.Unmarshal(out, &all) != nil || len(all) != len(files) {
		t.Fatalf("%v: %.500s", err, out)
	}
	return all
}

type orientationCase struct {
	name  string
	block []byte
	want  int
}

func orientationCases() (all []orientationCase) {
	for _, order := range byteOrders {
		add := func(want int, name string, block []byte) {
			all = append(all, orientationCase{fmt.Sprint(order, " ", name), block, want})
		}
		one := func(kind uint16, value any) []byte {
			return exifBytes(order, nil, field{0x010f, 2, "maker\x00"}, field{tagOrientation, kind, value}, field{0x0110, 2, "cam\x00"})
		}
		for _, kind := range []uint16{1, 3, 4, 6, 8, 9} {
			for v := 1; v <= 8; v++ {
				add(v, fmt.Sprintf("type %d, %d", kind, v), one(kind, v))
			}
			for _, v := range []int{0, 9, 255, -6} {
				add(1, fmt.Sprintf("type %d, %d", kind, v), one(kind, v))
			}
		}
		six := one(typeShort, 6)
		add(6, "two values", one(typeShort, order.AppendUint16(order.AppendUint16(nil, 6), 6)))
		add(1, "no value", one(typeShort, ""))
		add(1, "text", one(typeASCII, "6\x00"))
		add(1, "an unknown type", one(77, "\x06\x00\x06\x00"))
		add(1, "in the Exif directory", exifBytes(order, nil, field{tagExif, 4, []field{{tagOrientation, 3, 6}}}))
		add(6, "before another", exifBytes(order, nil, field{tagOrientation, 3, 6}, field{tagOrientation, 3, 3}))
		add(1, "behind one that is not allowed", exifBytes(order, nil, field{tagOrientation, 3, 9}, field{tagOrientation, 3, 6}))
		add(6, "with the prefix, twice", slices.Concat(exifPrefix, exifPrefix, six))
		swapped := bytes.Clone(six)
		swapped[2], swapped[3] = swapped[3], swapped[2]
		add(6, "with the header's number in the other order", swapped)
		odd := slices.Concat(six[:8], []byte("odd"), six[8:])
		order.(binary.ByteOrder).PutUint32(odd[4:], 11)
		add(6, "at an odd offset", odd)
		add(6, "cut behind its entry", six[:8+2+24])
	}
	return all
}

func TestOrientation(t *testing.T) {
	for _, c := range orientationCases() {
		if got := orientation(c.block); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// ExifTool reads the same numbers, of every type.
func TestOrientationByExifTool(t *testing.T) {
	dir, plain := t.TempDir(), image.NewGray(image.Rect(0, 0, 16, 16))
	pixels, err := Encoding{}.Encode(".jpg", plain)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	var want []int
	for i, c := range orientationCases() {
		if !strings.Contains(c.name, "type ") || strings.Contains(c.name, "unknown") {
			continue
		}
		path := filepath.Join(dir, fmt.Sprint(i, ".jpg"))
		if err := os.WriteFile(path, Encoding{Exif: c.block}.intoJPEG(bytes.Clone(pixels)), 0o666); err != nil {
			t.Fatal(err)
		}
		files, want = append(files, path), append(want, c.want)
	}
	for i, tags := range exifTool(t, []string{"-IFD0:Orientation"}, files...) {
		got, _ := tags["IFD0:Orientation"].(float64)
		if got < 1 || got > 8 {
			got = 1
		}
		if int(got) != want[i] {
			t.Errorf("%s: ExifTool has %v, want %d", files[i], tags, want[i])
		}
	}
}

func TestExifAdobeRGB(t *testing.T) {
	for _, order := range byteOrders {
		for _, c := range []struct {
			kind  uint16
			space int
			index string
			want  bool
		}{
			{3, 1, "R98\x00", false},
			{3, 2, "R98\x00", true},
			{3, 0xffff, "R98\x00", false},
			{3, 0xffff, "R03\x00", true},
			{3, 1, "R03\x00", false},
			{4, 2, "R98\x00", true},
			{4, 0xffff, "R03\x00", true},
			{1, 2, "R98\x00", true},
			{9, 2, "R98\x00", true},
			{3, 0xffff, "", false},
			{3, 0xffff, "R03", true},
		} {
			block := exifBytes(order, nil, field{tagExif, 4, []field{
				{tagColorSpace, c.kind, c.space}, {tagInterop, 4, []field{{tagInteropIndex, 2, c.index}}},
			}})
			if got := exifAdobeRGB(block); got != c.want {
				t.Errorf("%v type %d ColorSpace %d %q: %v", order, c.kind, c.space, c.index, got)
			}
		}
	}
}

const (
	secret    = "\xff\xd8\xff\xe0 what the picture was \xff\xd8\xff nested \xff\xd9 \xff\xd9"
	makerNote = "MAKER\x00note "
)

// cameraBlock is an EXIF block as a camera writes it, with everything that a result must not keep as it is.
func cameraBlock(order binary.AppendByteOrder, kind uint16) []byte {
	return exifBytes(order, []byte(secret),
		field{0x0100, kind, 90}, field{0x0101, kind, 70}, field{0x0102, 3, "\x08\x00\x08\x00\x08\x00"}, field{0x0106, 3, 6},
		field{0x010f, 2, "A maker of cameras\x00"}, field{0x0111, 4, 8}, field{tagOrientation, kind, 6}, field{0x011a, 5, "\x48\x00\x00\x00\x01\x00\x00\x00"},
		field{0x0132, 2, "2001:02:03 04:05:06\x00"}, field{0x013e, 5, strings.Repeat("white..:", 2)}, field{0x0213, kind, 2},
		field{0x02bc, 1, "<x:xmpmeta>" + secret}, field{0x501b, 1, secret}, field{0x8298, 2, "Zoë\x00"}, field{0x8649, 7, secret}, field{0x8773, 7, "a colour profile"},
		field{tagExif, 4, []field{
			{0x829a, 5, "\x01\x00\x00\x00\x7d\x00\x00\x00"},
			{0x9101, 7, "\x04\x05\x06\x00"},
			{0x9102, 5, "bitsper:"},
			{0x9214, 3, "\x10\x00\x10\x00"},
			{0x927c, 7, makerNote + secret + "the rest"},
			{0x9286, 7, "UNICODE\x00\x42\x30"},
			{tagColorSpace, kind, 2},
			{tagPixelX, kind, 90},
			{tagPixelY, kind, 70},
			{tagInterop, 4, []field{{tagInteropIndex, 2, "R03\x00"}, {2, 7, "0100"}, {tagRelatedWidth, kind, 90}, {tagRelatedHeight, kind, 70}}},
			{0xa20e, 5, "focal..:"},
			{0xa500, 5, "\x16\x00\x00\x00\x0a\x00\x00\x00"},
		}},
		field{tagGPS, 4, []field{{0, 1, "\x02\x03\x00\x00"}, {1, 2, "N\x00"}, {2, 5, strings.Repeat("degree :", 3)}}},
		field{0x935c, 7, secret}, field{0xc612, 1, "\x01\x04\x00\x00"}, field{0xc634, 7, secret},
	)
}

// A result keeps the EXIF data of its picture as far as it is true of the result: who, where and how is, what is about the
// old pixels is not. Nothing of the old picture is left, not even in what no directory points to.
func TestUpright(t *testing.T) {
	for _, order := range byteOrders {
		for _, kind := range []uint16{1, 3, 4, 6, 8, 9} {
			block := cameraBlock(order, kind)
			out, damaged := upright(block, 70000, 300)
			if damaged {
				t.Error(order, kind, "is damaged")
			}
			if bytes.Contains(out, []byte("what the picture was")) || bytes.Contains(out, []byte("nested")) || len(out) >= len(block) {
				t.Errorf("%v %d: a preview is left: %q", order, kind, out)
			}
			for _, kept := range []string{"A maker of cameras", "2001:02:03 04:05:06", "Zoë", "UNICODE\x00\x42\x30", "degree :degree :degree :", makerNote, "the rest"} {
				if before, after := bytes.Index(block, []byte(kept)), bytes.Index(out, []byte(kept)); before < 0 || before != after {
					t.Errorf("%v %d: %q was at %d and is at %d", order, kind, kept, before, after)
				}
			}
			want := "GPS(0 1 2) Interop(1=R98 2 1001=70000 1002=300) " +
				"Exif(829a 9101=\x01\x02\x03 927c 9286 a001=1 a002=70000 a003=300 a005) " +
				"(100=70000 101=300 10f 112=1 11a 132 213=1 8298 8769 8825)"
			if got := outline(t, out); got != want {
				t.Errorf("%v %d: has\n%s, want\n%s", order, kind, got, want)
			}
		}
	}
}

// outline lists the tags of a block, with the values that upright corrects.
func outline(t *testing.T, block []byte) string {
	t.Helper()
	b, ok := openExif(block)
	all, damaged := b.directories()
	if !ok || damaged {
		t.Fatalf("%v %v: %q", ok, damaged, block)
	}
	names := map[uint16]string{0: "", tagExif: "Exif", tagGPS: "GPS", tagInterop: "Interop"}
	var lists []string
	for _, d := range slices.Backward(all) {
		var tags []string
		for _, e := range d.entries {
			text := strconv.FormatUint(uint64(e.tag), 16)
			entry := [12]byte(b.data[e.at:])
			if b.correct(entry[:], d.tag, 1, 1) {
				if v, ok := b.integer(e); ok {
					text += fmt.Sprint("=", v)
				} else {
					text += "=" + strings.TrimRight(string(b.data[e.value:][:e.size]), "\x00")
				}
			}
			tags = append(tags, text)
		}
		lists = append(lists, names[d.tag]+"("+strings.Join(tags, " ")+")")
	}
	if b.order.Uint32(b.data[all[0].end:]) != 0 {
		t.Error("another directory follows the first")
	}
	slices.SortStableFunc(lists, func(a, b string) int { return strings.Index("GIE(", a[:1]) - strings.Index("GIE(", b[:1]) })
	return strings.Join(lists, " ")
}

// What counts pixels stays where the picture was neither turned nor scaled.
func TestUprightSameSize(t *testing.T) {
	block := exifBytes(binary.BigEndian, nil, field{tagExif, 4, []field{
		{0x9214, 3, "\x00\x10\x00\x10"}, {tagPixelX, 4, 90}, {tagPixelY, 4, 70}, {0xa20e, 5, "\x00\x00\x00\x48\x00\x00\x00\x01"},
	}})
	for _, c := range []struct {
		w, h int
		want string
	}{
		{90, 70, "Exif(9214 a002=90 a003=70 a20e) (8769)"},
		{70, 90, "Exif(a002=70 a003=90) (8769)"},
		{45, 35, "Exif(a002=45 a003=35) (8769)"},
	} {
		if out, _ := upright(block, c.w, c.h); outline(t, out) != c.want {
			t.Errorf("%dx%d: %s, want %s", c.w, c.h, outline(t, out), c.want)
		}
	}
}

// What cannot be understood is left out, and said; the rest is kept.
func TestUprightDamaged(t *testing.T) {
	le := binary.LittleEndian
	whole := exifBytes(le, nil, field{0x010f, 2, "maker of cameras\x00"}, field{tagOrientation, 3, 6}, field{tagExif, 4, []field{{0x9201, 5, "exposure"}}})
	change := func(at int, value uint32) []byte {
		b := bytes.Clone(whole)
		le.PutUint32(b[at:], value)
		return b
	}
	const value0, value2 = 8 + 2 + 8, 8 + 2 + 24 + 8 // where Make's and the Exif directory's offsets are
	for name, c := range map[string]struct {
		block []byte
		want  string // empty: nothing
	}{
		"nothing":                               {[]byte("no EXIF block"), ""},
		"header alone":                          {[]byte("II*\x00\x08\x00\x00\x00"), ""},
		"first directory behind the end":        {change(4, 1<<31-1), ""},
		"first directory in the header":         {change(4, 2), ""},
		"value behind the end":                  {change(value0, 1<<31), "Exif(9201) (112=1 8769)"},
		"value longer than the block":           {change(value0-4, 1<<32-1), "Exif(9201) (112=1 8769)"},
		"value in the directory":                {change(value0, 12), "Exif(9201) (112=1 8769)"},
		"value in the header":                   {change(value0, 0), "Exif(9201) (112=1 8769)"},
		"value in the link to the next":         {change(value0, 8+2+36+1), "Exif(9201) (112=1 8769)"},
		"unknown type":                          {change(value0-8, 77<<16|0x010f), "Exif(9201) (112=1 8769)"},
		"Exif directory behind the end":         {change(value2, 1<<30), "(10f 112=1)"},
		"Exif directory is the first":           {change(value2, 8), "(10f 112=1)"},
		"Exif directory within the first":       {change(value2, 20), "(10f 112=1)"},
		"65,535 entries":                        {append(append([]byte("II*\x00\x08\x00\x00\x00"), "\xff\xff\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00"...), whole[22:34]...), "(112=1 112=1)"},
		"two Exif directories":                  {exifBytes(le, nil, field{tagExif, 4, []field{{0x9201, 5, "exposure"}}}, field{tagExif, 4, []field{{0x9202, 5, "exposure"}}}), "Exif(9201) (8769)"},
		"directories that point to one another": {exifBytes(le, nil, field{tagExif, 4, []field{{0x9201, 5, "exposure"}, {tagInterop, 4, 8}, {tagExif, 4, 8}}}), "Exif(9201) (8769)"},
	} {
		out, damaged := upright(c.block, 40, 30)
		if !damaged {
			t.Errorf("%s: nothing is said", name)
		}
		if c.want == "" {
			if out != nil {
				t.Errorf("%s: %q", name, out)
			}
		} else if got := outline(t, out); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if out, damaged := upright(nil, 40, 30); out != nil || damaged {
		t.Error("no EXIF data is damaged")
	}
}

// In the files that are written, ExifTool finds what is true, and no preview.
func TestExifOfResults(t *testing.T) {
	dir, img := t.TempDir(), drawn(40, 30)
	turned := filepath.Join(dir, "turned.jpg")
	pixels, err := Encoding{}.Encode(".jpg", img)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(turned, Encoding{Exif: cameraBlock(binary.LittleEndian, 3)}.intoJPEG(bytes.Clone(pixels)), 0o666); err != nil {
		t.Fatal(err)
	}
	p, err := Load(turned)
	if err != nil || p.Bounds().Dx() != 30 {
		t.Fatal(p.Bounds(), err)
	}
	if got := outline(t, p.Exif()); !strings.Contains(got, "a002=30 a003=40") {
		t.Error(got)
	}
	var files []string
	for _, name := range []string{"a.png", "a.jpg", "a.webp"} {
		path := filepath.Join(dir, name)
		if err := Save(path, drawn(60, 80), Encoding{Exif: p.Exif()}); err != nil {
			t.Fatal(err)
		}
		again, err := Load(path)
		if err != nil || again.Bounds().Dx() != 60 || len(again.Notes) > 0 {
			t.Errorf("%s: %v, %v, %v", name, again.Bounds(), again.Notes, err)
		}
		if got := outline(t, again.Exif()); !strings.Contains(got, "a002=60 a003=80") {
			t.Errorf("%s: %s", name, got)
		}
		files = append(files, path)
	}
	want := map[string]any{
		"IFD0:Make": "A maker of cameras", "IFD0:Orientation": 1., "IFD0:ImageWidth": 60., "IFD0:ImageHeight": 80., "IFD0:Copyright": "Zoë",
		"ExifIFD:ColorSpace": 1., "ExifIFD:ExifImageWidth": 60., "ExifIFD:ExifImageHeight": 80., "InteropIFD:InteropIndex": "R98",
		"InteropIFD:RelatedImageWidth": 60., "GPS:GPSLatitudeRef": "N",
	}
	for i, tags := range exifTool(t, []string{"-All"}, files...) {
		for name, value := range want {
			if tags[name] != value {
				t.Errorf("%s: %s is %v, want %v", files[i], name, tags[name], value)
			}
		}
		for name := range tags {
			if strings.Contains(name, "Warning") || strings.Contains(name, "Thumbnail") || strings.Contains(name, "IFD1") || strings.Contains(name, "Gamma") || strings.Contains(name, "WhitePoint") {
				t.Errorf("%s: %s is %v", files[i], name, tags[name])
			}
		}
	}
}

// A TIFF file has EXIF data among the tags of its coding.
func TestExifOfTIFF(t *testing.T) {
	for _, order := range byteOrders {
		pixels := bytes.Repeat([]byte{200}, 20*16)
		var file []byte
		for range 2 { // the second time it is known where the pixels are
			file = exifBytes(order, nil,
				field{0x0100, 3, 20}, field{0x0101, 3, 16}, field{0x0102, 3, 8}, field{0x0103, 3, 1}, field{0x0106, 3, 1},
				field{0x010f, 2, "A maker of cameras\x00"}, field{0x0111, 4, len(file)}, field{tagOrientation, 3, 6}, field{0x0115, 3, 1}, field{0x0117, 4, len(pixels)},
				field{tagExif, 4, []field{{0x9003, 2, "2001:02:03 04:05:06\x00"}, {tagMakerNote, 7, "offsets in the file"}, {tagPixelX, 3, 20}}},
				field{tagGPS, 4, []field{{1, 2, "N\x00"}, {2, 5, strings.Repeat("degree :", 3)}}},
			)
		}
		path := filepath.Join(t.TempDir(), "a.tif")
		if err := os.WriteFile(path, append(file, pixels...), 0o666); err != nil {
			t.Fatal(err)
		}
		p, err := Load(path)
		if err != nil || p.Notes != nil || p.Bounds().Dx() != 16 {
			t.Fatal(p.Bounds(), p.Notes, err)
		}
		if got, want := outline(t, p.Exif()), "GPS(1 2) Exif(9003 a002=16) (10f 112=1 8769 8825)"; got != want {
			t.Errorf("%v: has %s, want %s", order, got, want)
		}
		for _, kept := range []string{"A maker of cameras\x00", "2001:02:03 04:05:06\x00", "degree :degree :degree :"} {
			if at := bytes.Index(p.Exif(), []byte(kept)); at < 0 || at%2 != 0 {
				t.Errorf("%v: %q is at %d: want an even place", order, kept, at)
			}
		}
	}
}

// Whatever a block says, what is made of it is one that can be read, has orientation 1, no picture, and stays as it is.
func FuzzExif(f *testing.F) {
	for _, c := range orientationCases() {
		f.Add(c.block)
	}
	for _, order := range byteOrders {
		f.Add(cameraBlock(order, 3))
	}
	f.Fuzz(func(t *testing.T, block []byte) {
		exifAdobeRGB(block)
		if out, damaged := upright(exifOfTIFF(block), 640, 480); damaged {
			t.Errorf("damaged of itself: %q", out)
		}
		out, _ := upright(block, 640, 480)
		if out == nil {
			return
		}
		again, damaged := upright(out, 640, 480)
		if damaged || !bytes.Equal(out, again) {
			t.Errorf("not the same again (%v):\n%q\n%q", damaged, out, again)
		}
		if orientation(out) != 1 || exifAdobeRGB(out) || len(out) > len(block)+4 {
			t.Errorf("orientation %d, %d bytes of %d", orientation(out), len(out), len(block))
		}
		outline(t, out)
	})
}
