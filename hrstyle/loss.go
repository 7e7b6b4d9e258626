package hrstyle

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// Gram says how the Gram matrix of a map F [P,C] is taken.
type Gram string

const (
	// GramSum is the paper's: FᵀF, a sum over pixels, so that the sizes of both pictures act as hidden weights.
	GramSum Gram = "sum"
	// GramMean divides by the number of pixels and scales to a picture of 500x500: weights mean the same at every
	// size, and the same as GramSum's where both pictures are 500x500.
	GramMean Gram = "mean"
)

// referencePixels is the number of pixels of a map after so many pools, were the picture 500x500.
func referencePixels(pools int) float64 {
	side := 500 >> pools
	return float64(side * side)
}

// pixels of a map [1,H,W,C].
func pixels(m *Node) float64 { return float64(m.Shape().Dim(1) * m.Shape().Dim(2)) }

// gram is the Gram matrix [C,C] of the map [1,H,W,C] of StyleLayers[layer]; there are layer pools before it.
func gram(m *Node, layer int, mode Gram) *Node {
	f := Reshape(m, -1, m.Shape().Dim(3)) // [P,C]
	g := Einsum("pc,pd->cd", f, f)
	if mode == GramMean {
		g = MulScalar(g, referencePixels(layer)/pixels(m))
	}
	return g
}

// contentLoss is the mean squared difference of two maps (arXiv 1904.11617, equation 2, with PyTorch's mean).
func contentLoss(m, target *Node) *Node { return ReduceAllMean(Square(Sub(m, target))) }

// styleLoss is Σ wₗ·mean((Gₗ − Sₗ)²)/(C·P) over StyleLayers (equations 3 and 4, as the authors' code normalises them):
// P is the map's own number of pixels for GramSum, that of a 500x500 picture for GramMean. weights is [5].
func styleLoss(maps map[string]*Node, targets []*Node, weights *Node, mode Gram) *Node {
	var terms []*Node
	for i, name := range StyleLayers {
		m := maps[name]
		p := pixels(m)
		if mode == GramMean {
			p = referencePixels(i)
		}
		d := ReduceAllMean(Square(Sub(gram(m, i, mode), targets[i])))
		terms = append(terms, DivScalar(d, float64(m.Shape().Dim(3))*p))
	}
	return ReduceAllSum(Mul(weights, Stack(terms, 0)))
}
