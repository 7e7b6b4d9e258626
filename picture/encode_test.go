package picture

import (
	"bytes"
	"encoding/binary"
	"image"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Text of every kind is UTF-8 in every format, as ExifTool reads it.
func TestComments(t *testing.T) {
	dir, img := t.TempDir(), drawn(20, 16)
	const odd = "Grüße aus Škoda, 雪, 😀; \"a\" <b> & 'c'"
	texts := []struct{ name, text, want string }{
		{"ascii", "hrlab: VGG19", "hrlab: VGG19"},
		{"odd", odd, odd},
		{"lines", "one\ntwö", "one\ntwö"},
		{"long", strings.Repeat("ü€😀", 30_000), strings.Repeat("ü€😀", 30_000)},
		{"bytes", "a\xff\xfeb\x00c", "a\uFFFDb\uFFFDc"},
	}
	var files []string
	for _, c := range texts {
		for _, extension := range []string{".png", ".jpg", ".webp"} {
			path := filepath.Join(dir, c.name+extension)
			if err := Save(path, img, Encoding{Comment: c.text}); err != nil {
				t.Fatal(err)
			}
			if p, err := Load(path); err != nil || len(p.Notes) > 0 {
				t.Errorf("%s: %v %v", path, p.Notes, err)
			}
			files = append(files, path)
		}
		png, err := os.ReadFile(filepath.Join(dir, c.name+".png"))
		if err != nil || !bytes.Contains(png, []byte("iTXtComment\x00\x00\x00\x00\x00"+c.want)) {
			t.Errorf("%s: no text in PNG (%v)", c.name, err)
		}
	}
	for i, tags := range exifTool(t, []string{"-PNG:Comment", "-File:Comment", "-XMP-dc:Description", "-Warning"}, files...) {
		want, got := texts[i/3].want, ""
		for name, value := range tags {
			if name == "ExifTool:Warning" {
				t.Errorf("%s: %v", files[i], value)
			} else if name != "SourceFile" {
				got += value.(string)
			}
		}
		if texts[i/3].name == "long" && i%3 == 1 { // the first of several segments
			want = want[:len(got)]
		}
		if got != want {
			t.Errorf("%s: %.60q of %d bytes, want %.60q of %d", files[i], got, len(got), want, len(want))
		}
	}
}

// Segments of a long comment begin and end between characters.
func TestLongComment(t *testing.T) {
	text := "a" + strings.Repeat("😀", 40_000)
	data, err := Encoding{Comment: text}.Encode(".jpg", drawn(20, 16))
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for at := 2; data[at+1] == 0xfe; {
		size := int(binary.BigEndian.Uint16(data[at+2:]))
		parts = append(parts, string(data[at+4:at+2+size]))
		at += 2 + size
	}
	for _, part := range parts {
		if strings.ToValidUTF8(part, "") != part {
			t.Errorf("a character is cut: …%q", part[len(part)-8:])
		}
	}
	if strings.Join(parts, "") != text || len(parts) != 3 {
		t.Errorf("%d segments", len(parts))
	}
}

// EXIF data that no JPEG file can hold is left out of one, and that is said; the other formats keep it.
func TestLargeExif(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		size int
		fits bool
	}{{60_000, true}, {65_527 - 26, true}, {65_527 - 25, false}, {200_000, false}} {
		exif := exifBytes(binary.LittleEndian, nil, field{0x010e, 2, strings.Repeat("x", c.size)})
		for _, name := range []string{"a.png", "a.jpg", "a.webp"} {
			path, how := filepath.Join(dir, name), Encoding{Exif: exif}
			if err := Save(path, drawn(20, 16), how); err != nil {
				t.Fatal(err)
			}
			p, err := Load(path)
			if err != nil {
				t.Error(err)
			}
			fits := c.fits || name != "a.jpg"
			if kept, note := bytes.Equal(p.Exif(), exif), how.Note(path); kept != fits || (note == "") != fits {
				t.Errorf("%s: %d bytes are kept: %v; %q", name, len(exif), kept, note)
			}
		}
	}
}

// A side that a format has no number for is refused: the encoder of WebP would write a broken file.
func TestLargeSides(t *testing.T) {
	for extension, want := range map[string]string{
		".webp": "16400x16 does not go into WebP, whose sides are at most 16383 px", ".jpg": "", ".png": "",
	} {
		_, err := Encoding{}.Encode(extension, image.NewGray(image.Rect(0, 0, 16400, 16)))
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%s: %v, want %q", extension, err, want)
		}
	}
}

// A picture with transparency stays so in WebP.
func TestTransparentWebP(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 20, 20))
	data, err := Encoding{Comment: "c"}.Encode(".webp", img)
	if err != nil {
		t.Fatal(err)
	}
	if data[20]&16 == 0 {
		t.Errorf("flags %b without that of transparency", data[20])
	}
}

// A write that fails is one line without the name of a temporary file, and leaves nothing.
func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", filepath.Join(dir, "none"))
	img := drawn(20, 16)
	gone := filepath.Join(dir, "gone", "a.png")
	if err := Save(gone, img, Encoding{}); err == nil || err.Error() != gone+": cannot be written: no such file or directory" {
		t.Error(err)
	}
	folder := mkdir(t, filepath.Join(dir, "folder.png"))
	if err := Save(folder, img, Encoding{}); err == nil || !strings.HasPrefix(err.Error(), folder+": cannot be written: ") {
		t.Error(err)
	}
	path := filepath.Join(dir, "a.png")
	for range 2 { // a new file, and in place of another
		if err := Save(path, img, Encoding{}); err != nil {
			t.Error(err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v (%v)", entries, err)
	}
}
