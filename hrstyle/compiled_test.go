package hrstyle

import (
	"image"
	"reflect"
	"strings"
	"testing"

	"hrlab/hrstyle/device"
	"hrlab/hrstyle/sample"
	"hrlab/picture"
)

// Pictures of many sizes leave no more than maxCompiled graphs, those used last; one that was dropped is compiled again, even
// in the middle of a fit.
func TestCompiledGraphsAreBounded(t *testing.T) {
	pair, c := small()
	e := smallEngine(t, device.Go)
	want := collect(t, e.Fit(t.Context(), pair, c))
	g := &Generator{flat: want[len(want)-1].Generator().flat} // without the fitted size, so that it runs at every other
	apply := func(n int) *image.NRGBA64 {
		t.Helper()
		out, err := e.Apply(t.Context(), g, picture.Picture{Name: "odd", Image: sample.Content(16+4*n, 16)}, Applying{})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	var first *image.NRGBA64
	for step, err := range e.Fit(t.Context(), pair, c) {
		if err != nil {
			t.Fatal(err)
		}
		if step.N == 0 {
			first = apply(0)
			for n := range maxCompiled + 8 {
				apply(n)
				if len(e.compiled) > maxCompiled {
					t.Fatalf("%d compiled graphs after %d sizes, allowed %d", len(e.compiled), n+1, maxCompiled)
				}
			}
			if got := compiledAs(e, "step "); len(got) != 0 {
				t.Errorf("kept in spite of %d others: %q", maxCompiled+8, got)
			}
		}
		if step.Total != want[step.N].Total {
			t.Errorf("step %d: %g, undisturbed %g", step.N, step.Total, want[step.N].Total)
		}
	}
	if again := apply(0); !reflect.DeepEqual(again.Pix, first.Pix) {
		t.Error("another picture once its graph was compiled again")
	}
	before := len(e.compiled)
	apply(0)
	if last := e.compiled[before-1].key; len(e.compiled) != before || last[:6] != "apply " {
		t.Errorf("%d compiled graphs, then %d; the last is %s", before, len(e.compiled), last)
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
