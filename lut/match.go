package lut

import (
	"image"
	"math"
	"slices"

	"hrlab/picture"

	"github.com/lucasb-eyer/go-colorful"
)

// Match says how near a LUT comes to a look. Distances are ΔE2000 (CIE 142-2001, D65), of which 1 is just seen.
type Match struct {
	Mean, P95 float64 // between what the LUT makes of the picture and what it became: on average, and what 95% of pixels are within
	Look      float64 // between the picture and what it became, on average
}

// Rest is the part of the look that the LUT has not, 0 or more: what depends on the place in the picture and not on its colour.
func (m Match) Rest() float64 {
	if m.Look == 0 {
		return 0
	}
	return m.Mean / m.Look
}

// measure measures on as many pixels as a fit takes.
func measure(c *picture.Cube, from, to *image.RGBA) (m Match) {
	out := picture.Flatten(c.Apply(from))
	w, pixels := from.Rect.Dx(), from.Rect.Dx()*from.Rect.Dy()
	count := min(pixels, samples)
	distances := make([]float64, count)
	for i := range count {
		x, y := i*pixels/count%w, i*pixels/count/w
		a, b, want := colour(from, x, y), colour(out, x, y), colour(to, x, y)
		distances[i] = hundred * b.DistanceCIEDE2000(want)
		m.Mean += distances[i] / float64(count)
		m.Look += hundred * a.DistanceCIEDE2000(want) / float64(count)
	}
	slices.Sort(distances)
	m.P95 = distances[(count-1)*95/100]
	return m
}

// hundred is the lightness of white in ΔE2000; go-colorful has 1.
const hundred = 100

func colour(p *image.RGBA, x, y int) colorful.Color {
	v := p.Pix[p.PixOffset(x, y):]
	return colorful.Color{R: float64(v[0]) / math.MaxUint8, G: float64(v[1]) / math.MaxUint8, B: float64(v[2]) / math.MaxUint8}
}
