package hrstyle

import (
	"math"
	"strings"
	"testing"

	"hrlab/hrstyle/device"
	"hrlab/hrstyle/sample"
	"hrlab/picture"
)

// Compare gives what the formulas give for the maps and Gram matrices that a fit's targets are made of.
func TestCompare(t *testing.T) {
	e := smallEngine(t, device.Go)
	pair := Pair{Content: picture.Picture{Name: "content", Image: sample.Content(40, 32)}, Style: picture.Picture{Name: "style", Image: sample.Style(48, 48)}}
	output := picture.Picture{Name: "output", Image: sample.Style(40, 32)}
	got, err := e.Compare(pair, output, pair.Content)
	if err != nil {
		t.Fatal(err)
	}
	targets := func(p picture.Picture) [][]float64 { // with Gram matrices for 500x500
		values := targetsOf(e, p)
		for i, g := range values[1:] {
			for k := range g {
				g[k] *= layerPixels(i, 500, 500) / layerPixels(i, p.Bounds().Dx(), p.Bounds().Dy())
			}
		}
		return values
	}
	distance := func(a, b []float64) (d float64) {
		for i := range a {
			d += (a[i] - b[i]) * (a[i] - b[i]) / float64(len(a))
		}
		return d
	}
	of, content, style := targets(output), targets(pair.Content), targets(pair.Style)
	want := Losses{Content: distance(of[0], content[0])}
	for i, w := range Default.LayerWeights {
		channels := math.Sqrt(float64(len(style[i+1])))
		want.Style += w * distance(of[i+1], style[i+1]) / (channels * layerPixels(i, 500, 500))
	}
	if math.Abs(got[0].Content-want.Content) > 1e-4*want.Content || math.Abs(got[0].Style-want.Style) > 1e-4*want.Style {
		t.Errorf("%+v, want %+v", got[0], want)
	}
	if got[1].Content != 0 || got[1].Style <= 0 {
		t.Errorf("the content picture has %+v", got[1])
	}
	for _, other := range []bool{false, true, false} {
		p, want := pair, got[1]
		if other {
			p.Content, p.Style = output, pair.Content
		}
		b, err := e.Baseline(p)
		if err != nil || b.Grey.Content <= 0 || b.Grey.Style <= 0 || other == (b.Content == want) {
			t.Errorf("other pair %t: %+v, want %+v for the first: %v", other, b, want, err)
		}
	}
	if _, err := e.Compare(pair, pair.Style); err == nil || !strings.Contains(err.Error(), "as the content picture") {
		t.Error(err)
	}
}
