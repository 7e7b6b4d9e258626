package experiments

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hrlab/hrstyle"
	"hrlab/tracker"
)

// A run that was stopped goes on with more steps: then it is recorded as the longer fit, and no sweep takes it for the
// shorter one.
func TestResumeWithMoreSteps(t *testing.T) {
	lab := testLab(t)
	config := testConfig()
	run, err := lab.Start(t.Context(), About{Experiment: "e"}, testPair, config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for step, err := range lab.Record(ctx, run, testPair, lab.Engine.Fit(ctx, testPair, config)) {
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if step.N == 2 {
			stop()
		}
	}
	start, err := LoadCheckpoint(t.Context(), lab.Tracker, run.ID)
	if err != nil {
		t.Fatal(err)
	}
	start.Config.Steps = 6
	again, err := lab.Resume(t.Context(), run.ID, start.Config)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range lab.Record(t.Context(), again, testPair, lab.Engine.Resume(t.Context(), testPair, start)) {
		if err != nil {
			t.Fatal(err)
		}
	}
	longer := config
	longer.Steps = 6
	runs, err := lab.Sweep(t.Context(), "e", testPair, []Trial{{config}, {longer}}, 0, nil)
	if err != nil || len(runs) != 2 {
		t.Fatal(runs, err)
	}
	if runs[0].ID == run.ID || runs[0].Params["steps"].Number != 4 || runs[0].Metrics["total"].LastStep != 4 {
		t.Errorf("the shorter fit: run %d, %v, %+v", runs[0].ID, runs[0].Params["steps"], runs[0].Metrics["total"])
	}
	if runs[1].ID != run.ID || runs[1].Params["steps"].Number != 6 || runs[1].Metrics["total"].LastStep != 6 {
		t.Errorf("the longer fit: run %d, %v, %+v", runs[1].ID, runs[1].Params["steps"], runs[1].Metrics["total"])
	}
}

// What recording takes of a fit: the loop waits for it from one report to the next. Files and measures, made once at the
// end, are not of it.
func BenchmarkRecord(b *testing.B) {
	engine, err := hrstyle.Open(b.Context(), hrstyle.Options{Device: "auto", VGG: cmp.Or(os.Getenv("HRLAB_VGG"), "random")})
	if err != nil {
		b.Fatal(err)
	}
	defer engine.Close()
	store, err := tracker.Open(b.Context(), filepath.Join(b.TempDir(), "hrlab.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close() //nolint:errcheck // nothing depends on it
	lab := Lab{Engine: engine, Tracker: store}
	config := hrstyle.Default
	config.Size, config.Steps, config.ReportEvery = 96, 100, 10
	var recording, whole time.Duration
	for b.Loop() {
		run, err := lab.Start(b.Context(), About{}, testPair, config)
		if err != nil {
			b.Fatal(err)
		}
		began := time.Time{}
		timed := func(yield func(hrstyle.Step, error) bool) {
			for step, err := range engine.Fit(b.Context(), testPair, config) {
				now := time.Now()
				if began.IsZero() {
					began = now // compiling is done
				}
				more := yield(step, err)
				recording += time.Since(now)
				if !more {
					return
				}
			}
			whole += time.Since(began)
		}
		for _, err := range lab.Record(b.Context(), run, testPair, timed) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(100*recording.Seconds()/whole.Seconds(), "%-of-the-fit")
}
