package tracker_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"image"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"

	"hrlab/tracker"
)

// folder is a new directory, and what removes it.
func folder() (path string, remove func()) {
	path, err := os.MkdirTemp("", "hrlab-")
	if err != nil {
		log.Fatal(err)
	}
	return path, func() { _ = os.RemoveAll(path) }
}

// opened is a new database, and what removes it.
func opened() (store *tracker.Store, remove func()) {
	dir, removeFolder := folder()
	store, err := tracker.Open(context.Background(), filepath.Join(dir, "hrlab.db"))
	if err != nil {
		log.Fatal(err)
	}
	return store, func() { _ = store.Close(); removeFolder() }
}

// must ends the program on an error, as a script would.
func must(errs ...error) {
	if err := errors.Join(errs...); err != nil {
		log.Fatal(err)
	}
}

// fitted records two runs with other weights.
func fitted(store *tracker.Store) {
	ctx := context.Background()
	for _, weight := range []float64{10, 200} {
		run, err := store.Start(ctx, tracker.NewRun{Experiment: "boat", Name: fmt.Sprint("weight ", weight), Params: map[string]any{"content_weight": weight}})
		must(err)
		for step := range int64(3) {
			must(run.Log(ctx, step, map[string]float64{"style": 1000 / float64(step+1), "content": weight / float64(step+1)}))
		}
		must(run.Finish(ctx, nil))
	}
}

// Record a run, and read it again.
func Example() {
	dir, remove := folder()
	defer remove()
	ctx := context.Background()
	store, err := tracker.Open(ctx, filepath.Join(dir, "hrlab.db"))
	must(err)
	defer store.Close() //nolint:errcheck // what was recorded is on the disk

	run, err := store.Start(ctx, tracker.NewRun{
		Experiment: "boat", Name: "first",
		Params: map[string]any{"content_weight": 80, "gram": "mean"},
		Tags:   map[string]string{"look": "soft"},
	})
	must(err)
	for step := range int64(3) {
		must(run.Log(ctx, step, map[string]float64{"content": 12.5, "style": 310 - 50*float64(step)}))
	}
	must(run.Note(ctx, "the best so far"), run.Finish(ctx, nil))

	runs, err := store.Runs(ctx, tracker.Query{Where: "params.content_weight > 10 and metrics.style.last < 300 and status = finished"})
	must(err)
	for _, r := range runs {
		style := r.Metrics["style"]
		fmt.Println(r.ID, r.Name, r.Status, r.Params["content_weight"], r.Tags["look"], r.Notes[0].Text)
		fmt.Println(style.Last, "at step", style.LastStep, "from", style.Min, "to", style.Max)
	}
	// Output:
	// 1 first finished 80 soft the best so far
	// 210 at step 2 from 210 to 310
}

// Many values at once are quicker than one by one.
func ExampleRun_LogBatch() {
	store, remove := opened()
	defer remove()
	ctx := context.Background()
	run, err := store.Start(ctx, tracker.NewRun{})
	must(err)
	var points []tracker.Point
	for step := range int64(1000) {
		points = append(points, tracker.Point{Metric: "loss", Step: step, Value: 1 / float64(step+1)})
	}
	must(run.LogBatch(ctx, points), run.Finish(ctx, nil))

	series, err := store.Series(ctx, []int64{run.ID}, []string{"loss"}, 100) // at most about 100 points of it
	must(err)
	fmt.Println(len(series[0].Steps) <= 101, series[0].Values[0], series[0].Steps[len(series[0].Steps)-1])
	// Output: true 1 999
}

// Pictures are kept as thumbnails, those with the same pixels once.
func ExampleRun_LogPicture() {
	store, remove := opened()
	defer remove()
	ctx := context.Background()
	run, err := store.Start(ctx, tracker.NewRun{})
	must(err)
	picture := image.NewGray(image.Rect(0, 0, 640, 480))
	must(run.LogPicture(ctx, 0, "output", picture), run.LogPicture(ctx, 10, "output", picture), run.Finish(ctx, nil))

	pictures, err := store.Pictures(ctx, run.ID)
	must(err)
	for _, p := range pictures {
		jpeg, err := store.Thumbnail(ctx, p.Digest)
		must(err)
		thumbnail, kind, err := image.DecodeConfig(bytes.NewReader(jpeg))
		must(err)
		fmt.Printf("step %d: %dx%d, kept as %s of %dx%d\n", p.Step, p.Width, p.Height, kind, thumbnail.Width, thumbnail.Height)
	}
	// Output:
	// step 0: 640x480, kept as jpeg of 320x240
	// step 10: 640x480, kept as jpeg of 320x240
}

// Artifacts are files that a run makes.
func ExampleRun_LogArtifact() {
	store, remove := opened()
	defer remove()
	ctx := context.Background()
	run, err := store.Start(ctx, tracker.NewRun{})
	must(err, run.LogArtifact(ctx, "generator", strings.NewReader("weights")), run.Finish(ctx, nil))

	artifacts, err := store.Artifacts(ctx, run.ID)
	must(err)
	fmt.Println(artifacts[0].Name, artifacts[0].Size, artifacts[0].Digest[:12])
	file, err := store.OpenArtifact(ctx, run.ID, "generator")
	must(err)
	defer file.Close()
	content, err := io.ReadAll(file)
	must(err)
	fmt.Printf("%s\n", content)
	// Output:
	// generator 7 9a129038d9a0
	// weights
}

// Runs are queued with the files that they need, which they share. A worker, in another process as a rule, takes one of them.
func ExampleStore_Keep() {
	store, remove := opened()
	defer remove()
	ctx := context.Background()
	var ids []int64
	err := store.Keep(ctx, []io.Reader{strings.NewReader("a picture")}, func(tx *sql.Tx, files []*tracker.File) error {
		for _, weight := range []float64{10, 200} {
			id, err := store.Enqueue(ctx, tx, tracker.NewRun{Experiment: "boat", Params: map[string]any{"content_weight": weight}})
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return files[0].AddTo(ctx, tx, ids, "content")
	})
	must(err)

	run, err := store.Take(ctx, ids[0], nil)
	must(err)
	content, err := store.ReadArtifact(ctx, run.ID, "content")
	must(err, run.Finish(ctx, nil))
	runs, err := store.Runs(ctx, tracker.Query{Sort: "id"})
	must(err)
	fmt.Printf("%s: %s, %s\n", content, runs[0].Status, runs[1].Status)
	// Output: a picture: finished, queued
}

// A run that was stopped goes on; what is logged again replaces what was there.
func ExampleStore_Resume() {
	store, remove := opened()
	defer remove()
	ctx := context.Background()
	run, err := store.Start(ctx, tracker.NewRun{Params: map[string]any{"steps": 10}})
	must(err, run.Log(ctx, 10, map[string]float64{"loss": 5}), run.Finish(ctx, context.Canceled))
	info, err := store.Run(ctx, "1")
	must(err)
	fmt.Println(info.Status, info.Metrics["loss"].Last)

	run, err = store.Resume(ctx, info.ID, nil)
	must(err, run.SetParams(ctx, map[string]any{"steps": 20}), run.Tag(ctx, "resumed", "yes"))
	must(run.Log(ctx, 10, map[string]float64{"loss": 4}), run.Log(ctx, 20, map[string]float64{"loss": 3}), run.Finish(ctx, nil))
	info, err = store.Run(ctx, "1")
	must(err)
	fmt.Println(info.Status, info.Params["steps"], info.Metrics["loss"].Max, info.Metrics["loss"].Last)
	// Output:
	// stopped 5
	// finished 20 4 3
}

// A filter and a sort order say which runs are listed, and how.
func ExampleStore_Runs() {
	store, remove := opened()
	defer remove()
	fitted(store)
	runs, err := store.Runs(context.Background(), tracker.Query{
		Experiment: "boat",
		Where:      `params.content_weight >= 10 and not name ~ "two hundred"`,
		Sort:       "-params.content_weight",
	})
	must(err)
	for _, r := range runs {
		fmt.Println(r.ID, r.Name)
	}
	_, err = store.Runs(context.Background(), tracker.Query{Where: "params.content_weight >> 10"})
	fmt.Println(err)
	// Output:
	// 2 weight 200
	// 1 weight 10
	// filter, column 24: ">"; expected a number, a word or a quoted text
}

// The curves of several runs in one call.
func ExampleStore_Series() {
	store, remove := opened()
	defer remove()
	fitted(store)
	series, err := store.Series(context.Background(), []int64{1, 2}, []string{"content"}, 0)
	must(err)
	for _, c := range series {
		fmt.Println(c.Run, c.Metric, c.Steps, c.Values)
	}
	// Output:
	// 1 content [0 1 2] [10 5 3.3333333333333335]
	// 2 content [0 1 2] [200 100 66.66666666666667]
}

// In what two runs differ.
func ExampleStore_Diff() {
	store, remove := opened()
	defer remove()
	fitted(store)
	differences, err := store.Diff(context.Background(), 1, 2)
	must(err)
	for _, d := range differences {
		fmt.Println(d.What, d.Key, d.A, d.B)
	}
	// Output:
	// param content_weight 10 200
	// metric content 3.3333333333333335 66.66666666666667
}

// Watch waits for changes, of other processes too.
func ExampleStore_Watch() {
	store, remove := opened()
	defer remove()
	ctx := context.Background()
	fitted(store)
	changed, cursor, err := store.Watch(ctx, 0) // all there is
	must(err)
	fmt.Println(len(changed), "runs")

	must(store.Tag(ctx, 1, "look", "soft"))
	changed, _, err = store.Watch(ctx, cursor) // what is new
	must(err)
	fmt.Println("run", changed[0].ID, changed[0].Tags)
	// Output:
	// 2 runs
	// run 1 map[look:soft]
}

// Deleted runs can be restored until their room is freed.
func ExampleStore_GC() {
	store, remove := opened()
	defer remove()
	ctx := context.Background()
	fitted(store)
	must(store.Delete(ctx, 1), store.Restore(ctx, 1), store.Delete(ctx, 2))
	freed, err := store.GC(ctx)
	must(err)
	fmt.Println(freed.Runs, "run freed")
	_, err = store.Run(ctx, "2")
	fmt.Println(errors.Is(err, tracker.ErrNotFound))
	// Output:
	// 1 run freed
	// true
}

// Check finds and mends; a backup is a database of its own.
func ExampleStore_Backup() {
	store, remove := opened()
	defer remove()
	ctx := context.Background()
	fitted(store)
	findings, err := store.Check(ctx, false)
	must(err)
	fmt.Println(len(findings), "findings")

	path := store.Path() + ".backup"
	must(store.Backup(ctx, path))
	backup, err := tracker.Open(ctx, path)
	must(err)
	defer backup.Close() //nolint:errcheck // it was read
	runs, err := backup.Runs(ctx, tracker.Query{})
	must(err)
	fmt.Println(len(runs), "runs")
	// Output:
	// 0 findings
	// 2 runs
}

// What is exported as JSON Lines can be imported elsewhere, under new ids.
func ExampleStore_Import() {
	store, remove := opened()
	defer remove()
	ctx := context.Background()
	fitted(store)
	runs, err := store.Runs(ctx, tracker.Query{Where: "params.content_weight = 200"})
	must(err)
	var export, curves bytes.Buffer
	must(store.ExportJSON(ctx, &export, runs), store.ExportCSV(ctx, &curves, runs))
	fmt.Print(curves.String())

	other, remove := opened()
	defer remove()
	ids, _, err := other.Import(ctx, &export)
	must(err)
	run, err := other.Run(ctx, "weight 200")
	must(err)
	fmt.Println(ids, run.Experiment, run.Metrics["content"].Min)
	// Output:
	// run,experiment,name,metric,step,value
	// 2,boat,weight 200,content,0,200
	// 2,boat,weight 200,content,1,100
	// 2,boat,weight 200,content,2,66.66666666666667
	// 2,boat,weight 200,style,0,1000
	// 2,boat,weight 200,style,1,500
	// 2,boat,weight 200,style,2,333.3333333333333
	// [1] boat 66.66666666666667
}
