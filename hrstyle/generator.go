package hrstyle

import (
	"math"
	"math/rand/v2"

	. "github.com/gomlx/gomlx/core/graph"
)

// Dimension letters of this package: H and W are the sides of a picture or map, C its channels, P = H·W its pixels.
// Pictures and maps are [1,H,W,C], kernels [3,3,in,out] in graphs and [out,in,3,3] (PyTorch's order) in files.

// hrnet lists the generator's layers: a bottleneck block or a plain 3x3 convolution.
// "High-Resolution Network for Photorealistic Style Transfer" (arXiv 1904.11617), section 3.1 and figure 3.
var hrnet = []struct {
	name            string
	block           bool
	in, out, stride int
}{
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

// parameter is a tensor of the generator and its place in the flat vector of all of them.
type parameter struct {
	name       string
	shape      []int // [out,in,k,k] for a weight, [out] for a bias
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

// generator builds HRNet, and keeps every layer's output by name.
type generator struct {
	parameters map[string]*Node
	layers     map[string]*Node
	native     bool // see Engine.native
}

// newGenerator splits the flat vector [parameterCount] into parameters.
func (e *Engine) newGenerator(flat *Node) *generator {
	g := &generator{map[string]*Node{}, map[string]*Node{}, e.native()}
	for _, p := range parameters {
		g.parameters[p.name] = Reshape(SliceAxis(flat, 0, AxisRange(p.begin, p.end)), p.shape...)
	}
	return g
}

// gradient returns the gradient of loss with respect to the flat vector.
func (g *generator) gradient(loss *Node) *Node {
	var nodes []*Node
	for _, p := range parameters {
		nodes = append(nodes, g.parameters[p.name])
	}
	nodes = Gradient(loss, nodes...)
	for i, n := range nodes {
		nodes[i] = Reshape(n, -1)
	}
	return Concatenate(nodes, 0)
}

// generate turns a normalised content picture [1,H,W,3] into a normalised picture of the same size; H and W are
// multiples of 4.
func (g *generator) generate(x *Node) *Node {
	m1 := g.layer("1_1", x)                                                         // [1,H,W,16]
	full, half := g.layer("2_1", m1), g.layer("2_2", m1)                            // [1,H,W,32] [1,H/2,W/2,32]
	full4 := channels(g.layer("3_1", full), upsample(half, 2))                      // [1,H,W,64]
	half4 := channels(g.layer("3_3", full), g.layer("3_2", half))                   // [1,H/2,W/2,64]
	quarter4 := channels(g.layer("3_4", full), g.layer("3_5", half))                // [1,H/4,W/4,64]
	y := channels(g.layer("4_1", full4), upsample(half4, 2), upsample(quarter4, 4)) // [1,H,W,192]
	y = g.layer("5_1", y)                                                           // [1,H,W,64]
	y = g.layer("6_1", y)                                                           // [1,H,W,32]
	y = g.layer("7_1", y)                                                           // [1,H,W,16]
	return g.layer("8_1", y)                                                        // [1,H,W,3]
}

// layer applies the layer of hrnet called name.
func (g *generator) layer(name string, x *Node) *Node {
	for _, l := range hrnet {
		if l.name != name {
			continue
		}
		y := x
		if l.block {
			y = relu(instanceNorm(g.conv(name+".reduce", y, 1)))
			y = relu(instanceNorm(g.conv(name+".spatial", y, 1)))
			y = relu(instanceNorm(g.conv(name+".expand", y, 1)))
			if l.in != l.out {
				x = instanceNorm(g.conv(name+".shortcut", x, 1))
			}
			y = relu(Add(y, x))
		} else {
			y = g.conv(name, y, l.stride)
		}
		g.layers[name] = y
		return y
	}
	panic("no layer " + name)
}

// conv is a convolution with bias, 1x1 or 3x3 with zero padding 1.
func (g *generator) conv(name string, x *Node, stride int) *Node {
	weight, bias := g.parameters[name+".weight"], g.parameters[name+".bias"]
	kernel := TransposeAllAxes(weight, 2, 3, 1, 0) // [k,k,in,out]
	return Add(convolve(x, kernel, stride, g.native), Reshape(bias, 1, 1, 1, -1))
}
