// Package picture reads and writes picture files, and knows nothing of what they are for: PNG, JPEG, WebP, TIFF, BMP and
// GIF come in as upright sRGB on white paper, PNG, JPEG and WebP go out with what is true of them in their metadata.
//
// decode.go reads files: container.go finds what a file says about itself, tiff.go and bmp.go are decoders, exif.go knows
// EXIF data, colour.go brings colours to sRGB. encode.go writes. All of it is pure Go, within 2 of 255 of Pillow with
// LittleCMS: the libraries in C are not there where a binary is carried to, and a damaged file could end the program in
// them.
package picture

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Picture is an image and the name that messages call it by.
type Picture struct {
	Name string
	image.Image
	Notes []string // what Load did that a user should know, such as "is animated: its first frame is taken"

	exif []byte // as upright returns it
	file []byte
}

// File is the file that the picture was loaded from, byte for byte, to hand on or to keep; nil of a picture that was made
// in memory. It is kept in memory as long as the picture is: what the file takes on disk, 400 MB at most.
func (p Picture) File() []byte { return p.file }

// bare is the image of a picture, whose type tells how to read its pixels quickly and whether it is opaque.
func bare(img image.Image) image.Image {
	if p, ok := img.(Picture); ok {
		return p.Image
	}
	return img
}

// Encoded is the picture as a file, which Read makes a picture of the same Digest: the file that it was loaded from, or a
// PNG where there was none, or where the picture has been changed since.
func (p Picture) Encoded() ([]byte, error) {
	if p.file != nil {
		if before, err := Read(p.Name, bytes.NewReader(p.file)); err == nil && before.Digest() == p.Digest() {
			return p.file, nil
		}
	}
	data, err := Encoding{}.Encode(".png", Flatten(p.Image))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	return data, nil
}

// Exif is what is true of the picture in the EXIF block of the file that it was loaded from: without what is about its
// coding and without previews, with the orientation, size and colour space that the picture has now. nil is nothing.
func (p Picture) Exif() []byte { return p.exif }

// Digest is the sha256 of the picture's size and pixels, in hexadecimal.
func (p Picture) Digest() string {
	pixels := Flatten(p.Image)
	hash := sha256.New()
	fmt.Fprintf(hash, "%dx%d ", pixels.Rect.Dx(), pixels.Rect.Dy())
	hash.Write(pixels.Pix)
	return hex.EncodeToString(hash.Sum(nil))
}

// formats are the formats that are read, by the extensions of file names.
var formats = map[string]string{
	".png": "PNG", ".apng": "PNG",
	".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".jif": "JPEG", ".pjpeg": "JPEG", ".pjp": "JPEG",
	".webp": "WebP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP", ".dib": "BMP", ".gif": "GIF",
}

// Format is the format that a file name's extension stands for, in small letters or capitals: PNG, JPEG, WebP, TIFF,
// BMP or GIF; empty where it is that of no picture that Load reads.
func Format(name string) string { return formats[strings.ToLower(filepath.Ext(name))] }

// Extensions are the extensions of files that Load reads, sorted.
func Extensions() []string { return slices.Sorted(maps.Keys(formats)) }

// Load reads a picture: PNG, JPEG, WebP, TIFF, BMP or GIF, at most 0.9 GB when decoded
// (about 100 million pixels). It is turned upright as its EXIF says, brought to sRGB from its colour space (ICC profile,
// PNG's chunks cICP, sRGB, gAMA and cHRM, EXIF's Adobe RGB; relative colorimetric), transparency shows white paper, and
// of an animation the first frame is taken. Notes say what could not be used. The name - is standard input.
func Load(path string) (Picture, error) {
	if path == "-" {
		return Read(path, os.Stdin)
	}
	info, err := os.Stat(path)
	if err != nil {
		return Picture{}, unread(path, err)
	}
	if !info.Mode().IsRegular() { // a named pipe waits for its writer once it is opened
		return Picture{}, unread(path, errors.New("not a regular file"))
	}
	f, err := os.Open(path)
	if err != nil {
		return Picture{}, unread(path, err)
	}
	defer f.Close()
	return Read(path, f)
}

// Read reads a picture as Load does, from anywhere; name is the picture's.
func Read(name string, r io.Reader) (Picture, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return Picture{}, unread(name, err)
	}
	if len(data) > maxFile {
		return Picture{}, fmt.Errorf("%s: more than %d MB: no picture", name, maxFile/1_000_000)
	}
	pixels, notes, exif, err := decode(data)
	if err != nil {
		return Picture{}, fmt.Errorf("%s: %w", name, err)
	}
	if exif == nil {
		exif = exifOfTIFF(data)
	}
	exif, damaged := upright(exif, pixels.Rect.Dx(), pixels.Rect.Dy())
	if damaged {
		notes = append(notes, "has damaged EXIF data: what cannot be read is not kept")
	}
	return Picture{Name: name, Image: pixels, Notes: notes, exif: exif, file: data}, nil
}

// unread says why a file was not read, without the system call.
func unread(name string, err error) error {
	if pathErr, ok := errors.AsType[*os.PathError](err); ok {
		err = pathErr.Err
	}
	return fmt.Errorf("%s: %w", name, err)
}

// maxFile is the largest picture file read, in bytes.
const maxFile = 400_000_000

// checkSides says why a picture cannot have these sides.
func checkSides(w, h int) error {
	if w < 1 || h < 1 {
		return fmt.Errorf("%dx%d is smaller than 1 px", w, h)
	}
	return nil
}
