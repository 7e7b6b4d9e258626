package hrstyle

import (
	"errors"
	"fmt"
	"image"
	"image/color"

	"hrlab/picture"

	. "github.com/gomlx/gomlx/core/graph"
)

// Losses are the unweighted losses of a picture.
type Losses struct{ Content, Style float64 }

// Compare returns the losses that each picture would have as the output of a fit of pair with GramMean, a StyleGain of 1 and
// the layer weights of Default. They can be compared between fits, whatever the settings of these were. Nothing is scaled
// (see [Pair.Fitted]), and pictures must have the size of the content picture.
func (e *Engine) Compare(pair Pair, pictures ...picture.Picture) ([]Losses, error) {
	losses, _, err := e.compare(pair, pictures...)
	return losses, err
}

// compare is Compare. It also returns zero, the losses of feature maps that are zero everywhere.
func (e *Engine) compare(pair Pair, pictures ...picture.Picture) (list []Losses, zero Losses, err error) {
	if e.VGG == nil {
		return nil, zero, errors.New("this engine was opened without VGG19 weights (vgg none): it cannot compare")
	}
	size := pair.Content.Bounds().Size()
	x, y := normalised(pair.Content), normalised(pair.Style)
	err = try("comparing", func() {
		placed := e.placePair(pairDigest(pair, x, y), x, y, pair.sizes())
		scales := Default.targetScales(pair.Style.Bounds().Size())
		weights := upload(e, Default.LayerWeights[:], len(StyleLayers))
		factors := upload(e, scales[:], len(StyleLayers))
		fixed := []any{weights, factors}
		for _, t := range placed.fixed[1:] { // without the content picture
			fixed = append(fixed, t)
		}
		fixed = append(fixed, e.prepared...)
		for _, p := range pictures {
			if p.Bounds().Size() != size {
				panic(fmt.Errorf("%s: %v; it must be %v as the content picture", p.Name, p.Bounds().Size(), size))
			}
			picture := upload(e, normalised(p), 1, size.Y, size.X, 3)
			out := e.call("losses", e.lossesGraph, append([]any{picture}, fixed...)...)
			values := download[float64](out[0])
			list, zero = append(list, Losses{values[0], values[1]}), Losses{values[2], values[3]}
			free(picture, out[0])
		}
		free(weights, factors)
	})
	return list, zero, err
}

// lossesGraph returns the content and style loss of a picture, and those of feature maps that are zero everywhere.
func (e *Engine) lossesGraph(in []*Node) []*Node {
	picture, weights, map4_2, targets, vgg := in[0], in[1], in[3], scaled(in[4:9], in[2]), e.vggGraph(in[9:])
	vgg.forward(picture)
	var zero []*Node
	for i, t := range targets {
		zero = append(zero, styleTerm(t, GramMean.pixels(i, 0)))
	}
	return []*Node{Stack([]*Node{
		contentLoss(vgg.maps[contentLayer], map4_2), styleLoss(vgg.maps, targets, weights, GramMean),
		ReduceAllMean(Square(map4_2)), ReduceAllSum(Mul(weights, Stack(zero, 0))),
	}, 0)}
}

// Baseline holds losses of a pair to set those of its outputs against, all as [Engine.Compare] has them.
type Baseline struct {
	Content Losses // of the content picture itself
	Grey    Losses // of a flat grey picture, sRGB 128
	Zero    Losses // of feature maps that are zero everywhere: the mean square of the pair's own maps and Gram matrices

	pair string // its digest
}

// Baseline returns the baseline of a pair. That of the last pair is kept, so that a sweep computes it once.
func (e *Engine) Baseline(pair Pair) (Baseline, error) {
	digest := pair.Content.Digest() + pair.Style.Digest()
	if e.baseline.pair != digest {
		flat := bounded{image.NewUniform(color.Gray{128}), pair.Content.Bounds()}
		losses, zero, err := e.compare(pair, pair.Content, picture.Picture{Name: "grey", Image: flat})
		if err != nil {
			return Baseline{}, err
		}
		e.baseline = Baseline{losses[0], losses[1], zero, digest}
	}
	return e.baseline, nil
}

// bounded gives bounds to an image that has none, such as image.Uniform.
type bounded struct {
	image.Image
	rect image.Rectangle
}

func (b bounded) Bounds() image.Rectangle { return b.rect }
