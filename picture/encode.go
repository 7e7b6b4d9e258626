package picture

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/HugoSmits86/nativewebp"
	"github.com/google/renameio/v2"
)

// Encoding says how a picture is written. The zero value means 8 bits per channel in PNG, quality 95 in JPEG, and no
// metadata.
type Encoding struct {
	Bits    int    // per channel, in PNG: 8 or 16; 0 means 8
	Quality int    // of JPEG, 1 to 100; 0 means 95
	Comment string // a text for the metadata
	Exif    []byte // an EXIF block, such as Picture.Exif returns; size and orientation are corrected
}

// maxSide is the longest side of a picture in the formats that are written, in pixels.
var maxSide = map[string]int{"PNG": math.MaxInt32, "JPEG": 65500, "WebP": 16383}

// Check says, before there is a picture, why one could not be saved to path: because of the settings, the format or the
// directory.
func (e Encoding) Check(path string) error {
	if err := e.validate(path); err != nil || path == "-" {
		return err
	}
	return CheckWritable(path)
}

// CheckSize says why a picture of this size could not be saved to path: some formats have a longest side.
func (Encoding) CheckSize(path string, size image.Point) error {
	if err := checkFormat(Format(path), size); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func checkFormat(format string, size image.Point) error {
	if limit := maxSide[format]; limit > 0 && max(size.X, size.Y) > limit {
		return fmt.Errorf("%dx%d does not go into %s, whose sides are at most %d px", size.X, size.Y, format, limit)
	}
	return nil
}

func (e Encoding) validate(path string) error {
	format := Format(path)
	switch {
	case e.Bits != 0 && e.Bits != 8 && e.Bits != 16:
		return fmt.Errorf("bits %d: allowed: 8, 16", e.Bits)
	case e.Quality < 0 || e.Quality > 100:
		return fmt.Errorf("quality %d: allowed: 1 to 100", e.Quality)
	case path == "-":
		return nil
	case maxSide[format] == 0:
		return fmt.Errorf("%s: unknown picture format %q; allowed: .png, .jpg, .jpeg, .webp", path, filepath.Ext(path))
	case e.Bits == 16 && format != "PNG":
		return fmt.Errorf("%s: only .png has 16 bits per channel", path)
	}
	return nil
}

// Note says which metadata Save leaves out because the format of path has no room for them. It is empty if there are none.
func (e Encoding) Note(path string) string {
	if Format(path) == "JPEG" && len(e.Exif) > maxSegment-len(exifPrefix) {
		return fmt.Sprintf("is without the picture's EXIF data: %d bytes are more than JPEG holds; PNG and WebP keep them", len(e.Exif))
	}
	return ""
}

// CheckWritable says why a file of any kind could not be written to path. It tries by creating a file beside it, which it
// removes.
func CheckWritable(path string) error {
	switch info, err := os.Stat(path); {
	case path == "":
		return errors.New("the name of a file to write is empty")
	case err != nil:
	case info.IsDir():
		return fmt.Errorf("%s: is a directory; name a file", path)
	case !info.Mode().IsRegular(): // a file would take the place of the device or pipe
		return fmt.Errorf("%s: not a regular file; - is standard output", path)
	}
	target, beside := replaced(path)
	f, err := renameio.NewPendingFile(target, beside)
	if err != nil {
		return unwritten(path, err)
	}
	return f.Cleanup()
}

// replaced is the file that a new one at path replaces: what a symbolic link leads to. beside puts temporary files into the
// same directory, because a rename cannot move them to another disk, and keeps the group that they have elsewhere; TMPDIR may
// also be missing or full.
func replaced(path string) (target string, beside renameio.Option) {
	if followed, err := filepath.EvalSymlinks(path); err == nil {
		path = followed
	}
	return path, renameio.WithTempDir(filepath.Dir(path))
}

// unwritten says why path was not written, without the name of the temporary file.
func unwritten(path string, err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		err = errno
	}
	return fmt.Errorf("%s: cannot be written: %w", path, err)
}

// Save writes img in the format of path's extension: PNG, JPEG or lossless WebP. The path - is standard output, which gets
// PNG. After a crash or on a full disk there is the old file or the new one, never half of one.
func Save(path string, img image.Image, how Encoding) error {
	if err := how.validate(path); err != nil {
		return err
	}
	data, err := how.Encode(filepath.Ext(path), img)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if path == "-" {
		if _, err := os.Stdout.Write(data); err != nil {
			return unwritten("standard output", err)
		}
		return nil
	}
	return WriteFile(path, data)
}

// WriteFile writes a file of any kind: whole, or not at all. Its permissions are those that umask leaves, or those of the
// file that it replaces, and its group is that of a new file in its folder.
func WriteFile(path string, data []byte) error {
	target, beside := replaced(path)
	if err := renameio.WriteFile(target, data, 0o666, beside); err != nil {
		return unwritten(path, err)
	}
	return nil
}

// Encode returns what Save writes to a file with this extension, such as .jpg. Without an extension it is PNG. JPEG has
// transparent pixels on white.
func (e Encoding) Encode(extension string, img image.Image) (data []byte, err error) {
	img = bare(img)
	if deep, ok := img.(*image.NRGBA64); ok && e.Bits != 16 {
		img = eightBits(deep)
	}
	format, b := Format(extension), img.Bounds()
	if err := checkSides(b.Dx(), b.Dy()); err != nil {
		return nil, err
	}
	if err := checkFormat(format, b.Size()); err != nil {
		return nil, err
	}
	e.Exif, _ = upright(e.Exif, b.Dx(), b.Dy())
	e.Comment = strings.ToValidUTF8(strings.ReplaceAll(e.Comment, "\x00", "\uFFFD"), "\uFFFD")
	var buf bytes.Buffer
	switch format {
	case "JPEG":
		quality := e.Quality
		if quality == 0 {
			quality = 95
		}
		if err = jpeg.Encode(&buf, Flatten(img), &jpeg.Options{Quality: quality}); err == nil {
			data = e.intoJPEG(buf.Bytes())
		}
	case "WebP":
		if err = nativewebp.Encode(&buf, img, nil); err == nil {
			data = e.intoWebP(buf.Bytes(), img)
		}
	default:
		if err = png.Encode(&buf, img); err == nil {
			data = e.intoPNG(buf.Bytes())
		}
	}
	return data, err
}

// eightBits rounds, where image/draw cuts off.
func eightBits(deep *image.NRGBA64) *image.NRGBA {
	b := deep.Bounds()
	img := image.NewNRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	for y := range b.Dy() {
		from, to := deep.Pix[deep.PixOffset(b.Min.X, b.Min.Y+y):], img.Pix[y*img.Stride:][:img.Stride]
		for i := range to {
			to[i] = uint8((uint32(binary.BigEndian.Uint16(from[2*i:])) + 128) / 257)
		}
	}
	return img
}

// intoPNG adds the chunks iTXt, which is UTF-8, and eXIf after the header (PNG specification, 11.3).
func (e Encoding) intoPNG(data []byte) []byte {
	chunk := func(name string, body []byte) (c []byte) {
		c = binary.BigEndian.AppendUint32(nil, uint32(len(body)))
		c = append(append(c, name...), body...)
		return binary.BigEndian.AppendUint32(c, crc32.ChecksumIEEE(c[4:]))
	}
	var chunks []byte
	if e.Comment != "" {
		const head = "Comment\x00" + "\x00\x00" + "\x00\x00" // not compressed; without language and translated keyword
		chunks = append(chunks, chunk("iTXt", []byte(head+e.Comment))...)
	}
	if e.Exif != nil {
		chunks = append(chunks, chunk("eXIf", e.Exif)...)
	}
	const header = 8 + 25 // signature and IHDR
	return slices.Insert(data, header, chunks...)
}

// maxSegment is how many bytes a segment of a JPEG file holds.
const maxSegment = 65533

// Comment returns the comment of a PNG file that Save or Encode wrote; empty for other files.
func Comment(data []byte) string {
	const header = 8 + 25
	const head = "iTXtComment\x00" + "\x00\x00" + "\x00\x00"
	if !bytes.HasPrefix(data, []byte(pngSignature)) || len(data) < header+4 {
		return ""
	}
	size, body := binary.BigEndian.Uint32(data[header:]), data[header+4:]
	if text, ok := bytes.CutPrefix(body, []byte(head)); ok && uint64(len(body)) >= uint64(size)+4 {
		return string(text[:int(size)+4-len(head)])
	}
	return ""
}

// intoJPEG adds the segments APP1 and COM after the first marker. An EXIF block that is too large, which cannot have come
// from a JPEG file, is left out; a comment goes on in the next segment.
func (e Encoding) intoJPEG(data []byte) []byte {
	var segments []byte
	segment := func(marker byte, body []byte) {
		segments = binary.BigEndian.AppendUint16(append(segments, 0xff, marker), uint16(len(body)+2))
		segments = append(segments, body...)
	}
	if exif := slices.Concat(exifPrefix, e.Exif); e.Exif != nil && len(exif) <= maxSegment {
		segment(0xe1, exif)
	}
	for rest := e.Comment; rest != ""; {
		end := min(len(rest), maxSegment)
		for end < len(rest) && !utf8.RuneStart(rest[end]) {
			end--
		}
		segment(0xfe, []byte(rest[:end]))
		rest = rest[end:]
	}
	return slices.Insert(data, 2, segments...)
}

// intoWebP puts the picture into the extended container, with the chunks EXIF and XMP (WebP container specification).
func (e Encoding) intoWebP(data []byte, img image.Image) []byte {
	file := []byte("RIFF\x00\x00\x00\x00WEBP")
	chunk := func(name string, body []byte) {
		file = binary.LittleEndian.AppendUint32(append(file, name...), uint32(len(body)))
		file = append(append(file, body...), make([]byte, len(body)%2)...)
	}
	var text bytes.Buffer
	if e.Comment != "" {
		text.WriteString(`<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:description><rdf:Alt><rdf:li xml:lang="x-default">`)
		xml.EscapeText(&text, []byte(e.Comment)) //nolint:errcheck // a buffer takes everything
		text.WriteString(`</rdf:li></rdf:Alt></dc:description></rdf:Description></rdf:RDF></x:xmpmeta>`)
	}
	header := make([]byte, 10) // flags, then the sides less 1, in 24 bits each
	if e.Exif != nil {
		header[0] |= 8
	}
	if text.Len() > 0 {
		header[0] |= 4
	}
	if solid, ok := img.(interface{ Opaque() bool }); !ok || !solid.Opaque() {
		header[0] |= 16
	}
	b := img.Bounds()
	binary.LittleEndian.PutUint32(header[4:], uint32(b.Dx()-1))
	copy(header[7:], binary.LittleEndian.AppendUint32(nil, uint32(b.Dy()-1))[:3])
	chunk("VP8X", header)
	file = append(file, data[12:]...) // the chunk with the pixels
	if e.Exif != nil {
		chunk("EXIF", e.Exif)
	}
	if text.Len() > 0 {
		chunk("XMP ", text.Bytes())
	}
	binary.LittleEndian.PutUint32(file[4:], uint32(len(file)-8))
	return file
}
