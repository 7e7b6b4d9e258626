package hrstyle

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hrlab/hrstyle/device"
	"hrlab/picture"
)

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

// However a fit ends, nothing of it stays on the device.
func TestEndsFree(t *testing.T) {
	pair, good := small()
	good.Steps = 2
	e := smallEngine(t, device.Go)
	wrong := good
	wrong.LearningRate = 1e30
	unsaved := good
	unsaved.Checkpoint, unsaved.CheckpointEvery = filepath.Join(t.TempDir(), "none", "c.safetensors"), 1
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name   string
		ctx    context.Context
		config Config
		until  int // the step after which the loop is left
		want   error
	}{
		{"finished", t.Context(), good, -1, nil},
		{"left", t.Context(), good, 0, nil},
		{"diverged", t.Context(), wrong, -1, ErrDiverged},
		{"no checkpoint", t.Context(), unsaved, -1, os.ErrNotExist},
		{"cancelled", cancelled, good, -1, context.Canceled},
	} {
		s, err := e.newSession(pair, (&Generator{flat: initialParameters(1)}).Start(c.config))
		if err != nil {
			t.Fatal(c.name, err)
		}
		_, err = s.run(c.ctx, 0, func(step Step, _ error) bool { return step.N != c.until })
		tensors := append(append(slices.Clone(s.state), s.next...), s.picture, s.losses)
		s.close()
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		for i, x := range tensors {
			if x != nil && x.Ok() {
				t.Errorf("%s: tensor %d is still there", c.name, i)
			}
		}
		if e.pair.users != 1 {
			t.Errorf("%s: %d users of the pair; want the engine alone", c.name, e.pair.users)
		}
	}
}

// A fit that cannot be put on the device leaves no user of the pair behind, which would keep it there.
func TestPlacingFails(t *testing.T) {
	pair, c := small()
	e := smallEngine(t, device.Go)
	start := (&Generator{flat: make([]float32, 3)}).Start(c) // a generator has more values
	if _, err := Last(e.Resume(t.Context(), pair, start)); err == nil || !strings.HasPrefix(err.Error(), "preparing a fit of 32x24: ") {
		t.Error(err)
	}
	if e.pair.users != 1 {
		t.Errorf("%d users of the pair; want the engine alone", e.pair.users)
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
