package experiments

import (
	"context"
	"errors"
	"fmt"
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
	run, err := q.store.Take(t.Context(), ids[0])
	must(err)
	expect(fmt.Sprintf("waiting for run %d", ids[0]))
	must(run.Finish(t.Context(), nil))
	leave()
	expect("no worker: start hrlab worker")
	_, err = q.store.Take(t.Context(), ids[1])
	must(err)
	_, err = q.store.DB().ExecContext(t.Context(), "UPDATE run SET pid = 999999999")
	must(err)
	if info, err := q.store.Run(t.Context(), strconv.FormatInt(ids[1], 10)); err != nil || info.Status != tracker.Lost {
		t.Errorf("%s, want lost: %v", info.Status, err)
	}
	expect("no worker: start hrlab worker")
}
