// Package picture reads and writes picture files, and knows nothing of what they are for: PNG, JPEG, WebP, TIFF, BMP and
// GIF come in as upright sRGB on white paper, PNG, JPEG and WebP go out with what is true of them in their metadata.
//
// decode.go reads files: container.go finds what a file says about itself, tiff.go and bmp.go are decoders, exif.go knows
// EXIF data, colour.go brings colours to sRGB. encode.go writes. All of it is pure Go, within 2 of 255 of Pillow with
// LittleCMS: the libraries in C are not there where a binary is carried to, and a damaged file could end the program in
// them.
package picture

import (
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
}

// Exif is what is true of the picture in the EXIF block of the file that it was loaded from: without what is about its
// coding and without previews, with the orientation, size and colour space that the picture has now. nil is nothing.
func (p Picture) Exif() []byte { return p.exif }

// Digest is the sha256 of the picture's size and pixels, in hexadecimal.
func (p Picture) Digest() string {
	pixels := flatten(p.Image)
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

// Load reads a picture: PNG, JPEG, WebP, TIFF, BMP or GIF, each side at least 16 px, at most 0.9 GB when decoded
// (about 100 million pixels). It is turned upright as its EXIF says, brought to sRGB from its colour space (ICC profile,
// PNG's chunks cICP, sRGB, gAMA and cHRM, EXIF's Adobe RGB; relative colorimetric), transparency shows white paper, and
// of an animation the first frame is taken. Notes say what could not be used. The name - is standard input.
func Load(path string) (Picture, error) {
	data, err := readPicture(path)
	if err != nil {
		return Picture{}, err
	}
	pixels, notes, exif, err := decode(data)
	if err != nil {
		return Picture{}, fmt.Errorf("%s: %w", path, err)
	}
	if exif == nil {
		exif = exifOfTIFF(data)
	}
	exif, damaged := upright(exif, pixels.Rect.Dx(), pixels.Rect.Dy())
	if damaged {
		notes = append(notes, "has damaged EXIF data: what cannot be read is not kept")
	}
	return Picture{Name: path, Image: pixels, Notes: notes, exif: exif}, nil
}

// maxFile is the largest picture file read, in bytes.
const maxFile = 400_000_000

func readPicture(path string) ([]byte, error) {
	fail := func(err error) ([]byte, error) {
		if pathErr, ok := errors.AsType[*os.PathError](err); ok {
			err = pathErr.Err
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	in := os.Stdin
	if path != "-" {
		info, err := os.Stat(path)
		if err != nil {
			return fail(err)
		}
		if !info.Mode().IsRegular() { // a named pipe waits for its writer once it is opened
			return fail(errors.New("not a regular file"))
		}
		f, err := os.Open(path)
		if err != nil {
			return fail(err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return fail(err)
	}
	if len(data) > maxFile {
		return fail(fmt.Errorf("more than %d MB: no picture", maxFile/1_000_000))
	}
	return data, nil
}

func checkSides(w, h int) error {
	if w < minSide || h < minSide {
		return fmt.Errorf("%dx%d is smaller than %d px", w, h, minSide)
	}
	return nil
}
