package experiments

import (
	"context"
	"errors"
	"image/png"
	"path/filepath"
	"strings"
	"testing"

	"hrlab/hrstyle"
	"hrlab/hrstyle/sample"
	"hrlab/tracker"
)

var testPair = hrstyle.Pair{
	Content: hrstyle.Picture{Name: "day.png", Image: sample.Content(48, 36)},
	Style:   hrstyle.Picture{Name: "dusk.png", Image: sample.Style(48, 36)},
}

// testLab has a database of its own, pure Go and random filters.
func testLab(t *testing.T) Lab {
	t.Helper()
	engine, err := hrstyle.Open(t.Context(), hrstyle.Options{Device: "go", VGG: "random"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(engine.Close)
	store, err := tracker.Open(t.Context(), filepath.Join(t.TempDir(), "hrlab.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return Lab{Engine: engine, Tracker: store}
}

func testConfig() hrstyle.Config {
	c := hrstyle.Default
	c.Size, c.Steps, c.ReportEvery = 32, 4, 1
	return c
}

// A sweep records every trial, goes on past one that fails, and does nothing twice.
func TestSweep(t *testing.T) {
	lab := testLab(t)
	trials := Grid(testConfig(), ContentWeight(1, 100))
	bad := testConfig()
	bad.LearningRate = 1e30
	trials = append([]Trial{trials[0], {bad}}, trials[1])
	steps := 0
	count := func(p Progress) {
		if p.Step.Ok() && !p.Ended {
			steps++
		}
	}
	runs, err := lab.Sweep(t.Context(), "e", testPair, trials, 0, count)
	if !errors.Is(err, ErrTrials) || !errors.Is(err, hrstyle.ErrDiverged) || !strings.HasPrefix(err.Error(), "1 of 3 trials failed: trial 2: ") {
		t.Fatal(err)
	}
	if len(runs) != 3 || runs[0].Status != tracker.Finished || runs[1].Status != tracker.Failed || runs[2].Status != tracker.Finished {
		t.Fatalf("%+v", runs)
	}
	first := runs[0]
	if first.Params["content_weight"].Number != 1 || first.Tags["pair"] != "day_dusk" || first.Experiment != "e" || first.Name != "day_dusk" {
		t.Errorf("%+v", first)
	}
	for _, name := range []string{"total", "content", "style", SSIM, EdgeSSIM, StyleMatch, ContentKept, ColourDistance} {
		if m, ok := first.Metrics[name]; !ok || m.LastStep != 4 {
			t.Errorf("metric %s: %+v", name, m)
		}
	}
	pictures, err := lab.Tracker.Pictures(t.Context(), first.ID)
	if err != nil || len(pictures) != 7 {
		t.Errorf("%d pictures, want 5 outputs and the pair: %v", len(pictures), err)
	}
	file, err := lab.Tracker.OpenArtifact(t.Context(), first.ID, Output)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if img, err := png.Decode(file); err != nil || img.Bounds().Dx() != 32 {
		t.Error(err)
	}
	if g, err := LoadGenerator(t.Context(), lab.Tracker, first.ID); err != nil || g.Step != 4 {
		t.Error(err)
	}
	if _, err := LoadCheckpoint(t.Context(), lab.Tracker, first.ID); !errors.Is(err, tracker.ErrNotFound) {
		t.Errorf("a finished run keeps its checkpoint: %v", err)
	}

	before := steps
	again, err := lab.Sweep(t.Context(), "e", testPair, Grid(testConfig(), ContentWeight(1, 100)), 0, count)
	if err != nil || steps != before || len(again) != 2 || again[0].ID != first.ID {
		t.Errorf("again: %d steps, %v", steps-before, err)
	}
}

// A sweep that was stopped goes on where it was, and ends as if it had not been.
func TestSweepGoesOn(t *testing.T) {
	lab := testLab(t)
	trials := Grid(testConfig(), ContentWeight(5, 50))
	want, err := lab.Sweep(t.Context(), "whole", testPair, trials, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := lab.Sweep(ctx, "part", testPair, trials, 0, func(p Progress) {
		if p.Trial == 2 && p.Step.N == 2 {
			cancel()
		}
	}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	stopped, err := lab.Tracker.Runs(t.Context(), tracker.Query{Experiment: "part", Where: "status = stopped"})
	if err != nil || len(stopped) != 1 {
		t.Fatalf("%d stopped, %v", len(stopped), err)
	}
	var steps []int
	got, err := lab.Sweep(t.Context(), "part", testPair, trials, 0, func(p Progress) {
		if p.Step.Ok() && !p.Ended {
			steps = append(steps, p.Step.N)
		}
	})
	if err != nil || len(got) != 2 || got[1].ID != stopped[0].ID {
		t.Fatal(got, err)
	}
	if len(steps) == 0 || steps[0] < 2 || steps[len(steps)-1] != 4 {
		t.Errorf("steps %v", steps)
	}
	for i := range want {
		for _, name := range []string{"total", SSIM} {
			if a, b := want[i].Metrics[name].Last, got[i].Metrics[name].Last; a != b {
				t.Errorf("trial %d: %s %g, uninterrupted %g", i+1, name, b, a)
			}
		}
	}
}

// Patience ends a fit that gets no better, and that counts as finished.
func TestPatience(t *testing.T) {
	lab := testLab(t)
	c := testConfig()
	c.Steps, c.LearningRate = 50, 0
	runs, err := lab.Sweep(t.Context(), "e", testPair, List(c), 3, nil)
	if err != nil || runs[0].Status != tracker.Finished || runs[0].Metrics["total"].LastStep != 3 {
		t.Errorf("%+v %v", runs, err)
	}
}
