package experiments

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"hrlab/hrstyle"
	"hrlab/report"
	"hrlab/tracker"
)

// A run that was stopped goes on with more steps: then it is recorded as the longer fit, and no sweep takes it for the
// shorter one.
func TestResumeWithMoreSteps(t *testing.T) {
	lab := testLab(t)
	config := testConfig()
	run, err := lab.Start(t.Context(), About{Experiment: "e"}, testPair, Trial{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for step, err := range lab.Record(ctx, run, lab.Engine.Fit(ctx, testPair, config)) {
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
	for _, err := range lab.Record(t.Context(), again, lab.Engine.Resume(t.Context(), testPair, start)) {
		if err != nil {
			t.Fatal(err)
		}
	}
	longer := config
	longer.Steps = 6
	runs, err := lab.Sweep(t.Context(), "e", testPair, List(config, longer), 0, nil)
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

// The last acts of a fit, each under a fault: a run is finished only when everything is kept. Otherwise it ends failed, says
// why and keeps a checkpoint, from which the same sweep goes on to the same result.
func TestKept(t *testing.T) {
	lab := testLab(t)
	config := testConfig()
	config.Steps = 1
	whole, err := lab.Sweep(t.Context(), "whole", testPair, List(config), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	fault := func(on string) func() func() {
		return func() func() {
			do(t, lab.Tracker, "CREATE TRIGGER fault BEFORE "+on+" BEGIN SELECT RAISE(ABORT, 'no room'); END")
			return func() { do(t, lab.Tracker, "DROP TRIGGER fault") }
		}
	}
	folder := func() func() {
		artifacts, aside := artifactsOf(lab.Tracker), filepath.Join(t.TempDir(), "aside")
		if err := errors.Join(os.Rename(artifacts, aside), os.WriteFile(artifacts, nil, 0o666)); err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := errors.Join(os.Remove(artifacts), os.Rename(aside, artifacts)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name string
		at   int // the step after which it cannot be written
		stop bool
		make func() (mend func())
		why  string
	}{
		{"output", 1, false, fault("INSERT ON artifact WHEN new.name = 'output'"), "output could not be kept: .*no room"},
		{"generator", 1, false, fault("INSERT ON artifact WHEN new.name = 'generator'"), "generator could not be kept: .*no room"},
		{"measures", 1, false, fault("INSERT ON metric WHEN new.name = (SELECT id FROM metric_name WHERE name = 'ssim')"), "no room"},
		{"checkpoint", 1, false, fault("INSERT ON artifact WHEN new.name = 'checkpoint'"), "checkpoint could not be kept: .*no room"},
		{"finishing", 1, false, fault("UPDATE OF status ON run WHEN new.status = 'finished'"), "no room"},
		{"folder", 1, false, folder, "output could not be kept: .*not a directory"},
		{"stopped output", 0, true, fault("INSERT ON artifact WHEN new.name = 'output'"), "output could not be kept: .*no room"},
		{"stopped generator", 0, true, fault("INSERT ON artifact WHEN new.name = 'generator'"), "generator could not be kept: .*no room"},
		{"stopped checkpoint", 0, true, fault("INSERT ON artifact WHEN new.name = 'checkpoint'"), "checkpoint could not be kept: .*no room"},
		{"stopped folder", 0, true, folder, "output could not be kept: .*not a directory"},
		{"losses", 0, false, fault("INSERT ON metric WHEN new.step = 1"), "no room"},
		{"picture", 0, false, fault("INSERT ON picture WHEN new.step = 1"), "no room"},
	} {
		ctx, stop := context.WithCancel(t.Context())
		var mend func()
		_, err := lab.Sweep(ctx, c.name, testPair, List(config), 0, func(p Progress) {
			if p.Step.N == c.at && mend == nil {
				if mend = c.make(); c.stop {
					stop()
				}
			}
		})
		stop()
		if err == nil || errors.Is(err, ErrTrials) == c.stop || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", c.name, err)
		}
		mend()
		runs, err := lab.Tracker.Runs(t.Context(), tracker.Query{Experiment: c.name})
		if err != nil || len(runs) != 1 || runs[0].Status != tracker.Failed || !regexp.MustCompile(c.why).MatchString(runs[0].Error) {
			t.Fatalf("%s: %+v %v", c.name, runs, err)
		}
		if strings.Contains(runs[0].Error, "\n") || strings.Count(runs[0].Error, "could not be kept") > 1 {
			t.Errorf("%s: %s", c.name, runs[0].Error)
		}
		if _, err := LoadCheckpoint(t.Context(), lab.Tracker, runs[0].ID); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		again, err := lab.Sweep(t.Context(), c.name, testPair, List(config), 0, nil)
		if err != nil || again[0].ID != runs[0].ID || again[0].Status != tracker.Finished || again[0].Error != "" {
			t.Fatalf("%s: %+v %v", c.name, again, err)
		}
		for name, m := range whole[0].Metrics {
			if got := again[0].Metrics[name]; name != "seconds" && got != m {
				t.Errorf("%s: %s is %+v, uninterrupted %+v", c.name, name, got, m)
			}
		}
		artifacts, err := lab.Tracker.Artifacts(t.Context(), runs[0].ID)
		if err != nil || len(artifacts) != 3 || artifacts[0].Name != report.Checkpoint || artifacts[1].Name != report.Generator || artifacts[2].Name != report.Output {
			t.Errorf("%s: %v %v", c.name, artifacts, err)
		}
	}
}

// A checkpoint that is missing or damaged costs time and nothing else: the fit begins anew.
func TestCheckpointGone(t *testing.T) {
	lab := testLab(t)
	config := quick()
	whole, err := lab.Sweep(t.Context(), "whole", testPair, List(config), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"missing", "damaged"} {
		ctx, stop := context.WithCancel(t.Context())
		_, err := lab.Sweep(ctx, name, testPair, List(config), 0, func(Progress) { stop() })
		stop()
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		runs, err := lab.Tracker.Runs(t.Context(), tracker.Query{Experiment: name})
		if err != nil {
			t.Fatal(err)
		}
		file := artifactFile(t, lab.Tracker, runs[0].ID, report.Checkpoint)
		if name == "missing" {
			err = os.Remove(file)
		} else {
			err = os.Truncate(file, 1000)
		}
		if err != nil {
			t.Fatal(err)
		}
		again, err := lab.Sweep(t.Context(), name, testPair, List(config), 0, nil)
		if err != nil || again[0].ID != runs[0].ID || again[0].Metrics["total"] != whole[0].Metrics["total"] {
			t.Errorf("%s: %+v %v", name, again, err)
		}
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
		run, err := lab.Start(b.Context(), About{}, testPair, Trial{Config: config})
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
		for _, err := range lab.Record(b.Context(), run, timed) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(100*recording.Seconds()/whole.Seconds(), "%-of-the-fit")
}

// Where nothing can be written, not even the end of the run, why is said once.
func TestSaidOnce(t *testing.T) {
	lab := testLab(t)
	config := testConfig()
	config.Steps = 1
	_, err := lab.Sweep(t.Context(), "full", testPair, List(config), 0, func(p Progress) {
		if p.Step.N == 0 && !p.Ended {
			do(t, lab.Tracker, "CREATE TRIGGER fault BEFORE UPDATE ON run BEGIN SELECT RAISE(ABORT, 'no room'); END")
		}
	})
	do(t, lab.Tracker, "DROP TRIGGER fault")
	if before, after, ok := strings.Cut(err.Error(), errOpen.Error()); !ok || after != "" || !strings.Contains(before, "no room") {
		t.Error(err)
	}
}

// artifactFile is where the tracker keeps an artifact of a run.
func artifactFile(t *testing.T, store *tracker.Store, run int64, name string) string {
	t.Helper()
	artifacts, err := store.Artifacts(t.Context(), run)
	i := slices.IndexFunc(artifacts, func(a tracker.Artifact) bool { return a.Name == name })
	if err != nil || i < 0 {
		t.Fatalf("run %d has no %s: %v %v", run, name, artifacts, err)
	}
	return filepath.Join(artifactsOf(store), artifacts[i].Digest[:2], artifacts[i].Digest)
}
