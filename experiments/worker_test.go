package experiments

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hrlab/hrstyle"
	"hrlab/hrstyle/device"
	"hrlab/hrstyle/sample"
	"hrlab/picture"
	"hrlab/report"
	"hrlab/tracker"
)

// quick is a trial of two steps.
func quick() hrstyle.Config {
	c := testConfig()
	c.Steps = 2
	return c
}

// enqueue queues trials of a pair for an engine's weights, in an experiment of the pair's.
func enqueue(t *testing.T, lab Lab, q *Queue, pair hrstyle.Pair, trials ...Trial) []int64 {
	t.Helper()
	ids, err := q.Enqueue(t.Context(), pair.Content.Name, lab.Engine.VGG, pair, trials, 0)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func openQueue(t *testing.T, lab Lab) *Queue {
	t.Helper()
	q, err := OpenQueue(t.Context(), lab.Tracker)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// What a worker cannot do stays queued for others, untouched: trials for other weights or another device, with a picture or
// an initial generator whose file is missing or damaged here, and those that memory does not hold. It says so once for each
// reason, does the rest, and a worker that drains the queue ends with an error that names them. Who waits is told too.
func (db suite) unfit(t *testing.T) {
	lab := db.lab(t)
	q, ctx := openQueue(t, lab), t.Context()
	pair := func(name string, w, h int) hrstyle.Pair {
		return hrstyle.Pair{Content: picture.Picture{Name: name, Image: sample.Content(w, h)}, Style: picture.Picture{Name: "dusk.png", Image: sample.Style(w, h)}}
	}
	config := quick()
	large, from := config, config
	large.Size = 8000
	from.Init = filepath.Join(t.TempDir(), "init.safetensors")
	saveGenerator(t, lab, from.Init)
	weights := Grid(config, ContentWeight(1, 2))
	other, err := q.Enqueue(ctx, "e", &hrstyle.VGG{Label: "other", Digest: "0123456789abcdef"}, testPair, weights, 0)
	if err != nil {
		t.Fatal(err)
	}
	device, err := q.enqueue(ctx, "device", lab.Engine.VGG, testPair, List(config), job{Device: "cuda"})
	if err != nil {
		t.Fatal(err)
	}
	absent, damaged := enqueue(t, lab, q, pair("absent.png", 40, 30), weights...), enqueue(t, lab, q, pair("damaged.png", 44, 33), weights...)
	noInit, tooLarge := enqueue(t, lab, q, pair("no init.png", 52, 39), Trial{Config: from}), enqueue(t, lab, q, testPair, Trial{Config: large})
	good := enqueue(t, lab, q, testPair, Trial{Config: config})
	aside := map[string][]byte{}
	for _, path := range []string{artifactFile(t, lab.Tracker, absent[0], report.Content), artifactFile(t, lab.Tracker, noInit[0], report.Init)} {
		data, err := os.ReadFile(path)
		if err := errors.Join(err, os.Remove(path)); err != nil {
			t.Fatal(err)
		}
		aside[path] = data
	}
	if err := os.Truncate(artifactFile(t, lab.Tracker, damaged[0], report.Style), 100); err != nil {
		t.Fatal(err)
	}
	missing := func(run int64, name string) string {
		return fmt.Sprintf("artifact %q: %s: no such file or directory", name, artifactFile(t, lab.Tracker, run, name))
	}
	unfit := map[string][]int64{
		"for other VGG19 weights (0123456789ab) than this worker's (random)": other,
		"for device cuda; this worker's is go":                               device,
		missing(absent[0], report.Content):                                   absent,
		missing(noInit[0], report.Init):                                      noInit,
		"fitting: 8000x6000 takes about ":                                    tooLarge,
		fmt.Sprintf("artifact %q: %s: damaged: ", report.Style, artifactFile(t, lab.Tracker, damaged[0], report.Style)): damaged,
	}

	said := map[string]int{}
	see := func(p Progress) {
		if p.Skipped != "" {
			said[p.Skipped]++
		}
	}
	err = lab.Work(ctx, true, see)
	if !errors.Is(err, ErrUnfit) || !strings.HasPrefix(err.Error(), "9 trials are left in the queue for other workers: run ") {
		t.Fatal(err)
	}
	if len(said) != len(unfit) {
		t.Errorf("said %v", said)
	}
	for what, n := range said {
		if n != 1 || !strings.HasPrefix(what, "left in the queue for other workers: ") {
			t.Errorf("%q was said %d times", what, n)
		}
	}
	listed, err := q.Unfit(ctx)
	if err != nil || len(listed) != 9 {
		t.Errorf("%v %v", listed, err)
	}
	for why, ids := range unfit {
		for _, info := range infos(t, lab.Tracker, ids) {
			if info.Status != tracker.Queued || !info.Started.IsZero() || !isOpen(t, q, info.ID) {
				t.Errorf("%s: run %d is %s, began %v", why, info.ID, info.Status, info.Started)
			}
			i := slices.IndexFunc(listed, func(u Unfit) bool { return u.Run == info.ID })
			if i < 0 || !strings.HasPrefix(listed[i].Why, why) {
				t.Errorf("run %d, %s: listed as %v", info.ID, why, listed)
			}
		}
	}
	for _, info := range infos(t, lab.Tracker, good) {
		if info.Status != tracker.Finished {
			t.Errorf("run %d is %s", info.ID, info.Status)
		}
	}

	// Who waits is told what for, once a reason.
	following, stop := context.WithCancel(ctx)
	defer stop()
	var waits []string
	_, err = q.Follow(following, absent, weights, func(p Progress) { waits = append(waits, p.Skipped); stop() })
	if want := "waits for another worker than " + thisWorker(os.Getpid()) + ": " + missing(absent[0], report.Content); !errors.Is(err, context.Canceled) || len(waits) != 1 || waits[0] != want {
		t.Errorf("%q %v", waits, err)
	}

	// A machine that has the files does them.
	for path, data := range aside {
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err = lab.Work(ctx, true, see); !errors.Is(err, ErrUnfit) || !strings.HasPrefix(err.Error(), "6 trials are left") {
		t.Error(err)
	}
	for _, info := range infos(t, lab.Tracker, append(absent, noInit...)) {
		if info.Status != tracker.Finished {
			t.Errorf("run %d is %s: %s", info.ID, info.Status, info.Error)
		}
	}
}

// countedQueries counts the queries that pass.
type countedQueries struct {
	querier
	n *int
}

func (c countedQueries) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	*c.n++
	return c.querier.QueryContext(ctx, query, args...)
}

// A worker that waits because it can do none of many trials asks the database for pages of them, not for each.
func TestAsksForNone(t *testing.T) {
	q, _ := onSQLite.queue(t, 250)
	n := 0
	q.jobs.db = countedQueries{q.jobs.db, &n}
	w := &worker{
		lab:   Lab{Engine: &hrstyle.Engine{Device: &device.Device{}, VGG: &hrstyle.VGG{Label: "other", Digest: "other"}}, Tracker: q.store},
		queue: q, progress: func(Progress) {}, turns: map[int64]int{}, misfits: map[string]misfit{}, noted: map[int64]string{}, told: map[string]bool{},
	}
	for range 2 {
		n = 0
		if found, done, err := w.next(t.Context(), false); found || done || err != nil {
			t.Fatal(found, done, err)
		}
		if n == 0 || n > 10 {
			t.Errorf("%d queries", n)
		}
	}
}

// A worker that is told to stop leaves every trial in the queue, whether it has one or not; a trial that is cancelled at that
// moment is not left to the next worker.
func (db suite) stopWorker(t *testing.T) {
	lab := db.lab(t)
	q, pair := openQueue(t, lab), testPair
	config := testConfig()
	config.Steps = 1000
	ids := enqueue(t, lab, q, pair, Grid(config, ContentWeight(1, 2))...)
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if err := lab.Work(stopped, false, func(Progress) {}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	check := func(want ...tracker.Status) {
		t.Helper()
		for i, info := range infos(t, lab.Tracker, ids) {
			if info.Status != want[i] || isOpen(t, q, info.ID) != (want[i] == tracker.Queued) {
				t.Errorf("run %d is %s, want %s", info.ID, info.Status, want[i])
			}
		}
	}
	check(tracker.Queued, tracker.Queued)
	for _, cancel := range []bool{false, true} {
		working, stop := context.WithCancel(t.Context())
		err := lab.Work(working, false, func(p Progress) {
			if p.Ended || p.Step.N < 1 || working.Err() != nil {
				return
			}
			if cancel {
				if n, err := q.cancel(t.Context(), ids[:1]); n != 1 || err != nil {
					t.Error(n, err)
				}
			}
			stop()
		})
		stop()
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if !cancel {
			check(tracker.Queued, tracker.Queued)
		}
	}
	check(tracker.Stopped, tracker.Queued)
}

// A sweep that is at a trial of the queue stops it when it is cancelled, and goes on to the next.
func TestCancelSweep(t *testing.T) {
	lab := testLab(t)
	q := openQueue(t, lab)
	long := testConfig()
	long.Steps = 100_000
	ids := enqueue(t, lab, q, testPair, List(long, quick())...)
	_, err := lab.Sweep(t.Context(), testPair.Content.Name, testPair, List(long, quick()), 0, func(p Progress) {
		if p.Run == ids[0] && p.Step.N == 2 && !p.Ended {
			if n, err := q.cancel(t.Context(), ids[:1]); n != 1 || err != nil {
				t.Error(n, err)
			}
		}
	})
	if !errors.Is(err, ErrTrials) || errors.Is(err, context.Canceled) || err.Error() != fmt.Sprintf("1 of 2 trials failed: trial 1: run %d was stopped", ids[0]) {
		t.Error(err)
	}
	if a, b := status(t, lab, ids[0]), status(t, lab, ids[1]); a != tracker.Stopped || b != tracker.Finished {
		t.Errorf("the cancelled run is %s, the next one %s", a, b)
	}
}

// A panic fails the trial at which it happens, and the worker goes on to the next.
func (db suite) panics(t *testing.T) {
	lab := db.lab(t)
	q, pair := openQueue(t, lab), testPair
	ids := enqueue(t, lab, q, pair, Grid(quick(), ContentWeight(1, 2))...)
	if err := lab.Work(t.Context(), true, func(p Progress) {
		if p.Run == ids[0] && p.Step.N == 1 && !p.Ended {
			panic("out of cheese")
		}
	}); !errors.Is(err, ErrTrials) {
		t.Error(err)
	}
	now := infos(t, lab.Tracker, ids)
	if now[0].Status != tracker.Failed || now[0].Error != "panic: out of cheese" || now[1].Status != tracker.Finished || isOpen(t, q, ids[0]) {
		t.Errorf("%+v", now)
	}
}

// A trial that memory does not hold is no run, in whatever way it is begun.
func TestRefused(t *testing.T) {
	lab := testLab(t)
	large := testConfig()
	large.Size = 8000
	_, sweep := lab.Sweep(t.Context(), "e", testPair, List(large, quick()), 0, nil)
	_, fit := hrstyle.Last(lab.Fit(t.Context(), "e", testPair, large))
	_, start := lab.Start(t.Context(), About{}, testPair, Trial{Config: large})
	for what, err := range map[string]error{"sweep": sweep, "fit": fit, "start": start} {
		if err == nil || !strings.Contains(err.Error(), "takes about") {
			t.Errorf("%s: %v", what, err)
		}
	}
	runs, err := lab.Tracker.Runs(t.Context(), tracker.Query{})
	if err != nil || len(runs) != 1 || runs[0].Status != tracker.Finished {
		t.Errorf("%+v %v", runs, err)
	}
}

// Who waits for a run of another process takes it over when that process is gone, or has left it to others.
func (db suite) takenOver(t *testing.T) {
	lab := db.lab(t)
	pair := testPair
	begin := func(config hrstyle.Config) (id int64) { // one that is at step 0, in a store that beats no more
		t.Helper()
		store, err := tracker.Open(t.Context(), lab.Tracker.URL())
		if err != nil {
			t.Fatal(err)
		}
		first, err := hrstyle.Last(lab.Engine.Fit(t.Context(), pair, func() hrstyle.Config { c := config; c.Steps = 0; return c }()))
		if err != nil {
			t.Fatal(err)
		}
		run, err := Lab{Engine: lab.Engine, Tracker: store}.Start(t.Context(), About{Experiment: "e"}, pair, Trial{Config: config})
		if err != nil {
			t.Fatal(err)
		}
		batch, _, err := lab.report(t.Context(), first, true)
		if err := errors.Join(err, run.Record(t.Context(), batch), store.Close()); err != nil {
			t.Fatal(err)
		}
		return run.ID
	}
	config := quick()
	for name, end := range map[string]func(id int64){
		"dead": func(id int64) { die(t, lab.Tracker, id) },
		"left": func(id int64) {
			do(t, lab.Tracker, "UPDATE run SET status = 'queued', changed = 1 + (SELECT n FROM change) WHERE id = $1", id)
			do(t, lab.Tracker, "UPDATE change SET n = n + 1")
		},
	} {
		config.Seed++
		id := begin(config)
		var steps []int
		for step, err := range lab.Fit(t.Context(), "e", pair, config) {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if steps = append(steps, step.N); step.N == 0 {
				end(id)
			}
		}
		if info := infos(t, lab.Tracker, []int64{id})[0]; info.Status != tracker.Finished || !slices.Equal(steps, []int{0, 1, 2}) {
			t.Errorf("%s: %s, steps %v", name, info.Status, steps)
		}
	}

	// A sweep does what another process was at and did not finish.
	trials := Grid(quick(), ContentWeight(7, 8))
	id := begin(trials[0].Config)
	ended := map[int]string{}
	runs, err := lab.Sweep(t.Context(), "e", pair, trials, 0, func(p Progress) {
		if p.Trial == 2 && !p.Ended && p.Step.N == 0 {
			die(t, lab.Tracker, id)
		}
		if p.Ended {
			ended[p.Trial] += fmt.Sprintf("%d%s", p.Step.N, p.Skipped)
		}
	})
	if err != nil || len(runs) != 2 || runs[0].ID != id || runs[0].Status != tracker.Finished || !maps.Equal(ended, map[int]string{1: "2", 2: "2"}) {
		t.Errorf("%+v %v %v", runs, ended, err)
	}
}

// A worker does short trials of a sweep one after the other, each once, without asking for all of them each time; a pause ends that
// before the next trial.
func (db suite) shortTrials(t *testing.T) {
	lab := db.lab(t)
	q := openQueue(t, lab)
	config := testConfig()
	config.Steps = -1 // which no fit takes
	const n = 120     // more than a page
	ids, err := q.Enqueue(t.Context(), "e", lab.Engine.VGG, testPair, Repeat(List(config), n), 0)
	if err != nil {
		t.Fatal(err)
	}
	var ended []int64
	work := func() error {
		return lab.Work(t.Context(), true, func(p Progress) {
			if !p.Ended {
				return
			}
			if ended = append(ended, p.Run); len(ended) == 3 {
				if err := q.Pause(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if err := work(); !errors.Is(err, ErrPaused) && !errors.Is(err, ErrTrials) || len(ended) != 3 {
		t.Errorf("%d trials, the last %d after the pause: %v", len(ended), len(ended)-3, err)
	}
	if err := q.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := work(); !errors.Is(err, ErrTrials) || !slices.Equal(ended, ids) {
		t.Errorf("%v\nin place of\n%v: %v", ended, ids, err)
	}
	if state, _, err := q.State(t.Context()); err != nil || state[tracker.Failed] != n {
		t.Error(state, err)
	}
	for _, id := range []int64{ids[0], ids[n-1]} {
		if isOpen(t, q, id) {
			t.Errorf("the job of run %d is open", id)
		}
	}
}
