package report

import (
	"image"
	"image/color"
)

// Difference is four times the absolute difference of two pictures of the same size, by channel: black where they are equal.
func Difference(a, b image.Image) *image.RGBA {
	size := a.Bounds().Size()
	out := image.NewRGBA(image.Rectangle{Max: size})
	for y := range size.Y {
		for x := range size.X {
			r1, g1, b1, _ := a.At(a.Bounds().Min.X+x, a.Bounds().Min.Y+y).RGBA()
			r2, g2, b2, _ := b.At(b.Bounds().Min.X+x, b.Bounds().Min.Y+y).RGBA()
			d := func(p, q uint32) uint8 { return uint8(min(4*(max(p, q)-min(p, q))>>8, 255)) }
			out.SetRGBA(x, y, color.RGBA{d(r1, r2), d(g1, g2), d(b1, b2), 255})
		}
	}
	return out
}
