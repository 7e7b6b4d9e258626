// Package lut finds the 3D LUT that is nearest to a look, which is what a picture has become.
//
//	cube, match, err := lut.Fit(before, after, 33)
//	err = picture.WriteFile("look.cube", cube.Encode())
//
// fit.go finds it, match.go measures how near it comes. [picture.Cube] reads, writes and applies LUTs.
package lut

import (
	"cmp"
	"fmt"
	"image"
	"math"
	"slices"
	"sync"

	"hrlab/picture"

	"golang.org/x/image/draw"
	"gonum.org/v1/gonum/floats"
)

// curvature and slope weigh the two smoothness terms against the mean square error, in which white is 1. On four pairs colours that
// a fit had not seen got worse with more, and hardly better with less. The terms balance at a distance of √(curvature/slope), 15 of
// 255 levels: in a wider gap between colours slope counts more, which does not overshoot.
const curvature, slope = 1e-6, 3e-4

// samples is the largest number of pixels that a fit takes.
const samples = 1 << 18

// Fit returns the LUT with size nodes a side, at least 2, that makes of before what after is, and how near it comes to that. Both are
// sRGB and show the same; the larger one is scaled down to the other. Pictures of different shapes are an error.
//
// The LUT adds a shift to a colour. Its shift has the least mean square error, plus the weighted integrals over the colour cube of its
// squared second and first derivatives: lattice regression (Garcia, Gupta, "Lattice Regression", NIPS 2009), with a thin
// plate under tension for the regulariser. So where no colours were seen the nearest ones say what is added, and equal pictures
// give the identity. The luma of greys rises, or stays, from black to white: where the fit has it fall, those greys get one
// colour, and their neighbours are fitted to it.
func Fit(before, after picture.Picture, size int) (*picture.Cube, Match, error) {
	from, to, err := alike(before, after)
	if err != nil {
		return nil, Match{}, err
	}
	var sizes []int // from few nodes, from where a shift reaches far colours in few iterations
	for n := size; n > 4 || sizes == nil; n = (n + 1) / 2 {
		sizes = append(sizes, n)
	}
	var p problem
	var shifts [3][]float64
	for i, n := range slices.Backward(sizes) {
		p = pose(from, to, n)
		for k := range shifts {
			if shifts[k] == nil {
				shifts[k] = make([]float64, n*n*n)
			} else {
				shifts[k] = finer(shifts[k], sizes[i+1], n)
			}
		}
		p.solve(&shifts)
	}
	c := cube(shifts, size)
	if greys := falling(c); greys != nil {
		p.pin(greys)
		p.solve(&shifts)
		c = cube(shifts, size)
		for i, colour := range greys { // to the last digit
			c.Nodes[grey(i, size)] = colour
		}
	}
	return c, measure(c, from, to), nil
}

// cube is the LUT that adds the shifts.
func cube(shifts [3][]float64, size int) *picture.Cube {
	c := &picture.Cube{Size: size, Max: [3]float32{1, 1, 1}, Nodes: make([][3]float32, size*size*size)}
	for i := range c.Nodes {
		for k, v := range position(i, size) {
			c.Nodes[i][k] = float32(min(max(v+shifts[k][i], 0), 1))
		}
	}
	return c
}

// position is the colour that node i of a lattice with n nodes a side stands for.
func position(i, n int) (colour [3]float64) {
	for k, at := range [3]int{i % n, i / n % n, i / n / n} {
		colour[k] = float64(at) / float64(n-1)
	}
	return colour
}

// grey is the node of the i-th grey from black.
func grey(i, n int) int { return i * (1 + n + n*n) }

// falling finds where the luma of greys falls from one node to the next. It returns greys where it does not, or nil if it falls
// nowhere: the nearest in the mean square (isotonic regression by pooling adjacent violators, Ayer et al. 1955). Those that are
// pooled get the mean of their colours.
func falling(c *picture.Cube) (greys [][3]float32) {
	type pool struct {
		colour [3]float32
		count  int
	}
	var pools []pool
	for i := range c.Size {
		next := pool{c.Nodes[grey(i, c.Size)], 1}
		for n := len(pools); n > 0 && luma(pools[n-1].colour) > luma(next.colour); n-- {
			last := pools[n-1]
			pools, next.count = pools[:n-1], next.count+last.count
			for k, v := range last.colour {
				next.colour[k] += (v - next.colour[k]) * float32(last.count) / float32(next.count)
			}
		}
		pools = append(pools, next)
	}
	if len(pools) == c.Size {
		return nil
	}
	for _, p := range pools {
		greys = append(greys, slices.Repeat([][3]float32{p.colour}, p.count)...)
	}
	return greys
}

// luma is Rec. 601's, of sRGB values.
func luma(v [3]float32) float64 {
	return 0.299*float64(v[0]) + 0.587*float64(v[1]) + 0.114*float64(v[2])
}

// alike scales the larger of two pictures to the size of the other.
func alike(before, after picture.Picture) (from, to *image.RGBA, err error) {
	a, b := before.Bounds().Size(), after.Bounds().Size()
	const rounding = 2 // pixels by which sides may differ where one picture is a scaled copy of the other
	if small := min(a.X, b.X); math.Abs(float64(a.Y)*float64(small)/float64(a.X)-float64(b.Y)*float64(small)/float64(b.X)) > rounding {
		return nil, nil, fmt.Errorf("%s: %dx%d has another shape than %s, %dx%d; allowed: two pictures of the same", after.Name, b.X, b.Y, before.Name, a.X, a.Y)
	}
	size := image.Pt(min(a.X, b.X), min(a.Y, b.Y))
	scaled := func(p picture.Picture) *image.RGBA {
		if p.Bounds().Size() == size {
			return picture.Flatten(p.Image)
		}
		return picture.Scale(p.Image, size.X, size.Y, draw.BiLinear)
	}
	return scaled(before), scaled(after), nil
}

// problem is a least squares problem: equations of the shifts of nodes. Those of smoothness come last and have the targets 0.
type problem struct {
	rows    []row
	targets [3][]float64 // of the first rows, for red, green and blue
}

// row is an equation: the sum of some nodes' shifts, each times its weight, is to equal a target.
type row struct {
	node   [4]int32
	weight [4]float32
}

// of is the sum for these shifts.
func (r *row) of(x []float64) (sum float64) {
	for i, node := range r.node {
		sum += float64(r.weight[i]) * x[node]
	}
	return sum
}

// add adds v, times their weights, to the values of the nodes.
func (r *row) add(v float64, x []float64) {
	for i, node := range r.node {
		x[node] += float64(r.weight[i]) * v
	}
}

// pose makes the problem of a lattice with n nodes a side.
func pose(from, to *image.RGBA, n int) (p problem) {
	w, pixels := from.Rect.Dx(), from.Rect.Dx()*from.Rect.Dy()
	count := min(pixels, samples)
	scale := 1 / math.Sqrt(float64(count)) // for a mean of squares
	for i := range count {
		x, y := i*pixels/count%w, i*pixels/count/w
		before, after := from.Pix[from.PixOffset(x, y):], to.Pix[to.PixOffset(x, y):]
		var colour [3]float64
		for k := range colour {
			colour[k] = float64(before[k]) / math.MaxUint8
			p.targets[k] = append(p.targets[k], scale*(float64(after[k])/math.MaxUint8-colour[k]))
		}
		p.rows = append(p.rows, tetrahedron(colour, n, scale))
	}
	p.rows = append(p.rows, smoothness(n)...)
	return p
}

// pin adds equations that fix the colours of greys, from black. Each weighs as much as all pixels together.
func (p *problem) pin(greys [][3]float32) {
	var rows []row
	var targets [3][]float64
	for i, colour := range greys {
		node := grey(i, len(greys))
		rows = append(rows, row{[4]int32{int32(node)}, [4]float32{1}})
		for k, v := range position(node, len(greys)) {
			targets[k] = append(targets[k], float64(colour[k])-v)
		}
	}
	p.rows = append(rows, p.rows...)
	for k := range targets {
		p.targets[k] = append(targets[k], p.targets[k]...)
	}
}

// solve improves the shifts until they are the solution, one channel beside the other.
func (p *problem) solve(shifts *[3][]float64) {
	var channels sync.WaitGroup
	for k, x := range shifts {
		channels.Go(func() { conjugateGradients(p.rows, p.targets[k], x) })
	}
	channels.Wait()
}

// tetrahedron has the nodes that a colour in [0,1] lies between, with the weights that [picture.Cube.Apply] gives them, times scale.
func tetrahedron(colour [3]float64, n int, scale float64) (r row) {
	first, step := 0, [3]int{1, n, n * n}
	var past [3]float64 // how far it is past the first node of its cell
	for k, v := range colour {
		at := v * float64(n-1)
		i := min(int(at), n-2)
		first, past[k] = first+i*step[k], at-float64(i)
	}
	axes := []int{0, 1, 2}
	slices.SortFunc(axes, func(a, b int) int { return cmp.Compare(past[b], past[a]) })
	before := 1.
	for i, axis := range axes {
		r.node[i], r.weight[i] = int32(first), float32(scale*(before-past[axis]))
		first, before = first+step[axis], past[axis]
	}
	r.node[3], r.weight[3] = int32(first), float32(scale*before)
	return r
}

// smoothness has the equations whose squares sum to the integrals of the squared derivatives. Derivatives are differences between
// nodes that are h apart, and each stands for a volume of h³.
func smoothness(n int) (rows []row) {
	h := 1 / float64(n-1)
	first, second, mixed := float32(math.Sqrt(slope*h)), float32(math.Sqrt(curvature/h)), float32(math.Sqrt(2*curvature/h))
	step := [3]int32{1, int32(n), int32(n * n)}
	for i := range int32(n * n * n) {
		at := [3]int{int(i) % n, int(i) / n % n, int(i) / n / n}
		for k, s := range step {
			if at[k] == n-1 {
				continue
			}
			rows = append(rows, row{[4]int32{i, i + s}, [4]float32{-first, first}})
			if at[k] > 0 {
				rows = append(rows, row{[4]int32{i - s, i, i + s}, [4]float32{second, -2 * second, second}})
			}
			if l := (k + 1) % 3; at[l] < n-1 {
				t := step[l]
				rows = append(rows, row{[4]int32{i, i + s, i + t, i + s + t}, [4]float32{mixed, -mixed, -mixed, mixed}})
			}
		}
	}
	return rows
}

// finer interpolates the shifts of a lattice with m nodes a side at the nodes of one with n.
func finer(shifts []float64, m, n int) []float64 {
	out := make([]float64, n*n*n)
	for i := range out {
		r := tetrahedron(position(i, n), m, 1)
		out[i] = r.of(shifts)
	}
	return out
}

// tolerance is the part of the right side of the normal equations that may be left, in the norm of their preconditioner. With a
// tenth of it no mean ΔE2000 changed by more than 0.01 and no 95 % value by more than 0.06, in five times the time.
const tolerance = 1e-3

// conjugateGradients changes x to the shifts for which the rows come nearest to their targets, those after the given ones being 0: the
// conjugate gradients of the normal equations, preconditioned by their diagonal (Saad, "Iterative Methods for Sparse Linear
// Systems", 2003, algorithm 9.1).
func conjugateGradients(rows []row, targets, x []float64) {
	n := len(x)
	diagonal, right, product := make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range rows {
		r := &rows[i]
		for k, w := range r.weight {
			diagonal[r.node[k]] += float64(w) * float64(w)
		}
		if i < len(targets) {
			r.add(targets[i], right)
		}
	}
	multiply := func(v []float64) {
		clear(product)
		for i := range rows {
			rows[i].add(rows[i].of(v), product)
		}
	}
	multiply(x)
	left, scaled := make([]float64, n), make([]float64, n)
	floats.DivTo(scaled, right, diagonal)
	enough := tolerance * tolerance * floats.Dot(right, scaled)
	floats.SubTo(left, right, product)
	floats.DivTo(scaled, left, diagonal)
	direction := slices.Clone(scaled)
	residual := floats.Dot(left, scaled)
	for range x {
		if residual <= enough {
			break
		}
		multiply(direction)
		length := residual / floats.Dot(direction, product)
		floats.AddScaled(x, length, direction)
		floats.AddScaled(left, -length, product)
		floats.DivTo(scaled, left, diagonal)
		before := residual
		residual = floats.Dot(left, scaled)
		floats.AddScaledTo(direction, scaled, residual/before, direction)
	}
}
