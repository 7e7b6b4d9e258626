package lut

import (
	"image"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"hrlab/picture"

	"gonum.org/v1/gonum/mat"
)

// made is a picture of 64x48 pixels whose colours a function gives, and what they become by another.
func made(colour func() [3]float64, look func([3]float64) [3]float64) (before, after picture.Picture) {
	set := func(p []uint8, c [3]float64) {
		for k, v := range c {
			p[k] = uint8(math.Round(255 * min(max(v, 0), 1)))
		}
		p[3] = 255
	}
	from, to := image.NewRGBA(image.Rect(0, 0, 64, 48)), image.NewRGBA(image.Rect(0, 0, 64, 48))
	for i := 0; i < len(from.Pix); i += 4 {
		c := colour()
		set(from.Pix[i:], c)
		for k := range c {
			c[k] = float64(from.Pix[i+k]) / 255
		}
		set(to.Pix[i:], look(c))
	}
	return picture.Picture{Name: "before", Image: from}, picture.Picture{Name: "after", Image: to}
}

// The pictures that the tests are on: everywhere in the colour cube, near greys, greys with a gap, greys of the middle, one hue.
func palettes() map[string]func() [3]float64 {
	r := rand.New(rand.NewPCG(1, 2))
	grey := func(v float64) [3]float64 { return [3]float64{v, v, v} }
	return map[string]func() [3]float64{
		"all": func() [3]float64 { return [3]float64{r.Float64(), r.Float64(), r.Float64()} },
		"near greys": func() [3]float64 {
			v := r.Float64()
			return [3]float64{v + r.NormFloat64()/20, v + r.NormFloat64()/20, v + r.NormFloat64()/20}
		},
		"gap":    func() [3]float64 { return grey(r.Float64()/4 + 0.75*float64(r.IntN(2))) },
		"middle": func() [3]float64 { return grey(0.25 + r.Float64()/2) },
		"warm":   func() [3]float64 { v := r.Float64(); return [3]float64{v, 0.7 * v, 0.4 * v} },
	}
}

// each is a look that is a curve for every channel.
func each(curve func(float64) float64) func([3]float64) [3]float64 {
	return func(c [3]float64) [3]float64 { return [3]float64{curve(c[0]), curve(c[1]), curve(c[2])} }
}

// Equal pictures give the LUT that changes nothing.
func TestIdentity(t *testing.T) {
	for name, palette := range palettes() {
		before, after := made(palette, each(func(v float64) float64 { return v }))
		for _, size := range []int{2, 3, 17, 33, 36} {
			c, match, err := Fit(before, after, size)
			if err != nil || match != (Match{}) || match.Rest() != 0 {
				t.Fatalf("%s, size %d: %+v, %v", name, size, match, err)
			}
			for i, node := range c.Nodes {
				for k, v := range position(i, size) {
					if math.Abs(float64(node[k])-v) > 1e-6 {
						t.Fatalf("%s, size %d: node %d is %v", name, size, i, node)
					}
				}
			}
		}
	}
}

// Greys get no darker from black to white, whatever the look, in 16 bits: also where no greys were seen, and where the look turns
// them over. A curve that rises is kept.
func TestGreys(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	ramp := image.NewRGBA(image.Rect(0, 0, 256, 1))
	for i := range ramp.Pix {
		ramp.Pix[i] = uint8(i/4) | uint8(i%4/3*255)
	}
	for name, look := range map[string]func([3]float64) [3]float64{
		"gamma 0.4": each(func(v float64) float64 { return math.Pow(v, 0.4) }),
		"gamma 3":   each(func(v float64) float64 { return v * v * v }),
		"s":         each(func(v float64) float64 { return 1 / (1 + math.Exp(6-12*v)) }),
		"step":      each(func(v float64) float64 { return 0.2 + 0.6*math.Round(v) }),
		"flat":      each(func(float64) float64 { return 0.5 }),
		"noise":     each(func(v float64) float64 { return v + r.NormFloat64()/20 }),
		"wave":      each(func(v float64) float64 { return v + math.Sin(20*v)/8 }),
	} {
		for of, palette := range palettes() {
			before, after := made(palette, look)
			c, match, err := Fit(before, after, 17)
			if err != nil {
				t.Fatal(err)
			}
			out, highest := c.Apply(ramp), 0.
			for x := range 256 {
				v := out.NRGBA64At(x, 0)
				level := luma([3]float32{float32(v.R), float32(v.G), float32(v.B)})
				if level < highest-1 { // each channel was rounded
					t.Errorf("%s of %s: grey %d falls from %.1f to %.1f of 65535", name, of, x, highest, level)
				}
				highest = max(highest, level)
			}
			if limit := map[string]float64{"gamma 0.4": 1.5, "gamma 3": 1.5, "s": 1.5}[name]; limit > 0 && match.Mean > limit {
				t.Errorf("%s of %s: ΔE2000 %.2f", name, of, match.Mean)
			}
		}
	}
}

// A look that depends on the colour only is found. Of colours that were not seen none gets a larger shift than those that were.
func TestUnseen(t *testing.T) {
	warm := func(c [3]float64) [3]float64 {
		return [3]float64{0.1 + 0.85*math.Pow(c[0], 0.8), 0.9 * c[1], 0.15 + 0.6*c[2] + 0.1*c[0]}
	}
	for name, palette := range palettes() {
		before, after := made(palette, warm)
		c, match, err := Fit(before, after, 33)
		if err != nil || match.Mean > 1 || match.Rest() > 0.1 {
			t.Errorf("%s: %+v, %v", name, match, err)
		}
		var seen, most [3]float64
		from, to := before.Image.(*image.RGBA), after.Image.(*image.RGBA)
		for i := range from.Pix {
			if k := i % 4; k < 3 {
				seen[k] = max(seen[k], math.Abs(float64(to.Pix[i])-float64(from.Pix[i]))/255)
			}
		}
		for i, node := range c.Nodes {
			for k, v := range position(i, 33) {
				most[k] = max(most[k], math.Abs(float64(node[k])-v))
			}
		}
		for k := range most {
			if most[k] > 1.25*seen[k] {
				t.Errorf("%s: a shift of %.3f, of %.3f seen", name, most[k], seen[k])
			}
		}
	}
}

// The solution is that of gonum's QR decomposition, to two levels of 8 bits at nodes that no colour is near.
func TestSolution(t *testing.T) {
	before, after := made(palettes()["near greys"], each(math.Sqrt))
	const n = 4
	p := pose(before.Image.(*image.RGBA), after.Image.(*image.RGBA), n)
	var got [3][]float64
	for k := range got {
		got[k] = make([]float64, n*n*n)
	}
	p.solve(&got)
	a, b := mat.NewDense(len(p.rows), n*n*n, nil), mat.NewDense(len(p.rows), 3, nil)
	for i, r := range p.rows {
		for k, w := range r.weight {
			a.Set(i, int(r.node[k]), a.At(i, int(r.node[k]))+float64(w))
		}
	}
	for k, targets := range p.targets {
		for i, v := range targets {
			b.Set(i, k, v)
		}
	}
	var want mat.Dense
	if err := want.Solve(a, b); err != nil {
		t.Fatal(err)
	}
	for k := range got {
		for i, v := range got[k] {
			if math.Abs(v-want.At(i, k)) > 2./255 {
				t.Errorf("channel %d, node %d: %.5f, want %.5f", k, i, v, want.At(i, k))
			}
		}
	}
}

// A fit takes the nodes and weights that a LUT is applied with.
func TestTetrahedron(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	const n = 6
	c := &picture.Cube{Size: n, Max: [3]float32{1, 1, 1}, Nodes: make([][3]float32, n*n*n)}
	for i := range c.Nodes {
		c.Nodes[i] = [3]float32{r.Float32(), r.Float32(), r.Float32()}
	}
	before, _ := made(palettes()["all"], each(math.Sqrt))
	p := before.Image.(*image.RGBA)
	out := c.Apply(p)
	for i := 0; i < len(p.Pix); i += 4 {
		var colour [3]float64
		for k := range colour {
			colour[k] = float64(p.Pix[i+k]) / 255
		}
		sum := 0.
		at := tetrahedron(colour, n, 1)
		for k, node := range at.node {
			sum += float64(at.weight[k]) * float64(c.Nodes[node][0])
		}
		if got := float64(out.NRGBA64At(i/4%64, i/4/64).R) / 65535; math.Abs(got-sum) > 1e-4 {
			t.Fatalf("%v: %v by the fit, %v applied", colour, sum, got)
		}
	}
}

// Pictures of one shape are scaled to the smaller; others are refused.
func TestShapes(t *testing.T) {
	of := func(name string, w, h int) picture.Picture {
		return picture.Picture{Name: name, Image: image.NewRGBA(image.Rect(0, 0, w, h))}
	}
	for _, sizes := range [][4]int{{500, 333, 1000, 667}, {1000, 667, 500, 333}, {64, 48, 64, 48}, {6000, 500, 160, 12}} {
		if _, _, err := alike(of("a", sizes[0], sizes[1]), of("b", sizes[2], sizes[3])); err != nil {
			t.Errorf("%v: %v", sizes, err)
		}
	}
	_, _, err := Fit(of("a.png", 64, 48), of("b.png", 48, 64), 17)
	if want := "b.png: 48x64 has another shape than a.png, 64x48; allowed: two pictures of the same"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// The same pictures give the same LUT.
func TestAgain(t *testing.T) {
	before, after := made(palettes()["all"], each(func(v float64) float64 { return v + math.Sin(20*v)/8 }))
	a, _, errA := Fit(before, after, 17)
	b, _, errB := Fit(before, after, 17)
	if errA != nil || errB != nil || !slices.Equal(a.Nodes, b.Nodes) {
		t.Errorf("differ: %v, %v", errA, errB)
	}
}
