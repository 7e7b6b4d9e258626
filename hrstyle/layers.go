package hrstyle

import (
	"slices"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// relu is max(x, 0) with gradient 0 at 0, as PyTorch has it; GoMLX's Max has gradient 1 there.
func relu(x *Node) *Node { return Where(positive(x), x, ZerosLike(x)) }

// reluBackward is the gradient with respect to x, given y = relu(x) and the gradient d with respect to y: d where y > 0.
func reluBackward(y, d *Node) *Node { return Where(positive(y), d, ZerosLike(d)) }

func positive(x *Node) *Node { return GreaterThan(x, ScalarZero(x.Graph(), x.DType())) }

// channels concatenates maps along the channel axis.
func channels(maps ...*Node) *Node { return Concatenate(maps, -1) }

// pointwise multiplies the channels of every pixel by kernel, a 1x1 convolution: [1,H,W,in] -> [1,H,W,out]. All axes of kernel
// but the last are flattened into in.
func pointwise(x, kernel *Node) *Node {
	out := kernel.Shape().Dim(-1)
	return Einsum("bhwi,io->bhwo", x, Reshape(kernel, -1, out))
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

// instanceNorm gives every channel mean 0 and (biased) variance 1 over its pixels: no affine part, eps 1e-5
// (Ulyanov, Vedaldi, Lempitsky, arXiv 1607.08022). It has no Rsqrt because GoMLX cannot differentiate that.
func instanceNorm(x *Node) *Node {
	pixels := float64(x.Shape().Dim(1) * x.Shape().Dim(2))
	mean := func(x *Node) *Node {
		return DivScalar(ReduceAndKeep(x, ReduceSum, 1, 2), pixels)
	}
	x = Sub(x, mean(x))
	return Div(x, Sqrt(AddScalar(mean(Square(x)), 1e-5)))
}

// upsample enlarges H and W by factor (2 or 4), bilinearly, with pixel centres at half-integers ("align_corners =
// False"). Written as weighted sums of shifted maps: GoMLX's Interpolate has wrong gradients on the pure Go backend
// and panics on short axes.
func upsample(x *Node, factor int) *Node {
	for _, axis := range []int{2, 1} {
		n := x.Shape().Dim(axis)
		first, last := SliceAxis(x, axis, AxisRange(0, 1)), SliceAxis(x, axis, AxisRange(n-1, n))
		before := Concatenate([]*Node{first, SliceAxis(x, axis, AxisRange(0, n-1))}, axis)
		after := Concatenate([]*Node{SliceAxis(x, axis, AxisRange(1, n)), last}, axis)
		var phases []*Node
		for k := range factor {
			shift := (float64(k)+0.5)/float64(factor) - 0.5 // of the new pixel against the old one, in old pixels
			neighbour := after
			if shift < 0 {
				neighbour, shift = before, -shift
			}
			phases = append(phases, Add(MulScalar(x, 1-shift), MulScalar(neighbour, shift)))
		}
		dims := x.Shape().Clone().Dimensions
		dims[axis] *= factor
		x = Reshape(Stack(phases, axis+1), dims...)
	}
	return x
}

// maxPool is a 2x2 maximum with stride 2, which drops an odd last row or column: [1,H,W,C] -> [1,H/2,W/2,C]. Written as maxima
// of pairs, it is faster than GoMLX's MaxPool and takes far less memory, as does its gradient. Pairs are an axis of their
// own, because the gradient of a slice with a stride is slow.
func maxPool(x *Node) *Node {
	for _, axis := range []int{1, 2} {
		dims := slices.Clone(x.Shape().Dimensions)
		dims[axis] /= 2
		pairs := Reshape(SliceAxis(x, axis, AxisRange(0, 2*dims[axis])), slices.Insert(slices.Clone(dims), axis+1, 2)...)
		even := Reshape(SliceAxis(pairs, axis+1, AxisRange(0, 1)), dims...)
		odd := Reshape(SliceAxis(pairs, axis+1, AxisRange(1, 2)), dims...)
		x = Where(GreaterThan(odd, even), odd, even)
	}
	return x
}

// maxPoolBackward is the gradient with respect to x, given y = maxPool(x) and the gradient d with respect to y.
func maxPoolBackward(x, y, d *Node) *Node {
	return Gradient(ReduceAllSum(Mul(y, StopGradient(d))), x)[0]
}
