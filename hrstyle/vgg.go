package hrstyle

import (
	"fmt"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
)

type vggLayer struct {
	name  string
	index int
	out   int
	pool  bool
	rms   float64
}

// tensor is the name of the layer's weight or bias in files.
func (l vggLayer) tensor(part string) string { return fmt.Sprintf("features.%d.%s", l.index, part) }

// vgg19 lists VGG19's convolutions up to conv5_1 (Simonyan and Zisserman, arXiv 1409.1556, table 1, column E), each
// 3x3 with zero padding 1 and a ReLU; pool says that a 2x2 max pool comes before. index is torchvision's, rms the root
// mean square of the map after ReLU over photographs, which random filters are scaled to.
var vgg19 = []vggLayer{
	{"conv1_1", 0, 64, false, 0.33},
	{"conv1_2", 2, 64, false, 1.48},
	{"conv2_1", 5, 128, true, 1.18},
	{"conv2_2", 7, 128, false, 1.48},
	{"conv3_1", 10, 256, true, 1.57},
	{"conv3_2", 12, 256, false, 1.74},
	{"conv3_3", 14, 256, false, 3.04},
	{"conv3_4", 16, 256, false, 5.30},
	{"conv4_1", 19, 512, true, 5.30},
	{"conv4_2", 21, 512, false, 4.25},
	{"conv4_3", 23, 512, false, 2.55},
	{"conv4_4", 25, 512, false, 0.95},
	{"conv5_1", 28, 512, true, 0.69},
}

// contentLayer is the map that the content loss compares; StyleLayers are those of the style loss.
const contentLayer = "conv4_2"

// StyleLayers names the maps that the style loss compares, in the order of Config.LayerWeights.
var StyleLayers = [5]string{"conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"}

// vggGraph builds VGG19 and its gradient. The gradient is written by hand, because automatic differentiation would flip and
// transpose 11 million weights in every step. Here that is done once, by prepareVGG.
type vggGraph struct {
	kernels, flipped, biases []*Node // [3,3,in,out], [3,3,out,in], [out]
	native                   bool    // see Engine.native

	maps    map[string]*Node // every map after its ReLU
	relus   []backward       // in the order of vgg19
	pooling []backward       // in the order of vgg19; nil where there is no pool
}

// prepareVGG turns kernels [out,in,3,3] into those of vggGraph, in the order of its fields.
func prepareVGG(kernels []*Node) (prepared []*Node) {
	for _, k := range kernels {
		prepared = append(prepared, TransposeAllAxes(k, 2, 3, 1, 0))
	}
	for _, k := range kernels {
		prepared = append(prepared, Reverse(TransposeAllAxes(k, 2, 3, 0, 1), 0, 1))
	}
	return prepared
}

// forward computes the maps of a normalised picture [1,H,W,3].
func (v *vggGraph) forward(x *Node) {
	v.maps, v.relus, v.pooling = map[string]*Node{}, make([]backward, len(vgg19)), make([]backward, len(vgg19))
	for i, l := range vgg19 {
		if l.pool {
			x, v.pooling[i] = maxPool(x)
		}
		x, v.relus[i] = relu(Add(convolve(x, v.kernels[i], 1, v.native), Reshape(v.biases[i], 1, 1, 1, -1)))
		v.maps[l.name] = x
	}
}

// backward returns the gradient of a loss with respect to the picture, given its gradients with respect to the maps.
func (v *vggGraph) backward(gradients map[string]*Node) (d *Node) {
	for i, l := range slices.Backward(vgg19) {
		if own := gradients[l.name]; own != nil {
			d = plus(d, own)
		}
		d = convolveBackward(v.relus[i](d), v.flipped[i], v.native)
		if v.pooling[i] != nil {
			d = v.pooling[i](d)
		}
	}
	return d
}

// vggGraph makes the graph of VGG19 from the inputs that prepare made.
func (e *Engine) vggGraph(inputs []*Node) *vggGraph {
	n := len(inputs) / 3
	return &vggGraph{kernels: inputs[:n], flipped: inputs[n : 2*n], biases: inputs[2*n:], native: e.native()}
}
