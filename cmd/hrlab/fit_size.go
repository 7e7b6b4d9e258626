package main

import (
	"context"
	"fmt"
	"image"
	"math"
	"strconv"

	"hrlab/hrstyle"
	"hrlab/picture"

	"golang.org/x/image/draw"
)

// sizeFlags say which size the result of a fit has, and how it comes to it.
type sizeFlags struct {
	OutSize string `default:"original" placeholder:"original|fitted|N" help:"Size of the result: original is that of the content picture, fitted that of --size, a number its longer side in pixels."`
	applyFlags
}

// Values of --out-size.
const originalSize, fittedSize = "original", "fitted"

// leastSide and mostSide are the smallest and largest longer side that --out-size may ask for.
const leastSide, mostSide = 16, 65500

// fullSize is the size of a fit's result, 0x0 for the fitted one, or what is wrong with the flags.
func (f sizeFlags) fullSize(content picture.Picture) (image.Point, error) {
	size := content.Bounds().Size()
	if err := f.valid(); err != nil {
		return size, err
	}
	switch f.OutSize {
	case fittedSize:
		return image.Point{}, nil
	case originalSize:
		return size, nil
	}
	n, err := strconv.Atoi(f.OutSize)
	if err != nil || n < leastSide || n > mostSide {
		return size, fmt.Errorf("out-size %q: allowed: original, fitted, or %d to %d pixels", f.OutSize, leastSide, mostSide)
	}
	scale := float64(n) / float64(max(size.X, size.Y))
	side := func(v int) int { return max(leastSide, int(math.Round(float64(v)*scale))) }
	return image.Pt(side(size.X), side(size.Y)), nil
}

// goodSize is the fitted size for a result of this size: hrlab fit's own, or the smallest whose pictures need no warning.
func goodSize(full image.Point) int {
	const four = 4 // sizes are multiples of it
	return max(hrstyle.Default.Size, (effectiveSide(full)+far*four-1)/(far*four)*four)
}

// chooseSize is the fitted size where nobody gave one, for a result of this size, and a line about it where it is not hrlab fit's own:
// where memory is too short for the good one, the largest that it suffices for.
func chooseSize(engine *hrstyle.Engine, pair hrstyle.Pair, config hrstyle.Config, full image.Point) (size int, line string) {
	own, good := config.Size, goodSize(full)
	for config.Size = good; config.Size > own && engine.Fits(pair, config) != nil; {
		config.Size -= 4
	}
	if config.Size == own {
		return own, ""
	}
	line = fmt.Sprintf("%s: fitted at %d px, since %dx%d px are more than %d times %d", pair.Content.Name, config.Size, full.X, full.Y, far, own)
	if config.Size < good {
		line += fmt.Sprintf("; memory is too short for %d", good)
	}
	return config.Size, line
}

// fitted is the result of a fit at the size that it was fitted at.
func (f sizeFlags) fitted(last hrstyle.Step) *image.NRGBA64 {
	img := last.Picture()
	picture.Blend(img, last.Pair().Content, f.Strength)
	return img
}

// full is the result at another size.
func (f sizeFlags) full(ctx context.Context, c *console, engine *hrstyle.Engine, g *hrstyle.Generator, content picture.Picture, size image.Point) (*image.NRGBA64, error) {
	if content.Bounds().Size() != size {
		content.Image = picture.Scale(content.Image, size.X, size.Y, draw.CatmullRom)
	}
	bar := c.newCounter(1)
	defer bar.close()
	return f.apply(ctx, engine, g, content, bar)
}
