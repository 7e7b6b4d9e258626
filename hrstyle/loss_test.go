package hrstyle

import (
	"image"
	"math"
	"testing"

	"hrlab/hrstyle/device"
	"hrlab/hrstyle/sample"
	"hrlab/picture"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

// With both pictures at 500x500 the two kinds of Gram matrix give one style loss.
func TestGramMeanEqualsSumAt500(t *testing.T) {
	e := openTest(t, device.CPU, dtypes.Float64, openGolden(t, "golden_32x32").vgg())
	e.prepare()
	content, style := picture.Picture{Image: sample.Content(500, 500)}, picture.Picture{Image: sample.Style(500, 500)}
	var losses []float64
	for _, mode := range []Gram{GramSum, GramMean} {
		out := MustNewExec(e.Device.Backend, func(in []*Node) []*Node {
			of := func(x *Node) map[string]*Node {
				v := e.vggGraph(in[2:])
				v.forward(x)
				return v.maps
			}
			var targets []*Node
			maps := of(in[1])
			c := Config{Gram: mode, StyleGain: 1}
			for i, name := range StyleLayers {
				targets = append(targets, MulScalar(gram(maps[name]), c.targetScales(image.Pt(500, 500))[i]))
			}
			return []*Node{styleLoss(of(in[0]), targets, Const(in[0].Graph(), Default.LayerWeights[:]), mode)}
		}).MustCall(append([]any{upload(e, normalised(content), 1, 500, 500, 3), upload(e, normalised(style), 1, 500, 500, 3)}, e.prepared...)...)
		losses = append(losses, download[float64](out[0])[0])
	}
	if !(math.Abs(losses[0]-losses[1]) <= 1e-9*losses[0]) {
		t.Errorf("sum %g, mean %g", losses[0], losses[1])
	}
}

// With GramMean the style picture's size is no hidden weight.
func TestGramMeanKeepsItsScale(t *testing.T) {
	pair, c := small()
	e := smallEngine(t, device.Go)
	c.Steps = 0
	style := func(gram Gram, size int) float64 {
		c.Gram, c.StyleSize = gram, size
		s, err := Last(e.Fit(t.Context(), pair, c))
		if err != nil {
			t.Fatal(err)
		}
		return s.Style
	}
	if a, b := style(GramMean, 32), style(GramMean, 64); a/b > 2 || b/a > 2 {
		t.Errorf("mean: %g with a style picture of 32 px, %g with 64", a, b)
	}
	if a, b := style(GramSum, 32), style(GramSum, 64); b/a < 4 {
		t.Errorf("sum: %g with a style picture of 32 px, %g with 64: the test shows nothing", a, b)
	}
}
