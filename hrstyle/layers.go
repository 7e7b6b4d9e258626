package hrstyle

import (
	"math"
	"slices"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// backward is the other half of a layer: it takes the gradient of the loss with respect to the layer's output, and returns that
// with respect to its input (the vector-Jacobian product). Each stands under its forward.
type backward func(d *Node) *Node

// relu is max(x, 0) with gradient 0 at 0, as PyTorch has it; GoMLX's Max has gradient 1 there.
func relu(x *Node) (y *Node, back backward) {
	y = Where(positive(x), x, ZerosLike(x))
	return y, func(d *Node) *Node { return Where(positive(y), d, ZerosLike(d)) }
}

func positive(x *Node) *Node { return GreaterThan(x, ScalarZero(x.Graph(), x.DType())) }

// channels concatenates maps along the channel axis.
func channels(maps ...*Node) *Node { return Concatenate(maps, -1) }

// split takes a map apart, into its first n channels and the others.
func split(m *Node, n int) (first, others *Node) {
	return SliceAxis(m, -1, AxisRange(0, n)), SliceAxis(m, -1, AxisRange(n))
}

// pointwise multiplies the channels of every pixel by kernel, a 1x1 convolution: [1,H,W,in] -> [1,H,W,out]. All axes of kernel
// but the last are flattened into in.
func pointwise(x, kernel *Node) *Node {
	dims := slices.Clone(x.Shape().Dimensions)
	dims[3] = kernel.Shape().Dim(-1)
	return Reshape(Einsum("pi,io->po", pixels(x), Reshape(kernel, -1, dims[3])), dims...)
}

// pointwiseBackward are the gradients of pointwise with respect to x and kernel [in,out]: dx = d·kernelᵀ and xᵀ·d.
func pointwiseBackward(x, kernel, d *Node) (dx, dkernel *Node) {
	return Reshape(Einsum("po,io->pi", pixels(d), kernel), x.Shape().Dimensions...), Einsum("pi,po->io", pixels(x), pixels(d))
}

// pixels is a map [1,H,W,C] as a matrix [P,C].
func pixels(x *Node) *Node { return Reshape(x, -1, x.Shape().Dim(3)) }

// pixelMean is the mean of every channel of a map [1,H,W,C] over its pixels: [1,C]. It is a matrix product, because XLA:CPU's
// sums over the outer axes of an array are slow.
func pixelMean(x *Node) *Node {
	f := pixels(x)
	p := f.Shape().Dim(0)
	return Einsum("ap,pc->ac", MulScalar(Ones(x.Graph(), shapes.Make(x.DType(), 1, p)), 1/float64(p)), f)
}

// convolve is a convolution with kernel [k,k,in,out], 1x1 or 3x3 with zero padding 1, without bias. It is the backend's own
// operation, or a matrix product of patches where that is not fast.
func convolve(x, kernel *Node, stride int, native bool) *Node {
	pad := kernel.Shape().Dim(0) / 2
	if native {
		return Convolve(x, kernel).Strides(stride).PaddingPerDim([][2]int{{pad, pad}, {pad, pad}}).Done()
	}
	if pad > 0 {
		x = patches(x, stride)
	}
	return pointwise(x, kernel)
}

// convolveBackward is the gradient of convolve with stride 1 with respect to x, given the gradient d with respect to its
// result: dx = d * flipped, where flipped is the kernel turned by 180°, with in and out exchanged.
func convolveBackward(d, flipped *Node, native bool) *Node { return convolve(d, flipped, 1, native) }

// patches gathers the 3x3 neighbourhood of every stride-th pixel ("im2col"), with zeros around the picture:
// [1,H,W,C] -> [1,H/stride,W/stride,9C], in the order of a [3,3,C,out] kernel.
func patches(x *Node, stride int) *Node {
	taps := func(x *Node, axis int) [3]*Node { // what the kernel's three rows (or columns) see
		n := x.Shape().Dim(axis)
		edge := x.Shape().Clone()
		edge.Dimensions[axis] = 1
		zero := Zeros(x.Graph(), shapes.Make(x.DType(), edge.Dimensions...))
		padded := Concatenate([]*Node{zero, x, zero}, axis)
		var out [3]*Node
		for k := range out {
			out[k] = SliceAxis(padded, axis, AxisRange(k, k+n-stride+1).Stride(stride))
		}
		return out
	}
	var parts []*Node
	for _, rows := range taps(x, 1) {
		columns := taps(rows, 2)
		parts = append(parts, columns[:]...)
	}
	return channels(parts...)
}

// normEps is added to the variance by an instance norm.
const normEps = 1e-5

// norms are the statistics of a generator's instance norms, in the order in which they are taken: of every norm the means and
// the variances of its channels. They are those of the norms' own inputs, unless they are given. With given ones every output
// depends only on what is near it, so that a picture can be done in tiles. That has no backward: fits are done without.
type norms struct {
	given *Node   // all of them, one after the other, or nil
	taken []*Node // so far, [channels] each
	next  int     // where the next begins in given
}

// statistic returns the next statistic of so many channels, [1,channels]: what measure returns, or the one given.
func (s *norms) statistic(channels int, measure func() *Node) *Node {
	var value *Node
	if s.given == nil {
		value = Reshape(measure(), channels)
	} else {
		value = SliceAxis(s.given, 0, AxisRange(s.next, s.next+channels))
	}
	s.taken, s.next = append(s.taken, value), s.next+channels
	return Reshape(value, 1, channels)
}

// all are the statistics taken, one after the other.
func (s *norms) all() *Node { return Concatenate(s.taken, 0) }

// centred takes the mean off every channel of a map [1,H,W,C].
func (s *norms) centred(x *Node) *Node {
	mean := s.statistic(x.Shape().Dim(3), func() *Node { return pixelMean(x) })
	return Sub(x, Reshape(mean, 1, 1, 1, -1))
}

// inverseDeviation is 1/√(variance + eps), against a division by zero.
func inverseDeviation(variance *Node) *Node { return Inverse(Sqrt(AddScalar(variance, normEps))) }

// affine is the scale γ and the shift β, [channels] each, that follow an instance norm. A nil one stands for γ = 1 and β = 0.
type affine struct{ scale, shift *Node }

// scaled multiplies v, whose last axis has the channels, by γ.
func (a *affine) scaled(v *Node) *Node {
	if a == nil {
		return v
	}
	return Mul(v, ExpandLeftToRank(a.scale, v.Rank()))
}

// shifted adds β to v.
func (a *affine) shifted(v *Node) *Node {
	if a == nil {
		return v
	}
	return Add(v, ExpandLeftToRank(a.shift, v.Rank()))
}

// instanceNorm gives every channel mean 0 and (biased) variance 1 over its pixels (Ulyanov, Vedaldi, Lempitsky,
// arXiv 1607.08022), and then the scale and shift of a, whose gradients are da: y = γ·n + β.
func instanceNorm(x *Node, s *norms, a *affine) (y *Node, back func(d *Node) (dx *Node, da affine)) {
	x = s.centred(x)
	r := inverseDeviation(s.statistic(x.Shape().Dim(3), func() *Node { return pixelMean(Square(x)) }))
	n := Mul(x, Reshape(r, 1, 1, 1, -1))
	return a.shifted(a.scaled(n)), func(d *Node) (dx *Node, da affine) {
		// dx = γ·r·(d − m − n·t) with m = mean(d) and t = mean(d·n); dγ = P·t and dβ = P·m.
		m, t := pixelMean(d), pixelMean(Mul(d, n))
		dx = Mul(Reshape(a.scaled(r), 1, 1, 1, -1), Sub(Sub(d, Reshape(m, 1, 1, 1, -1)), Mul(n, Reshape(t, 1, 1, 1, -1))))
		return dx, a.gradients(t, m, x)
	}
}

// gradients are those of a, dγ = P·t and dβ = P·m, for the means t and m, [1,channels] each, over the P pixels of x. They are nil
// where a is.
func (a *affine) gradients(t, m, x *Node) affine {
	if a == nil {
		return affine{}
	}
	p := float64(x.Shape().Dim(1) * x.Shape().Dim(2))
	return affine{Reshape(MulScalar(t, p), -1), Reshape(MulScalar(m, p), -1)}
}

// pointwiseNorm is the instance norm of a 1x1 convolution, for x [1,H,W,in] and w [in,out], with the scale and shift of a:
// y = γ·n + β, where n = c·w·r with the centred input c = x − mean(x) and r [1,out] = 1/√(variance of x·w + eps). That variance
// follows from the covariance K [in,in] of x: it is wᵀKw. So norm and scale are a scale of the kernel, q = w·r·γ. Neither x·w is
// stored nor a sum over it made. K is made of c, because x·x minus the product of means has no digits left where there is little
// contrast.
func pointwiseNorm(x, w *Node, s *norms, a *affine) (y *Node, back func(d *Node) (dx, dw *Node, da affine)) {
	x = s.centred(x)
	c, p := pixels(x), float64(x.Shape().Dim(1)*x.Shape().Dim(2))
	covariance := DivScalar(Einsum("pi,pj->ij", c, c), p)
	r := inverseDeviation(s.statistic(w.Shape().Dim(1), func() *Node {
		variance := ReduceAndKeep(Mul(w, Einsum("ij,jo->io", covariance, w)), ReduceSum, 0)
		return Where(positive(variance), variance, ZerosLike(variance)) // rounding may leave it below 0
	}))
	k := Mul(w, r)
	q := a.scaled(k)
	return a.shifted(pointwise(x, q)), func(d *Node) (dx, dw *Node, da affine) {
		// dx = dz·wᵀ and dw = cᵀ·dz with dz = γ·r·(d − m − n·t), m = mean(d), t = mean(d·n) and n = c·k; dγ = P·t and dβ = P·m.
		m, cd := pixelMean(d), DivScalar(Einsum("pi,po->io", c, pixels(d)), p)
		t := ReduceAndKeep(Mul(k, cd), ReduceSum, 0)
		kt := Mul(k, t)
		dx = Sub(Einsum("po,io->pi", pixels(d), q), Einsum("pi,ij->pj", c, Einsum("io,jo->ij", kt, q)))
		dx = Sub(dx, Einsum("ao,io->ai", m, q))
		dw = MulScalar(Mul(a.scaled(r), Sub(cd, Einsum("ij,jo->io", covariance, kt))), p)
		return Reshape(dx, x.Shape().Dimensions...), dw, a.gradients(t, m, x)
	}
}

// upsample enlarges H and W by factor (2 or 4), bilinearly, with pixel centres at half-integers ("align_corners =
// False"). Written as weighted sums of shifted maps: GoMLX's Interpolate has wrong gradients on the pure Go backend
// and panics on short axes.
func upsample(x *Node, factor int) (y *Node, back backward) {
	axes := []int{2, 1}
	y = x
	for _, axis := range axes {
		y = upsampleAxis(y, axis, factor)
	}
	return y, func(d *Node) *Node {
		for _, axis := range axes {
			d = upsampleAxisBackward(d, axis, factor)
		}
		return d
	}
}

// upsampleAxis makes factor pixels of each along an axis. Each lies between its own pixel, weight 1−|shift|, and the one before or
// after that, weight |shift|; past the ends the last pixel is repeated.
func upsampleAxis(x *Node, axis, factor int) *Node {
	n := x.Shape().Dim(axis)
	before := Concatenate([]*Node{SliceAxis(x, axis, AxisRange(0, 1)), SliceAxis(x, axis, AxisRange(0, n-1))}, axis)
	after := Concatenate([]*Node{SliceAxis(x, axis, AxisRange(1, n)), SliceAxis(x, axis, AxisRange(n-1, n))}, axis)
	var phases []*Node
	for k := range factor {
		neighbour, shift := after, upsampleShift(k, factor)
		if shift < 0 {
			neighbour = before
		}
		phases = append(phases, Add(MulScalar(x, 1-math.Abs(shift)), MulScalar(neighbour, math.Abs(shift))))
	}
	dims := slices.Clone(x.Shape().Dimensions)
	dims[axis] *= factor
	return Reshape(Stack(phases, axis+1), dims...)
}

// upsampleAxisBackward is the transpose: every pixel gathers what it gave to its own pixels, to those after it (whose "before" it
// is) and to those before it; an end also gathers what its repetition gave.
func upsampleAxisBackward(d *Node, axis, factor int) *Node {
	dims := slices.Clone(d.Shape().Dimensions)
	n := dims[axis] / factor
	dims[axis] = n
	phases := Reshape(d, slices.Insert(slices.Clone(dims), axis+1, factor)...)
	var own, before, after *Node
	for k := range factor {
		phase, shift := Reshape(SliceAxis(phases, axis+1, AxisRange(k, k+1)), dims...), upsampleShift(k, factor)
		own = plus(own, MulScalar(phase, 1-math.Abs(shift)))
		if shift < 0 {
			before = plus(before, MulScalar(phase, -shift))
		} else {
			after = plus(after, MulScalar(phase, shift))
		}
	}
	fromAfter := Concatenate([]*Node{SliceAxis(before, axis, AxisRange(1, n)), SliceAxis(after, axis, AxisRange(n-1, n))}, axis)
	fromBefore := Concatenate([]*Node{SliceAxis(before, axis, AxisRange(0, 1)), SliceAxis(after, axis, AxisRange(0, n-1))}, axis)
	return Add(own, Add(fromAfter, fromBefore))
}

// upsampleShift is where new pixel k of factor lies against the centre of the old one, in old pixels.
func upsampleShift(k, factor int) float64 { return (float64(k)+0.5)/float64(factor) - 0.5 }

// plus is a + b, where a may be nil.
func plus(a, b *Node) *Node {
	if a == nil {
		return b
	}
	return Add(a, b)
}

// maxPool is a 2x2 maximum with stride 2, which drops an odd last row or column: [1,H,W,C] -> [1,H/2,W/2,C]. Written as maxima
// of pairs, it is faster than GoMLX's MaxPool and takes far less memory, as does its gradient. Pairs are an axis of their
// own, because the gradient of a slice with a stride is slow.
func maxPool(x *Node) (y *Node, back backward) {
	y = x
	for _, axis := range []int{1, 2} {
		dims := slices.Clone(y.Shape().Dimensions)
		dims[axis] /= 2
		pairs := Reshape(SliceAxis(y, axis, AxisRange(0, 2*dims[axis])), slices.Insert(slices.Clone(dims), axis+1, 2)...)
		even := Reshape(SliceAxis(pairs, axis+1, AxisRange(0, 1)), dims...)
		odd := Reshape(SliceAxis(pairs, axis+1, AxisRange(1, 2)), dims...)
		y = Where(GreaterThan(odd, even), odd, even)
	}
	return y, func(d *Node) *Node { return autoBackward(y, d, x)[0] }
}

// autoBackward is the gradient with respect to inputs by automatic differentiation, given the gradient d with respect to y. It
// serves where a backward by hand brings nothing: max pools, and 3x3 convolutions whose kernel changes.
func autoBackward(y, d *Node, inputs ...*Node) []*Node {
	return Gradient(ReduceAllSum(Mul(y, StopGradient(d))), inputs...)
}
