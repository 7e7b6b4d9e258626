package picture

import (
	"encoding/binary"
	"image"
	"math"
	"slices"
)

// Blend mixes out, a changed copy of a picture, with the picture from itself, which has its size: strength 0 leaves from, 1 leaves out
// as it is. It mixes light, which is linear, and not sRGB's values, so that a mean of black and white is as bright as both together.
func Blend(out *image.NRGBA64, from image.Image, strength float64) {
	if strength == 1 {
		return
	}
	pixels := Flatten(bare(from))
	var light [256]float64
	for v := range light {
		light[v] = srgbCurve(float64(v) / 255)
	}
	w, h := out.Rect.Dx(), out.Rect.Dy()
	for y := range h {
		to, row := out.Pix[y*out.Stride:], pixels.Pix[y*pixels.Stride:]
		for i := range 4 * w {
			if i%4 == 3 {
				continue
			}
			v := strength*srgbCurve(float64(binary.BigEndian.Uint16(to[2*i:]))/math.MaxUint16) + (1-strength)*light[row[i]]
			binary.BigEndian.PutUint16(to[2*i:], uint16(math.Round(math.MaxUint16*fromLinear(v))))
		}
	}
}

// Blended returns the LUT that does what Blend does with the outputs of c: at every node it mixes the output with the colour of the
// node itself.
func (c *Cube) Blended(strength float64) *Cube {
	mixed := *c
	mixed.Nodes = slices.Clone(c.Nodes)
	if strength == 1 {
		return &mixed
	}
	shown := func(v float64) float64 { return srgbCurve(min(max(v, 0), 1)) }
	for i := range mixed.Nodes {
		for channel, at := range [3]int{i % c.Size, i / c.Size % c.Size, i / c.Size / c.Size} {
			low, high := float64(c.Min[channel]), float64(c.Max[channel])
			from := low + (high-low)*float64(at)/float64(c.Size-1)
			v := &mixed.Nodes[i][channel]
			*v = float32(fromLinear(strength*shown(float64(*v)) + (1-strength)*shown(from)))
		}
	}
	return &mixed
}
