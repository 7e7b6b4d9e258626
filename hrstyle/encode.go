package hrstyle

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
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/HugoSmits86/nativewebp"
	"github.com/google/renameio/v2"
)

// Encoding says how a picture is written. The zero value is an 8-bit PNG or a JPEG of quality 95, without metadata.
type Encoding struct {
	Bits    int    // of a channel in PNG: 8 (or 0) or 16
	Quality int    // of JPEG, 1 to 100; 0 is 95
	Comment string // in the picture's metadata
	Exif    []byte // an EXIF block, as Picture.Exif returns it
}

// Check says why a picture could not be written to path so: the settings, the format or the directory.
func (e Encoding) Check(path string) error {
	if err := e.validate(path); err != nil || path == "-" {
		return err
	}
	return CheckWritable(path)
}

func (e Encoding) validate(path string) error {
	format := strings.ToLower(filepath.Ext(path))
	switch {
	case e.Bits != 0 && e.Bits != 8 && e.Bits != 16:
		return fmt.Errorf("bits %d: allowed: 8, 16", e.Bits)
	case e.Quality < 0 || e.Quality > 100:
		return fmt.Errorf("quality %d: allowed: 1 to 100", e.Quality)
	case path == "-":
		return nil
	case !slices.Contains([]string{".png", ".jpg", ".jpeg", ".webp"}, format):
		return fmt.Errorf("%s: unknown picture format %q; allowed: .png, .jpg, .jpeg, .webp", path, filepath.Ext(path))
	case e.Bits == 16 && format != ".png":
		return fmt.Errorf("%s: only .png has 16 bits a channel", path)
	}
	return nil
}

// CheckWritable says why a file could not be written to path, by creating and removing one beside it.
func CheckWritable(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("%s: is a directory; name a file", path)
	} else if err == nil && !info.Mode().IsRegular() { // a file would take the place of the device or pipe
		return fmt.Errorf("%s: not a regular file; - is standard output", path)
	}
	f, err := renameio.NewPendingFile(path)
	if err != nil {
		if pathErr, ok := errors.AsType[*os.PathError](err); ok {
			err = pathErr.Err
		}
		return fmt.Errorf("%s: cannot be written: %w", path, err)
	}
	return f.Cleanup()
}

// SavePicture writes img in the format of path's extension: .png, .jpg, .jpeg or .webp (lossless). A crash leaves the
// old file or the new one. The path - is standard output, and gets PNG.
func SavePicture(path string, img image.Image, how Encoding) error {
	if err := how.validate(path); err != nil {
		return err
	}
	var buf bytes.Buffer
	if err := how.encode(&buf, strings.ToLower(filepath.Ext(path)), img); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if path == "-" {
		_, err := buf.WriteTo(os.Stdout)
		return err
	}
	return renameio.WriteFile(path, buf.Bytes(), 0o666)
}

func (e Encoding) encode(w io.Writer, format string, img image.Image) error {
	if deep, ok := img.(*image.NRGBA64); ok && e.Bits != 16 {
		img = eightBits(deep)
	}
	var buf bytes.Buffer
	var err error
	var data []byte
	switch format {
	case ".jpg", ".jpeg":
		quality := e.Quality
		if quality == 0 {
			quality = 95
		}
		if err = jpeg.Encode(&buf, img, &jpeg.Options{Quality: quality}); err == nil {
			data, err = e.intoJPEG(buf.Bytes())
		}
	case ".webp":
		if err = nativewebp.Encode(&buf, img, nil); err == nil {
			data = e.intoWebP(buf.Bytes(), img.Bounds())
		}
	default:
		if err = png.Encode(&buf, img); err == nil {
			data = e.intoPNG(buf.Bytes())
		}
	}
	if err == nil {
		_, err = w.Write(data)
	}
	return err
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

// intoPNG adds the chunks tEXt and eXIf after the header (PNG specification, 11.3).
func (e Encoding) intoPNG(data []byte) []byte {
	chunk := func(name string, body []byte) (c []byte) {
		c = binary.BigEndian.AppendUint32(nil, uint32(len(body)))
		c = append(append(c, name...), body...)
		return binary.BigEndian.AppendUint32(c, crc32.ChecksumIEEE(c[4:]))
	}
	var chunks []byte
	if e.Comment != "" {
		chunks = append(chunks, chunk("tEXt", append([]byte("Comment\x00"), e.Comment...))...)
	}
	if e.Exif != nil {
		chunks = append(chunks, chunk("eXIf", e.Exif)...)
	}
	const header = 8 + 25 // signature and IHDR
	return slices.Insert(data, header, chunks...)
}

// intoJPEG adds the segments APP1 and COM after the first marker. A segment holds 65,533 bytes: a larger EXIF block
// cannot have come from a JPEG file and is left out.
func (e Encoding) intoJPEG(data []byte) ([]byte, error) {
	var segments []byte
	segment := func(marker byte, body []byte) {
		segments = binary.BigEndian.AppendUint16(append(segments, 0xff, marker), uint16(len(body)+2))
		segments = append(segments, body...)
	}
	if exif := append([]byte("Exif\x00\x00"), e.Exif...); e.Exif != nil && len(exif) <= 65533 {
		segment(0xe1, exif)
	}
	if len(e.Comment) > 65533 {
		return nil, errors.New("a comment of more than 65,533 bytes")
	}
	if e.Comment != "" {
		segment(0xfe, []byte(e.Comment))
	}
	return slices.Insert(data, 2, segments...), nil
}

// intoWebP puts the picture into the extended container, with the chunks EXIF and XMP (WebP container specification).
func (e Encoding) intoWebP(data []byte, b image.Rectangle) []byte {
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
