package hrstyle

import (
	"image"

	. "github.com/gomlx/gomlx/core/graph"
)

// Gram says how the Gram matrix FᵀF [C,C] of a feature map F [P,C], of P pixels and C channels, is normalised.
type Gram string

const (
	// GramSum is the paper's: not at all. FᵀF is a sum over pixels, so the sizes of both pictures act as hidden weights.
	GramSum Gram = "sum"
	// GramMean divides by the number of pixels and multiplies by that of a picture of 500x500. So weights mean the same at
	// every size, namely what they mean with GramSum where both pictures are 500x500. With GramSum, a style picture of
	// another size than the output's acts as a StyleGain: its number of pixels divided by the output's.
	GramMean Gram = "mean"
)

// layerPixels is the number of pixels that the map of StyleLayers[layer] has for a w x h picture. There are as many max pools
// before it as layer says, and each halves both sides, rounding down.
func layerPixels(layer, w, h int) float64 { return float64((w >> layer) * (h >> layer)) }

// pixels is the number that a term of the style loss is divided by: that of the map's own pixels for GramSum, that of a
// 500x500 picture for GramMean.
func (mode Gram) pixels(layer int, own float64) float64 {
	if mode == GramMean {
		return layerPixels(layer, 500, 500)
	}
	return own
}

// scale is the factor that turns a map's FᵀF into mode's Gram matrix. own is the map's number of pixels.
func (mode Gram) scale(layer int, own float64) float64 { return mode.pixels(layer, own) / own }

// gram is FᵀF [C,C] of the map F [1,H,W,C].
func gram(m *Node) *Node {
	f := Reshape(m, -1, m.Shape().Dim(3)) // [P,C]
	return Einsum("pc,pd->cd", f, f)
}

// targetScales are the factors of a pair's style targets, for a style picture of this size. Gram and StyleGain are in them,
// not in the targets on the device, which are plain FᵀF. So a fit with another Gram or gain shares the targets.
func (c Config) targetScales(style image.Point) (scales [len(StyleLayers)]float64) {
	for i := range scales {
		scales[i] = c.StyleGain * c.Gram.scale(i, layerPixels(i, style.X, style.Y))
	}
	return scales
}

// scaled multiplies every target by its own factor of scales [5].
func scaled(targets []*Node, scales *Node) (list []*Node) {
	for i, t := range targets {
		list = append(list, Mul(t, Reshape(SliceAxis(scales, 0, AxisRange(i, i+1)))))
	}
	return list
}

// contentLoss is the mean squared difference of two maps (arXiv 1904.11617, equation 2, with PyTorch's mean).
func contentLoss(m, target *Node) *Node { return ReduceAllMean(Square(Sub(m, target))) }

// styleLoss is Σ wₗ·mean((Gₗ − Sₗ)²)/(C·P) over StyleLayers (equations 3 and 4, as the authors' code normalises them):
// P is the map's own number of pixels for GramSum, that of a 500x500 picture for GramMean. targets are the Sₗ [C,C],
// weights is [5].
func styleLoss(maps map[string]*Node, targets []*Node, weights *Node, mode Gram) *Node {
	var terms []*Node
	for i, name := range StyleLayers {
		m := maps[name]
		own := float64(m.Shape().Dim(1) * m.Shape().Dim(2))
		d := Sub(MulScalar(gram(m), mode.scale(i, own)), targets[i])
		terms = append(terms, styleTerm(d, mode.pixels(i, own)))
	}
	return ReduceAllSum(Mul(weights, Stack(terms, 0)))
}

// styleTerm is mean(D²)/(C·P) of a difference D of Gram matrices [C,C].
func styleTerm(d *Node, p float64) *Node {
	return DivScalar(ReduceAllMean(Square(d)), float64(d.Shape().Dim(0))*p)
}
