package hrstyle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"hrlab/hrstyle/device"
	"hrlab/hrstyle/sample"
	"hrlab/picture"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

// small is a fit of a few milliseconds a step.
func small() (Pair, Config) {
	c := Default
	c.Size, c.Steps, c.ReportEvery = 32, 6, 1
	return Pair{picture.Picture{Name: "content", Image: sample.Content(64, 48)}, picture.Picture{Name: "style", Image: sample.Style(64, 64)}}, c
}

// smallEngine has VGG19 at a sixteenth of its channels.
func smallEngine(t testing.TB, kind device.Kind) *Engine {
	return openTest(t, kind, dtypes.Float32, openGolden(t, "golden_32x32").vgg())
}

// collect runs a fit and keeps its steps.
func collect(t testing.TB, fit func(yield func(Step, error) bool)) (steps []Step) {
	t.Helper()
	for s, err := range fit {
		if err != nil {
			t.Fatal(err)
		}
		steps = append(steps, s)
	}
	return steps
}

func TestFitReports(t *testing.T) {
	pair, c := small()
	e := smallEngine(t, device.Go)
	c.ReportEvery = 4
	steps := collect(t, e.Fit(t.Context(), pair, c))
	var at []int
	for _, s := range steps {
		at = append(at, s.N)
		if want := c.ContentWeight*s.Content + c.StyleWeight*s.Style; math.Abs(s.Total-want) > 1e-4*want {
			t.Errorf("step %d: total %g, want %g", s.N, s.Total, want)
		}
		if s.Picture().Bounds() != image.Rect(0, 0, 32, 24) {
			t.Errorf("step %d: picture %v, want 32x24", s.N, s.Picture().Bounds())
		}
	}
	if !reflect.DeepEqual(at, []int{0, 4, 6}) {
		t.Errorf("reports at %v, want 0, 4 and 6", at)
	}
	if first, last := steps[0], steps[len(steps)-1]; last.Total >= first.Total || last.Elapsed <= first.Elapsed {
		t.Errorf("no progress: %+v then %+v", first.Total, last.Total)
	}
	c.Steps = 0
	if steps := collect(t, e.Fit(t.Context(), pair, c)); len(steps) != 1 || steps[0].N != 0 {
		t.Errorf("0 steps: %d reports, want one of step 0", len(steps))
	}
}

// The output of a step is its generator applied to the content picture at the fitted size.
func TestApply(t *testing.T) {
	pair, c := small()
	e := smallEngine(t, device.Go)
	last, err := Last(e.Fit(t.Context(), pair, c))
	if err != nil {
		t.Fatal(err)
	}
	scaled, err := pair.Fitted(c)
	if err != nil {
		t.Fatal(err)
	}
	applied, err := e.Apply(last.Generator(), scaled.Content)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(applied.Pix, last.Picture().Pix) {
		t.Error("Apply differs from the fit's own output")
	}
	odd, err := e.Apply(last.Generator(), picture.Picture{Name: "odd", Image: sample.Content(37, 21)})
	if err != nil || odd.Bounds() != image.Rect(0, 0, 37, 21) {
		t.Errorf("37x21 became %v, %v", odd.Bounds(), err)
	}
	huge := picture.Picture{Name: "huge.png", Image: virtual{}}
	if _, err := e.Apply(last.Generator(), huge); err == nil || !strings.Contains(err.Error(), "the largest size that fits is") {
		t.Errorf("131072x131072: %v", err)
	}
}

// A style picture at its own size may be far larger than what is fitted.
func TestStyleMemory(t *testing.T) {
	pair, c := small()
	pair.Style, c.StyleSize = picture.Picture{Name: "huge.png", Image: virtual{}}, 0
	_, err := Last(smallEngine(t, device.Go).Fit(t.Context(), pair, c))
	if err == nil || !strings.HasPrefix(err.Error(), "huge.png as style picture: 131072x131072 takes about ") || !strings.Contains(err.Error(), "the largest size that fits is") {
		t.Error(err)
	}
}

// virtual is a large image that takes no memory.
type virtual struct{ *image.Uniform }

func (virtual) Bounds() image.Rectangle { return image.Rect(0, 0, 1<<17, 1<<17) }

func TestResumeEqualsUninterrupted(t *testing.T) {
	for _, kind := range []device.Kind{device.Go, device.CPU} {
		t.Run(string(kind), func(t *testing.T) {
			pair, c := small()
			e := smallEngine(t, kind)
			want := collect(t, e.Fit(t.Context(), pair, c))

			c.Checkpoint = filepath.Join(t.TempDir(), "checkpoint.safetensors")
			for s, err := range e.Fit(t.Context(), pair, c) {
				if err != nil {
					t.Fatal(err)
				}
				if s.N == 3 {
					break
				}
			}
			from, err := LoadCheckpoint(c.Checkpoint)
			if err != nil {
				t.Fatal(err)
			}
			if from.Step != 3 || from.Config != c || from.Elapsed <= 0 {
				t.Errorf("checkpoint: step %d, elapsed %v, config %+v", from.Step, from.Elapsed, from.Config)
			}
			got := collect(t, e.Resume(t.Context(), pair, from))
			for i, s := range got {
				if w := want[3+i]; s.N != w.N || s.Total != w.Total || !reflect.DeepEqual(s.Generator().flat, w.Generator().flat) {
					t.Errorf("step %d: total %v, uninterrupted %v", s.N, s.Total, w.Total)
				}
			}
			if _, err := Last(e.Resume(t.Context(), Pair{pair.Style, pair.Content}, from)); err == nil || !strings.Contains(err.Error(), "other pictures") {
				t.Errorf("other pictures: %v", err)
			}
			e.VGG.Digest = "other"
			if _, err := Last(e.Resume(t.Context(), pair, from)); err == nil || !strings.Contains(err.Error(), "other VGG19 weights") {
				t.Errorf("other weights: %v", err)
			}
		})
	}
}

func TestCheckpointEvery(t *testing.T) {
	pair, c := small()
	c.Checkpoint, c.CheckpointEvery, c.ReportEvery = filepath.Join(t.TempDir(), "c.safetensors"), 2, 100
	e := smallEngine(t, device.Go)
	if _, err := Last(e.Fit(t.Context(), pair, c)); err != nil {
		t.Fatal(err)
	}
	from, err := LoadCheckpoint(c.Checkpoint)
	if err != nil || from.Step != c.Steps {
		t.Fatalf("%+v %v", from, err)
	}
	from.Config.Steps = 8 // a finished fit can be carried on
	longer, err := Last(e.Resume(t.Context(), pair, from))
	c.Steps, c.Checkpoint = 8, ""
	straight, err2 := Last(e.Fit(t.Context(), pair, c))
	if err != nil || err2 != nil || longer.Total != straight.Total {
		t.Errorf("carried on: %v %v; straight: %v %v", longer.Total, err, straight.Total, err2)
	}
}

func TestCancel(t *testing.T) {
	pair, c := small()
	c.Steps, c.ReportEvery, c.Checkpoint = 1_000_000, 1, filepath.Join(t.TempDir(), "c.safetensors")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last Step
	var err error
	for last, err = range smallEngine(t, device.Go).Fit(ctx, pair, c) {
		if last.N == 2 {
			cancel()
		}
	}
	if !errors.Is(err, context.Canceled) || last.N != 3 {
		t.Errorf("cancelled at step 2: ended at %d, %v", last.N, err)
	}
	from, err := LoadCheckpoint(c.Checkpoint)
	if err != nil || from.Step != 3 {
		t.Errorf("checkpoint: %+v %v", from, err)
	}
}

func TestDivergence(t *testing.T) {
	pair, c := small()
	c.LearningRate, c.ReportEvery, c.Steps = 1e30, 1, 50
	last, err := Last(smallEngine(t, device.Go).Fit(t.Context(), pair, c))
	if !errors.Is(err, ErrDiverged) || !last.Ok() || math.IsNaN(last.Total) {
		t.Fatalf("%v %+v", err, last.Total)
	}
	if want := fmt.Sprintf("at step %d", last.N+1); !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "the content loss is") {
		t.Errorf("%q; want term and %q", err, want)
	}
	if err := last.Generator().Save(filepath.Join(t.TempDir(), "g.safetensors")); err != nil {
		t.Error(err)
	}
	c.ReportEvery = 40 // divergence is seen at once, not at the next report
	last, again := Last(smallEngine(t, device.Go).Fit(t.Context(), pair, c))
	if again == nil || again.Error() != err.Error() || last.N != 0 {
		t.Errorf("%v after step %d; want %v after step 0", again, last.N, err)
	}
}

// Weights and learning rate are inputs: other values compile nothing new.
func TestOneCompilation(t *testing.T) {
	pair, c := small()
	e := smallEngine(t, device.Go)
	c.Steps = 1
	totals := map[float64]bool{}
	for i := range 3 {
		c.ContentWeight, c.StyleWeight, c.LearningRate, c.LayerWeights[2], c.WeightDecay = float64(i), 1+float64(i), 1e-3*float64(i), float64(i), 0.1*float64(i)
		c.StyleGain = 1 + float64(i)
		last, err := Last(e.Fit(t.Context(), pair, c))
		if err != nil {
			t.Fatal(err)
		}
		totals[last.Total] = true
	}
	if n := len(compiledAs(e, "step mean ")); n != 1 || len(totals) != 3 {
		t.Errorf("%d compilations, %d different totals; want 1 and 3", n, len(totals))
	}
}

// compiledAs lists the keys of the compiled graphs whose key begins so.
func compiledAs(e *Engine, name string) (keys []string) {
	for _, c := range e.compiled {
		if strings.HasPrefix(c.key, name) {
			keys = append(keys, c.key)
		}
	}
	return keys
}

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

// Both devices start from the same generator and agree.
func TestDevicesAgree(t *testing.T) {
	pair, c := small()
	c.Steps = 1
	a := collect(t, smallEngine(t, device.Go).Fit(t.Context(), pair, c))
	b := collect(t, smallEngine(t, device.CPU).Fit(t.Context(), pair, c))
	if !reflect.DeepEqual(a[0].Generator().flat, b[0].Generator().flat) {
		t.Error("the initial generators differ")
	}
	for i, tolerance := range []float64{1e-4, 0.05} { // one update in float32 may flip a ReLU
		if d := math.Abs(a[i].Total-b[i].Total) / a[i].Total; d > tolerance {
			t.Errorf("step %d: pure Go %g, XLA:CPU %g", i, a[i].Total, b[i].Total)
		}
	}
}

// A fit that diverges leaves the checkpoint before that as it is, and comes with the last good step.
func TestDivergedKeepsCheckpoint(t *testing.T) {
	pair, c := small()
	e := smallEngine(t, device.Go)
	c.Steps, c.CheckpointEvery, c.Checkpoint = 2, 1, filepath.Join(t.TempDir(), "checkpoint.safetensors")
	collect(t, e.Fit(t.Context(), pair, c))
	from, err := LoadCheckpoint(c.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	from.Config.Steps, from.Config.LearningRate, from.Config.ReportEvery = 9, 1e30, 2
	last, err := Last(e.Resume(t.Context(), pair, from))
	if !errors.Is(err, ErrDiverged) || last.N != 2 {
		t.Errorf("step %d, %v", last.N, err)
	}
	if kept, err := LoadCheckpoint(c.Checkpoint); err != nil || kept.Step != 2 {
		t.Errorf("the checkpoint is gone: %+v %v", kept, err)
	}
}

func TestInit(t *testing.T) {
	pair, c := small()
	e := smallEngine(t, device.Go)
	first, err := Last(e.Fit(t.Context(), pair, c))
	if err != nil {
		t.Fatal(err)
	}
	c.Init, c.Steps = filepath.Join(t.TempDir(), "g.safetensors"), 0
	if err := first.Generator().Save(c.Init); err != nil {
		t.Fatal(err)
	}
	again, err := Last(e.Fit(t.Context(), pair, c))
	if err != nil || again.Total != first.Total {
		t.Errorf("started from a generator: %v %v, want %v", again.Total, err, first.Total)
	}
	g, err := LoadGenerator(c.Init)
	if err != nil || g.Step != 6 || g.VGG != "golden" || g.Config.Size != 32 {
		t.Errorf("generator file: %+v %v", g, err)
	}
	data, err := first.Generator().Encode()
	if err != nil {
		t.Fatal(err)
	}
	read, err := ReadGenerator("somewhere", bytes.NewReader(data), int64(len(data)))
	if err != nil || !reflect.DeepEqual(read, g) {
		t.Errorf("the generator of a reader: %+v %v", read, err)
	}
	c.Init = ""
	again, err = Last(e.Resume(t.Context(), pair, read.Start(c)))
	if err != nil || again.Total != first.Total || again.N != 0 {
		t.Errorf("started from a generator in memory: %v %v, want %v", again.Total, err, first.Total)
	}
	if reflect.DeepEqual(initialParameters(1), initialParameters(2)) || !reflect.DeepEqual(initialParameters(1), initialParameters(1)) {
		t.Error("the seed does not decide the initial parameters")
	}
}

func TestValidate(t *testing.T) {
	for want, change := range map[string]func(c *Config){
		"size 0: allowed: 32 to 8192":                                 func(c *Config) { c.Size = 0 },
		"size 2: allowed: 32 to 8192":                                 func(c *Config) { c.Size = 2 },
		"style-size -2: allowed: 32 to 8192, 0":                       func(c *Config) { c.StyleSize = -2 },
		"gram max: allowed: sum, mean":                                func(c *Config) { c.Gram = "max" },
		"style-gain 0: allowed: a finite number above 0":              func(c *Config) { c.StyleGain = 0 },
		"style-gain -1: allowed: a finite number above 0":             func(c *Config) { c.StyleGain = -1 },
		"style-gain NaN: allowed: a finite number above 0":            func(c *Config) { c.StyleGain = math.NaN() },
		"style-gain +Inf: allowed: a finite number above 0":           func(c *Config) { c.StyleGain = math.Inf(1) },
		"steps -1: allowed: 0 or more":                                func(c *Config) { c.Steps = -1 },
		"content-weight -1: allowed: a finite number, at least 0":     func(c *Config) { c.ContentWeight = -1 },
		"style-weight NaN: allowed: a finite":                         func(c *Config) { c.StyleWeight = math.NaN() },
		"learning-rate +Inf: allowed: a finite":                       func(c *Config) { c.LearningRate = math.Inf(1) },
		"layer-weights [0.1 0.2 -1 0.8 1.6]: allowed: finite numbers": func(c *Config) { c.LayerWeights[2] = -1 },
		"report-every 0: allowed: 1 or more":                          func(c *Config) { c.ReportEvery = 0 },
	} {
		c := Default
		change(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	for _, c := range []Config{Default, Reference} {
		c.ContentWeight, c.StyleWeight, c.LearningRate, c.Seed, c.Steps = 0, 0, 0, 0, 0 // zero is a value
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
}

// The authors' initial generator on real pictures, against curves that PyTorch computed with the same weights.
func TestRealCurves(t *testing.T) {
	const shared = "../../shared/"
	if _, err := os.Stat(shared + "goldens"); err != nil {
		t.Skip("the reference pictures and curves are not here: ", err)
	}
	vgg, err := LoadVGG(shared + "weights/vgg19_features_fp16.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	e := openTest(t, device.CPU, dtypes.Float32, vgg)
	for name, weight := range map[string]float64{"pair": 150, "boat": 8} {
		t.Run(name, func(t *testing.T) {
			files, err := filepath.Glob(shared + "goldens/curve_" + name + "*.json")
			if err != nil || len(files) != 1 {
				t.Fatal(files, err)
			}
			text, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			var want []struct {
				Step                  int
				Total, Content, Style float64
			}
			if err := json.Unmarshal(text, &want); err != nil {
				t.Fatal(err)
			}
			pair, err := LoadPair(shared+"goldens/"+name+"_content_96px.png", shared+"goldens/"+name+"_style_96px.png")
			if err != nil {
				t.Fatal(err)
			}
			c := Reference
			c.Size, c.Steps, c.ContentWeight, c.ReportEvery, c.Init = 96, 100, weight, 100, "testdata/hrnet_init.safetensors"
			for _, s := range collect(t, e.Fit(t.Context(), pair, c)) {
				tolerance := map[int]float64{0: 1e-4, 100: 0.25}[s.N]
				w := want[s.N]
				if w.Step != s.N || tolerance == 0 {
					t.Fatalf("step %d is compared with step %d", s.N, w.Step)
				}
				t.Logf("step %d: total %.6g (PyTorch %.6g), content %.6g (%.6g), style %.6g (%.6g)", s.N, s.Total, w.Total, s.Content, w.Content, s.Style, w.Style)
				for _, d := range []float64{s.Total/w.Total - 1, s.Content/w.Content - 1, s.Style/w.Style - 1} {
					if s.N > 0 && d != s.Total/w.Total-1 {
						continue // the total is what is optimised; its parts trade places
					}
					if !(math.Abs(d) <= tolerance) {
						t.Errorf("step %d is off by %.2g, allowed %.2g", s.N, d, tolerance)
					}
				}
			}
		})
	}
}

// Random filters have maps of the size that VGG19's have on photographs.
func TestRandomVGG(t *testing.T) {
	e := openTest(t, device.CPU, dtypes.Float32, RandomVGG())
	e.prepare()
	p := picture.Picture{Image: sample.Content(96, 96)}
	var names []string
	outputs := e.call("rms", func(in []*Node) (out []*Node) {
		v := e.vggGraph(in[1:])
		v.forward(in[0])
		names = nil
		for _, l := range vgg19 {
			names, out = append(names, l.name), append(out, Sqrt(ReduceAllMean(Square(v.maps[l.name]))))
		}
		return out
	}, append([]any{upload(e, normalised(p), 1, 96, 96, 3)}, e.prepared...)...)
	for i, out := range outputs {
		if r := download[float64](out)[0] / vgg19[i].rms; r < 0.5 || r > 2 {
			t.Errorf("%s: root mean square is %.2f of VGG19's", names[i], r)
		}
	}
}

// The targets of a pair are computed once for the trials of a sweep, and a fit within another's loop disturbs neither.
func TestPairIsPlacedOnce(t *testing.T) {
	pair, c := small()
	c.Steps = 2
	e := smallEngine(t, device.Go)
	want := collect(t, e.Fit(t.Context(), pair, c))
	placed := e.pair
	var got []Step
	for step, err := range e.Fit(t.Context(), pair, c) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, step)
		if e.pair != placed && step.N == 0 {
			t.Error("placed again")
		}
		turned := Pair{Content: pair.Style, Style: pair.Content}
		if _, err := Last(e.Fit(t.Context(), turned, c)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range want {
		if want[i].Total != got[i].Total {
			t.Errorf("step %d: %g, then %g", i, want[i].Total, got[i].Total)
		}
	}
	if placed.users != 0 || e.pair.users != 1 {
		t.Errorf("%d users of the first pair, %d of the last; want 0 and 1", placed.users, e.pair.users)
	}
}

// Neither Gram nor gain, nor measuring between the trials, is a reason to place a pair again.
func TestPairIsPlacedOnceWhateverTheGram(t *testing.T) {
	pair, c := small()
	c.Steps = 1
	e := smallEngine(t, device.Go)
	var placed *placedPair
	for _, mode := range []Gram{GramSum, GramMean} {
		for _, gain := range []float64{1, 3} {
			c.Gram, c.StyleGain = mode, gain
			last, err := Last(e.Fit(t.Context(), pair, c))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.Compare(last.Pair(), picture.Picture{Name: "output", Image: last.Picture()}); err != nil {
				t.Fatal(err)
			}
			if placed == nil {
				placed = e.pair
			}
			if e.pair != placed {
				t.Errorf("Gram %s, gain %g: placed again", mode, gain)
			}
		}
	}
	if got := compiledAs(e, "targets "); len(got) != 2 { // content and style picture
		t.Errorf("compiled for targets: %q", got)
	}
}

// targetsOf are contentLayer's map of a picture and FᵀF of the maps of StyleLayers, as the engine computes them.
func targetsOf(e *Engine, p picture.Picture) (values [][]float64) {
	e.prepare()
	x := upload(e, normalised(p), 1, p.Bounds().Dy(), p.Bounds().Dx(), 3)
	for _, v := range e.call("targets", e.targetsGraph, append([]any{x}, e.prepared...)...) {
		values = append(values, download[float64](v))
	}
	return values
}

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
