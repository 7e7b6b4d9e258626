package experiments

import (
	"context"
	"errors"
	"math"
	"testing"

	"hrlab/hrstyle"
	"hrlab/report"
	"hrlab/tracker"
)

func mapConfig() hrstyle.Config {
	c := hrstyle.DefaultMap
	c.Size, c.Steps, c.ReportEvery, c.Knots = 32, 4, 2, 3
	return c
}

// A weight map that was stopped goes on, and is recorded at nine ratios. Its trials begin with its generators, and
// without steps equal it; in the queue they have the generators with them.
func TestMap(t *testing.T) {
	lab, ctx := testLab(t), t.Context()
	stopping, stop := context.WithCancel(ctx)
	defer stop()
	for step, err := range lab.Fit(stopping, "e", testPair, mapConfig()) {
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if step.N == 2 {
			stop()
		}
	}
	if _, err := hrstyle.Last(lab.Fit(ctx, "e", testPair, mapConfig())); err != nil {
		t.Fatal(err)
	}
	runs, err := lab.Tracker.Runs(ctx, tracker.Query{})
	if err != nil || len(runs) != 1 || runs[0].Status != tracker.Finished || !report.IsMap(runs[0]) {
		t.Fatalf("%+v, %v", runs, err)
	}
	made := report.NewMap(runs[0])
	pictures, err := lab.Tracker.Pictures(ctx, runs[0].ID)
	shown := map[string]int{}
	for _, p := range pictures {
		shown[p.Name]++
	}
	if err != nil || len(made.Points) != 9 || made.Points[4].Ratio != 80 || shown["output_at_25.3"] != shown[report.Output] || shown[report.Output] < 3 {
		t.Fatalf("%d ratios; pictures %v, %v", len(made.Points), shown, err)
	}
	for i := range made.Points {
		for _, m := range report.Measures() {
			if math.IsNaN(report.Measured(made.Points[i].Info, m.Name)) {
				t.Errorf("ratio %s: no %s", made.Points[i].Text(), m.Name)
			}
		}
	}
	g, err := LoadGenerator(ctx, lab.Tracker, runs[0].ID)
	if err != nil || !g.IsMap() || g.Step != 4 {
		t.Fatalf("%+v, %v", g, err)
	}
	trials, err := MapTrials(g, "run 1", 0)
	if err != nil || len(trials) != 9 {
		t.Fatal(len(trials), err)
	}
	swept, err := lab.Sweep(ctx, "e", testPair, trials, 0, nil)
	if err != nil || len(swept) != 9 {
		t.Fatal(swept, err)
	}
	for i, r := range swept {
		ratio := made.Points[i].Ratio
		want := report.Measured(made.Points[i].Info, report.ContentKept)
		if got := report.Measured(r, report.ContentKept); r.Params["content_weight"].Number != ratio || r.Params["map"].Text != "run 1" || math.Abs(got-want) > 1e-4 {
			t.Errorf("ratio %g: run %+v, content kept %g, by the map %g", ratio, r.Params["content_weight"], got, want)
		}
	}
	if again, err := lab.Sweep(ctx, "e", testPair, trials, 0, nil); err != nil || again[0].ID != swept[0].ID {
		t.Errorf("a second sweep: %v", err)
	}
	if _, _, err := Again(ctx, lab.Tracker, swept[0].ID); err == nil {
		t.Error("a run that a map began is said to be fitted again without it")
	}
	if _, err := MapTrials(g, "run 1", 0, 9000); err == nil {
		t.Error("a ratio outside of the map's range")
	}
	id := enqueue(t, lab, openQueue(t, lab), testPair, trials[4])[0]
	if init, err := fromArtifact(ctx, lab.Tracker, id, report.Init, hrstyle.ReadGenerator); err != nil || init.Digest() != trials[4].Init.Digest() {
		t.Errorf("in the queue: %v", err)
	}
	r, err := report.New(ctx, lab.Tracker, "e")
	if err != nil || len(r.Pairs) != 1 || len(r.Pairs[0].Maps) != 1 || len(r.Pairs[0].Runs) != 9 || r.Pairs[0].Maps[0].Points[8].Picture == nil {
		t.Errorf("the report: %+v, %v", r, err)
	}
}
