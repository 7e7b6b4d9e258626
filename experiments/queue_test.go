package experiments

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"testing"
	"time"

	"hrlab/hrstyle"
	"hrlab/tracker"
)

// TestMain is also the worker processes of the tests: HRLAB_TEST_WORKER, HRLAB_TEST_WARM or, for a sweep, HRLAB_TEST_SWEEP is
// the database.
func TestMain(m *testing.M) {
	for job, do := range map[string]func(db string) error{"HRLAB_TEST_WORKER": workerProcess, "HRLAB_TEST_WARM": warmProcess, "HRLAB_TEST_SWEEP": sweepProcess} {
		db := os.Getenv(job)
		if db == "" {
			continue
		}
		if err := do(db); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func workerProcess(db string) error {
	return inLab(db, func(ctx context.Context, l Lab) error { return l.Work(ctx, true, func(Progress) {}) })
}

func sweepProcess(db string) error {
	return inLab(db, func(ctx context.Context, l Lab) error {
		_, err := l.Sweep(ctx, "killed", testPair, killedTrials(), 0, func(p Progress) {
			if p.Step.Ok() && !p.Ended {
				fmt.Println(p.Step.N) // the parent counts them
			}
		})
		return err
	})
}

func inLab(db string, f func(ctx context.Context, l Lab) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	engine, err := hrstyle.Open(ctx, hrstyle.Options{Device: "go", VGG: "random"})
	if err != nil {
		return err
	}
	store, err := tracker.Open(ctx, db)
	if err != nil {
		return err
	}
	return errors.Join(f(ctx, Lab{Engine: engine, Tracker: store}), store.Close())
}

// queued is a queue with trials of the test pair, which is in files.
func queued(t *testing.T, lab Lab, trials []Trial) (*Queue, []int64) {
	t.Helper()
	pair := testPair
	q, err := OpenQueue(t.Context(), lab.Tracker)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := q.Enqueue(t.Context(), "queued", lab.Engine.VGG, pair, trials, 0)
	if err != nil || len(ids) != len(trials) {
		t.Fatal(ids, err)
	}
	again, err := q.Enqueue(t.Context(), "queued", lab.Engine.VGG, pair, trials, 0)
	if err != nil || len(again) != len(ids) || again[0] != ids[0] {
		t.Fatalf("queued again: %v, then %v (%v)", ids, again, err)
	}
	if jobs, _, err := q.State(t.Context()); err != nil || jobs[tracker.Queued] != len(trials) {
		t.Fatalf("%v %v", jobs, err)
	}
	return q, ids
}

func status(t *testing.T, lab Lab, id int64) tracker.Status {
	t.Helper()
	infos, err := runsByID(t.Context(), lab.Tracker, []int64{id})
	if err != nil {
		t.Fatal(err)
	}
	return infos[0].Status
}

// A worker does what a sweep does: the results are the same.
func (db suite) worker(t *testing.T) {
	lab := db.lab(t)
	trials := Grid(testConfig(), ContentWeight(5, 50))
	bad := testConfig()
	bad.LearningRate = 1e30
	want, err := lab.Sweep(t.Context(), "direct", testPair, trials, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	q, ids := queued(t, lab, append(trials, Trial{Config: bad}))
	if err := lab.Work(t.Context(), true, func(Progress) {}); !errors.Is(err, ErrTrials) || err.Error() != "1 of 3 trials failed" {
		t.Fatal(err)
	}
	got, err := runsByID(t.Context(), lab.Tracker, ids)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if got[i].Status != tracker.Finished || got[i].Metrics["total"] != want[i].Metrics["total"] {
			t.Errorf("%s %+v, want %+v", got[i].Status, got[i].Metrics["total"], want[i].Metrics["total"])
		}
		a, err := lab.Tracker.Environment(t.Context(), want[i].ID)
		b, err2 := lab.Tracker.Environment(t.Context(), got[i].ID)
		if err := errors.Join(err, err2); err != nil || a["device"] == "" || a["device"] != b["device"] || a["input.vgg"] != b["input.vgg"] {
			t.Errorf("made with %v, here with %v: %v", b, a, err)
		}
	}
	if got[2].Status != tracker.Failed {
		t.Errorf("the bad trial is %s", got[2].Status)
	}
	jobs, paused, err := q.State(t.Context())
	if err != nil || paused || jobs[tracker.Finished] != 2 || jobs[tracker.Failed] != 1 {
		t.Errorf("%v %v", jobs, err)
	}
	if n, err := q.Retry(t.Context(), got); n != 1 || err != nil {
		t.Error(n, err)
	}
	if jobs, _, _ := q.State(t.Context()); jobs[tracker.Queued] != 1 {
		t.Errorf("after retry: %v", jobs)
	}
}

// A worker that is killed loses its trial to the next one, which goes on from the checkpoint; two workers share.
func (db suite) workerKilled(t *testing.T) {
	lab := db.lab(t)
	config := testConfig()
	config.Steps = 25
	q, ids := queued(t, lab, Grid(config, ContentWeight(5, 50)))
	path := lab.Tracker.URL()
	child := func() *exec.Cmd {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), "HRLAB_TEST_WORKER="+path)
		c.Stderr = os.Stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := child()
	wait := func(what string, ok func(tracker.Info) bool) {
		for range 6000 { // five minutes at least
			infos, err := runsByID(t.Context(), lab.Tracker, ids[:1])
			if err != nil {
				t.Fatal(err)
			}
			if ok(infos[0]) {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatal(what)
	}
	wait("the first trial does not begin", func(i tracker.Info) bool { return i.Metrics["total"].LastStep >= 5 })
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	wait("the run is not lost", func(i tracker.Info) bool { return i.Status == tracker.Lost })
	a, b := child(), child()
	wait("the trial is not taken again", func(i tracker.Info) bool { return i.Status == tracker.Running })
	if err := errors.Join(a.Wait(), b.Wait()); err != nil {
		t.Error(err)
	}
	for _, id := range ids {
		if s := status(t, lab, id); s != tracker.Finished {
			t.Errorf("run %d is %s", id, s)
		}
	}
	if jobs, _, err := q.State(t.Context()); err != nil || jobs[tracker.Finished] != 2 {
		t.Errorf("%v %v", jobs, err)
	}
}

// Pause, cancel, and a worker that is told to stop: its trial is the next one's.
func (db suite) control(t *testing.T) {
	lab := db.lab(t)
	config := testConfig()
	config.Steps = 12
	q, ids := queued(t, lab, Grid(config, ContentWeight(5, 50, 500)))
	infos, err := runsByID(t.Context(), lab.Tracker, ids[2:])
	if err != nil {
		t.Fatal(err)
	}
	if n, err := q.Cancel(t.Context(), infos); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if err := q.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := status(t, lab, ids[2]); s != tracker.Stopped {
		t.Errorf("the cancelled run is %s", s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := lab.Work(ctx, false, func(p Progress) {
		if cancel(); p.Skipped != "the queue is paused: hrlab queue resume ends it" || p.Run != 0 {
			t.Errorf("while paused: %+v", p)
		}
	}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if s := status(t, lab, ids[0]); s != tracker.Queued {
		t.Errorf("while paused a run became %s", s)
	}
	if err := q.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	err = lab.Work(ctx, true, func(p Progress) {
		if p.Run == ids[0] && p.Step.N == 5 {
			stop()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if s := status(t, lab, ids[0]); s != tracker.Queued {
		t.Errorf("the run of the worker that was stopped is %s", s)
	}
	first, taken := -1, -1 // the first step, and where it goes on from, which is told before the device compiles
	if err := lab.Work(t.Context(), true, func(p Progress) {
		switch {
		case p.Run != ids[0] || first >= 0:
		case p.Step.Ok():
			first = p.Step.N
		default:
			taken = p.Step.N
		}
	}); err != nil {
		t.Error(err)
	}
	if first < 5 || taken < 5 {
		t.Errorf("the stopped trial was taken at step %d, and began again at step %d", taken, first)
	}
	for _, id := range ids[:2] {
		if s := status(t, lab, id); s != tracker.Finished {
			t.Errorf("run %d is %s", id, s)
		}
	}
}

// A run that a worker is at stops when it is cancelled, and the worker goes on to the next.
func (db suite) cancelRunning(t *testing.T) {
	lab := db.lab(t)
	config := testConfig()
	config.Steps = 100_000
	short := config
	short.Steps = 1
	q, ids := queued(t, lab, List(config, short))
	infos, err := runsByID(t.Context(), lab.Tracker, ids[:1])
	if err != nil {
		t.Fatal(err)
	}
	cancelled := false
	if err := lab.Work(t.Context(), true, func(p Progress) {
		if p.Run == ids[0] && p.Step.N == 5 && !cancelled {
			cancelled = true
			go func() {
				if _, err := q.Cancel(t.Context(), infos); err != nil {
					t.Error(err)
				}
			}()
		}
	}); err != nil {
		t.Error(err)
	}
	if a, b := status(t, lab, ids[0]), status(t, lab, ids[1]); a != tracker.Stopped || b != tracker.Finished {
		t.Errorf("the cancelled run is %s, the next one %s", a, b)
	}
}

// A job whose worker died after its run had ended does not keep others from draining the queue.
func (db suite) staleJobs(t *testing.T) {
	lab := db.lab(t)
	config := testConfig()
	config.Steps = 1
	q, _ := queued(t, lab, Grid(config, ContentWeight(1, 2)))
	if err := lab.Work(t.Context(), true, func(Progress) {}); err != nil {
		t.Fatal(err)
	}
	const died = `UPDATE river_job SET state = 'running', finalized_at = NULL, attempted_at = '2020-01-01 00:00:00.000'`
	if _, err := lab.Tracker.DB().ExecContext(t.Context(), died); err != nil {
		t.Fatal(err)
	}
	if err := lab.Work(t.Context(), true, func(Progress) {}); err != nil {
		t.Fatal(err)
	}
	if open, err := q.Open(t.Context()); err != nil || len(open) > 0 {
		t.Errorf("left in the queue: %v %v", open, err)
	}
}
