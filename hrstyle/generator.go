package hrstyle

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	. "github.com/gomlx/gomlx/core/graph"
)

// Dimension letters of this package: H and W are the sides of a picture or map, C its channels, P = H·W its pixels.
// Pictures and maps are [1,H,W,C], kernels [3,3,in,out] in graphs and [out,in,3,3] (PyTorch's order) in files.

// layer is one of the generator's layers: a bottleneck block or a plain 3x3 convolution, with so many channels in and out.
type layer struct {
	name            string
	block           bool
	in, out, stride int
}

// hrnet lists the generator's layers.
// "High-Resolution Network for Photorealistic Style Transfer" (arXiv 1904.11617), section 3.1 and figure 3.
var hrnet = []layer{
	{"1_1", true, 3, 16, 1},
	{"2_1", true, 16, 32, 1},
	{"2_2", false, 16, 32, 2},
	{"3_1", true, 32, 32, 1},
	{"3_2", true, 32, 32, 1},
	{"3_3", false, 32, 32, 2},
	{"3_4", false, 32, 32, 4},
	{"3_5", false, 32, 32, 2},
	{"4_1", true, 64, 64, 1},
	{"5_1", true, 192, 64, 1},
	{"6_1", true, 64, 32, 1},
	{"7_1", true, 32, 16, 1},
	{"8_1", false, 16, 3, 1},
}

// hrnetLayer is the layer of hrnet called name.
func hrnetLayer(name string) layer {
	return hrnet[slices.IndexFunc(hrnet, func(l layer) bool { return l.name == name })]
}

// parameter is a tensor of the generator and its place in the flat vector of all of them.
type parameter struct {
	name       string
	shape      []int // [out,in,k,k] for a weight, [out] for a bias, a scale and a shift, [1] for the gate
	begin, end int
	fanIn      int
}

// parameters lists the generator's tensors in the order of the flat vector; they hold parameterCount values.
var parameters, parameterCount = func() (list []parameter, n int) {
	conv := func(name string, in, out, k int) {
		weight := parameter{name + ".weight", []int{out, in, k, k}, n, n + out*in*k*k, in * k * k}
		bias := parameter{name + ".bias", []int{out}, weight.end, weight.end + out, in * k * k}
		list, n = append(list, weight, bias), bias.end
	}
	for _, l := range hrnet {
		if !l.block {
			conv(l.name, l.in, l.out, 3)
			continue
		}
		mid := l.out / 4
		conv(l.name+".reduce", l.in, mid, 1)
		conv(l.name+".spatial", mid, mid, 3)
		conv(l.name+".expand", mid, l.out, 1)
		if l.in != l.out {
			conv(l.name+".shortcut", l.in, l.out, 1)
		}
	}
	return list, n
}()

// gatedParameters are those of a generator that a weight map gives: parameters, and after them the scale and shift of every
// instance norm, and the gate, see generate. They hold gatedCount values.
var gatedParameters, gatedCount = func() (list []parameter, n int) {
	list, n = slices.Clone(parameters), parameterCount
	add := func(name string, size int) {
		list = append(list, parameter{name: name, shape: []int{size}, begin: n, end: n + size})
		n += size
	}
	for _, p := range parameters {
		conv, isBias := strings.CutSuffix(p.name, ".bias")
		if layer, _, inBlock := strings.Cut(conv, "."); isBias && inBlock && hrnetLayer(layer).block {
			add(conv+".scale", p.shape[0])
			add(conv+".shift", p.shape[0])
		}
	}
	add(gate, 1)
	return list, n
}()

// gate is the name of the parameter that blends the output with the content picture.
const gate = "gate"

// layout lists the tensors of a flat vector of n values: of a plain generator, of a gated one, or of a weight map.
func layout(n int) []parameter {
	switch n {
	case parameterCount:
		return parameters
	case gatedCount:
		return gatedParameters
	}
	return mapParameters((n - gatedCount) / knotCount)
}

// initialParameters draws the flat vector from seed: uniform in ±1/√fan_in, weights and biases alike (PyTorch's
// default for convolutions). It is drawn on the host, so that every device starts from the same values.
func initialParameters(seed int64) []float32 {
	random := rand.New(rand.NewPCG(uint64(seed), 0)) //nolint:gosec // reproducible on purpose
	flat := make([]float32, 0, parameterCount)
	for _, p := range parameters {
		bound := 1 / math.Sqrt(float64(p.fanIn))
		for range p.end - p.begin {
			flat = append(flat, float32((2*random.Float64()-1)*bound))
		}
	}
	return flat
}

// generator builds HRNet. Every layer is a pair of forward and backward, as those of layers.go.
type generator struct {
	parameters map[string]*Node
	gradients  map[string]*Node // of the loss with respect to parameters, once the backward has run
	layers     map[string]*Node // every layer's output
	norms      *norms
	native     bool // see Engine.native
}

// newGenerator splits the flat vector, [parameterCount] or [gatedCount], into parameters.
func (e *Engine) newGenerator(flat *Node) *generator {
	g := &generator{map[string]*Node{}, map[string]*Node{}, map[string]*Node{}, &norms{}, e.native()}
	for _, p := range layout(flat.Shape().Dim(0)) {
		g.parameters[p.name] = Reshape(SliceAxis(flat, 0, AxisRange(p.begin, p.end)), p.shape...)
	}
	return g
}

// generate turns a normalised content picture [1,H,W,3] into a normalised picture of the same size; H and W are
// multiples of 4. back takes the gradient with respect to that picture, and returns that with respect to the flat vector.
//
// A gated generator returns a·x + (1−a)·net with a = sigmoid(gate): where content weighs most, the picture itself is better than
// what a fit reaches.
func (g *generator) generate(x *Node) (picture *Node, back func(d *Node) *Node) {
	net, backNet := g.network(x)
	if g.parameters[gate] == nil {
		return net, func(d *Node) *Node { backNet(d); return g.gradient() }
	}
	a := Sigmoid(Reshape(g.parameters[gate], 1, 1, 1, 1))
	rest := OneMinus(a)
	return Add(Mul(a, x), Mul(rest, net)), func(d *Node) *Node { // dnet = (1−a)·d and dgate = a·(1−a)·Σ d·(x − net)
		g.gradients[gate] = Mul(Mul(a, rest), ReduceAllSum(Mul(d, Sub(x, net))))
		backNet(Mul(rest, d))
		return g.gradient()
	}
}

// network is HRNet. back leaves the gradients of the parameters in g.gradients.
func (g *generator) network(x *Node) (picture *Node, back func(d *Node)) {
	m1, back11 := g.layer("1_1", x)                      // [1,H,W,16]
	full, back21 := g.layer("2_1", m1)                   // [1,H,W,32]
	half, back22 := g.layer("2_2", m1)                   // [1,H/2,W/2,32]
	up, backUp := upsample(half, 2)                      // [1,H,W,32]
	full3, back31 := g.layer("3_1", full)                // [1,H,W,32]
	half3, back32 := g.layer("3_2", half)                // [1,H/2,W/2,32]
	down3, back33 := g.layer("3_3", full)                // [1,H/2,W/2,32]
	quarter3, back34 := g.layer("3_4", full)             // [1,H/4,W/4,32]
	down4, back35 := g.layer("3_5", half)                // [1,H/4,W/4,32]
	full4, back41 := g.layer("4_1", channels(full3, up)) // [1,H,W,64]
	half4, quarter4 := channels(down3, half3), channels(quarter3, down4)
	y, back51 := g.block("5_1", full4, half4, quarter4) // [1,H,W,64], of the two upsampled beside full4
	y, back61 := g.layer("6_1", y)                      // [1,H,W,32]
	y, back71 := g.layer("7_1", y)                      // [1,H,W,16]
	y, back81 := g.layer("8_1", y)                      // [1,H,W,3]
	return y, func(d *Node) {
		d4 := back51(back61(back71(back81(d))))
		d31, dUp := split(back41(d4[0]), 32)
		d33, d32 := split(d4[1], 32)
		d34, d35 := split(d4[2], 32)
		dFull := Add(Add(back31(d31), back33(d33)), back34(d34))
		dHalf := Add(Add(backUp(dUp), back32(d32)), back35(d35))
		back11(Add(back21(dFull), back22(dHalf)))
	}
}

// gradient gathers the parameters' gradients in one flat vector. That of a bias before an instance norm is zero: the norm takes
// the bias away again, so it is not even added.
func (g *generator) gradient() *Node {
	list := parameters
	if g.parameters[gate] != nil {
		list = gatedParameters
	}
	var nodes []*Node
	for _, p := range list {
		d, ok := g.gradients[p.name]
		if !ok {
			d = ZerosLike(g.parameters[p.name])
		}
		nodes = append(nodes, Reshape(d, -1))
	}
	return Concatenate(nodes, 0)
}

// layer applies the layer of hrnet called name.
func (g *generator) layer(name string, x *Node) (y *Node, back backward) {
	l := hrnetLayer(name)
	if l.block {
		y, backBlock := g.block(name, x)
		return y, func(d *Node) *Node { return backBlock(d)[0] }
	}
	y, backConv := g.conv(name, x, l.stride)
	y = Add(y, Reshape(g.parameters[name+".bias"], 1, 1, 1, -1))
	g.layers[name] = y
	return y, func(d *Node) *Node {
		g.gradients[name+".bias"] = MulScalar(pixelMean(d), float64(d.Shape().Dim(1)*d.Shape().Dim(2)))
		return backConv(d)
	}
}

// block is a bottleneck block: a 1x1 convolution to a quarter of the channels, a 3x3, and a 1x1 to all of them, each with instance
// norm and ReLU. Beside them goes a shortcut, through a 1x1 convolution with instance norm where the number of channels changes.
func (g *generator) block(name string, maps ...*Node) (y *Node, back func(d *Node) []*Node) {
	l := hrnetLayer(name)
	first, shortcut := []string{name + ".reduce"}, maps[0]
	if l.in != l.out {
		first = append(first, name+".shortcut")
	}
	z, backFirst := g.convNorm(first, maps...)
	if l.in != l.out {
		z, shortcut = split(z, l.out/4)
	}
	z, backReduced := relu(z)
	z, backSpatial := g.conv(name+".spatial", z, 1)
	z, backNorm := g.norm([]string{name + ".spatial"}, z)
	z, backReLU := relu(z)
	z, backExpand := g.convNorm([]string{name + ".expand"}, z)
	z, backExpanded := relu(z)
	y, backSum := relu(Add(z, shortcut))
	g.layers[name] = y
	return y, func(d *Node) []*Node {
		dShortcut := backSum(d)
		d = backReduced(backSpatial(backNorm(backReLU(backExpand(backExpanded(dShortcut))[0]))))
		if l.in != l.out {
			return backFirst(channels(d, dShortcut))
		}
		gradients := backFirst(d)
		gradients[0] = Add(gradients[0], dShortcut)
		return gradients
	}
}

// convNorm applies the 1x1 convolutions called names, each with instance norm, to the concatenation of maps, and concatenates what
// they give. Maps of fewer pixels than the first are upsampled. That commutes with a 1x1 convolution, and a convolution of a
// concatenation is the sum of those of its parts: so each map is convolved at its own size.
func (g *generator) convNorm(names []string, maps ...*Node) (n *Node, back func(d *Node) []*Node) {
	var rows []*Node
	for _, name := range names {
		weight := g.parameters[name+".weight"] // [out,in,1,1]
		rows = append(rows, Reshape(weight, weight.Shape().Dim(0), -1))
	}
	kernel := Transpose(Concatenate(rows, 0), 0, 1) // [in,out]
	if len(maps) == 1 {
		n, backNorm := pointwiseNorm(maps[0], kernel, g.norms, g.affine(names))
		return n, func(d *Node) []*Node {
			dx, dkernel, da := backNorm(d)
			g.keep(names, dkernel)
			g.keepAffine(names, da)
			return []*Node{dx}
		}
	}
	var kernels []*Node
	var ups []backward
	begin := 0
	for _, m := range maps {
		end := begin + m.Shape().Dim(3)
		k := SliceAxis(kernel, 0, AxisRange(begin, end))
		part, up := pointwise(m, k), backward(func(d *Node) *Node { return d })
		if factor := maps[0].Shape().Dim(1) / m.Shape().Dim(1); factor > 1 {
			part, up = upsample(part, factor)
		}
		n, kernels, ups, begin = plus(n, part), append(kernels, k), append(ups, up), end
	}
	n, backNorm := g.norm(names, n)
	return n, func(d *Node) []*Node {
		d = backNorm(d)
		var dmaps, dkernels []*Node
		for i, m := range maps {
			dm, dk := pointwiseBackward(m, kernels[i], ups[i](d))
			dmaps, dkernels = append(dmaps, dm), append(dkernels, dk)
		}
		g.keep(names, Concatenate(dkernels, 0))
		return dmaps
	}
}

// keep keeps the gradient [in,out] of the kernels of the 1x1 convolutions called names, which lie side by side in it.
func (g *generator) keep(names []string, dkernel *Node) {
	rows, begin := Transpose(dkernel, 0, 1), 0
	for _, name := range names {
		shape := g.parameters[name+".weight"].Shape()
		end := begin + shape.Dim(0)
		g.gradients[name+".weight"] = Reshape(SliceAxis(rows, 0, AxisRange(begin, end)), shape.Dimensions...)
		begin = end
	}
}

// norm is the instance norm, with scale and shift where g has them, of what the convolutions called names give, side by side.
func (g *generator) norm(names []string, x *Node) (n *Node, back backward) {
	n, backNorm := instanceNorm(x, g.norms, g.affine(names))
	return n, func(d *Node) *Node {
		dx, da := backNorm(d)
		g.keepAffine(names, da)
		return dx
	}
}

// affine are scale and shift of the norms after the convolutions called names, side by side; nil where g is a plain generator.
func (g *generator) affine(names []string) *affine {
	if g.parameters[gate] == nil {
		return nil
	}
	var scales, shifts []*Node
	for _, name := range names {
		scales, shifts = append(scales, g.parameters[name+".scale"]), append(shifts, g.parameters[name+".shift"])
	}
	return &affine{Concatenate(scales, 0), Concatenate(shifts, 0)}
}

// keepAffine keeps the gradients of what affine returns.
func (g *generator) keepAffine(names []string, d affine) {
	if d.scale == nil {
		return
	}
	begin := 0
	for _, name := range names {
		end := begin + g.parameters[name+".scale"].Shape().Dim(0)
		g.gradients[name+".scale"] = SliceAxis(d.scale, 0, AxisRange(begin, end))
		g.gradients[name+".shift"] = SliceAxis(d.shift, 0, AxisRange(begin, end))
		begin = end
	}
}

// conv is a 3x3 convolution with zero padding 1, without its bias.
func (g *generator) conv(name string, x *Node, stride int) (y *Node, back backward) {
	weight := g.parameters[name+".weight"]
	kernel := TransposeAllAxes(weight, 2, 3, 1, 0) // [3,3,in,out]
	y = convolve(x, kernel, stride, g.native)
	return y, func(d *Node) *Node {
		gradients := autoBackward(y, d, x, kernel)
		g.gradients[name+".weight"] = TransposeAllAxes(gradients[1], 3, 2, 0, 1)
		return gradients[0]
	}
}
