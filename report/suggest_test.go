package report

import (
	"context"
	"errors"
	"maps"
	"math"
	"regexp"
	"strings"
	"testing"

	"hrlab/tracker"
)

// point is a run of a sweep: weights, seed, how it ended, its measures, and its total loss at every step.
type point struct {
	content, style float64
	seed           int
	params         map[string]any // others
	status         tracker.Status // finished where empty
	kept, match    float64
	loss           []float64 // flattens where nil
}

// flat is the loss of a run that is past its first fall.
var flat = []float64{1000, 400, 200, 150, 140, 135, 132, 130, 129, 128, 127}

// recordPoints records runs, as they are while a sweep is under way and after it.
func recordPoints(t *testing.T, points []point) *Pair {
	t.Helper()
	ctx, store := t.Context(), open(t)
	for _, p := range points {
		params := map[string]any{"content_weight": p.content, "style_weight": p.style, "seed": p.seed, "steps": 10, "report_every": 1}
		maps.Copy(params, p.params)
		n := tracker.NewRun{Experiment: "e", Tags: map[string]string{"pair": "day_dusk"}, Params: params}
		if p.status == tracker.Queued {
			tx, err := store.DB().BeginTx(ctx, nil)
			if err == nil {
				_, err = store.Enqueue(ctx, tx, n)
				err = errors.Join(err, tx.Commit())
			}
			if err != nil {
				t.Fatal(err)
			}
			continue
		}
		run, err := store.Start(ctx, n)
		if err != nil {
			t.Fatal(err)
		}
		loss := p.loss
		if loss == nil {
			loss = flat
		}
		for step, v := range loss { // the content term is one half of the total, the style term the other
			err = errors.Join(err, run.Log(ctx, int64(step), map[string]float64{"content": v / 2 / p.content, "style": v / 2 / p.style}))
		}
		switch p.status {
		case tracker.Running:
			t.Cleanup(func() { _ = run.Finish(ctx, nil) })
		case tracker.Failed:
			err = errors.Join(err, run.Finish(ctx, errors.New("the fit diverged")))
		case tracker.Stopped:
			err = errors.Join(err, run.Finish(ctx, context.Canceled))
		default:
			err = errors.Join(err, run.Log(ctx, int64(max(len(loss)-1, 0)), map[string]float64{ContentKept: p.kept, StyleMatch: p.match}), run.Finish(ctx, nil))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r := compare(t, store, "e")
	if len(r.Pairs) != 1 {
		t.Fatalf("%d pairs", len(r.Pairs))
	}
	for _, text := range asWritten(t, r) {
		if !strings.Contains(text, sentence(r.Pairs[0].Suggestion())) {
			t.Errorf("%q is not shown: %.3000s", r.Pairs[0].Suggestion(), text)
		}
	}
	return r.Pairs[0]
}

// bend is a front of five settings whose knee is plain: 100 : 1.
func bend() []point {
	return []point{
		{content: 1, style: 1, kept: 0.1, match: 0.95},
		{content: 10, style: 1, kept: 0.4, match: 0.92},
		{content: 100, style: 1, kept: 0.85, match: 0.85},
		{content: 1000, style: 1, kept: 0.95, match: 0.3},
		{content: 10000, style: 1, kept: 1, match: 0},
	}
}

// repeated are points with two more seeds each, whose measures differ from the first's by spread.
func repeated(points []point, spread float64) (all []point) {
	for _, p := range points {
		for seed, sign := range []float64{0, 1, -1} {
			q := p
			q.seed, q.kept, q.match = seed, p.kept+sign*spread, p.match+sign*spread
			all = append(all, q)
		}
	}
	return all
}

// What is suggested, and how sure it is; or what is missing. Page, Markdown and everybody else show this sentence.
func TestSuggestion(t *testing.T) {
	if testing.Short() {
		t.Skip("draws charts, which is slow with the race detector and not concurrent")
	}
	still := []float64{1000, 960, 930, 900, 870}
	with := func(points []point, change func(p *point), which ...int) []point {
		for _, i := range which {
			change(&points[i])
		}
		return points
	}
	ended := func(status tracker.Status) func(p *point) { return func(p *point) { p.status = status } }
	falling := func(p *point) { p.loss = still }
	const knee = `^suggested: content weight 100, style weight 1 \(run 3\), the knee of the Pareto front; `
	for _, c := range []struct {
		name   string
		points []point
		want   string
	}{
		{"no seeds", bend(), knee + `how sure that is cannot be said, since no setting was repeated with another seed \(hrlab sweep --repeats 3\)$`},
		{"seeds alike", repeated(bend(), 0.001), `\(run \d+\), the knee of the Pareto front; sure among these settings, since`},
		{"seeds apart", repeated(bend(), 0.1), `\(run \d+\), the knee of the Pareto front; not sure, since with other seeds it may be .*\d+ : 1`},
		{"two weights, four steps", with(bend()[:2], falling, 0, 1), `^nothing is suggested: 2 of the 3 finished settings that it takes are there, .*; runs 1 and 2 are not past the first fall of the loss: more steps are needed$`},
		{"one", bend()[:1], `^nothing is suggested: 1 of the 3 finished settings that it takes is there, `},
		{"two", bend()[2:4], `^nothing is suggested: 2 of the 3 `},
		{"three", bend()[1:4], `^suggested: content weight 100, `},
		{"seeds of one setting", repeated(bend()[:1], 0.1), `^nothing is suggested: 1 of the 3 `},
		{"one ratio", []point{{content: 10, style: 1, kept: 0.4, match: 0.9}, {content: 100, style: 10, kept: 0.5, match: 0.8}, {content: 1, style: 0.1, kept: 0.45, match: 0.87}}, `^nothing is suggested: 1 of the 3 finished settings that it takes is there, where weights of the same ratio count once$`},
		{"what changes no result", []point{{content: 10, style: 1, kept: 0.4, match: 0.9}, {content: 10, style: 1, params: map[string]any{"report_every": 5}, kept: 0.5, match: 0.8}, {content: 10, style: 1, params: map[string]any{"checkpoint_every": 7, "content": "copy.png"}, kept: 0.6, match: 0.7}}, `^nothing is suggested: 1 of the 3 `},
		{"another setting", []point{{content: 10, style: 1, kept: 0.1, match: 0.9}, {content: 10, style: 1, params: map[string]any{"style_gain": 2}, kept: 0.5, match: 0.8}, {content: 10, style: 1, params: map[string]any{"style_gain": 3}, kept: 0.6, match: 0.1}}, `^suggested: content weight 10, style weight 1, style gain 2 \(run 2\)`},
		{"running", with(bend(), ended(tracker.Running), 4), `^nothing is suggested: run 5 is running$`},
		{"queued", with(bend(), ended(tracker.Queued), 0, 4), `^nothing is suggested: runs 1 and 5 are queued$`},
		{"stopped", with(bend(), ended(tracker.Stopped), 0), `^nothing is suggested: run 1 is stopped$`},
		{"only two finished", with(bend(), ended(tracker.Queued), 0, 1, 4), `^nothing is suggested: 2 of the 3 .*; runs 1, 2 and 5 are queued$`},
		{"failed", with(bend(), ended(tracker.Failed), 4), `cannot be said, .*; without run 5, which failed$`},
		{"too many failed", with(bend(), ended(tracker.Failed), 0, 3, 4), `^nothing is suggested: 2 of the 3 `},
		{"stopped, then finished", append(bend(), point{content: 10, style: 1, status: tracker.Stopped}), knee},
		{"a seed is running", append(bend(), point{content: 10, style: 1, seed: 1, status: tracker.Running}), `^nothing is suggested: run 6 is running$`},
		{"falling", with(bend(), falling, 3), `^nothing is suggested: run 4 is not past the first fall of the loss: more steps are needed$`},
		{"many falling", with(bend(), falling, 0, 1, 2, 3, 4), `^nothing is suggested: runs 1, 2, 3 and 2 more are not past`},
		{"rising", with(bend(), func(p *point) { p.loss = []float64{10, 20, 1e5} }, 0), `^nothing is suggested: run 1 is not past`},
		{"one report", with(bend(), func(p *point) { p.loss = []float64{10} }, 0), `^nothing is suggested: run 1 is not past`},
		{"not a number", with(bend(), func(p *point) { p.loss = []float64{10, 5, math.NaN()} }, 0), `^nothing is suggested: run 1 is not past`},
		{"from a fitted generator", with(bend(), func(p *point) { p.loss, p.params = []float64{10, 9, 9.5}, map[string]any{"init": "boat.safetensors"} }, 0, 1, 2, 3, 4), knee},
		{"no losses", with(bend(), func(p *point) { p.loss = []float64{} }, 0, 1, 2, 3, 4), knee},
		{"front of two", []point{{content: 1, style: 1, kept: 0.1, match: 0.9}, {content: 10, style: 1, kept: 0.9, match: 0.1}, {content: 100, style: 1, kept: 0, match: 0}}, `\(run 2\), which keeps most content: a Pareto front of two runs has no knee; not sure, since`},
		{"front of one", []point{{content: 1, style: 1, kept: 0.9, match: 0.9}, {content: 10, style: 1, kept: 0.8, match: 0.1}, {content: 100, style: 1, kept: 0, match: 0}}, `\(run 1\), which keeps most content and matches most style; how sure`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := recordPoints(t, c.points)
			got := p.Suggestion()
			if !regexp.MustCompile(c.want).MatchString(got) {
				t.Errorf("%q\nwant %s", got, c.want)
			}
			if suggested := strings.HasPrefix(got, "suggested: "); suggested != (p.Suggested != nil) || suggested != (p.NoSuggestion() == "") {
				t.Errorf("%q, but %v is suggested, and %q", got, p.Suggested, p.NoSuggestion())
			}
		})
	}
}

// The first fall is over at the same step however often was reported, and however large the loss is.
func TestPastFall(t *testing.T) {
	// The fit of the built-in pair at 128 px, content weight 30: step by tens.
	loss := []float64{1949, 1415, 1176, 969, 802, 664, 559, 486, 454}
	for _, c := range []struct {
		every, points int
		scale         float64
		want          bool
	}{
		{1, 9, 1, true}, {1, 9, 1e9, true}, {1, 9, 1e-9, true}, {2, 9, 1, true}, {4, 9, 1, true}, {1, 4, 1, false}, {1, 2, 1, false}, {8, 9, 1, false},
	} {
		s := tracker.Series{Run: 1, Metric: "content"}
		for i := 0; i < c.points; i += c.every {
			s.Steps, s.Values = append(s.Steps, int64(10*i)), append(s.Values, c.scale*loss[i])
		}
		zero := tracker.Series{Run: 1, Metric: "style", Steps: s.Steps, Values: make([]float64, len(s.Values))}
		p := &Pair{curves: []tracker.Series{s, zero}}
		if got := p.pastFall(made(1, 0.5, 0.5, 30, "0")); got != c.want {
			t.Errorf("every %d of %d reports, times %g: %t", c.every, c.points, c.scale, got)
		}
	}
}
