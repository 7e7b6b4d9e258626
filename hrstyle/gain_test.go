package hrstyle

import (
	"encoding/json"
	"image"
	"maps"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"hrlab/hrstyle/device"
	"hrlab/hrstyle/safetensors"
	"hrlab/hrstyle/sample"
	"hrlab/picture"

	"github.com/gomlx/compute/dtypes"
)

// exact is an engine in float64, with VGG19 at a sixteenth of its channels.
func exact(t *testing.T) *Engine {
	return openTest(t, device.Go, dtypes.Float64, openGolden(t, "golden_32x32").vgg())
}

// squares is a fit of a 32x32 content and a 64x64 style picture: every map of the style picture has exactly four times the
// pixels of the output's.
func squares() (Pair, Config) {
	pair := Pair{Content: picture.Picture{Name: "content", Image: sample.Content(32, 32)}, Style: picture.Picture{Name: "style", Image: sample.Style(64, 64)}}
	c := Default
	c.Size, c.StyleSize, c.Steps, c.ReportEvery = 32, 0, 3, 1
	return pair, c
}

// The style loss with a gain is the paper's formula with the style picture's Gram matrices times the gain.
func TestStyleGain(t *testing.T) {
	pair, c := squares()
	c.Steps = 0
	e := exact(t)
	style := targetsOf(e, pair.Style)[1:]
	for _, mode := range []Gram{GramSum, GramMean} {
		for _, gain := range []float64{1, 2.56, 0.5} {
			c.Gram, c.StyleGain = mode, gain
			first, err := Last(e.Fit(t.Context(), pair, c))
			if err != nil {
				t.Fatal(err)
			}
			output := upload(e, first.picture, 1, 32, 32, 3)
			own := e.call("targets", e.targetsGraph, append([]any{output}, e.prepared...)...)
			want := 0.0
			for l, weight := range c.LayerWeights {
				channels := math.Sqrt(float64(len(style[l])))
				p, factor, styleFactor := layerPixels(l, 32, 32), 1.0, gain
				if mode == GramMean {
					p = layerPixels(l, 500, 500)
					factor, styleFactor = p/layerPixels(l, 32, 32), gain*p/layerPixels(l, 64, 64)
				}
				sum := 0.0
				for i, g := range download[float64](own[1+l]) {
					d := factor*g - styleFactor*style[l][i]
					sum += d * d
				}
				want += weight * sum / float64(len(style[l])) / (channels * p)
			}
			if !(math.Abs(first.Style-want) <= 1e-6*want) { // the output is read in float32
				t.Errorf("%s, gain %g: style loss %g, want %g", mode, gain, first.Style, want)
			}
		}
	}
}

// What sums make of a larger style picture is a gain of the ratio of the pixels: then a fit with means is the same fit,
// layer by layer, its style loss that of the sums times the pixels of 500x500 over the output's.
func TestGainIsWhatSumsHide(t *testing.T) {
	pair, c := squares()
	e := exact(t)
	for l := range c.LayerWeights {
		ratio := layerPixels(l, 500, 500) / layerPixels(l, 32, 32)
		sum, mean := c, c
		sum.LayerWeights = [5]float64{}
		sum.LayerWeights[l] = 1
		sum.Gram, mean.Gram, mean.StyleGain = GramSum, GramMean, 4
		mean.LayerWeights, mean.StyleWeight = sum.LayerWeights, sum.StyleWeight/ratio
		with, without := mean, mean
		without.StyleGain = 1
		a, b := collect(t, e.Fit(t.Context(), pair, sum)), collect(t, e.Fit(t.Context(), pair, with))
		for i := range a {
			if d := math.Abs(a[i].Total-b[i].Total) / a[i].Total; !(d <= 1e-9) {
				t.Errorf("%s, step %d: total %g with sums, %g with means and the gain", StyleLayers[l], i, a[i].Total, b[i].Total)
			}
			if d := math.Abs(a[i].Style*ratio-b[i].Style) / b[i].Style; !(d <= 1e-9) {
				t.Errorf("%s, step %d: style %g with sums, %g with means and the gain, want %g times as much", StyleLayers[l], i, a[i].Style, b[i].Style, ratio)
			}
		}
		if other := collect(t, e.Fit(t.Context(), pair, without)); math.Abs(other[0].Total-a[0].Total) < 0.01*a[0].Total {
			t.Errorf("%s: without the gain it is the same too: this test shows nothing", StyleLayers[l])
		}
	}
}

// The authors' style pictures hide a gain of about AuthorsGain in every layer, whatever their shape.
func TestAuthorsGain(t *testing.T) {
	for _, style := range []image.Point{{X: 600, Y: 1067}, {X: 800, Y: 800}} {
		for l := range StyleLayers {
			hidden := layerPixels(l, style.X, style.Y) / layerPixels(l, 500, 500)
			if math.Abs(hidden/AuthorsGain-1) > 0.02 {
				t.Errorf("%v, %s: %.3f", style, StyleLayers[l], hidden)
			}
		}
	}
}

// A gain aims past the style picture; measures do not.
func TestGainAndMeasures(t *testing.T) {
	pair, c := squares()
	e := smallEngine(t, device.Go)
	c.Steps = 1
	var before []Losses
	for _, gain := range []float64{1, 8} {
		c.StyleGain = gain
		last, err := Last(e.Fit(t.Context(), pair, c))
		if err != nil {
			t.Fatal(err)
		}
		losses, err := e.Compare(last.Pair(), last.Pair().Content)
		if err != nil {
			t.Fatal(err)
		}
		if before != nil && losses[0] != before[0] {
			t.Errorf("gain %g: the content picture's losses are %+v, were %+v", gain, losses[0], before[0])
		}
		before = losses
		if said := strings.Contains(last.Describe(), ", Gram mean, style gain 8, step 1"); said != (gain == 8) {
			t.Errorf("gain %g: %s", gain, last.Describe())
		}
	}
}

// before is what Default was written as before there was a StyleGain.
const before = `{"size":500,"square":false,"style_size":-1,"gram":"mean","steps":1000,"content_weight":150,"style_weight":1,"layer_weights":[0.1,0.2,0.4,0.8,1.6],"learning_rate":0.005,"decay_factor":0.9,"decay_every":200,"weight_decay":0,"seed":0,"report_every":10,"checkpoint_every":0}`

// Settings, generators and checkpoints of before have a gain of 1, and go on.
func TestGainOfOldFiles(t *testing.T) {
	var c Config
	if err := json.Unmarshal([]byte(before), &c); err != nil || c != Default {
		t.Errorf("%+v %v", c, err)
	}
	c.StyleGain = 2.56
	text, err := json.Marshal(c)
	if err != nil || !strings.Contains(string(text), `"gram":"mean","style_gain":2.56,`) {
		t.Errorf("%s %v", text, err)
	}
	var again Config
	if err := json.Unmarshal(text, &again); err != nil || again != c {
		t.Errorf("%+v %v", again, err)
	}

	old := strings.Replace(strings.Replace(before, `"size":500`, `"size":32`, 1), `"steps":1000`, `"steps":2`, 1)
	path := filepath.Join(t.TempDir(), "old.safetensors")
	flat := initialParameters(0)
	state := cut("", flat)
	for _, prefix := range momentPrefix {
		maps.Copy(state, cut(prefix, make([]float32, parameterCount)))
	}
	if err := safetensors.Write(path, state, map[string]string{"format": "hrlab checkpoint", "step": "0", "config": old, "elapsed": "1s"}); err != nil {
		t.Fatal(err)
	}
	if g, err := LoadGenerator(path); err != nil || g.Config.StyleGain != 1 {
		t.Errorf("%+v %v", g, err)
	}
	from, err := LoadCheckpoint(path)
	if err != nil {
		t.Fatal(err)
	}
	pair, want := small()
	want.Steps = 2
	e := smallEngine(t, device.Go)
	a, err := Last(e.Resume(t.Context(), pair, from))
	b, err2 := Last(e.Fit(t.Context(), pair, want))
	if err != nil || err2 != nil || a.Total != b.Total {
		t.Errorf("gone on: %g %v; from the beginning: %g %v", a.Total, err, b.Total, err2)
	}
}
