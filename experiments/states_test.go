package experiments

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"hrlab/hrstyle"
	"hrlab/tracker"
)

// do executes a statement on the queue's database.
func do(t *testing.T, store *tracker.Store, statement string, args ...any) {
	t.Helper()
	jsonb := map[bool]string{false: "jsonb($1)", true: "CAST($1 AS JSONB)"}[store.Server()]
	statement = strings.ReplaceAll(statement, "{jsonb $1}", jsonb)
	if _, err := (bound{store, store.DB()}).ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// die makes the process that writes a run one that is not there.
func die(t *testing.T, store *tracker.Store, run int64) {
	t.Helper()
	do(t, store, "UPDATE run SET pid = 999999999, token = ~token WHERE id = $1", run)
}

func infos(t *testing.T, store *tracker.Store, ids []int64) []tracker.Info {
	t.Helper()
	infos, err := runsByID(t.Context(), store, ids)
	if err != nil {
		t.Fatal(err)
	}
	return infos
}

// isOpen says whether a run has an open job.
func isOpen(t *testing.T, q *Queue, run int64) bool {
	t.Helper()
	n, err := q.jobs.count(t.Context(), `SELECT count(*) FROM river_job WHERE finalized_at IS NULL AND CAST(args ->> 'run' AS BIGINT) = $1`, run)
	if err != nil || n > 1 {
		t.Fatalf("run %d has %d open jobs: %v", run, n, err)
	}
	return n == 1
}

// Every status of a run, with a job that is open, closed, cancelled or gone, and everything that a person or a worker can do
// then, twice in every order: no order leaves a run that nobody will take and that is not shown as ended.
func (db suite) states(t *testing.T) {
	q, ids := db.queue(t, 1)
	ctx, id := t.Context(), ids[0]
	do1 := func(statement string, args ...any) { do(t, q.store, statement, args...) }
	statuses := []tracker.Status{tracker.Queued, tracker.Running, tracker.Lost, tracker.Finished, tracker.Failed, tracker.Stopped}
	jobs := map[string]string{
		"open":      "UPDATE river_job SET state = 'available', finalized_at = NULL, metadata = jsonb('{}')",
		"running":   "UPDATE river_job SET state = 'running', finalized_at = NULL, metadata = jsonb('{}')", // of another version
		"closed":    "UPDATE river_job SET state = 'cancelled', finalized_at = '2020-01-01 00:00:00.000', metadata = jsonb('{}')",
		"cancelled": `UPDATE river_job SET state = 'cancelled', finalized_at = '2020-01-01 00:00:00.000', metadata = jsonb('{"cancel_attempted_at": "2020-01-01"}')`,
		"gone":      "DELETE FROM river_job",
	}
	actions := map[string]func(info tracker.Info) error{
		"enqueue": func(tracker.Info) error {
			again, err := q.Enqueue(ctx, "e", &hrstyle.VGG{Label: "none", Digest: "none"}, testPair, manyTrials(1), 0)
			if err == nil && !slices.Equal(again, ids) {
				err = fmt.Errorf("it is run %v", again)
			}
			return err
		},
		"cancel": func(info tracker.Info) error { _, err := q.Cancel(ctx, []tracker.Info{info}); return err },
		"retry":  func(info tracker.Info) error { _, err := q.Retry(ctx, []tracker.Info{info}); return err },
		"mend":   func(tracker.Info) error { _, err := q.mend(ctx); return err },
		"kill":   func(tracker.Info) error { die(t, q.store, id); return q.findLost(ctx) },
		"leave": func(info tracker.Info) error { // a worker takes it, and is told to stop
			run, err := q.store.Take(ctx, id, nil)
			if errors.Is(err, tracker.ErrTaken) {
				return nil
			}
			return errors.Join(err, run.Finish(ctx, errGivenBack))
		},
	}
	other, err := tracker.Open(ctx, q.store.URL()) // a writer of this process that beats no more
	if err == nil {
		_, err = other.Take(ctx, id, nil)
	}
	if err := errors.Join(err, other.Close()); err != nil {
		t.Fatal(err)
	}
	do1("CREATE TABLE original AS SELECT args, kind, queue, max_attempts, unique_key, unique_states FROM river_job")
	for _, status := range statuses {
		for job, make := range jobs {
			for first := range actions {
				for second := range actions {
					name := fmt.Sprintf("%s, job %s, %s and %s", status, job, first, second)
					do1("DELETE FROM river_job")
					do1("INSERT INTO river_job (args, kind, queue, max_attempts, unique_key, unique_states) SELECT * FROM original")
					do1(make)
					do1("UPDATE run SET status = $2, ended = NULL, cancelled = NULL, token = 7, pid = $3 WHERE id = $1", id, status, os.Getpid())
					for _, action := range []string{first, second} {
						if err := actions[action](infos(t, q.store, ids)[0]); err != nil {
							t.Fatalf("%s: %v", name, err)
						}
					}
					if _, err := q.mend(ctx); err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					now, open := infos(t, q.store, ids)[0].Status, isOpen(t, q, id)
					ended := now == tracker.Finished || now == tracker.Failed || now == tracker.Stopped
					if now == tracker.Queued && !open || ended && open {
						t.Errorf("%s: %s with an open job %t", name, now, open)
					}
					if second == "cancel" && (now == tracker.Queued || now == tracker.Lost && open) {
						t.Errorf("%s: it is %s", name, now)
					}
					if (second == "enqueue" || second == "retry" && job != "gone") && now != tracker.Running && now != tracker.Finished && now != tracker.Queued {
						t.Errorf("%s: it is %s", name, now)
					}
				}
			}
		}
	}
}

// A trial that is cancelled and queued again at once goes on: its worker is not told to stop it any more. Where the worker had
// heard of it, it is queued when the worker has given it back.
func (db suite) queuedWhileStopping(t *testing.T) {
	q, ids := db.queue(t, 1)
	ctx := t.Context()
	run, err := q.store.Take(ctx, ids[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, again := range map[string]func() error{
		"enqueue": func() error {
			_, err := q.Enqueue(ctx, "e", &hrstyle.VGG{Label: "none", Digest: "none"}, testPair, manyTrials(1), 0)
			return err
		},
		"retry": func() error {
			n, err := q.Retry(ctx, infos(t, q.store, ids))
			if n != 1 {
				t.Errorf("%d queued again", n)
			}
			return err
		},
	} {
		if n, err := q.cancel(ctx, ids); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if told, err := run.Cancelled(ctx); !told || err != nil {
			t.Errorf("%s: it is not told to stop: %v", name, err)
		}
		if err := again(); err != nil {
			t.Fatal(name, err)
		}
		if told, err := run.Cancelled(ctx); told || err != nil {
			t.Errorf("%s: it is still told to stop: %v", name, err)
		}
	}
	if err := run.Finish(ctx, errCancelled); err != nil {
		t.Fatal(err)
	}
	if now := infos(t, q.store, ids)[0]; now.Status != tracker.Queued || !isOpen(t, q, ids[0]) {
		t.Errorf("it is %s", now.Status)
	}
}

// The job of a queued run is made anew of what is on record: it is as it was. A queued run that says too little fails.
func (db suite) remembered(t *testing.T) {
	q, ids := db.queue(t, 1)
	ctx := t.Context()
	args := func() (text string) {
		t.Helper()
		if err := q.store.DB().QueryRowContext(ctx, bind(q.store, "SELECT {json args} FROM river_job")).Scan(&text); err != nil {
			t.Fatal(err)
		}
		return text
	}
	before := args()
	do(t, q.store, "DELETE FROM river_job")
	err := q.store.Transaction(ctx, func(tx *sql.Tx) error {
		id, err := q.store.Enqueue(ctx, tx, tracker.NewRun{Params: map[string]any{"size": "large"}})
		ids = append(ids, id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if mended, err := q.mend(ctx); err != nil || mended[ids[0]] != tracker.Queued || mended[ids[1]] != tracker.Failed {
		t.Errorf("%v %v", mended, err)
	}
	if now := args(); now != before {
		t.Errorf("%s\nwas %s", now, before)
	}
	if broken := infos(t, q.store, ids)[1]; broken.Status != tracker.Failed || broken.Error != `parameter size: "large" is not understood` {
		t.Errorf("%s: %s", broken.Status, broken.Error)
	}
}

// Several workers may leave a trial to others, each for its reason; that it is queued again forgets what they said.
func (db suite) unfitOfSeveral(t *testing.T) {
	q, ids := db.queue(t, 2)
	ctx := t.Context()
	jobs, err := column(ctx, q.jobs.db, "SELECT id FROM river_job ORDER BY id")
	if err != nil || len(jobs) != 2 {
		t.Fatal(jobs, err)
	}
	setUnfit(t, q, jobs, "1 on a", "it's no \"file\"")
	setUnfit(t, q, jobs[:1], "2 on b", "weights")
	setUnfit(t, q, jobs[:1], "1 on a", "memory")
	want := []Unfit{{ids[0], "1 on a", "memory"}, {ids[0], "2 on b", "weights"}, {ids[1], "1 on a", "it's no \"file\""}}
	if got, err := q.Unfit(ctx); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v %v", got, err)
	}
	if n, err := q.cancel(ctx, ids[:1]); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if got, err := q.Unfit(ctx); err != nil || !slices.Equal(got, want[2:]) {
		t.Errorf("after a cancel: %v %v", got, err)
	}
	if n, err := q.Retry(ctx, infos(t, q.store, ids)); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if got, err := q.Unfit(ctx); err != nil || !slices.Equal(got, want[2:]) {
		t.Errorf("queued again: %v %v", got, err)
	}
}

// Who waits for a trial that is deleted, and freed, before or meanwhile, is told.
func (db suite) followDeleted(t *testing.T) {
	q, ids := db.queue(t, 4)
	ctx := t.Context()
	free := func(id int64) {
		t.Helper()
		if err := q.store.Delete(ctx, id); err != nil {
			t.Fatal(err)
		}
		if _, err := q.store.GC(ctx); err != nil {
			t.Fatal(err)
		}
	}
	free(ids[1])
	finish := func(id int64) {
		t.Helper()
		run, err := q.store.Take(ctx, id, nil)
		if err == nil {
			err = run.Finish(ctx, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var told []string
	runs, err := q.Follow(ctx, ids, manyTrials(4), func(p Progress) {
		told = append(told, fmt.Sprint(p.Run, p.Ended, p.Err))
		switch p.Run {
		case ids[1]:
			free(ids[2])
		case ids[2]:
			if err := q.store.Delete(ctx, ids[3]); err != nil {
				t.Error(err)
			}
		case ids[3]:
			finish(ids[0])
		}
	})
	if !errors.Is(err, ErrTrials) || !strings.HasPrefix(err.Error(), fmt.Sprintf("3 of 4 trials failed: trial 2: run %d was deleted", ids[1])) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
	want := []string{"2 true run 2 was deleted", "3 true run 3 was deleted", "4 true run 4 was deleted", "1 true <nil>"}
	if len(runs) != 2 || runs[0].ID != ids[0] || !slices.Equal(told, want) {
		t.Errorf("%d runs; told %q", len(runs), told)
	}
	if jobs, err := q.Open(ctx); err != nil || len(jobs) > 0 {
		t.Errorf("left in the queue: %v %v", jobs, err)
	}
	if id := strconv.FormatInt(ids[3], 10); q.store.Restore(ctx, ids[3]) != nil || !isOpen(t, q, ids[3]) {
		t.Errorf("run %s is restored, and nobody takes it", id)
	}
}

// A trial that was stopped is a cancellation, told in plain words.
func TestStoppedInWords(t *testing.T) {
	err := failure(tracker.Info{ID: 3, Status: tracker.Stopped})
	if !errors.Is(err, context.Canceled) || err.Error() != "run 3 was stopped" {
		t.Error(err)
	}
}

func setUnfit(t *testing.T, q *Queue, jobs []int64, worker, why string) {
	t.Helper()
	if err := q.jobs.setUnfit(t.Context(), jobs, worker, why); err != nil {
		t.Fatal(err)
	}
}
