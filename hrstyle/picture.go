package hrstyle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
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

	"github.com/google/renameio/v2"
	"github.com/kovidgoyal/imaging"
	"golang.org/x/image/draw"
)

// ImageNet's mean and deviation of red, green and blue in [0,1], which VGG19 expects pictures to be normalised by.
var mean, deviation = [3]float64{0.485, 0.456, 0.406}, [3]float64{0.229, 0.224, 0.225}

// minSide is the smallest side of a picture: VGG19 halves it four times. maxPixels is refused before decoding.
const minSide, maxPixels = 16, 160_000_000

// Picture is an image and the name that messages call it by.
type Picture struct {
	Name string
	image.Image
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

// LoadPicture reads a picture: PNG, JPEG, WebP, TIFF, BMP or GIF (its first frame), each side at least 16 px, at most
// 160 million pixels. It is turned upright as its EXIF says, brought from its ICC profile to sRGB, and transparency
// shows white paper.
func LoadPicture(path string) (Picture, error) {
	fail := func(err error) (Picture, error) {
		if pathErr, ok := errors.AsType[*os.PathError](err); ok {
			err = pathErr.Err
		}
		return Picture{}, fmt.Errorf("%s: %w", path, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return fail(errors.New("not a regular file"))
	}
	head := make([]byte, 12)
	if _, err := f.ReadAt(head, 0); err == nil && string(head[4:8]) == "ftyp" {
		return fail(errors.New("a HEIC or AVIF picture: export it as JPEG or PNG"))
	}
	config, _, err := image.DecodeConfig(f)
	if err != nil {
		return fail(fmt.Errorf("not a picture in a format known here (PNG, JPEG, WebP, TIFF, BMP, GIF): %w", err))
	}
	if config.Width*config.Height > maxPixels {
		return fail(fmt.Errorf("%dx%d has more than %d million pixels", config.Width, config.Height, maxPixels/1_000_000))
	}
	if err := checkSides(config.Width, config.Height); err != nil {
		return fail(err)
	}
	var img image.Image
	for _, options := range [][]imaging.DecodeOption{
		{imaging.AutoOrientation(true), imaging.ColorSpace(imaging.SRGB_COLORSPACE)},
		{imaging.AutoOrientation(false), imaging.ColorSpace(imaging.NO_CHANGE_OF_COLORSPACE)}, // damaged EXIF or profile
	} {
		if _, err := f.Seek(0, 0); err != nil {
			return fail(err)
		}
		img, err = imaging.Decode(f, append(options, imaging.Backends(imaging.GO_IMAGE), imaging.Background(color.White))...)
		if err == nil { // in the type that x/image/draw is quick with
			pixels := image.NewRGBA(image.Rect(0, 0, img.Bounds().Dx(), img.Bounds().Dy()))
			draw.Draw(pixels, pixels.Rect, imaging.AsNRGBA(img), img.Bounds().Min, draw.Src)
			return Picture{path, pixels}, nil
		}
	}
	return fail(fmt.Errorf("damaged picture (%w)", err))
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
	return Picture{p.Name, scaled}, nil
}

// fitted returns both pictures at the sizes that c asks for.
func (p Pair) fitted(c Config) (content, style Picture, err error) {
	w, h := fitted(p.Content.Bounds().Dx(), p.Content.Bounds().Dy(), c.Size, c.Square)
	if content, err = p.Content.resize(w, h); err != nil {
		return content, style, err
	}
	w, h = p.Style.Bounds().Dx(), p.Style.Bounds().Dy()
	if size := c.StyleSize; size != 0 {
		if size == AsContent {
			size = c.Size
		}
		w, h = fitted(w, h, size, c.Square)
	}
	style, err = p.Style.resize(w, h)
	return content, style, err
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

// denormalised is the inverse of normalised, clamped to what a picture can show.
func denormalised(values []float32, w, h int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		var rgb [3]uint8
		for c := range rgb {
			v := float64(values[3*i+c])*deviation[c] + mean[c]
			rgb[c] = uint8(math.Round(255 * min(max(v, 0), 1)))
		}
		img.SetNRGBA(i%w, i/w, color.NRGBA{rgb[0], rgb[1], rgb[2], 255})
	}
	return img
}

// CheckOutput says why a picture could not be written to path: the format, or the directory.
func CheckOutput(path string) error {
	if _, err := encode(path, image.NewNRGBA(image.Rect(0, 0, 1, 1)), ""); err != nil {
		return err
	}
	return CheckWritable(path)
}

// CheckWritable says why a file could not be written to path, by creating and removing one beside it.
func CheckWritable(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("%s: is a directory; name a file", path)
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

// SavePicture writes img in the format of path's extension (.png, .jpg, .jpeg) with a comment in its metadata. A crash
// leaves the old file or the new one.
func SavePicture(path string, img image.Image, comment string) error {
	data, err := encode(path, img, comment)
	if err != nil {
		return err
	}
	return renameio.WriteFile(path, data, 0o666)
}

func encode(path string, img image.Image, comment string) ([]byte, error) {
	var buf bytes.Buffer
	switch strings.ToLower(filepath.Ext(path)) {
	case ".png":
		if err := png.Encode(&buf, img); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		const header = 8 + 25 // signature and IHDR, after which a tEXt chunk may stand
		text := append([]byte("tEXtComment\x00"), comment...)
		chunk := binary.BigEndian.AppendUint32(nil, uint32(len(text)-4))
		chunk = binary.BigEndian.AppendUint32(append(chunk, text...), crc32.ChecksumIEEE(text))
		return slices.Insert(buf.Bytes(), header, chunk...), nil
	case ".jpg", ".jpeg":
		if err := jpeg.Encode(&buf, img, &jpeg.Options{Quality: 95}); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		segment := binary.BigEndian.AppendUint16([]byte{0xff, 0xfe}, uint16(len(comment)+2)) // COM, after SOI
		return slices.Insert(buf.Bytes(), 2, append(segment, comment...)...), nil
	}
	return nil, fmt.Errorf("%s: unknown picture format %q; allowed: .png, .jpg, .jpeg", path, filepath.Ext(path))
}
