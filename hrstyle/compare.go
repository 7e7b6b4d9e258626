package hrstyle

import (
	"errors"
	"fmt"
	"image"
	"image/color"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// Losses are the unweighted losses of a picture.
type Losses struct{ Content, Style float64 }

// Compare returns the losses that each picture would have as an output of pair, under GramMean and the layer weights of
// Default: numbers that can be compared whatever the settings of a fit were. Pair and pictures are taken at their own
// sizes (see [Pair.Fitted]); pictures must be of the content picture's.
func (e *Engine) Compare(pair Pair, pictures ...Picture) ([]Losses, error) {
	if e.VGG == nil {
		return nil, errors.New("this engine was opened without VGG19 weights (vgg none): it cannot compare")
	}
	size := pair.Content.Bounds().Size()
	x, y := pair.Content.normalised(), pair.Style.normalised()
	var list []Losses
	err := try("comparing", func() {
		placed := e.placePair(GramMean, pairDigest(pair, x, y), x, y, pair.sizes())
		fixed := []any{upload(e, Default.LayerWeights[:], len(StyleLayers))}
		for _, t := range placed.fixed[1:] { // without the content picture
			fixed = append(fixed, t)
		}
		exec := e.exec("losses", func(in []*Node) []*Node {
			vgg := e.vggGraph(in[8:])
			vgg.forward(in[0])
			return []*Node{Stack([]*Node{contentLoss(vgg.maps[contentLayer], in[2]), styleLoss(vgg.maps, in[3:8], in[1], GramMean)}, 0)}
		})
		for _, p := range pictures {
			if p.Bounds().Size() != size {
				panic(fmt.Errorf("%s: %v; it must be %v as the content picture", p.Name, p.Bounds().Size(), size))
			}
			picture := upload(e, p.normalised(), 1, size.Y, size.X, 3)
			out := exec.MustCall(append(append([]any{picture}, fixed...), e.prepared...)...)
			values := download[float64](out[0])
			list = append(list, Losses{values[0], values[1]})
			free(picture, out[0])
		}
		free(fixed[0].(*tensors.Tensor))
	})
	return list, err
}

// baseline is what Baseline found for a pair.
type baseline struct {
	key           string // of the pair
	content, grey Losses
}

// Baseline is what [Engine.Compare] says of the content picture itself and of a flat grey one (sRGB 128): what the losses of
// an output are to be seen against. It is computed once for the fits of a pair that follow each other.
func (e *Engine) Baseline(pair Pair) (content, grey Losses, err error) {
	key := pair.Content.Digest() + pair.Style.Digest()
	if e.baseline.key != key {
		flat := bounded{image.NewUniform(color.Gray{128}), pair.Content.Bounds()}
		losses, err := e.Compare(pair, pair.Content, Picture{Name: "grey", Image: flat})
		if err != nil {
			return content, grey, err
		}
		e.baseline = baseline{key, losses[0], losses[1]}
	}
	return e.baseline.content, e.baseline.grey, nil
}

// bounded is a part of an image without bounds.
type bounded struct {
	image.Image
	rect image.Rectangle
}

func (b bounded) Bounds() image.Rectangle { return b.rect }
