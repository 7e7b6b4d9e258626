package experiments

import (
	"context"
	"errors"
	"fmt"
	"image"
	"os"
	"slices"
	"strings"
	"testing"

	"hrlab/report"
	"hrlab/tracker"
)

// An error of the database says nothing about a trial: whatever step of taking it fails, it stays queued, the worker says so
// once and does it when that is over. One that has ended and whose end cannot be recorded is ended when that is over.
func TestTrouble(t *testing.T) {
	lab := testLab(t)
	q, pair := openQueue(t, lab), testPair
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
			id := enqueue(t, lab, q, pair, Trial{Config: config})[0]
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
			if name == "finish" && errors.Is(err, ErrTrials) { // its end could not be recorded, and that it failed could
				err = nil
			}
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

// A cancel is one transaction, of hundreds of trials too, a lost one among them: all, or with an error none.
func TestCancelMany(t *testing.T) {
	q, ids := onSQLite.queue(t, 300)
	ctx := t.Context()
	atWork, err := q.store.Take(ctx, ids[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	dead, err := q.store.Take(ctx, ids[1], nil)
	if err != nil {
		t.Fatal(err)
	}
	die(t, q.store, dead.ID)
	all := infos(t, q.store, ids)
	if all[1].Status != tracker.Lost {
		t.Fatalf("the run of a dead process is %s", all[1].Status)
	}
	count := func() map[tracker.Status]int {
		t.Helper()
		state, _, err := q.State(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return state
	}
	do(t, q.store, fmt.Sprintf("CREATE TRIGGER fault BEFORE UPDATE OF status ON run WHEN new.id = %d BEGIN SELECT RAISE(ABORT, 'fault'); END", ids[200]))
	if n, err := q.Cancel(ctx, all); err == nil || n != 0 {
		t.Errorf("%d cancelled in spite of a fault", n)
	}
	if now := count(); now[tracker.Queued] != 298 || !isOpen(t, q, ids[5]) {
		t.Errorf("after a cancel that failed: %v", now)
	}
	do(t, q.store, "DROP TRIGGER fault")
	stopped, stop := context.WithCancel(ctx)
	stop()
	if err := newFollowing(q.store, q, nil, ids).stop(stopped); err != nil { // as the stop button does
		t.Error(err)
	}
	if now := count(); now[tracker.Stopped] != 299 || now[tracker.Running] != 1 {
		t.Errorf("after the stop: %v", now)
	}
	if err := atWork.Finish(ctx, errCancelled); err != nil {
		t.Error(err)
	}
	do(t, q.store, fmt.Sprintf("CREATE TRIGGER fault BEFORE UPDATE OF status ON run WHEN new.id = %d BEGIN SELECT RAISE(ABORT, 'fault'); END", ids[200]))
	if n, err := q.Retry(ctx, infos(t, q.store, ids)); err == nil || n != 0 || count()[tracker.Queued] != 0 {
		t.Errorf("%d queued again in spite of a fault", n)
	}
	do(t, q.store, "DROP TRIGGER fault")
	if n, err := q.Retry(ctx, infos(t, q.store, ids)); err != nil || n != 300 || count()[tracker.Queued] != 300 {
		t.Errorf("%d queued again: %v", n, err)
	}
}

// Looking for what is out of order writes nothing where all is well, however many runs are lost.
func TestMendWritesNothing(t *testing.T) {
	q, ids := onSQLite.queue(t, 20)
	for _, id := range ids[:10] {
		if _, err := q.store.Take(t.Context(), id, nil); err != nil {
			t.Fatal(err)
		}
		die(t, q.store, id)
	}
	changes := func() (n int) {
		t.Helper()
		if err := q.store.DB().QueryRowContext(t.Context(), "SELECT total_changes()").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if _, err := q.mend(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := changes()
	if mended, err := q.mend(t.Context()); err != nil || len(mended) > 0 || changes() != before {
		t.Errorf("%v: %d changes, %v", mended, changes()-before, err)
	}
}

// A file that is missing, of one trial, does not end the look at the others.
func TestFollowWithoutFile(t *testing.T) {
	q, ids := onSQLite.queue(t, 3)
	ctx := t.Context()
	if err := q.store.Delete(ctx, ids[1]); err != nil {
		t.Fatal(err)
	}
	if _, err := q.store.GC(ctx); err != nil {
		t.Fatal(err)
	}
	finish := func(id int64) {
		t.Helper()
		run, err := q.store.Take(ctx, id, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(
			run.Log(ctx, 1, map[string]float64{"total": 1, "content": 1, "style": 1, "seconds": 1}),
			run.LogPicture(ctx, 1, report.Output, image.NewGray(image.Rect(0, 0, 8, 8))),
			run.LogArtifact(ctx, report.Output, strings.NewReader("a picture")),
			os.RemoveAll(q.store.Path()+".artifacts"),
			run.Finish(ctx, nil))
		if err != nil {
			t.Fatal(err)
		}
	}
	var told []string
	_, err := q.Follow(ctx, ids, manyTrials(3), func(p Progress) {
		told = append(told, fmt.Sprint(p.Run, p.Ended))
		switch p.Run {
		case ids[1]:
			finish(ids[0])
		case ids[0]:
			finish(ids[2])
			if p.Err == nil || !strings.Contains(p.Err.Error(), `run 1: artifact "output": `) {
				t.Error(p.Err)
			}
		}
	})
	if want := []string{"2 true", "1 true", "3 true"}; !slices.Equal(told, want) || !errors.Is(err, ErrTrials) {
		t.Errorf("told %q: %v", told, err)
	}
}
