package experiments

import (
	"testing"

	"hrlab/hrstyle"
	"hrlab/report"
	"hrlab/tracker"
)

// The trials of a pair begin with the newest weight map that fits them all, and a sweep that goes on stays what it was.
func TestRefine(t *testing.T) {
	lab, ctx := testLab(t), t.Context()
	fitMap := func(change func(c *hrstyle.Config)) {
		c := mapConfig()
		c.Steps = 0
		if change != nil {
			change(&c)
		}
		if _, err := hrstyle.Last(lab.Fit(ctx, "map", testPair, c)); err != nil {
			t.Fatal(err)
		}
	}
	narrow := func(c *hrstyle.Config) { c.From, c.To, c.Seed = 8, 800, 1 }
	fitMap(nil)
	fitMap(narrow)
	maps, err := WeightMaps(ctx, lab.Tracker)
	if err != nil || len(maps) != 2 || maps[0].ID != 2 {
		t.Fatal(maps, err)
	}
	refine := func(experiment string, pair hrstyle.Pair, trials []Trial) Refining {
		t.Helper()
		r, err := Refine(ctx, lab.Tracker, maps, experiment, lab.Engine.VGG, pair, trials, 0, 2)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	in := func(settings ...Axis) []Trial { return Grid(testConfig(), settings...) }

	// Run 2 is the newest, and run 1 has the whole range.
	got := refine("e", testPair, in(ContentWeight(16, 160), StyleWeight(2)))
	if got.Map != 2 || got.Why != "" || len(got.Trials) != 2 {
		t.Fatalf("%+v", got)
	}
	if c := got.Trials[1].Config; c.ContentWeight != 160 || c.StyleWeight != 2 || c.Steps != 2 || c.LearningRate != 1e-3 || got.Trials[1].Map != "run 2" {
		t.Errorf("%+v", got.Trials[1])
	}
	m, err := LoadGenerator(ctx, lab.Tracker, 2)
	if err != nil {
		t.Fatal(err)
	}
	if at, err := m.At(80); err != nil || at.Digest() != got.Trials[1].Init.Digest() {
		t.Errorf("it does not begin with the map at 80 : 1; %v", err)
	}
	if got := refine("e", testPair, in(ContentWeight(1, 100))); got.Map != 1 {
		t.Errorf("%+v", got)
	}

	// What no map fits begins from nothing, and says why where the map is of the pair.
	for why, trials := range map[string][]Trial{
		"the weight map of run 2 is not used: size 32, and not 64":                                        in(Size(64)),
		"the weight map of run 2 is not used: ratio 9000: allowed: 8 to 800, the range of the weight map": in(ContentWeight(80, 9000)),
		"the weight map of run 2 is not used: ratio 0: allowed: 8 to 800, the range of the weight map":    in(ContentWeight(0)),
		"the weight map of run 2 is not used: ratio +Inf: allowed: 8 to 800, the range of the weight map": in(StyleWeight(0)),
		"the weight map of run 2 is not used: style gain 1, and not 2":                                    in(StyleGain(1, 2)),
	} {
		if got := refine("e", testPair, trials); got.Map != 0 || got.Trials[0].Init != nil || got.Why != why {
			t.Errorf("%+v; want %s", got, why)
		}
	}
	other := hrstyle.Pair{Content: testPair.Style, Style: testPair.Content}
	if got := refine("e", other, in(ContentWeight(8, 80))); got.Map != 0 || got.Why != "" {
		t.Errorf("another pair: %+v", got)
	}

	// One that was begun goes on as it was begun: with run 1's map, though run 2's is newer and fits, or from nothing.
	whole := refine("whole", testPair, in(ContentWeight(8, 0.8)))
	if _, err := lab.Sweep(ctx, "whole", testPair, whole.Trials[:1], 0, nil); err != nil || whole.Map != 1 {
		t.Fatal(whole, err)
	}
	if got := refine("whole", testPair, in(ContentWeight(8, 100))); got.Map != 1 {
		t.Errorf("%+v", got)
	}
	cold := in(ContentWeight(80, 100))
	if _, err := lab.Sweep(ctx, "cold", testPair, cold[:1], 0, nil); err != nil {
		t.Fatal(err)
	}
	if got := refine("cold", testPair, cold); got.Map != 0 || got.Why != "the weight map of run 2 is not used: run 4 of this sweep began from nothing" {
		t.Errorf("%+v", got)
	}
	if err := lab.Tracker.Delete(ctx, 2); err != nil {
		t.Fatal(err)
	}
	if maps, err = WeightMaps(ctx, lab.Tracker); err != nil || len(maps) != 1 {
		t.Fatal(maps, err)
	}
	if got := refine("e", testPair, in(ContentWeight(8, 160))); got.Map != 1 {
		t.Errorf("after run 2 was deleted: %+v", got)
	}

	// It is the fit that the page of the map queues.
	m, err = LoadGenerator(ctx, lab.Tracker, 1)
	if err != nil {
		t.Fatal(err)
	}
	same, err := MapTrials(m, "run 1", 2, 80)
	if err != nil {
		t.Fatal(err)
	}
	runs, err := lab.Sweep(ctx, "same", testPair, append(same, refine("e", testPair, in(ContentWeight(80))).Trials...), 0, nil)
	if err != nil || runs[0].ID != runs[1].ID || runs[0].Params["map"].Text != "run 1" || runs[0].Status != tracker.Finished {
		t.Errorf("%+v, %v", runs, err)
	}
}

// Fits that begin with a weight map keep what its measures do over the ratios: content kept rises, and style match falls in the end. So
// it was with ten seeds; at the two low ratios style match is level.
func TestRefinedOrder(t *testing.T) {
	lab, ctx := testLab(t), t.Context()
	c := mapConfig()
	c.Steps, c.ReportEvery = 60, 60
	if _, err := hrstyle.Last(lab.Fit(ctx, "map", testPair, c)); err != nil {
		t.Fatal(err)
	}
	maps, err := WeightMaps(ctx, lab.Tracker)
	if err != nil || len(maps) != 1 {
		t.Fatal(maps, err)
	}
	const steps = 10
	base := testConfig()
	base.ReportEvery = steps
	r, err := Refine(ctx, lab.Tracker, maps, "refined", lab.Engine.VGG, testPair, Grid(base, ContentWeight(0.8, 80, 8000)), 0, steps)
	if err != nil {
		t.Fatal(err)
	}
	runs, err := lab.Sweep(ctx, "refined", testPair, r.Trials, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	measured := func(name string) (list []float64) {
		for _, run := range runs {
			list = append(list, report.Measured(run, name))
		}
		return list
	}
	kept, match := measured(report.ContentKept), measured(report.StyleMatch)
	if !(kept[0] < kept[1] && kept[1] < kept[2]) || !(match[2] < min(match[0], match[1])) {
		t.Errorf("content kept %.3f, style match %.3f", kept, match)
	}
}
