// Package sample draws the built-in pair of pictures: a landscape by day, and a coast at dusk in quite other colours.
// Both are computed pixel by pixel from noise, at any size; a larger picture shows the same scene with finer detail.
package sample

import (
	"image"
	"image/color"
	"math"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// Content is the landscape by day, w x h pixels (at least 1x1), opaque sRGB.
func Content(w, h int) *image.RGBA { return render(w, h, day) }

// Style is the coast at dusk, w x h pixels (at least 1x1), opaque sRGB.
func Style(w, h int) *image.RGBA { return render(w, h, dusk) }

// rgb is a colour, red, green and blue in [0,1] as they are shown (sRGB).
type rgb [3]float64

// scene gives the colour at u, v in [0,1] from the left and the top; x is u in picture heights, so that shapes keep
// their proportions in any frame.
type scene func(u, v, x float64) rgb

// render takes four samples per pixel, with one row at a time on every core.
func render(w, h int, s scene) *image.RGBA {
	const samples = 2
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	aspect := float64(w) / float64(h)
	row := func(j int) {
		for i := range w {
			var sum rgb
			for k := range samples * samples {
				u := (float64(i) + (float64(k%samples)+0.5)/samples) / float64(w)
				v := (float64(j) + (float64(k/samples)+0.5)/samples) / float64(h)
				sum = sum.add(s(u, v, u*aspect), 1.0/(samples*samples))
			}
			img.SetRGBA(i, j, color.RGBA{level(sum[0]), level(sum[1]), level(sum[2]), 255})
		}
	}
	var rows errgroup.Group
	rows.SetLimit(runtime.NumCPU())
	for j := range h {
		rows.Go(func() error { row(j); return nil })
	}
	_ = rows.Wait() // no row fails
	return img
}

func level(v float64) uint8 { return uint8(math.Round(255 * clamp(v))) }

func clamp(v float64) float64 { return min(max(v, 0), 1) }

// add returns c + k·d.
func (c rgb) add(d rgb, k float64) rgb { return rgb{c[0] + k*d[0], c[1] + k*d[1], c[2] + k*d[2]} }

// mix returns c where k is 0 and d where it is 1.
func (c rgb) mix(d rgb, k float64) rgb { return c.add(d.add(c, -1), clamp(k)) }

// lit scales a colour's brightness.
func (c rgb) lit(k float64) rgb { return rgb{c[0] * k, c[1] * k, c[2] * k} }

// step goes smoothly from 0 at a to 1 at b.
func step(a, b, v float64) float64 {
	t := clamp((v - a) / (b - a))
	return t * t * (3 - 2*t)
}

// hash is a number in [0,1) for a point of a grid.
func hash(x, y int) float64 {
	n := uint32(x)*0x85ebca6b ^ uint32(y)*0xc2b2ae35
	n = (n ^ n>>15) * 0x2c1b3c6d
	n = (n ^ n>>12) * 0x297a2d39
	return float64((n^n>>15)>>8) / (1 << 24)
}

// noise is smooth value noise in [0,1] with features of size 1.
func noise(x, y float64) float64 {
	fx, fy := math.Floor(x), math.Floor(y)
	i, j := int(fx), int(fy)
	a, b := step(0, 1, x-fx), step(0, 1, y-fy)
	top := hash(i, j)*(1-a) + hash(i+1, j)*a
	bottom := hash(i, j+1)*(1-a) + hash(i+1, j+1)*a
	return top*(1-b) + bottom*b
}

// clouds is fractal noise in [0,1]: octaves of noise, each half as large and half as strong.
func clouds(x, y float64, octaves int) float64 {
	sum, weight, total := 0.0, 1.0, 0.0
	for o := range octaves {
		sum += weight * noise(x+17.3*float64(o), y-9.1*float64(o))
		total += weight
		x, y, weight = 2*x, 2*y, weight/2
	}
	return sum / total
}

// ridge is fractal noise with sharp crests, in [0,1].
func ridge(x, y float64, octaves int) float64 {
	sum, weight, total := 0.0, 1.0, 0.0
	for o := range octaves {
		sum += weight * (1 - math.Abs(2*noise(x+31.7*float64(o), y+5.3*float64(o))-1))
		total += weight
		x, y, weight = 2.1*x, 2.1*y, weight*0.48
	}
	return sum / total
}
