package hrstyle

import (
	"fmt"
	"image"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"hrlab/hrstyle/device"
	"hrlab/hrstyle/sample"
	"hrlab/picture"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

// smallMap is the fit of a weight map of a few milliseconds a step.
func smallMap() (Pair, Config) {
	pair, c := small()
	m := DefaultMap
	m.Size, m.Steps, m.ReportEvery, m.Knots = c.Size, c.Steps, c.ReportEvery, 3
	return pair, m
}

// goldenMap is the weight map of golden_map, whose inputs are those of golden_32x32.
func goldenMap(t *testing.T) (inputs, g golden, start *Checkpoint) {
	inputs, g = openGolden(t, "golden_32x32"), openGolden(t, "golden_map")
	c := Reference
	c.ContentWeight, c.DecayEvery, c.LearningRate, c.Steps, c.WeightRange = 0, 0, 2e-3, 20, WeightRange{0.8, 8000, 3}
	m := &Generator{}
	for _, p := range mapParameters(c.Knots) {
		if p.end <= parameterCount {
			m.flat = append(m.flat, inputs.tensor("hrnet."+p.name).Data...)
		} else {
			m.flat = append(m.flat, g.tensor(p.name).Data...)
		}
	}
	return inputs, g, m.Start(c)
}

// mapLoss is the logarithm of a map's total loss at some content weight, for knots of these weights, and its gradient.
func (s *session) mapLoss(flat, weights []float64, contentWeight float64) (loss float64, gradient []float64) {
	values := slices.Concat(s.hyperparameters(0)[:knotWeights], weights)
	values[0] = contentWeight
	state := upload(s.engine, flat, len(flat))
	out := s.engine.call("gradient", func(inputs []*Node) []*Node {
		in := s.engine.stepInputs(inputs)
		_, _, total, _, _, gradient := in.losses(s.config.Gram)
		return []*Node{Log(total), gradient}
	}, append([]any{state, state, state, upload(s.engine, values, len(values))}, s.fixed...)...)
	return download[float64](out[0])[0], download[float64](out[1])
}

// byT is the gradient by t at a ratio between knots, where the content weight is held still: Σ φⱼ'(t)·⟨Δⱼ, gradient⟩.
func byT(m WeightRange, ratio float64, flat, gradient []float64) (sum float64) {
	first := slices.IndexFunc(m.weights(ratio), func(w float64) bool { return w > 0 })
	slope := float64(m.Knots-1) / math.Log10(m.To/m.From)
	for i := range knotCount {
		at := gatedCount + first*knotCount + i
		sum += slope * (flat[at+knotCount] - flat[at]) * gradient[firstConditioned+i]
	}
	return sum
}

// Every gradient of a weight map, that by t too, and a loss curve of 21 steps, as PyTorch has them in float64. In float32 the
// tolerance is that of TestParity.
func TestMapParity(t *testing.T) {
	for _, of := range []struct {
		kind                   device.Kind
		dtype                  dtypes.DType
		gradient, first, curve float64 // of the largest gradient; relative, of step 0 and of the others
	}{
		{device.CPU, dtypes.Float64, 1e-6, 1e-6, 1e-6}, {device.Go, dtypes.Float64, 1e-6, 1e-6, 1e-6}, {device.CPU, dtypes.Float32, 2e-2, 1e-4, 0},
	} {
		t.Run(fmt.Sprintf("%s/%s", of.kind, of.dtype), func(t *testing.T) {
			inputs, g, start := goldenMap(t)
			s := inputs.begin(openTest(t, of.kind, of.dtype, inputs.vgg()), start)
			defer s.close()
			m, flat := start.Config.WeightRange, convert[float64](start.flat)
			ratio := m.drawn(0)
			_, gradient := s.mapLoss(flat, m.weights(ratio), ratio)
			largest := 0.0
			for _, p := range mapParameters(m.Knots) {
				largest = max(largest, absMax(g.tensor("grad."+p.name).Data))
			}
			compare := func(name string, got []float64) {
				if d := distance(got, g.tensor("grad."+name).Data) / largest; !(d <= of.gradient) {
					t.Errorf("%s: off by %.1e of the largest gradient, allowed %.0e", name, d, of.gradient)
				}
			}
			for _, p := range mapParameters(m.Knots) {
				compare(p.name, gradient[p.begin:p.end])
			}
			compare("t", []float64{byT(m, ratio, flat, gradient)})
			g.compareCurve(s, of.first, of.curve)
		})
	}
}

// The gradients by the parameters and by t, against finite differences in float64.
func TestMapGradient(t *testing.T) {
	inputs, _, start := goldenMap(t)
	s := inputs.begin(openTest(t, device.CPU, dtypes.Float64, inputs.vgg()), start)
	defer s.close()
	m, flat := start.Config.WeightRange, convert[float64](start.flat)
	const ratio = 25.3
	_, gradient := s.mapLoss(flat, m.weights(ratio), ratio)
	conditioned := func(v []float64) []float64 { return v[firstConditioned:] }
	const h, tolerance = 1e-8, 1e-5 // so near that hardly a ReLU flips
	compareDifferences(t, h, tolerance, conditioned(flat), conditioned(gradient), func(moved []float64) float64 {
		loss, _ := s.mapLoss(append(slices.Clone(flat[:firstConditioned]), moved...), m.weights(ratio), ratio)
		return loss
	})
	compareDifferences(t, h, tolerance, []float64{math.Log10(ratio)}, []float64{byT(m, ratio, flat, gradient)}, func(t []float64) float64 {
		loss, _ := s.mapLoss(flat, m.weights(math.Pow(10, t[0])), ratio)
		return loss
	})
}

// At a knot with scale 1, shift 0 and a closed gate a map is the plain generator, to the last bit in pure Go. XLA:CPU sums in
// another order as soon as a graph has other operations, even a product with 1: there the last of 16 bits may differ.
func TestMapAtKnotIsPlain(t *testing.T) {
	for kind, most := range map[device.Kind]int{device.Go: 0, device.CPU: 1} {
		t.Run(string(kind), func(t *testing.T) {
			pair, c := smallMap()
			e := smallEngine(t, kind)
			plain := &Generator{Config: Config{Size: c.Size}, flat: initialParameters(3)}
			m := &Generator{Config: c, flat: c.initial(plain.flat)}
			for i := gatedCount; i < len(m.flat); i++ {
				m.flat[i] = float32(math.Sin(float64(i))) // the other knots have no part
			}
			knot := m.flat[gatedCount+knotCount : gatedCount+2*knotCount]
			clear(knot)
			knot[knotCount-1] = -200
			at, err := m.At(c.Ratios(3)[1])
			if err != nil || !reflect.DeepEqual(at.flat[:parameterCount], plain.flat) {
				t.Fatalf("the parameters differ; %v", err)
			}
			apply := func(g *Generator) *image.NRGBA64 {
				img, err := e.Apply(t.Context(), g, pair.Content, Applying{})
				if err != nil {
					t.Fatal(err)
				}
				return img
			}
			if off := furthest(apply(plain), apply(at)); off > most {
				t.Errorf("off by %d of 65535", off)
			}
			c.WeightRange, c.ContentWeight, c.Steps = WeightRange{}, 80, 0
			want, err := Last(e.Resume(t.Context(), pair, plain.Start(c)))
			got, err2 := Last(e.Resume(t.Context(), pair, at.Start(c)))
			if off := furthest(got.Picture(), want.Picture()); err != nil || err2 != nil || off > most || most == 0 && got.Total != want.Total {
				t.Errorf("in a step: off by %d of 65535, total %v, plain %v; %v %v", off, got.Total, want.Total, err, err2)
			}
		})
	}
}

// A step of a map has the losses and the picture of its own ratio, and that is what At gives.
func TestMapSteps(t *testing.T) {
	pair, c := smallMap()
	e := smallEngine(t, device.Go)
	var ratios []float64
	for _, s := range collect(t, e.Fit(t.Context(), pair, c)) {
		ratios = append(ratios, s.ContentWeight)
		if want := s.ContentWeight*s.Content + s.Style; math.Abs(s.Total-want) > 1e-4*want {
			t.Errorf("step %d: total %g, want %g", s.N, s.Total, want)
		}
		at, err := s.Generator().At(s.ContentWeight)
		if err != nil {
			t.Fatal(err)
		}
		img, err := e.Apply(t.Context(), at, s.Pair().Content, Applying{})
		if err != nil {
			t.Fatal(err)
		}
		if off := furthest(img, s.Picture()); off > 8 {
			t.Errorf("step %d: At differs by %d of 65535 from the step's picture", s.N, off)
		}
		if at.Config.ContentWeight != s.ContentWeight || at.Config.Knots != 0 || at.IsMap() {
			t.Errorf("%+v", at.Config)
		}
	}
	if slices.Min(ratios) > 2 || slices.Max(ratios) < 2000 {
		t.Errorf("7 steps do not spread over the range: %v", ratios)
	}
}

// A map and what At gives are files as other generators are. A fit may begin with one and not with the other.
func TestMapFiles(t *testing.T) {
	pair, c := smallMap()
	e := smallEngine(t, device.Go)
	last, err := Last(e.Fit(t.Context(), pair, c))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	reread := func(g *Generator, name string) *Generator {
		path := filepath.Join(dir, name)
		if err := g.Save(path); err != nil {
			t.Fatal(err)
		}
		again, err := LoadGenerator(path)
		if err != nil || !reflect.DeepEqual(again, g) {
			t.Fatalf("%s: read as %+v, %v", name, again.Config, err)
		}
		return again
	}
	m := reread(last.Generator(), "map.safetensors")
	at, err := m.At(80)
	if err != nil {
		t.Fatal(err)
	}
	reread(at, "at.safetensors")

	_, c = small()
	c.Init, c.ContentWeight, c.Steps = filepath.Join(dir, "at.safetensors"), 80, 2
	steps := collect(t, e.Fit(t.Context(), pair, c))
	img, err := e.Apply(t.Context(), at, steps[0].Pair().Content, Applying{})
	if err != nil || furthest(img, steps[0].Picture()) > 8 {
		t.Errorf("the fit does not begin with the generator: %v", err)
	}
	if g := steps[2].Generator(); len(g.flat) != gatedCount || reflect.DeepEqual(g.flat, at.flat) {
		t.Errorf("%d parameters after 2 steps", len(g.flat))
	}

	whole := picture.Picture{Name: "day", Image: sample.Content(32, 32)}
	c.Init = filepath.Join(dir, "map.safetensors")
	_, fitted := Last(e.Fit(t.Context(), pair, c))
	_, applied := e.Apply(t.Context(), m, whole, Applying{})
	_, measured := e.Statistics(t.Context(), m, []picture.Picture{whole}, 0)
	_, high := m.At(8001)
	_, none := m.At(math.NaN())
	_, plain := at.At(80)
	if measured == nil || applied == nil || measured.Error() != applied.Error() {
		t.Errorf("statistics of a map: %v", measured)
	}
	for want, err := range map[string]error{
		"a fit cannot begin with a weight map":                  fitted,
		"choose one by At":                                      applied,
		"ratio 8001: allowed: 0.8 to 8000":                      high,
		"ratio NaN: allowed: 0.8 to 8000":                       none,
		"only a weight map (hrlab map) has one for every ratio": plain,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

func TestMapConfig(t *testing.T) {
	if err := DefaultMap.Validate(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(c *Config){
		"from 0: allowed: a finite number above 0":                                       func(c *Config) { c.From = 0 },
		"to 0.5: allowed: a finite number above 0.8":                                     func(c *Config) { c.To = 0.5 },
		"knots 34: allowed: 2 to 33":                                                     func(c *Config) { c.Knots = 34 },
		"content-weight 80: allowed: 0 for a weight map, which has all from 0.8 to 8000": func(c *Config) { c.ContentWeight = 80 },
		"style-weight 0: allowed: a finite number above 0":                               func(c *Config) { c.StyleWeight = 0 },
		"decay-every 200: allowed: 0":                                                    func(c *Config) { c.DecayEvery = 200 },
		"init a.safetensors: allowed: none":                                              func(c *Config) { c.Init = "a.safetensors" },
	} {
		c := DefaultMap
		change(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	m := DefaultMap.WeightRange
	if got := m.Ratios(9); !reflect.DeepEqual(got, []float64{0.8, 2.53, 8, 25.3, 80, 253, 800, 2530, 8000}) {
		t.Errorf("nine ratios: %v", got)
	}
	var drawn []float64
	for n := range 50 {
		r := m.drawn(n)
		sum := 0.0
		for _, w := range m.weights(r) {
			sum += w
		}
		if drawn = append(drawn, r); math.Abs(sum-1) > 1e-12 {
			t.Errorf("at %g the knots' weights add up to %g", r, sum)
		}
	}
	if slices.Min(drawn) != 0.8 || math.Abs(slices.Max(drawn)-8000) > 1e-9 {
		t.Errorf("50 steps draw %g to %g", slices.Min(drawn), slices.Max(drawn))
	}
}
