package experiments

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hrlab/hrstyle"
	"hrlab/picture"
	"hrlab/report"
	"hrlab/tracker"
)

// saveGenerator writes the generator that seed 5 begins with.
func saveGenerator(t *testing.T, lab Lab, path string) {
	t.Helper()
	config := testConfig()
	config.Steps, config.Seed = 0, 5
	last, err := hrstyle.Last(lab.Engine.Fit(t.Context(), testPair, config))
	if err == nil {
		err = last.Generator().Save(path)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// artifactFiles are the files of all artifacts.
func artifactFiles(t *testing.T, store *tracker.Store) (files []string) {
	t.Helper()
	err := filepath.WalkDir(artifactsOf(store), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && entry.Name() != ".lock" {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A trial that is queued has with it what it reads: the very files, which may be gone when a worker takes it, a PNG of a
// picture that has no file, and the initial generator. Trials share them.
func (db suite) files(t *testing.T) {
	lab := db.lab(t)
	q, ctx := openQueue(t, lab), t.Context()
	dir := t.TempDir()
	path, init := filepath.Join(dir, "day.jpg"), filepath.Join(dir, "init.safetensors")
	if err := picture.Save(path, testPair.Content, picture.Encoding{Quality: 60}); err != nil {
		t.Fatal(err)
	}
	saveGenerator(t, lab, init)
	content, err := picture.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	half := image.NewNRGBA64(image.Rect(3, 5, 51, 41)) // neither opaque nor of 8 bits, nor at the origin
	for y := range 36 {
		for x := range 48 {
			half.Set(3+x, 5+y, color.NRGBA64{uint16(x * 1300), uint16(y * 1700), 40001, uint16(30000 + 700*x)})
		}
	}
	pair := hrstyle.Pair{Content: content, Style: picture.Picture{Name: "made here", Image: half}}
	config := quick()
	from := config
	from.Init = init
	trials := append(Grid(config, ContentWeight(1, 2, 3)), Trial{Config: from})
	want, err := lab.Sweep(ctx, "direct", pair, trials, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range want { // of which the queue may not make use
		if artifacts, err := lab.Tracker.Artifacts(ctx, run.ID); err != nil || len(artifacts) != 3 {
			t.Errorf("run %d has %v: %v", run.ID, artifacts, err)
		}
	}
	before := artifactFiles(t, lab.Tracker)
	ids, err := q.Enqueue(ctx, "queued", lab.Engine.VGG, pair, trials, 0)
	if err != nil {
		t.Fatal(err)
	}
	if now := artifactFiles(t, lab.Tracker); len(now) != len(before)+3 {
		t.Errorf("%d trials have made %d files, want 3", len(trials), len(now)-len(before))
	}
	if data, err := lab.Tracker.ReadArtifact(ctx, ids[0], report.Content); err != nil || !slices.Equal(data, content.File()) {
		t.Errorf("the content picture is not the file that it was: %d bytes, %v", len(data), err)
	}
	if read, err := LoadPair(ctx, lab.Tracker, ids[0]); err != nil || read.Style.Digest() != pair.Style.Digest() || read.Style.Name != "made here" {
		t.Errorf("%s: %v", read.Style.Name, err)
	}
	if _, err := LoadPair(ctx, lab.Tracker, want[0].ID); !errors.Is(err, tracker.ErrNotFound) {
		t.Errorf("a run that was not queued has pictures: %v", err)
	}
	if err := errors.Join(os.Remove(path), os.Remove(init)); err != nil {
		t.Fatal(err)
	}
	if err := lab.Work(ctx, true, func(Progress) {}); err != nil {
		t.Fatal(err)
	}
	for i, info := range infos(t, lab.Tracker, ids) {
		if info.Status != tracker.Finished || info.Metrics["total"] != want[i].Metrics["total"] || info.Tags["fit"] != want[i].Tags["fit"] {
			t.Errorf("trial %d: %s %s, %+v; without the queue %+v", i+1, info.Status, info.Error, info.Metrics["total"], want[i].Metrics["total"])
		}
	}
	for _, id := range ids { // a machine that has other folders does them as well
		var args string
		if err := q.store.DB().QueryRowContext(ctx, bind(q.store, fmt.Sprintf("SELECT {json args} FROM river_job WHERE CAST(args ->> 'run' AS BIGINT) = %d", id))).Scan(&args); err != nil || strings.Contains(args, dir) {
			t.Errorf("a job with a path: %s %v", args, err)
		}
	}
	all := artifactFiles(t, lab.Tracker)
	if n, err := q.Enqueue(ctx, "queued", lab.Engine.VGG, pair, trials[:3], 0); err != nil || !slices.Equal(n, ids[:3]) || !slices.Equal(artifactFiles(t, lab.Tracker), all) {
		t.Errorf("queued again: %v %v", n, err)
	}

	// A trial that a sweep is at when it is queued has its files when that sweep's process is gone.
	store, err := tracker.Open(ctx, lab.Tracker.URL())
	if err != nil {
		t.Fatal(err)
	}
	run, err := Lab{Engine: lab.Engine, Tracker: store}.Start(ctx, About{Experiment: "swept"}, pair, Trial{Config: config})
	if err := errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
	if n, err := q.Enqueue(ctx, "swept", lab.Engine.VGG, pair, List(config), 0); err != nil || n[0] != run.ID {
		t.Fatal(n, err)
	}
	die(t, lab.Tracker, run.ID)
	if err := lab.Work(ctx, true, func(Progress) {}); err != nil || status(t, lab, run.ID) != tracker.Finished {
		t.Errorf("%s: %v", status(t, lab, run.ID), err)
	}
	// So has one that a sweep has left behind.
	for _, left := range []error{context.Canceled, errors.New("broken")} {
		config.Seed++
		run, err := lab.Start(ctx, About{Experiment: "swept"}, pair, Trial{Config: config})
		if err == nil {
			err = run.Finish(ctx, left)
		}
		if err != nil {
			t.Fatal(err)
		}
		if n, err := q.Enqueue(ctx, "swept", lab.Engine.VGG, pair, List(config), 0); err != nil || n[0] != run.ID {
			t.Fatal(n, err)
		}
		if err := lab.Work(ctx, true, func(Progress) {}); err != nil || status(t, lab, run.ID) != tracker.Finished {
			t.Errorf("%s: %v", status(t, lab, run.ID), err)
		}
	}

	// A picture that was changed after it was loaded is queued as it is now.
	pair.Content.Image = testPair.Style.Image
	changed, err := q.Enqueue(ctx, "changed", lab.Engine.VGG, pair, trials[:1], 0)
	if err == nil {
		err = lab.Work(ctx, true, func(Progress) {})
	}
	if err != nil {
		t.Fatal(err)
	}
	if read, err := LoadPair(ctx, lab.Tracker, changed[0]); err != nil || read.Content.Digest() != testPair.Style.Digest() || status(t, lab, changed[0]) != tracker.Finished {
		t.Errorf("%s: %v", status(t, lab, changed[0]), err)
	}
}

// What an earlier version has queued has paths in its jobs, and no artifacts. It is done, if the files are what they were.
func (db suite) oldJobs(t *testing.T) {
	lab := db.lab(t)
	q, ctx := openQueue(t, lab), t.Context()
	dir := t.TempDir()
	content, style, init := filepath.Join(dir, "day.png"), filepath.Join(dir, "dusk.png"), filepath.Join(dir, "init.safetensors")
	if err := errors.Join(picture.Save(content, testPair.Content, picture.Encoding{}), picture.Save(style, testPair.Style, picture.Encoding{})); err != nil {
		t.Fatal(err)
	}
	saveGenerator(t, lab, init)
	pair, err := hrstyle.LoadPair(content, style)
	if err != nil {
		t.Fatal(err)
	}
	config := quick()
	config.Init = init
	seed := int64(0)
	old := func(kept bool) (id int64) { // queued as an earlier version does; without a job where that is not kept
		t.Helper()
		seed++
		config.Seed = seed // of no effect, but for the digest
		id = enqueue(t, lab, q, pair, Trial{Config: config})[0]
		var text string
		if err := q.store.DB().QueryRowContext(ctx, bind(q.store, fmt.Sprintf("SELECT {json args} FROM river_job WHERE CAST(args ->> 'run' AS BIGINT) = %d", id))).Scan(&text); err != nil {
			t.Fatal(err)
		}
		args := map[string]any{}
		if err := json.Unmarshal([]byte(text), &args); err != nil {
			t.Fatal(err)
		}
		args["content"], args["style"], args["init"] = content, style, init
		was, err := json.Marshal(args)
		if err != nil {
			t.Fatal(err)
		}
		do(t, lab.Tracker, "UPDATE river_job SET args = {jsonb $1} WHERE CAST(args ->> 'run' AS BIGINT) = $2", string(was), id)
		do(t, lab.Tracker, "DELETE FROM artifact WHERE run = $1", id)
		if !kept {
			do(t, lab.Tracker, "DELETE FROM river_job WHERE CAST(args ->> 'run' AS BIGINT) = $1", id)
		}
		return id
	}
	whole := old(true)
	if err := lab.Work(ctx, true, func(Progress) {}); err != nil || status(t, lab, whole) != tracker.Finished {
		t.Errorf("with a job: %s, %v", status(t, lab, whole), err)
	}
	bare := old(false)
	if err := lab.Work(ctx, true, func(Progress) {}); err != nil || status(t, lab, bare) != tracker.Finished {
		t.Errorf("without a job: %s, %v", status(t, lab, bare), err)
	}
	if a, b := infos(t, lab.Tracker, []int64{whole})[0], infos(t, lab.Tracker, []int64{bare})[0]; a.Metrics["total"] != b.Metrics["total"] {
		t.Errorf("%+v and %+v", a.Metrics["total"], b.Metrics["total"])
	}

	absent := old(true)
	if err := os.Rename(style, style+".away"); err != nil {
		t.Fatal(err)
	}
	other := hrstyle.Pair{Content: pair.Style, Style: pair.Content} // not the pair that the worker has at hand
	between := enqueue(t, lab, q, other, Trial{Config: quick()})
	do(t, lab.Tracker, "UPDATE river_job SET priority = 4 WHERE CAST(args ->> 'run' AS BIGINT) = $1", absent)
	if err := lab.Work(ctx, true, func(Progress) {}); !errors.Is(err, ErrUnfit) || !strings.HasSuffix(err.Error(), style+": no such file or directory") || status(t, lab, between[0]) != tracker.Finished {
		t.Errorf("a file that is away: %v", err)
	}
	again, err := q.Enqueue(ctx, pair.Content.Name, lab.Engine.VGG, pair, List(config), 0) // it has artifacts now
	if err == nil {
		err = lab.Work(ctx, true, func(Progress) {})
	}
	if err != nil || again[0] != absent || status(t, lab, absent) != tracker.Finished {
		t.Errorf("queued again: %v, %s, %v", again, status(t, lab, absent), err)
	}

	if err := os.Rename(style+".away", style); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{content, init} {
		id := old(true)
		if path == content {
			err = picture.Save(content, testPair.Style, picture.Encoding{})
		} else {
			config := testConfig()
			config.Steps = 0
			var last hrstyle.Step
			if last, err = hrstyle.Last(lab.Engine.Fit(ctx, testPair, config)); err == nil {
				err = last.Generator().Save(init)
			}
		}
		between := quick()
		between.Seed = id
		enqueue(t, lab, q, other, Trial{Config: between})
		do(t, lab.Tracker, "UPDATE river_job SET priority = 4 WHERE CAST(args ->> 'run' AS BIGINT) = $1", id)
		if worked := lab.Work(ctx, true, func(Progress) {}); err != nil || !errors.Is(worked, ErrTrials) {
			t.Fatal(err, worked)
		}
		if info := infos(t, lab.Tracker, []int64{id})[0]; info.Status != tracker.Failed || info.Error != path+": not what it was when the trial was queued: queue it again" {
			t.Errorf("%s has changed: %s %s", path, info.Status, info.Error)
		}
		if path == content {
			if err := picture.Save(content, testPair.Content, picture.Encoding{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Two processes that queue the same trials at once make each once, and what one queues the other sees, cancels and retries.
func (db suite) twoClients(t *testing.T) {
	url := db.empty(t)
	a, err := OpenQueue(t.Context(), openStore(t, url))
	if err != nil {
		t.Fatal(err)
	}
	b, err := OpenQueue(t.Context(), openStore(t, url))
	if err != nil {
		t.Fatal(err)
	}
	vgg, trials := &hrstyle.VGG{Label: "none", Digest: "none"}, manyTrials(20)
	type result struct {
		ids []int64
		err error
	}
	results := make(chan result)
	for _, q := range []*Queue{a, b} {
		go func() {
			ids, err := q.Enqueue(t.Context(), "e", vgg, testPair, trials, 0)
			results <- result{ids, err}
		}()
	}
	one, two := <-results, <-results
	if err := errors.Join(one.err, two.err); err != nil || len(one.ids) != len(trials) || !slices.Equal(one.ids, two.ids) {
		t.Fatalf("%v, %v: %v", one.ids, two.ids, err)
	}
	if files := artifactFiles(t, a.store); len(files) != 2 {
		t.Errorf("%d files", len(files))
	}
	if n, err := b.Cancel(t.Context(), infos(t, a.store, one.ids[:5])); n != 5 || err != nil {
		t.Error(n, err)
	}
	if n, err := a.Retry(t.Context(), infos(t, b.store, one.ids[3:])); n != 2 || err != nil {
		t.Error(n, err)
	}
	if trials, _, err := b.State(t.Context()); err != nil || trials[tracker.Queued] != 17 || trials[tracker.Stopped] != 3 {
		t.Errorf("%v %v", trials, err)
	}
	if err := a.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, paused, err := b.State(t.Context()); err != nil || !paused {
		t.Error("it is not paused", err)
	}
}
