package hrstyle

import (
	"image"

	"hrlab/picture"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"golang.org/x/image/draw"
)

// Apply runs a generator on any picture of at least 16x16 px, at the picture's own size, and returns its output. Where the
// free memory would not be enough it fails at once, and names the largest size that fits.
//
// A generator is fitted to one pair at one size. On other pictures and sizes it carries the look over as well as it can.
func (e *Engine) Apply(g *Generator, p picture.Picture) (*image.NRGBA64, error) {
	w, h := p.Bounds().Dx(), p.Bounds().Dy()
	if err := checkSides(p); err != nil {
		return nil, err
	}
	if err := e.checkMemory(p.Name, w, h, applyMemory); err != nil {
		return nil, err
	}
	padded := pad(p)
	var values []float32
	err := try(p.Name, func() {
		b := padded.Bounds()
		flat, x := upload(e, g.flat, parameterCount), upload(e, normalised(padded), 1, b.Dy(), b.Dx(), 3)
		out := e.call("apply", func(in []*Node) []*Node {
			out, _ := e.newGenerator(in[0]).generate(in[1])
			return []*Node{out}
		}, flat, x)
		values = download[float32](out[0])
		free([]*tensors.Tensor{flat, x, out[0]}...)
	})
	if err != nil {
		return nil, err
	}
	out := denormalised(values, padded.Bounds().Dx(), padded.Bounds().Dy())
	return out.SubImage(image.Rect(0, 0, w, h)).(*image.NRGBA64), nil
}

// pad repeats the last row and column until both sides are multiples of 4.
func pad(p picture.Picture) picture.Picture {
	b := p.Bounds()
	w, h := (b.Dx()+3)/4*4, (b.Dy()+3)/4*4
	if w == b.Dx() && h == b.Dy() {
		return p
	}
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h { // a row or column past the edge shows the edge: draw from a point clamped to the picture
		row := b.Min.Y + min(y, b.Dy()-1)
		draw.Draw(out, image.Rect(0, y, b.Dx(), y+1), p.Image, image.Pt(b.Min.X, row), draw.Src)
		for x := b.Dx(); x < w; x++ {
			draw.Draw(out, image.Rect(x, y, x+1, y+1), p.Image, image.Pt(b.Max.X-1, row), draw.Src)
		}
	}
	return picture.Picture{Name: p.Name, Image: out}
}
