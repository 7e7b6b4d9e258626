package experiments

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hrlab/hrstyle"
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
// an initial generator that is not here or cannot be read, and those that memory does not hold. It says so once for each
// reason, does the rest, and a worker that drains the queue ends with an error that names them. Who waits is told too.
func TestUnfit(t *testing.T) {
	lab := testLab(t)
	q, ctx := openQueue(t, lab), t.Context()
	absent, cut, noInit, fits := filed(t), filed(t), filed(t), filed(t)
	absent.Content, absent.Style = absent.Style, absent.Content // not the pair that it has just fitted
	cut.Content = cut.Style
	config := quick()
	large, from := config, config
	large.Size = 8000
	from.Init = filepath.Join(t.TempDir(), "init.safetensors")
	last, err := hrstyle.Last(lab.Engine.Fit(ctx, fits, func() hrstyle.Config { c := config; c.Steps = 0; return c }()))
	if err == nil {
		err = last.Generator().Save(from.Init)
	}
	if err != nil {
		t.Fatal(err)
	}
	weights := Grid(config, ContentWeight(1, 2))
	other, err := q.Enqueue(ctx, "e", &hrstyle.VGG{Label: "other", Digest: "0123456789abcdef"}, fits, weights, 0)
	if err != nil {
		t.Fatal(err)
	}
	device, err := q.enqueue(ctx, "device", lab.Engine.VGG, fits, List(config), job{Device: "cuda"})
	if err != nil {
		t.Fatal(err)
	}
	unfit := map[string][]int64{
		"for other VGG19 weights (0123456789ab) than this worker's (random)": other,
		"for device cuda; this worker's is go":                               device,
		absent.Content.Name + ": no such file or directory":                  enqueue(t, lab, q, absent, weights...),
		from.Init + ": no such file or directory":                            enqueue(t, lab, q, noInit, Trial{from}),
		"memory":  enqueue(t, lab, q, fits, Trial{large}),
		"damaged": enqueue(t, lab, q, cut, weights...),
	}
	good := enqueue(t, lab, q, fits, Trial{config})
	content, err := os.ReadFile(absent.Content.Name)
	if err != nil {
		t.Fatal(err)
	}
	generator, err := os.ReadFile(from.Init)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(absent.Content.Name), os.Remove(from.Init), os.Truncate(cut.Style.Name, 100)); err != nil {
		t.Fatal(err)
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
			if i < 0 || !strings.Contains(listed[i].Why, map[string]string{"memory": "takes about", "damaged": cut.Style.Name}[why]+map[bool]string{true: why}[why != "memory" && why != "damaged"]) {
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
	absents := slices.Sorted(slices.Values(unfit[absent.Content.Name+": no such file or directory"]))
	_, err = q.Follow(following, absents, weights, func(p Progress) { waits = append(waits, p.Skipped); stop() })
	if want := "waits for another worker than " + thisWorker(os.Getpid()) + ": " + absent.Content.Name + ": no such file or directory"; !errors.Is(err, context.Canceled) || len(waits) != 1 || waits[0] != want {
		t.Errorf("%q %v", waits, err)
	}

	// A machine that has the files does them.
	if err := errors.Join(os.WriteFile(absent.Content.Name, content, 0o666), os.WriteFile(from.Init, generator, 0o666)); err != nil {
		t.Fatal(err)
	}
	if err = lab.Work(ctx, true, see); !errors.Is(err, ErrUnfit) || !strings.HasPrefix(err.Error(), "6 trials are left") {
		t.Error(err)
	}
	for _, info := range infos(t, lab.Tracker, append(absents, unfit[from.Init+": no such file or directory"]...)) {
		if info.Status != tracker.Finished {
			t.Errorf("run %d is %s: %s", info.ID, info.Status, info.Error)
		}
	}
}

// An error of the database says nothing about a trial: whatever step of taking it fails, it stays queued, the worker says so
// once and does it when that is over. One that has ended and whose end cannot be recorded is ended when that is over.
func TestTrouble(t *testing.T) {
	lab := testLab(t)
	q, pair := openQueue(t, lab), filed(t)
	seed := int64(0)
	for name, fault := range map[string]string{
		"take":        "BEFORE UPDATE OF status ON run WHEN new.status = 'running' AND old.status = 'queued'",
		"environment": "BEFORE UPDATE OF environment ON run",
		"mend":        "BEFORE UPDATE OF state ON river_job WHEN old.state <> 'available'",
		"close":       "BEFORE UPDATE OF state ON river_job WHEN new.state = 'completed'",
		"finish":      "BEFORE UPDATE OF status ON run WHEN new.status IN ('finished', 'failed')",
	} {
		t.Run(name, func(t *testing.T) {
			config := quick()
			seed++
			config.Seed = seed
			id := enqueue(t, lab, q, pair, Trial{config})[0]
			if name == "mend" {
				do(t, lab.Tracker, "UPDATE river_job SET state = 'cancelled', finalized_at = '2020-01-01 00:00:00.000' WHERE finalized_at IS NULL")
			}
			do(t, lab.Tracker, "CREATE TRIGGER fault "+fault+" BEGIN SELECT RAISE(ABORT, 'no room'); END")
			told := 0
			err := lab.Work(t.Context(), true, func(p Progress) {
				if p.Err == nil || p.Run != 0 {
					return
				}
				if told++; !strings.Contains(p.Err.Error(), "no room") {
					t.Error(p.Err)
				}
				info := infos(t, lab.Tracker, []int64{id})[0]
				want := map[string]tracker.Status{"close": tracker.Finished, "finish": tracker.Running}[name]
				if want == "" {
					want = tracker.Queued
				}
				if info.Status != want {
					t.Errorf("the run is %s, want %s", info.Status, want)
				}
				do(t, lab.Tracker, "DROP TRIGGER fault")
			})
			if err != nil || told != 1 {
				t.Fatalf("told %d times: %v", told, err)
			}
			if name == "finish" {
				failed := infos(t, lab.Tracker, []int64{id})
				if failed[0].Status != tracker.Failed || !strings.Contains(failed[0].Error, "no room") {
					t.Errorf("%s: %s", failed[0].Status, failed[0].Error)
				}
				if n, err := q.Retry(t.Context(), failed); n != 1 || err != nil {
					t.Error(n, err)
				}
				if err := lab.Work(t.Context(), true, func(Progress) {}); err != nil {
					t.Error(err)
				}
			}
			if info := infos(t, lab.Tracker, []int64{id})[0]; info.Status != tracker.Finished || isOpen(t, q, id) {
				t.Errorf("in the end it is %s: %s", info.Status, info.Error)
			}
		})
	}
}

// A worker that is told to stop leaves every trial in the queue, whether it has one or not; a trial that is cancelled at that
// moment is not left to the next worker.
func TestStopWorker(t *testing.T) {
	lab := testLab(t)
	q, pair := openQueue(t, lab), filed(t)
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

// A panic fails the trial at which it happens, and the worker goes on to the next.
func TestPanic(t *testing.T) {
	lab := testLab(t)
	q, pair := openQueue(t, lab), filed(t)
	ids := enqueue(t, lab, q, pair, Grid(quick(), ContentWeight(1, 2))...)
	if err := lab.Work(t.Context(), true, func(p Progress) {
		if p.Run == ids[0] && p.Step.N == 1 && !p.Ended {
			panic("out of cheese")
		}
	}); err != nil {
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
	_, start := lab.Start(t.Context(), About{}, testPair, large)
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
func TestTakenOver(t *testing.T) {
	lab := testLab(t)
	pair := filed(t)
	begin := func(config hrstyle.Config) (id int64) { // one that is at step 0, in a store that beats no more
		t.Helper()
		store, err := tracker.Open(t.Context(), lab.Tracker.Path())
		if err != nil {
			t.Fatal(err)
		}
		first, err := hrstyle.Last(lab.Engine.Fit(t.Context(), pair, func() hrstyle.Config { c := config; c.Steps = 0; return c }()))
		if err != nil {
			t.Fatal(err)
		}
		run, err := Lab{Engine: lab.Engine, Tracker: store}.Start(t.Context(), About{Experiment: "e"}, pair, config)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(record(t.Context(), run, first), store.Close()); err != nil {
			t.Fatal(err)
		}
		return run.ID
	}
	config := quick()
	for name, end := range map[string]func(id int64){
		"dead": func(id int64) { die(t, lab.Tracker, id) },
		"left": func(id int64) {
			do(t, lab.Tracker, "UPDATE run SET status = 'queued', changed = 1 + (SELECT n FROM change) WHERE id = ?1", id)
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
