package experiments

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"hrlab/tracker"
)

// Who follows trials is told what they wait for: a worker, the end of a pause, the run that the worker is at.
func (db suite) waits(t *testing.T) {
	q, ids := db.queue(t, 2)
	expect := func(want string) {
		t.Helper()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		got := ""
		_, err := q.Follow(tracker.OnWait(ctx, func(what string) {
			if got == "" {
				got = what
				stop()
			}
		}), ids[1:], manyTrials(1), func(Progress) {})
		if !errors.Is(err, context.Canceled) || got != want {
			t.Errorf("told %q, want %q: %v", got, want, err)
		}
		if what, err := q.WaitsFor(t.Context(), ids[1]); err != nil || what != want {
			t.Errorf("waits for %q, want %q: %v", what, want, err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	expect("no worker: start hrlab worker")
	must(q.Pause(t.Context()))
	expect("the queue is paused: hrlab queue resume")
	must(q.Resume(t.Context()))
	leave, err := q.store.Attend(t.Context())
	must(err)
	run, err := q.store.Take(t.Context(), ids[0], nil)
	must(err)
	expect(fmt.Sprintf("waiting for run %d", ids[0]))
	must(run.Finish(t.Context(), nil))
	leave()
	expect("no worker: start hrlab worker")
	_, err = q.store.Take(t.Context(), ids[1], nil)
	must(err)
	_, err = q.store.DB().ExecContext(t.Context(), "UPDATE run SET pid = 999999999")
	must(err)
	if info, err := q.store.Run(t.Context(), strconv.FormatInt(ids[1], 10)); err != nil || info.Status != tracker.Lost {
		t.Errorf("%s, want lost: %v", info.Status, err)
	}
	expect("no worker: start hrlab worker")
}

// A trial that was cancelled, and is queued again, is followed to its new end.
func (db suite) followRetried(t *testing.T) {
	q, ids := db.queue(t, 2)
	if n, err := q.Cancel(t.Context(), infos(t, q.store, ids[:1])); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	finish := func(id int64) {
		run, err := q.store.Take(t.Context(), id, nil)
		if err == nil {
			err = run.Finish(t.Context(), nil)
		}
		if err != nil {
			t.Error(err)
		}
	}
	var told []string
	runs, err := q.Follow(t.Context(), ids, manyTrials(2), func(p Progress) {
		if told = append(told, fmt.Sprint(p.Trial, p.Ended, p.Err)); p.Err != nil {
			if n, err := q.Retry(t.Context(), infos(t, q.store, ids[:1])); n != 1 || err != nil {
				t.Error(n, err)
			}
			finish(ids[0])
			finish(ids[1])
		}
	})
	slices.Sort(told)
	if want := []string{"1 true <nil>", "1 true run 1 was stopped", "2 true <nil>"}; !slices.Equal(told, want) || err != nil || len(runs) != 2 {
		t.Errorf("told %q, want %q: %v", told, want, err)
	}
}
