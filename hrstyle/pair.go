package hrstyle

import (
	"encoding/binary"
	"fmt"
	"image"
	"math"

	"hrlab/picture"

	"golang.org/x/image/draw"
)

// The mean and standard deviation of red, green and blue, in [0,1], over ImageNet. VGG19 was trained on pictures that were
// normalised by them.
var mean, std = [3]float64{0.485, 0.456, 0.406}, [3]float64{0.229, 0.224, 0.225}

// Pair is a content and a style picture.
type Pair struct{ Content, Style picture.Picture }

// LoadPair reads both pictures by [picture.Load]. Their sides must be at least 16 px.
func LoadPair(content, style string) (p Pair, err error) {
	if p.Content, err = picture.Load(content); err == nil {
		err = checkSides(p.Content)
	}
	if err != nil {
		return p, err
	}
	if p.Style, err = picture.Load(style); err == nil {
		err = checkSides(p.Style)
	}
	return p, err
}

// minSide is the smallest side of a picture in pixels: VGG19 halves it four times.
const minSide = 16

// checkSides says that a picture is too small.
func checkSides(p picture.Picture) error {
	if w, h := p.Bounds().Dx(), p.Bounds().Dy(); w < minSide || h < minSide {
		return fmt.Errorf("%s: %dx%d is smaller than %d px", p.Name, w, h, minSide)
	}
	return nil
}

// fitted returns the size at which a w x h picture is fitted. The longer side is size, or with square both are, rounded to
// multiples of 4.
func fitted(w, h, size int, square bool) (int, int) {
	four := func(v float64) int { return max(4, 4*int(math.Round(v/4))) }
	longer := float64(max(w, h))
	if square {
		return four(float64(size)), four(float64(size))
	}
	return four(float64(w*size) / longer), four(float64(h*size) / longer)
}

// resize scales bilinearly, as the authors' code does, unless the size is right.
func resize(p picture.Picture, w, h int) (picture.Picture, error) {
	size := p.Bounds().Size()
	if w < minSide || h < minSide {
		return p, fmt.Errorf("%s: %dx%d becomes too small: %dx%d is smaller than %d px", p.Name, size.X, size.Y, w, h, minSide)
	}
	p.Image = picture.Flatten(p.Image) // as Digest and files have it
	if size == image.Pt(w, h) {
		return p, nil
	}
	return picture.Picture{Name: p.Name, Image: picture.Scale(p.Image, w, h, draw.BiLinear)}, nil
}

// Fitted returns the pair scaled to the sizes that c fits it at. A side that would be below 16 px is an error.
func (p Pair) Fitted(c Config) (Pair, error) {
	sizes := p.fittedSizes(c)
	content, err := resize(p.Content, sizes[0].X, sizes[0].Y)
	if err != nil {
		return Pair{}, err
	}
	style, err := resize(p.Style, sizes[1].X, sizes[1].Y)
	return Pair{content, style}, err
}

// fittedSizes are the sizes at which c fits content and style picture.
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
func normalised(p picture.Picture) []float32 {
	pixels := picture.Flatten(p.Image)
	return window(pixels, pixels.Rect)
}

// normalisedLevel is the value of a level of 8 bits in a channel.
var normalisedLevel = func() (table [3][256]float32) {
	for c := range table {
		for v := range table[c] {
			table[c][v] = float32((float64(v)/255 - mean[c]) / std[c])
		}
	}
	return table
}()

// window returns a part of a picture as values of a [1,H,W,3] tensor. Past its right and lower edge the picture repeats its last
// column and row.
func window(p *image.RGBA, r image.Rectangle) []float32 {
	values := make([]float32, 0, 3*r.Dx()*r.Dy())
	for y := r.Min.Y; y < r.Max.Y; y++ {
		row := p.Pix[p.PixOffset(0, min(y, p.Rect.Max.Y-1)):]
		for x := r.Min.X; x < r.Max.X; x++ {
			i := 4 * min(x, p.Rect.Max.X-1)
			values = append(values, normalisedLevel[0][row[i]], normalisedLevel[1][row[i+1]], normalisedLevel[2][row[i+2]])
		}
	}
	return values
}

// denormalised is the inverse of normalised, clamped to what a picture can show, in 16 bits.
func denormalised(values []float32, w, h int) *image.NRGBA64 {
	img := image.NewNRGBA64(image.Rect(0, 0, w, h))
	denormalise(img, img.Rect, values, img.Rect)
	return img
}

// denormalise sets the pixels of part from the values of window, which has part in it.
func denormalise(img *image.NRGBA64, part image.Rectangle, values []float32, window image.Rectangle) {
	for y := part.Min.Y; y < part.Max.Y; y++ {
		row := values[3*((y-window.Min.Y)*window.Dx()+part.Min.X-window.Min.X):]
		for x := range part.Dx() {
			pixel := img.Pix[img.PixOffset(part.Min.X+x, y):][:8]
			for c := range 3 {
				v := float64(row[3*x+c])*std[c] + mean[c]
				binary.BigEndian.PutUint16(pixel[2*c:], uint16(math.Round(math.MaxUint16*min(max(v, 0), 1))))
			}
			pixel[6], pixel[7] = 255, 255
		}
	}
}

func (p Pair) sizes() [2]image.Point {
	return [2]image.Point{p.Content.Bounds().Size(), p.Style.Bounds().Size()}
}
