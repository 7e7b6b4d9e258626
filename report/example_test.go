package report_test

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"log"
	"os"
	"path/filepath"

	"hrlab/report"
	"hrlab/tracker"
)

// must ends the program on an error, as a script would.
func must(errs ...error) {
	if err := errors.Join(errs...); err != nil {
		log.Fatal(err)
	}
}

// recorded is a database of five runs of the experiment "boat", and what removes it. As a sweep does, it records the settings
// and the measures: more content weight keeps more of the content picture and matches less of the style picture.
func recorded() (store *tracker.Store, remove func()) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "hrlab-")
	must(err)
	store, err = tracker.Open(ctx, filepath.Join(dir, "hrlab.db"))
	must(err)
	for _, r := range []struct {
		weight, seed  int
		kept, matched float64
	}{{1, 0, 0.1, 0.95}, {30, 0, 0.7, 0.9}, {30, 1, 0.72, 0.87}, {100, 0, 0.8, 0.5}, {1000, 0, 0.95, 0.1}} {
		run, err := store.Start(ctx, tracker.NewRun{
			Experiment: "boat", Tags: map[string]string{"pair": "boat_sunset"},
			Params: map[string]any{"content_weight": r.weight, "style_weight": 1, "seed": r.seed},
		})
		must(err)
		must(run.Log(ctx, 100, map[string]float64{report.ContentKept: r.kept, report.StyleMatch: r.matched}), run.Finish(ctx, nil))
	}
	return store, func() { _ = store.Close(); _ = os.RemoveAll(dir) }
}

// Compare an experiment's runs on one page.
func Example() {
	store, remove := recorded()
	defer remove()
	r, err := report.New(context.Background(), store, "boat")
	must(err)
	for _, p := range r.Pairs {
		fmt.Printf("%s: %s\n", p.Name, p.Suggestion())
	}
	page := filepath.Join(filepath.Dir(store.Path()), "boat.html")
	must(r.HTML(page))
	info, err := os.Stat(page)
	must(err)
	fmt.Println(info.Name(), "is written:", info.Size() > 0)
	// Output:
	// boat_sunset: suggested: content weight 30, style weight 1 (run 2), the knee of the Pareto front; sure among these settings, since with other seeds it would be the same (two standard deviations)
	// boat.html is written: true
}

// Which runs are worth looking at, and which of them is suggested?
func ExampleFront() {
	store, remove := recorded()
	defer remove()
	runs, err := store.Runs(context.Background(), tracker.Query{Experiment: "boat"})
	must(err)
	front := report.Front(runs)
	for _, run := range front {
		fmt.Println(run.Params["content_weight"], run.Metrics[report.ContentKept].Last, run.Metrics[report.StyleMatch].Last)
	}
	knee, ok := report.Knee(front)
	fmt.Println("knee: run", knee.ID, ok)
	// Output:
	// 1000 0.95 0.1
	// 100 0.8 0.5
	// 30 0.72 0.87
	// 30 0.7 0.9
	// 1 0.1 0.95
	// knee: run 2 true
}

// How much does a setting move a measure, beside what the seed alone does?
func ExampleEffects() {
	store, remove := recorded()
	defer remove()
	runs, err := store.Runs(context.Background(), tracker.Query{Experiment: "boat"})
	must(err)
	fmt.Println("varied:", report.Varied(runs))
	for _, e := range report.Effects(runs, report.ContentKept) {
		fmt.Printf("%s moves %s by %.2f, the seed by %.3f\n", e.Axis, e.Measure, e.Effect, report.Spread(runs, e.Measure))
	}
	// Output:
	// varied: [content_weight]
	// content_weight moves content_kept by 0.85, the seed by 0.014
}

// Where do two outputs differ?
func ExampleDifference() {
	a, b := image.NewGray(image.Rect(0, 0, 2, 1)), image.NewGray(image.Rect(0, 0, 2, 1))
	a.SetGray(1, 0, color.Gray{30})
	d := report.Difference(a, b)
	fmt.Println(d.RGBAAt(0, 0), d.RGBAAt(1, 0))
	// Output: {0 0 0 255} {120 120 120 255}
}
