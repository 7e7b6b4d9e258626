package experiments

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"hrlab/hrstyle"
	"hrlab/tracker"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"
)

// Queue is the queue of trials, River's tables in the tracker's database. A trial is a run and a job, which come about in
// one transaction. The run's status says how far it is; the job is open until the trial is over, and has what a worker
// needs to know:
//
//	run                       job open                            job closed
//	queued                    waits for a worker                  mended: opened again, or the run is stopped if the
//	                                                              trial was cancelled
//	running                   a worker, or a sweep, is at it      it was cancelled: its worker stops it
//	lost                      waits, as a queued one              it was cancelled, or is no trial of the queue
//	finished, failed, stopped mended: closed                      over, until Retry or Enqueue opens it
//	deleted                   waits until it is restored          over
//
// So a worker that dies leaves nothing to be cleared up: its run is lost, and the next worker goes on from its checkpoint.
// Nobody but [tracker.Store.Take] decides who has a trial.
type Queue struct {
	store  *tracker.Store
	client *river.Client[*sql.Tx]
}

// queueName is River's name for the one queue.
const queueName = "trials"

// job is what a worker is told.
type job struct {
	RunID   int64          `json:"run" river:"unique"`
	Config  hrstyle.Config `json:"config"`
	Init    string         `json:"init,omitempty"` // absolute, as the pictures' paths are
	Content string         `json:"content"`
	Style   string         `json:"style"`
	// Inputs are digests, as of the run: what pictures, weights and initial generator were when the trial was queued.
	Inputs   map[string]string `json:"inputs"`
	Patience int               `json:"patience"`
	Device   string            `json:"device,omitempty"` // a kind, where only that will do
}

// Kind is River's name for these jobs.
func (job) Kind() string { return "trial" }

// OpenQueue opens the queue of a tracker's database, and makes its tables where they are missing.
func OpenQueue(ctx context.Context, store *tracker.Store) (*Queue, error) {
	driver := riversqlite.New(store.DB())
	quiet := slog.New(slog.DiscardHandler)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: quiet})
	if err != nil {
		return nil, err
	}
	err = store.Locked(ctx, func() error { // two that migrate at once fail
		_, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	client, err := river.NewClient(driver, &river.Config{Logger: quiet})
	return &Queue{store, client}, err
}

// Enqueue hands the trials of a pair to workers and returns their runs. A trial that has a run in the experiment which
// is finished, running or queued gets no other. Pictures must be files. vgg are the weights to be used.
func (q *Queue) Enqueue(ctx context.Context, experiment string, vgg *hrstyle.VGG, pair hrstyle.Pair, trials []Trial, patience int) ([]int64, error) {
	return q.enqueue(ctx, experiment, vgg, pair, trials, job{Patience: patience})
}

// enqueue is Enqueue, with what the jobs have in common.
func (q *Queue) enqueue(ctx context.Context, experiment string, vgg *hrstyle.VGG, pair hrstyle.Pair, trials []Trial, common job) (ids []int64, err error) {
	if common.Content, err = Queueable(pair.Content.Name); err != nil {
		return nil, err
	}
	if common.Style, err = Queueable(pair.Style.Name); err != nil {
		return nil, err
	}
	inputs := pairInputs(pair, vgg)
	var runs []tracker.NewRun // described before anybody has to wait: it reads files
	var jobs []job
	for _, trial := range trials {
		n, err := describe(About{Experiment: experiment}, vgg, inputs, pair, trial.Config, common.Patience)
		if err != nil {
			return nil, err
		}
		j := common
		j.Config, j.Inputs = trial.Config, n.Inputs
		if init := trial.Config.Init; init != "" {
			if j.Init, err = Queueable(init); err != nil {
				return nil, err
			}
		}
		runs, jobs = append(runs, n), append(jobs, j)
	}
	const patience, pause = 10 * time.Second, 50 * time.Millisecond
	for began := time.Now(); ; {
		stopping := false
		err := q.store.Locked(ctx, func() (err error) { // nobody else looks for the same trials meanwhile
			ids, stopping, err = q.enqueueOnly(ctx, experiment, runs, jobs, time.Since(began) < patience)
			return err
		})
		if err != nil || !stopping {
			return ids, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// Queueable is the absolute path of a picture; the error says that no worker could read it.
func Queueable(path string) (string, error) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: a worker could not read it: pictures of queued trials must be files", path)
	}
	return filepath.Abs(path)
}

// enqueueOnly is Enqueue for the process that holds the lock. With wait it does nothing while a trial was cancelled that
// its worker has not stopped yet: it would be stopped after it was queued.
func (q *Queue) enqueueOnly(ctx context.Context, experiment string, runs []tracker.NewRun, jobs []job, wait bool) (ids []int64, stopping bool, err error) {
	known := map[string]tracker.Info{} // by the tag fit
	earlier, err := q.store.Runs(ctx, tracker.Query{Experiment: experiment, Sort: "id"})
	if err != nil {
		return nil, false, err
	}
	rank := map[tracker.Status]int{tracker.Queued: 1, tracker.Running: 2, tracker.Finished: 3}
	for _, info := range earlier {
		if before, ok := known[info.Tags["fit"]]; !ok || rank[info.Status] >= rank[before.Status] {
			known[info.Tags["fit"]] = info
		}
	}
	var running []int64
	for _, n := range runs {
		if info := known[n.Tags["fit"]]; info.Status == tracker.Running {
			running = append(running, info.ID)
		}
	}
	if n, err := q.count(ctx, sqlStopping, list(running)); err != nil || wait && n > 0 {
		return nil, true, err
	}
	err = q.transaction(ctx, func(tx *sql.Tx) error {
		var open []job
		for i, n := range runs {
			info, ok := known[n.Tags["fit"]]
			if !ok {
				if info.ID, err = q.store.Enqueue(ctx, tx, n); err != nil {
					return err
				}
				known[n.Tags["fit"]] = info
			}
			ids = append(ids, info.ID)
			switch info.Status {
			case tracker.Finished:
				continue
			case tracker.Failed, tracker.Stopped, tracker.Lost:
				if err := q.store.Requeue(ctx, tx, info.ID); err != nil {
					return err
				}
			}
			jobs[i].RunID = info.ID
			open = append(open, jobs[i])
		}
		return q.insert(ctx, tx, open)
	})
	return ids, false, err
}

// insert makes jobs, of those runs that have no open one.
func (q *Queue) insert(ctx context.Context, tx *sql.Tx, jobs []job) error {
	unique := river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled,
	}}
	seen := map[int64]bool{}
	var params []river.InsertManyParams
	for _, j := range jobs {
		if !seen[j.RunID] { // two trials may be the same
			params = append(params, river.InsertManyParams{Args: j, InsertOpts: &river.InsertOpts{Queue: queueName, UniqueOpts: unique}})
		}
		seen[j.RunID] = true
	}
	const atOnce = 1000
	for i := 0; i < len(params); i += atOnce {
		if _, err := q.client.InsertManyTx(ctx, tx, params[i:min(i+atOnce, len(params))]); err != nil {
			return err
		}
	}
	return nil
}

// transaction runs f in a transaction of the one connection that writes: f must be quick.
func (q *Queue) transaction(ctx context.Context, f func(tx *sql.Tx) error) error {
	tx, err := q.store.DB().BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// Pause keeps workers from taking trials; those they have go on.
func (q *Queue) Pause(ctx context.Context) error {
	if err := q.register(ctx); err != nil {
		return err
	}
	return q.client.QueuePause(ctx, queueName, nil)
}

// Resume ends a pause.
func (q *Queue) Resume(ctx context.Context) error {
	if err := q.register(ctx); err != nil {
		return err
	}
	return q.client.QueueResume(ctx, queueName, nil)
}

// register makes the queue known to River: an unknown one cannot be paused.
func (q *Queue) register(ctx context.Context) error {
	_, err := q.store.DB().ExecContext(ctx, sqlRegister, queueName)
	return err
}

// stamp is a time as River writes it to SQLite.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") }

// Statements on River's table, which riverqueue.com documents, and the tracker's. A job's run is in its arguments; it is
// closed when it has a time of finalization. Lists of ids are JSON.
const (
	sqlRegister = `INSERT INTO river_queue (name) VALUES (?1) ON CONFLICT (name) DO NOTHING`
	sqlPaused   = `SELECT count(*) FROM river_queue WHERE name = ?1 AND paused_at IS NOT NULL`

	sqlIsOpen = `queue = 'trials' AND state IN ('available', 'pending', 'retryable', 'running', 'scheduled')` // River has an index of these
	sqlTrials = `FROM river_job j JOIN run r ON r.id = json_extract(j.args, '$.run') WHERE ` + sqlIsOpen + ` AND r.deleted IS NULL`
	sqlCounts = `SELECT r.status, count(*) FROM run r WHERE r.deleted IS NULL AND (r.status = 'queued'
		OR r.id IN (SELECT json_extract(args, '$.run') FROM river_job WHERE kind = 'trial')) GROUP BY r.status`
	sqlOpen    = `SELECT r.id, r.status ` + sqlTrials + ` AND r.status IN ('queued', 'running', 'lost')`
	sqlWaiting = `SELECT j.id, r.id, json(j.args) ` + sqlTrials + ` AND r.status IN ('queued', 'lost')
		ORDER BY j.priority, j.scheduled_at, j.id LIMIT ?1 OFFSET ?2`
	// What workers said of trials that they left to others: reasons by worker, in the job's metadata.
	sqlUnfit = `SELECT t.run, u.key, u.value FROM (SELECT r.id AS run, j.metadata AS metadata ` + sqlTrials + ` AND r.status IN ('queued', 'lost')) t,
		json_each(json(t.metadata), '$.unfit') u ORDER BY t.run, u.key`
	sqlSetUnfit = `UPDATE river_job SET metadata = jsonb_patch(metadata, json_object('unfit', json_object(?2, ?3))) WHERE id IN (SELECT value FROM json_each(?1))`

	sqlOfQueue = `SELECT value FROM json_each(?1) WHERE value IN (SELECT json_extract(args, '$.run') FROM river_job WHERE kind = 'trial')
		OR value IN (SELECT id FROM run WHERE status = 'queued')`
	sqlClosed = `SELECT count(*) FROM river_job WHERE id = ?1 AND finalized_at IS NOT NULL`
	sqlClose  = `UPDATE river_job SET state = ?2, finalized_at = ?3 WHERE id = ?1 AND finalized_at IS NULL`
	sqlCancel = `UPDATE river_job SET state = 'cancelled', finalized_at = ?2, metadata = jsonb_set(metadata, '$.cancel_attempted_at', ?2)
		WHERE ` + sqlIsOpen + ` AND json_extract(args, '$.run') IN (SELECT value FROM json_each(?1))
		RETURNING json_extract(args, '$.run')`
	// Running runs whose last job was cancelled.
	sqlStopping = `SELECT count(*) FROM run r WHERE r.status = 'running' AND r.id IN (SELECT value FROM json_each(?1))
		AND (SELECT j.finalized_at IS NOT NULL AND json_extract(j.metadata, '$.cancel_attempted_at') IS NOT NULL FROM river_job j
			WHERE j.kind = 'trial' AND json_extract(j.args, '$.run') = r.id ORDER BY j.id DESC LIMIT 1)`
	// Of every run the newest job.
	sqlReopen = `UPDATE river_job SET state = 'available', finalized_at = NULL, scheduled_at = ?2,
		metadata = jsonb_remove(metadata, '$.cancel_attempted_at', '$.unfit')
		WHERE id IN (SELECT max(id) FROM river_job WHERE kind = 'trial' AND json_extract(args, '$.run') IN (SELECT value FROM json_each(?1))
		GROUP BY json_extract(args, '$.run')) RETURNING json_extract(args, '$.run')`

	// Queued runs without an open job, and whether the last one was cancelled; NULL where there is none.
	sqlStray = `SELECT r.id, (SELECT json_extract(j.metadata, '$.cancel_attempted_at') IS NOT NULL FROM river_job j
			WHERE j.kind = 'trial' AND json_extract(j.args, '$.run') = r.id ORDER BY j.id DESC LIMIT 1)
		FROM run r WHERE r.status = 'queued' AND r.deleted IS NULL
		AND r.id NOT IN (SELECT json_extract(args, '$.run') FROM river_job WHERE ` + sqlIsOpen + `)`
	// Open jobs whose run is over or gone.
	sqlIsOver    = sqlIsOpen + ` AND json_extract(args, '$.run') NOT IN (SELECT id FROM run WHERE status IN ('queued', 'running', 'lost'))`
	sqlOver      = `SELECT count(*) FROM river_job WHERE ` + sqlIsOver
	sqlCloseOver = `UPDATE river_job SET finalized_at = ?1, state = CASE WHEN json_extract(args, '$.run') IN (SELECT id FROM run WHERE status <> 'finished')
		THEN 'cancelled' ELSE 'completed' END WHERE ` + sqlIsOver
	// Jobs that nobody asks for any more.
	sqlForget = `DELETE FROM river_job WHERE kind = 'trial' AND (state = 'completed' AND finalized_at < ?1
		OR finalized_at IS NOT NULL AND json_extract(args, '$.run') NOT IN (SELECT id FROM run))`

	sqlGone    = `SELECT value FROM json_each(?1) WHERE value NOT IN (SELECT id FROM run)`
	sqlRunning = `SELECT count(*) FROM run WHERE status = 'running' AND id IN (SELECT value FROM json_each(?1))`
)

// querier is the connection that writes, or a transaction of it.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// each reads the rows of a query; row must be quick.
func each(ctx context.Context, db querier, query string, args []any, row func(scan func(dest ...any) error) error) error {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // Err says what went wrong
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// column reads a query's one column of ids.
func column(ctx context.Context, db querier, query string, args ...any) (ids []int64, err error) {
	err = each(ctx, db, query, args, func(scan func(...any) error) error {
		var id int64
		err := scan(&id)
		ids = append(ids, id)
		return err
	})
	return ids, err
}

// list is ids as statements take them.
func list(ids []int64) string {
	text, err := json.Marshal(append([]int64{}, ids...))
	if err != nil {
		panic(err) // numbers have a text
	}
	return string(text)
}

// count reads a query's one number.
func (q *Queue) count(ctx context.Context, query string, args ...any) (n int, err error) {
	err = q.store.DB().QueryRowContext(ctx, query, args...).Scan(&n)
	return n, err
}

// State is how many trials there are of each status, and whether the queue is paused.
func (q *Queue) State(ctx context.Context) (trials map[tracker.Status]int, paused bool, err error) {
	if err := q.findLost(ctx); err != nil {
		return nil, false, err
	}
	trials = map[tracker.Status]int{}
	err = each(ctx, q.store.DB(), sqlCounts, nil, func(scan func(...any) error) error {
		var status tracker.Status
		var n int
		err := scan(&status, &n)
		trials[status] = n
		return err
	})
	if err != nil {
		return nil, false, err
	}
	paused, err = q.paused(ctx)
	return trials, paused, err
}

func (q *Queue) paused(ctx context.Context) (bool, error) {
	n, err := q.count(ctx, sqlPaused, queueName)
	return n > 0, err
}

// findLost has the tracker find out whose process is gone.
func (q *Queue) findLost(ctx context.Context) error {
	_, err := q.store.Runs(ctx, tracker.Query{Where: "status = lost", Limit: 1})
	return err
}

// Open are the runs that wait for a worker or are at one, with their status.
func (q *Queue) Open(ctx context.Context) (open map[int64]tracker.Status, err error) {
	open = map[int64]tracker.Status{}
	err = each(ctx, q.store.DB(), sqlOpen, nil, func(scan func(...any) error) error {
		var id int64
		var status tracker.Status
		err := scan(&id, &status)
		open[id] = status
		return err
	})
	return open, err
}

// Unfit is a trial that waits and that a worker has left to others.
type Unfit struct {
	Run    int64
	Worker string // its process and machine
	Why    string // it could not do the trial
}

// Unfit are the trials that wait and that workers have left to others, by run. Where a worker comes that can do one, it
// is not of them any more.
func (q *Queue) Unfit(ctx context.Context) (unfit []Unfit, err error) {
	err = each(ctx, q.store.DB(), sqlUnfit, nil, func(scan func(...any) error) error {
		var u Unfit
		err := scan(&u.Run, &u.Worker, &u.Why)
		unfit = append(unfit, u)
		return err
	})
	return unfit, err
}

// Cancel takes queued and lost runs from the queue, which become stopped, and stops those that a worker is at, all in one
// transaction. Others stay as they are. It returns how many it cancelled.
func (q *Queue) Cancel(ctx context.Context, runs []tracker.Info) (int, error) {
	var ids []int64
	for _, info := range runs {
		ids = append(ids, info.ID)
	}
	return q.cancel(ctx, ids)
}

func (q *Queue) cancel(ctx context.Context, ids []int64) (n int, err error) {
	err = q.transaction(ctx, func(tx *sql.Tx) error {
		trials, err := column(ctx, tx, sqlOfQueue, list(ids))
		if err != nil {
			return err
		}
		closed, err := column(ctx, tx, sqlCancel, list(ids), stamp(time.Now()))
		if err != nil {
			return err
		}
		stopped, err := q.store.CancelQueued(ctx, tx, trials)
		if err != nil {
			return err
		}
		slices.Sort(closed)
		n = len(closed)
		for _, id := range stopped {
			if _, found := slices.BinarySearch(closed, id); !found {
				n++
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Retry queues runs again that failed, were stopped or are lost, all in one transaction. Others, and those that were
// never queued, stay as they are. It returns how many it queued.
func (q *Queue) Retry(ctx context.Context, runs []tracker.Info) (n int, err error) {
	mended, err := q.mend(ctx)
	if err != nil {
		return 0, err
	}
	var ids []int64
	for _, info := range runs {
		status := info.Status
		if now, ok := mended[info.ID]; ok {
			status = now
		}
		switch {
		case !info.Deleted.IsZero():
		case status == tracker.Failed, status == tracker.Stopped, status == tracker.Lost:
			ids = append(ids, info.ID)
		case mended[info.ID] == tracker.Queued:
			n++
		}
	}
	err = q.transaction(ctx, func(tx *sql.Tx) error {
		opened, err := column(ctx, tx, sqlReopen, list(ids), stamp(time.Now()))
		if err != nil {
			return err
		}
		for _, id := range opened {
			if err := q.store.Requeue(ctx, tx, id); err != nil {
				return err
			}
		}
		n += len(opened)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// mend puts in order what no order of events should leave, but what an error, another version or a copy of runs may have:
// see Queue. It returns the runs that had no open job, with the status they have now: queued again, stopped or failed.
func (q *Queue) mend(ctx context.Context) (mended map[int64]tracker.Status, err error) {
	if err := q.findLost(ctx); err != nil {
		return nil, err
	}
	if n, err := q.count(ctx, sqlOver); err != nil {
		return nil, err
	} else if n > 0 {
		if _, err := q.store.DB().ExecContext(ctx, sqlCloseOver, stamp(time.Now())); err != nil {
			return nil, err
		}
	}
	var reopen, cancel, bare []int64
	err = each(ctx, q.store.DB(), sqlStray, nil, func(scan func(...any) error) error {
		var id int64
		var cancelled sql.NullBool
		err := scan(&id, &cancelled)
		switch {
		case !cancelled.Valid:
			bare = append(bare, id)
		case cancelled.Bool:
			cancel = append(cancel, id)
		default:
			reopen = append(reopen, id)
		}
		return err
	})
	if err != nil || len(reopen)+len(cancel)+len(bare) == 0 {
		return nil, err
	}
	mended = map[int64]tracker.Status{}
	var jobs []job
	for _, id := range bare {
		j, broken, err := q.remembered(ctx, id)
		if err != nil {
			return nil, err
		}
		mended[id] = tracker.Queued
		if broken == nil {
			jobs = append(jobs, j)
			continue
		}
		mended[id] = tracker.Failed
		run, err := q.store.Take(ctx, id)
		if err == nil {
			err = run.Finish(ctx, broken)
		}
		if err != nil && !errors.Is(err, tracker.ErrTaken) {
			return nil, err
		}
	}
	err = q.transaction(ctx, func(tx *sql.Tx) error {
		stopped, err := q.store.CancelQueued(ctx, tx, cancel)
		if err != nil {
			return err
		}
		opened, err := column(ctx, tx, sqlReopen, list(reopen), stamp(time.Now()))
		if err != nil {
			return err
		}
		for _, id := range stopped {
			mended[id] = tracker.Stopped
		}
		for _, id := range opened {
			mended[id] = tracker.Queued
		}
		return q.insert(ctx, tx, jobs)
	})
	return mended, err
}

// remembered is the job of a run, made of what is on record of it. broken says why none can be made.
func (q *Queue) remembered(ctx context.Context, run int64) (j job, broken, err error) {
	info, err := q.store.Run(ctx, strconv.FormatInt(run, 10))
	if err != nil {
		return j, nil, err
	}
	env, err := q.store.Environment(ctx, run)
	if err != nil {
		return j, nil, err
	}
	j.RunID, j.Config, j.Inputs = run, hrstyle.Default, map[string]string{}
	for name, digest := range env {
		if input, ok := strings.CutPrefix(name, "input."); ok {
			j.Inputs[input] = digest
		}
	}
	for name, v := range info.Params { // fields of the configuration, as describe made parameters of them
		text, err := json.Marshal(map[string]tracker.Value{name: v})
		if err == nil && json.Unmarshal(text, &j.Config) != nil { // a list or a truth value
			if text, err = json.Marshal(map[string]json.RawMessage{name: json.RawMessage(v.Text)}); err == nil {
				err = json.Unmarshal(text, &j.Config)
			}
		}
		if err != nil {
			return j, fmt.Errorf("parameter %s: %q is not understood", name, v.Text), nil
		}
	}
	at := func(path string) string { // where the run was queued
		if path == "" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(env["directory"], path)
	}
	j.Content, j.Style, j.Init = at(info.Params["content"].Text), at(info.Params["style"].Text), at(j.Config.Init)
	if j.Content == "" || j.Style == "" {
		return j, errors.New("a queued run without pictures: queue it again"), nil
	}
	j.Patience = int(info.Params["patience"].Number)
	return j, nil, nil
}
