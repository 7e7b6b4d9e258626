package picture

import (
	"encoding/binary"
	"image"
	"math"
	"runtime"
	"sync"
)

// Apply gives every pixel of an opaque picture the colour that the LUT has for it, in 16 bits. It interpolates in tetrahedra (Kasson,
// Nin, Plouffe, Hafner, "Performing color space conversions with three-dimensional linear interpolation", 1995): a cell is cut
// into the six along its grey diagonal, so that greys depend on greys only.
func (c *Cube) Apply(p *image.RGBA) *image.NRGBA64 {
	out := image.NewNRGBA64(image.Rect(0, 0, p.Rect.Dx(), p.Rect.Dy()))
	t := c.lattice(math.MaxUint16)
	bands(p.Rect.Dy(), func(y int) {
		from, to := p.Pix[y*p.Stride:][:4*p.Rect.Dx()], out.Pix[y*out.Stride:]
		for ; len(from) >= 4; from, to = from[4:], to[8:] {
			r, g, b := t.colour(from[0], from[1], from[2])
			binary.BigEndian.PutUint64(to, uint64(r)<<48|uint64(g)<<32|uint64(b)<<16|math.MaxUint16)
		}
	})
	return out
}

// ApplyInPlace is Apply with a result of 8 bits, which takes the place of the pixels of p, as for the frames of a video.
func (c *Cube) ApplyInPlace(p *image.RGBA) {
	t := c.lattice(math.MaxUint8)
	bands(p.Rect.Dy(), func(y int) {
		for row := p.Pix[y*p.Stride:][:4*p.Rect.Dx()]; len(row) >= 4; row = row[4:] {
			r, g, b := t.colour(row[0], row[1], row[2])
			row[0], row[1], row[2] = uint8(r), uint8(g), uint8(b)
		}
	})
}

// bands does every row of a picture of so many, on all cores.
func bands(rows int, do func(y int)) {
	var workers sync.WaitGroup
	n := runtime.GOMAXPROCS(0)
	for w := range n {
		workers.Go(func() {
			for y := rows * w / n; y < rows*(w+1)/n; y++ {
				do(y)
			}
		})
	}
	workers.Wait()
}

// lattice is a LUT made ready for pixels.
type lattice struct {
	nodes [][4]float32      // outputs on a scale whose white is the largest level, and half a level for rounding; the fourth is no value
	place [3][256]placement // of each level of red, green and blue
	step  [3]int32          // from a node to the next in red, green and blue
	white int32
}

// placement is where a level lies between two nodes of an axis.
type placement struct {
	at   int32   // the index of the first
	past float32 // how far it is past that, 0 to 1
}

// lattice makes the LUT ready for levels up to white.
func (c *Cube) lattice(white int32) *lattice {
	n := int32(c.Size)
	t := &lattice{nodes: make([][4]float32, len(c.Nodes)), step: [3]int32{1, n, n * n}, white: white}
	for i, node := range c.Nodes {
		for k, v := range node {
			const far = 100 // times white: what is beyond does not fit the integers that levels are rounded to
			t.nodes[i][k] = min(max(v, -far), far)*float32(white) + 0.5
		}
	}
	for k := range t.place {
		for level := range t.place[k] {
			at := (float64(level)/math.MaxUint8 - float64(c.Min[k])) / (float64(c.Max[k]) - float64(c.Min[k])) * float64(n-1)
			at = min(max(at, 0), float64(n-1))
			first := min(int32(at), n-2)
			t.place[k][level] = placement{first * t.step[k], float32(at - float64(first))}
		}
	}
	return t
}

// colour interpolates in the tetrahedron that the colour lies in. Its corners are the first node of the cell, one step along the
// axis that the colour is furthest past it, one more along the second, and the last node of the cell.
func (t *lattice) colour(red, green, blue uint8) (r, g, b int32) {
	x, y, z := &t.place[0][red], &t.place[1][green], &t.place[2][blue]
	var first, second int32 // the steps to the second and the third corner
	var far, mid, near float32
	switch {
	case x.past > y.past && y.past > z.past:
		first, second, far, mid, near = t.step[0], t.step[0]+t.step[1], x.past, y.past, z.past
	case x.past > y.past && x.past > z.past:
		first, second, far, mid, near = t.step[0], t.step[0]+t.step[2], x.past, z.past, y.past
	case x.past > y.past:
		first, second, far, mid, near = t.step[2], t.step[2]+t.step[0], z.past, x.past, y.past
	case z.past > y.past:
		first, second, far, mid, near = t.step[2], t.step[2]+t.step[1], z.past, y.past, x.past
	case z.past > x.past:
		first, second, far, mid, near = t.step[1], t.step[1]+t.step[2], y.past, z.past, x.past
	default:
		first, second, far, mid, near = t.step[1], t.step[1]+t.step[0], y.past, x.past, z.past
	}
	at := x.at + y.at + z.at
	c0, c1, c2, c3 := &t.nodes[at], &t.nodes[at+first], &t.nodes[at+second], &t.nodes[at+t.step[0]+t.step[1]+t.step[2]]
	w0, w1, w2, w3 := 1-far, far-mid, mid-near, near
	r = min(max(int32(w0*c0[0]+w1*c1[0]+w2*c2[0]+w3*c3[0]), 0), t.white)
	g = min(max(int32(w0*c0[1]+w1*c1[1]+w2*c2[1]+w3*c3[1]), 0), t.white)
	b = min(max(int32(w0*c0[2]+w1*c1[2]+w2*c2[2]+w3*c3[2]), 0), t.white)
	return r, g, b
}
