package hrstyle

import (
	"fmt"
	"image"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"hrlab/hrstyle/device"
	"hrlab/hrstyle/safetensors"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

// openTest opens an engine of the given kind and type for tests. HRLAB_TEST_DEVICE=cuda runs on a GPU what is written
// for XLA:CPU.
func openTest(t testing.TB, kind device.Kind, dtype dtypes.DType, vgg *VGG) *Engine {
	t.Helper()
	if other := os.Getenv("HRLAB_TEST_DEVICE"); other != "" && kind == device.CPU {
		kind = device.Kind(other)
	}
	dev, err := device.Open(kind)
	if err != nil {
		if os.Getenv("HRLAB_TEST_REQUIRE_XLA") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	e := &Engine{Device: dev, VGG: vgg, dtype: dtype}
	t.Cleanup(e.Close)
	return e
}

// golden is a case that PyTorch computed in float64: testdata/golden_*.safetensors.
type golden struct {
	t testing.TB
	f *safetensors.File
}

func openGolden(t testing.TB, name string) golden {
	t.Helper()
	f, err := safetensors.Open("testdata/" + name + ".safetensors")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return golden{t, f}
}

func (g golden) tensor(name string) safetensors.Tensor {
	g.t.Helper()
	v, err := g.f.Tensor(name)
	if err != nil {
		g.t.Fatal(err)
	}
	return v
}

// nhwc is a golden picture or map [1,C,H,W] in our order [1,H,W,C].
func (g golden) nhwc(name string) (values []float32, h, w int) {
	v := g.tensor(name)
	if len(v.Shape) != 4 {
		return v.Data, 0, 0
	}
	c, h, w := v.Shape[1], v.Shape[2], v.Shape[3]
	for p := range h * w {
		for k := range c {
			values = append(values, v.Data[k*h*w+p])
		}
	}
	return values, h, w
}

func (g golden) vgg() *VGG {
	v := &VGG{Digest: "golden", Label: "golden"}
	for _, l := range vgg19 {
		v.weights = append(v.weights, g.tensor("vgg."+l.tensor("weight")), g.tensor("vgg."+l.tensor("bias")))
	}
	return v
}

// session is the golden's fit; the losses' weights are 150 and 1, the learning rate falls after every 5 updates.
func (g golden) session(e *Engine) *session {
	c, start := Reference, &Generator{}
	c.DecayEvery = 5
	for _, par := range parameters {
		start.flat = append(start.flat, g.tensor("hrnet."+par.name).Data...)
	}
	return g.begin(e, start.Start(c))
}

// begin is a fit of the golden's pair from start.
func (g golden) begin(e *Engine, start *Checkpoint) *session {
	s := &session{engine: e, config: start.Config}
	content, h, w := g.nhwc("content")
	style, styleH, styleW := g.nhwc("style")
	s.pair.Content.Image, s.pair.Style.Image = image.NewGray(image.Rect(0, 0, w, h)), image.NewGray(image.Rect(0, 0, styleW, styleH))
	s.place(start, content, style)
	return s
}

// tapGraph returns everything that the goldens hold, by golden name. It is the same graph each time, so that the cache has it.
func tapGraph(e *Engine, names *[]string) func([]*Node) []*Node {
	return func(inputs []*Node) (out []*Node) {
		in := e.stepInputs(inputs)
		g, picture, _, _, _, gradient := in.losses(GramSum)
		*names = nil
		put := func(name string, n *Node) { *names, out = append(*names, name), append(out, n) }
		put("output", picture)
		for _, name := range slices.Sorted(maps.Keys(g.layers)) {
			put("layer."+name, g.layers[name])
		}
		for _, name := range slices.Sorted(maps.Keys(in.vgg.maps)) {
			put("feature."+name, in.vgg.maps[name])
		}
		for i, name := range StyleLayers {
			put("gram."+name, gram(in.vgg.maps[name]))
			put("gram_style."+name, Identity(in.styleTargets[i]))
		}
		for _, p := range parameters {
			put("grad."+p.name, Reshape(SliceAxis(gradient, 0, AxisRange(p.begin, p.end)), p.shape...))
		}
		return out
	}
}

// Everything the goldens hold, on both devices that every machine has. In float64 the errors are rounding of the
// goldens themselves; in float32 gradients are loose because a ReLU that flips moves them.
func TestParity(t *testing.T) {
	for _, c := range []struct {
		dtype            dtypes.DType
		values, gradient float64 // of the largest of the golden tensor; of the largest gradient
		losses, curve    float64 // relative: step 0 and 20 updates
	}{
		{dtypes.Float64, 1e-6, 1e-6, 1e-6, 1e-6},
		{dtypes.Float32, 1e-4, 2e-2, 1e-4, 0},
	} {
		for _, kind := range []device.Kind{device.CPU, device.Go} {
			for _, name := range []string{"golden_32x32", "golden_36x44"} {
				t.Run(fmt.Sprintf("%s/%s/%s", kind, c.dtype, name), func(t *testing.T) {
					g := openGolden(t, name)
					e := openTest(t, kind, c.dtype, g.vgg())
					s := g.session(e)
					defer s.close()
					g.compareTensors(s, c.values, c.gradient)
					g.compareCurve(s, c.losses, c.curve)
				})
			}
		}
	}
}

func (g golden) compareTensors(s *session, tolerance, gradientTolerance float64) {
	var names []string
	exec := MustNewExec(s.engine.Device.Backend, tapGraph(s.engine, &names))
	defer exec.Finalize()
	values := upload(s.engine, s.hyperparameters(0), hyperparameterCount)
	out := exec.MustCall(append([]any{s.state[0], s.state[1], s.state[2], values}, s.fixed...)...)
	worst, largest := map[string]float64{}, 0.0
	for _, par := range parameters {
		largest = max(largest, absMax(g.tensor("grad."+par.name).Data))
	}
	for i, name := range names {
		want, _, _ := g.nhwc(name)
		kind, _, _ := strings.Cut(name, ".")
		scale, limit := absMax(want), tolerance
		if kind == "grad" {
			want, scale, limit = g.tensor(name).Data, largest, gradientTolerance
		}
		d := distance(download[float64](out[i]), want) / scale
		worst[kind] = max(worst[kind], d)
		if !(d <= limit) {
			g.t.Errorf("%s: off by %.1e of the largest value, allowed %.0e", name, d, limit)
		}
	}
	g.t.Logf("worst: %v", worst)
}

func (g golden) compareCurve(s *session, first, whole float64) {
	want := g.tensor("curve") // [21,3]: total, content, style
	limit := first
	for n := range want.Shape[0] {
		if err := s.step(n); err != nil {
			g.t.Fatal(err)
		}
		got, err := s.readLosses(n)
		if err != nil {
			g.t.Fatal(err)
		}
		for i := range got {
			w := float64(want.Data[3*n+i])
			if d := math.Abs(got[i]-w) / w; !(d <= limit) {
				g.t.Errorf("step %d: losses %v, want %v: off by %.1e, allowed %.0e", n, got, want.Data[3*n:3*n+3], d, limit)
			}
		}
		s.advance()
		if limit = whole; limit == 0 {
			return
		}
	}
}

func absMax(values []float32) (m float64) {
	for _, v := range values {
		m = max(m, math.Abs(float64(v)))
	}
	return m
}

// distance is the largest difference; NaN if there is one or the lengths differ.
func distance(got []float64, want []float32) (d float64) {
	if len(got) != len(want) || slices.ContainsFunc(got, math.IsNaN) {
		return math.NaN()
	}
	for i, v := range got {
		d = max(d, math.Abs(v-float64(want[i])))
	}
	return d
}
