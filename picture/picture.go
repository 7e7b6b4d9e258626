// Package picture reads, scales and writes picture files. It knows nothing of what they are for.
//
//	p, err := picture.Load("boat.jpg")
//	err = picture.Save("boat.png", p, picture.Encoding{Exif: p.Exif()})
//
// PNG, JPEG, WebP, TIFF, BMP and GIF are read. Whatever the file, the picture is upright, opaque and sRGB, as a browser
// shows it on a white page. PNG, JPEG and WebP are written.
//
// decode.go reads files: container.go finds the size, profile and EXIF data of each format, tiff.go and bmp.go decode
// pixels, colour.go converts colours to sRGB, exif.go reads and corrects EXIF data. scale.go makes smaller copies, encode.go
// writes files, cube.go has 3D LUTs. All of it is pure Go. The libraries in C may be missing where a binary is copied to, and
// a damaged file could crash the program in them. Values are within 2 of 255 of those of Pillow with LittleCMS.
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

// Picture is an image, the name that messages have for it, and what its file told.
type Picture struct {
	Name string
	image.Image
	Notes []string // for the user, about how it was read, such as "is animated: its first frame is taken"

	exif []byte // as upright returns it
	file []byte
}

// File returns the bytes of the file that the picture was loaded from, or nil if it was made in memory. They are not a
// copy: do not change them. They stay in memory as long as the picture does, and take as much as the file on disk, 400 MB at
// most.
func (p Picture) File() []byte { return p.file }

// bare returns the image itself. Its type tells how to read pixels quickly, and whether they are opaque; that of a Picture
// does not.
func bare(img image.Image) image.Image {
	if p, ok := img.(Picture); ok {
		return p.Image
	}
	return img
}

// Encoded returns the bytes of a file that Read turns into a picture with the same Digest. They are those of the file that
// the picture was loaded from, or of a PNG if there is no such file or its pixels have been changed since.
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

// Exif returns the EXIF block of the file that the picture was loaded from, as far as it is true of the picture, or nil.
// Orientation, size and colour space are those that the picture has now. Previews are left out, as is what describes the
// coding of the file.
func (p Picture) Exif() []byte { return p.exif }

// Digest returns the sha256 of the picture's size and pixels, in hexadecimal. It is the same for the same pixels, whatever
// the file.
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

// Format returns the picture format that the extension of a file name stands for: PNG, JPEG, WebP, TIFF, BMP or GIF, or
// nothing if Load reads no such files. Capitals do not matter.
func Format(name string) string { return formats[strings.ToLower(filepath.Ext(name))] }

// Extensions lists the extensions of files that Load reads, such as .png, in alphabetical order.
func Extensions() []string { return slices.Sorted(maps.Keys(formats)) }

// Load reads a picture: PNG, JPEG, WebP, TIFF, BMP or GIF. The path - is standard input. A file may have 400 MB, and its
// picture may take 0.9 GB while it is decoded (about 100 million pixels).
//
// The picture is turned upright as its EXIF data say. Its colours are converted to sRGB (relative colorimetric) from the
// space that the file names: by an ICC profile, by PNG's chunks cICP, sRGB, gAMA and cHRM, or by EXIF's Adobe RGB.
// Transparent pixels become white. Of an animation the first frame is taken. Notes say what was done, and what of the file
// could not be used. Errors are one line that begins with the path.
func Load(path string) (Picture, error) {
	if path == "-" {
		return Read(path, os.Stdin)
	}
	f, err := openFile(path)
	if err != nil {
		return Picture{}, err
	}
	defer f.Close()
	return Read(path, f)
}

// openFile opens a file to be read. A pipe would wait for its writer once it is opened.
func openFile(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, unread(path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, unread(path, errors.New("not a regular file"))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, unread(path, err)
	}
	return f, nil
}

// Read reads a picture as Load does, from r. name is the picture's, and errors begin with it.
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
