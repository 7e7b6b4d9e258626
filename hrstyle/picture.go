package hrstyle

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/image/draw"
)

// ImageNet's mean and deviation of red, green and blue in [0,1], which VGG19 expects pictures to be normalised by.
var mean, deviation = [3]float64{0.485, 0.456, 0.406}, [3]float64{0.229, 0.224, 0.225}

// Picture is an image and the name that messages call it by.
type Picture struct {
	Name string
	image.Image
	Notes []string // what LoadPicture did that a user should know, such as "is animated: its first frame is taken"

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

// Pair is a content and a style picture.
type Pair struct{ Content, Style Picture }

// LoadPair reads both pictures, as LoadPicture does.
func LoadPair(content, style string) (Pair, error) {
	c, err := LoadPicture(content)
	if err != nil {
		return Pair{}, err
	}
	s, err := LoadPicture(style)
	return Pair{c, s}, err
}

// pictureFormats are the formats that are read, by the extensions of file names.
var pictureFormats = map[string]string{
	".png": "PNG", ".apng": "PNG",
	".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".jif": "JPEG", ".pjpeg": "JPEG", ".pjp": "JPEG",
	".webp": "WebP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP", ".dib": "BMP", ".gif": "GIF",
}

// PictureFormat is the format that a file name's extension stands for, in small letters or capitals: PNG, JPEG, WebP, TIFF,
// BMP or GIF; empty where it is that of no picture that LoadPicture reads.
func PictureFormat(name string) string { return pictureFormats[strings.ToLower(filepath.Ext(name))] }

// PictureExtensions are the extensions of files that LoadPicture reads, sorted.
func PictureExtensions() []string { return slices.Sorted(maps.Keys(pictureFormats)) }

// LoadPicture reads a picture: PNG, JPEG, WebP, TIFF, BMP or GIF, each side at least 16 px, at most 0.9 GB when decoded
// (about 100 million pixels). It is turned upright as its EXIF says, brought to sRGB from its colour space (ICC profile,
// PNG's chunks cICP, sRGB, gAMA and cHRM, EXIF's Adobe RGB; relative colorimetric), transparency shows white paper, and
// of an animation the first frame is taken. Notes say what could not be used. The name - is standard input.
func LoadPicture(path string) (Picture, error) {
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

// fitted returns the size that a w x h picture is fitted at: the longer side is size and both are multiples of 4, or
// both sides are size.
func fitted(w, h, size int, square bool) (int, int) {
	four := func(v float64) int { return max(4, 4*int(math.Round(v/4))) }
	longer := float64(max(w, h))
	if square {
		return four(float64(size)), four(float64(size))
	}
	return four(float64(w*size) / longer), four(float64(h*size) / longer)
}

// resize scales by a tent kernel that averages when it shrinks (as Pillow's BILINEAR), unless the size is right.
func (p Picture) resize(w, h int) (Picture, error) {
	if err := checkSides(w, h); err != nil {
		return p, fmt.Errorf("%s: %dx%d becomes too small: %w", p.Name, p.Bounds().Dx(), p.Bounds().Dy(), err)
	}
	if p.Bounds().Dx() == w && p.Bounds().Dy() == h {
		return p, nil
	}
	scaled := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.BiLinear.Scale(scaled, scaled.Bounds(), p.Image, p.Bounds(), draw.Src, nil)
	return Picture{Name: p.Name, Image: scaled}, nil
}

// Fitted returns the pair at the sizes that a fit with c has.
func (p Pair) Fitted(c Config) (Pair, error) {
	sizes := p.fittedSizes(c)
	content, err := p.Content.resize(sizes[0].X, sizes[0].Y)
	if err != nil {
		return Pair{}, err
	}
	style, err := p.Style.resize(sizes[1].X, sizes[1].Y)
	return Pair{content, style}, err
}

// fittedSizes are the sizes of content and style picture that a fit with c has.
func (p Pair) fittedSizes(c Config) (sizes [2]image.Point) {
	sizes = p.sizes()
	sizes[0].X, sizes[0].Y = fitted(sizes[0].X, sizes[0].Y, c.Size, c.Square)
	if size := c.StyleSize; size != 0 {
		if size == AsContent {
			size = c.Size
		}
		sizes[1].X, sizes[1].Y = fitted(sizes[1].X, sizes[1].Y, size, c.Square)
	}
	return sizes
}

// normalised returns the picture as values of a [1,H,W,3] tensor.
func (p Picture) normalised() []float32 {
	rgba, ok := p.Image.(*image.RGBA)
	if !ok || rgba.Stride != 4*rgba.Rect.Dx() {
		rgba = image.NewRGBA(image.Rect(0, 0, p.Bounds().Dx(), p.Bounds().Dy()))
		draw.Draw(rgba, rgba.Bounds(), p.Image, p.Bounds().Min, draw.Src)
	}
	var table [3][256]float32
	for c := range table {
		for v := range table[c] {
			table[c][v] = float32((float64(v)/255 - mean[c]) / deviation[c])
		}
	}
	values := make([]float32, 0, len(rgba.Pix)/4*3)
	for i := 0; i < len(rgba.Pix); i += 4 {
		values = append(values, table[0][rgba.Pix[i]], table[1][rgba.Pix[i+1]], table[2][rgba.Pix[i+2]])
	}
	return values
}

// denormalised is the inverse of normalised, clamped to what a picture can show, in 16 bits.
func denormalised(values []float32, w, h int) *image.NRGBA64 {
	img := image.NewNRGBA64(image.Rect(0, 0, w, h))
	for i := range w * h {
		pixel := img.Pix[8*i:][:8]
		for c := range 3 {
			v := float64(values[3*i+c])*deviation[c] + mean[c]
			binary.BigEndian.PutUint16(pixel[2*c:], uint16(math.Round(math.MaxUint16*min(max(v, 0), 1))))
		}
		pixel[6], pixel[7] = 255, 255
	}
	return img
}
