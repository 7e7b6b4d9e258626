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
	t := c.lattice()
	bands(p.Rect.Dy(), func(y int) {
		from, to := p.Pix[y*p.Stride:][:4*p.Rect.Dx()], out.Pix[y*out.Stride:]
		for ; len(from) >= 4; from, to = from[4:], to[8:] {
			r, g, b := t.colour(from[0], from[1], from[2])
			binary.BigEndian.PutUint64(to, uint64(r)<<48|uint64(g)<<32|uint64(b)<<16|math.MaxUint16)
		}
	})
	return out
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
	nodes [][4]float32      // outputs in levels of 16 bits, and half a level for rounding; the fourth is no value
	place [3][256]placement // of each level of red, green and blue
	path  [8][4]int32       // for each order of the three distances, from the first node of a cell to the corners of the tetrahedron
}

// placement is where a level lies between two nodes of an axis.
type placement struct {
	at   int32 // the index of the first
	past int32 // the bits of a float32: how far it is past that, 0 to 1; as integers they have the same order
}

// lattice makes the LUT ready for pixels.
func (c *Cube) lattice() *lattice {
	n := int32(c.Size)
	red, green, blue := int32(1), n, n*n
	t := &lattice{nodes: make([][4]float32, len(c.Nodes))}
	for order, axes := range [8][2]int32{
		0b000: {blue, green}, 0b001: {blue, red}, 0b010: {green, blue}, 0b110: {green, red}, 0b101: {red, blue}, 0b111: {red, green},
	} {
		t.path[order] = [4]int32{0, axes[0], axes[0] + axes[1], red + green + blue}
	}
	for i, node := range c.Nodes {
		for k, v := range node {
			const far = 100 // times white: what is beyond does not fit the integers that levels are rounded to
			t.nodes[i][k] = min(max(v, -far), far)*math.MaxUint16 + 0.5
		}
	}
	for k := range t.place {
		for level := range t.place[k] {
			at := (float64(level)/math.MaxUint8 - float64(c.Min[k])) / (float64(c.Max[k]) - float64(c.Min[k])) * float64(n-1)
			at = min(max(at, 0), float64(n-1))
			first := min(int32(at), n-2)
			t.place[k][level] = placement{first * [3]int32{red, green, blue}[k], int32(math.Float32bits(float32(at - float64(first))))}
		}
	}
	return t
}

// colour interpolates in the tetrahedron that the colour lies in. Its corners are the first node of the cell, one step along the
// axis that the colour is furthest past it, one more along the second, and the last node of the cell. It has no branches,
// since nobody can foresee which tetrahedron is next.
func (t *lattice) colour(red, green, blue uint8) (r, g, b int32) {
	x, y, z := &t.place[0][red], &t.place[1][green], &t.place[2][blue]
	far, near := max(x.past, y.past, z.past), min(x.past, y.past, z.past)
	mid := x.past ^ y.past ^ z.past ^ far ^ near
	order := uint32(y.past-x.past)>>31 | uint32(z.past-y.past)>>31<<1 | uint32(z.past-x.past)>>31<<2 // red before green, green before blue, red before blue
	path := &t.path[order]
	at := x.at + y.at + z.at
	c0, c1, c2, c3 := &t.nodes[at], &t.nodes[at+path[1]], &t.nodes[at+path[2]], &t.nodes[at+path[3]]
	a, m, w3 := math.Float32frombits(uint32(far)), math.Float32frombits(uint32(mid)), math.Float32frombits(uint32(near))
	w0, w1, w2 := 1-a, a-m, m-w3
	r = min(max(int32(w0*c0[0]+w1*c1[0]+w2*c2[0]+w3*c3[0]), 0), math.MaxUint16)
	g = min(max(int32(w0*c0[1]+w1*c1[1]+w2*c2[1]+w3*c3[1]), 0), math.MaxUint16)
	b = min(max(int32(w0*c0[2]+w1*c1[2]+w2*c2[2]+w3*c3[2]), 0), math.MaxUint16)
	return r, g, b
}
