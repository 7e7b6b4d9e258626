//go:build !race

package experiments_test

import (
	"context"
	"fmt"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"hrlab/experiments"
	"hrlab/hrstyle"
	"hrlab/hrstyle/sample"
	"hrlab/picture"
	"hrlab/report"
	"hrlab/tracker"
)

// must returns value, or ends the example.
func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// open opens what the examples share: a device and weights that every machine has, a new database, and a small pair.
func open(ctx context.Context) (lab experiments.Lab, pair hrstyle.Pair, done func()) {
	dir := must(os.MkdirTemp("", "hrlab"))
	engine := must(hrstyle.Open(ctx, hrstyle.Options{Device: "go", VGG: "random"}))
	store := must(tracker.Open(ctx, filepath.Join(dir, "hrlab.db")))
	pair = hrstyle.Pair{
		Content: picture.Picture{Name: "day", Image: sample.Content(32, 24)},
		Style:   picture.Picture{Name: "dusk", Image: sample.Style(32, 24)},
	}
	return experiments.Lab{Engine: engine, Tracker: store}, pair, func() {
		engine.Close()
		_ = store.Close()
		_ = os.RemoveAll(dir)
	}
}

// One fit, recorded as a run. Asked for again, it is not done again: its steps are those on record.
func ExampleLab_Fit() {
	ctx := context.Background()
	lab, pair, done := open(ctx)
	defer done()
	config := hrstyle.Default
	config.Size, config.Steps, config.ReportEvery = 32, 2, 1
	for range 2 {
		for step, err := range lab.Fit(ctx, "boat", pair, config) {
			if err != nil {
				fmt.Println(err)
				return
			}
			fmt.Println("step", step.N, step.Picture().Bounds().Size(), step.Generator() != nil)
		}
	}
	// Output:
	// step 0 (32,24) true
	// step 1 (32,24) true
	// step 2 (32,24) true
	// step 0 (32,24) false
	// step 1 (32,24) false
	// step 2 (32,24) false
}

// A sweep over both weights, and what suggests itself among its runs.
func ExampleLab_Sweep() {
	ctx := context.Background()
	lab, pair, done := open(ctx)
	defer done()
	config := hrstyle.Default
	config.Size, config.Steps = 32, 1
	trials := experiments.Grid(config, experiments.ContentWeight(8, 80), experiments.StyleWeight(1, 10))
	runs := must(lab.Sweep(ctx, "boat", pair, trials, 0, func(p experiments.Progress) {
		if p.Ended {
			fmt.Printf("trial %d of %d: content weight %g, style weight %g\n", p.Trial, p.Trials, p.Config.ContentWeight, p.Config.StyleWeight)
		}
	}))
	fmt.Println(runs[0].Status, slices.Sorted(maps.Keys(runs[0].Metrics)))
	fmt.Println(must(report.New(ctx, lab.Tracker, "boat")).Pairs[0].Suggestion())
	// Output:
	// trial 1 of 4: content weight 8, style weight 1
	// trial 2 of 4: content weight 8, style weight 10
	// trial 3 of 4: content weight 80, style weight 1
	// trial 4 of 4: content weight 80, style weight 10
	// finished [colour_distance content content_kept edge_ssim seconds ssim style style_match total]
	// nothing is suggested: runs 1, 2, 3 and 1 more are not past the first fall of the loss: more steps are needed
}

// Trials are queued by one process and done by another, which may be on another machine.
func ExampleQueue() {
	ctx := context.Background()
	lab, pair, done := open(ctx)
	defer done()
	config := hrstyle.Default
	config.Size, config.Steps = 32, 1

	queue := must(experiments.OpenQueue(ctx, lab.Tracker))
	trials := experiments.Grid(config, experiments.ContentWeight(8, 80))
	ids := must(queue.Enqueue(ctx, "boat", hrstyle.RandomVGG(), pair, trials, 0))
	waiting, _, err := queue.State(ctx)
	fmt.Println(ids, waiting, err)

	err = lab.Work(ctx, true, func(experiments.Progress) {}) // until the queue is empty
	over, _, stateErr := queue.State(ctx)
	fmt.Println(over, err, stateErr)
	// Output:
	// [1 2] map[queued:2] <nil>
	// map[finished:2] <nil> <nil>
}

// What is on record of a run is read without an engine.
func ExampleRecorded() {
	ctx := context.Background()
	lab, pair, done := open(ctx)
	defer done()
	config := hrstyle.Default
	config.Size, config.Steps, config.ReportEvery = 32, 2, 1
	runs := must(lab.Sweep(ctx, "boat", pair, experiments.List(config), 0, nil))
	for _, step := range must(experiments.Recorded(ctx, lab.Tracker, runs[0])) {
		fmt.Println("step", step.N, step.Picture().Bounds().Size())
	}
	generator := must(experiments.LoadGenerator(ctx, lab.Tracker, runs[0].ID))
	fmt.Println("a generator after", generator.Step, "steps")
	// Output:
	// step 0 (32,24)
	// step 1 (32,24)
	// step 2 (32,24)
	// a generator after 2 steps
}
