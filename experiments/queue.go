package experiments

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"hrlab/hrstyle"
	"hrlab/tracker"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"
)

// Queue is the queue of trials, River's tables in the tracker's database. A trial's run and its job come about in one
// transaction. Workers take them, one at a time each; what a dead worker had is taken again a few seconds later, and
// goes on from its checkpoint.
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
}

// Kind is River's name for these jobs.
func (job) Kind() string { return "trial" }

// OpenQueue opens the queue of a tracker's database, and makes its tables where they are missing.
func OpenQueue(ctx context.Context, store *tracker.Store) (*Queue, error) {
	return openQueue(ctx, store, nil)
}

func openQueue(ctx context.Context, store *tracker.Store, work *worker) (*Queue, error) {
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
	config := &river.Config{Logger: quiet, PollOnly: true, JobTimeout: -1, CancelledJobRetentionPeriod: -1, DiscardedJobRetentionPeriod: -1, ID: fmt.Sprintf("%d-%d", os.Getpid(), time.Now().UnixNano())}
	if work != nil {
		config.Workers = river.NewWorkers()
		river.AddWorker(config.Workers, work)
		config.Queues = map[string]river.QueueConfig{queueName: {MaxWorkers: 1}}
		config.FetchPollInterval = 200 * time.Millisecond
		config.RescueStuckJobsAfter = 10 * 365 * 24 * time.Hour // a worker's death is seen by its run (reap)
	}
	client, err := river.NewClient(driver, config)
	return &Queue{store, client}, err
}

// Enqueue hands the trials of a pair to workers and returns their runs. A trial that has a run in the experiment which
// is finished, running or queued gets no other. Pictures must be files. vgg are the weights to be used.
func (q *Queue) Enqueue(ctx context.Context, experiment string, vgg *hrstyle.VGG, pair hrstyle.Pair, trials []Trial, patience int) (ids []int64, err error) {
	locked := q.store.Locked(ctx, func() error {
		ids, err = q.enqueueOnly(ctx, experiment, vgg, pair, trials, patience)
		return nil
	})
	return ids, errors.Join(err, locked)
}

// Queueable returns the absolute paths of a pair's pictures; both must be files.
func Queueable(pair hrstyle.Pair) (content, style string, err error) {
	for _, p := range []struct {
		to   *string
		path string
	}{{&content, pair.Content.Name}, {&style, pair.Style.Name}} {
		if *p.to, err = filepath.Abs(p.path); err != nil {
			return "", "", err
		}
		if _, err := os.Stat(*p.to); err != nil {
			return "", "", fmt.Errorf("%s: a worker could not read it: pictures of queued trials must be files", p.path)
		}
	}
	return content, style, nil
}

// enqueueOnly is Enqueue for the process that holds the lock: nobody else looks for the same trials meanwhile.
func (q *Queue) enqueueOnly(ctx context.Context, experiment string, vgg *hrstyle.VGG, pair hrstyle.Pair, trials []Trial, patience int) (ids []int64, err error) {
	j := job{Patience: patience}
	if j.Content, j.Style, err = Queueable(pair); err != nil {
		return nil, err
	}
	inputs := pairInputs(pair, vgg)
	known := map[string]tracker.Info{} // by the tag fit
	earlier, err := q.store.Runs(ctx, tracker.Query{Experiment: experiment, Sort: "id"})
	if err != nil {
		return nil, err
	}
	for _, info := range earlier {
		known[info.Tags["fit"]] = info
	}
	tx, err := q.store.DB().BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() //nolint:errcheck // committed below, or the error is known
	var jobs []river.InsertManyParams
	for _, trial := range trials {
		n, err := describe(About{Experiment: experiment}, vgg, inputs, pair, trial.Config, patience)
		if err != nil {
			return nil, err
		}
		info, ok := known[n.Tags["fit"]]
		if !ok {
			if info.ID, err = q.store.Enqueue(ctx, tx, n); err != nil {
				return nil, err
			}
			known[n.Tags["fit"]] = info
		}
		ids = append(ids, info.ID)
		switch info.Status {
		case tracker.Finished:
			continue
		case tracker.Failed, tracker.Stopped, tracker.Lost:
			if err := q.store.Requeue(ctx, tx, info.ID); err != nil {
				return nil, err
			}
		}
		j.RunID, j.Config, j.Init, j.Inputs = info.ID, trial.Config, "", n.Inputs
		if init := trial.Config.Init; init != "" {
			if j.Init, err = filepath.Abs(init); err != nil {
				return nil, err
			}
		}
		jobs = append(jobs, river.InsertManyParams{Args: j, InsertOpts: &river.InsertOpts{
			Queue: queueName, UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
				rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled,
			}},
		}})
	}
	const atOnce = 1000
	for i := 0; i < len(jobs); i += atOnce {
		if _, err := q.client.InsertManyTx(ctx, tx, jobs[i:min(i+atOnce, len(jobs))]); err != nil {
			return nil, err
		}
	}
	return ids, tx.Commit()
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

// register makes the queue known to River, as the first worker does: an unknown one cannot be paused.
func (q *Queue) register(ctx context.Context) error {
	_, err := q.store.DB().ExecContext(ctx, sqlRegister, queueName)
	return err
}

// stamp is a time as River writes it to SQLite.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") }

// Statements on River's table, which riverqueue.com documents. A job's run is in its arguments.
const (
	sqlJobCounts = `SELECT state, count(*) FROM river_job WHERE kind = 'trial' GROUP BY state`
	sqlRegister  = `INSERT INTO river_queue (name) VALUES (?1) ON CONFLICT (name) DO NOTHING`
	sqlPaused    = `SELECT count(*) FROM river_queue WHERE paused_at IS NOT NULL`
	sqlJobs      = `SELECT json_extract(args, '$.run'), max(id) FROM river_job WHERE kind = 'trial' GROUP BY 1`
	sqlReap      = `UPDATE river_job SET state = 'available', scheduled_at = ?2 WHERE kind = 'trial' AND state = 'running' AND json_extract(args, '$.run') = ?1`
	sqlStale     = `SELECT json_extract(args, '$.run') FROM river_job WHERE kind = 'trial' AND state = 'running' AND attempted_at < ?1`
	sqlOpenJobs  = `SELECT json_extract(args, '$.run'), id FROM river_job WHERE kind = 'trial' AND state IN ('available', 'pending', 'retryable', 'running', 'scheduled')`
)

// State is how many jobs there are of each of River's states (available, running, completed …), and whether the queue is
// paused.
func (q *Queue) State(ctx context.Context) (jobs map[string]int, paused bool, err error) {
	rows, err := q.store.DB().QueryContext(ctx, sqlJobCounts)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close() //nolint:errcheck // Err says what went wrong
	jobs = map[string]int{}
	for rows.Next() {
		var state string
		var n int
		if err := rows.Scan(&state, &n); err != nil {
			return nil, false, err
		}
		jobs[state] = n
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, false, err
	}
	n := 0
	err = q.store.DB().QueryRowContext(ctx, sqlPaused).Scan(&n)
	return jobs, n > 0, err
}

// Open are the runs that wait for a worker or are at one, with their jobs.
func (q *Queue) Open(ctx context.Context) (jobs map[int64]int64, err error) {
	return q.jobs(ctx, sqlOpenJobs)
}

// jobs reads runs and their jobs.
func (q *Queue) jobs(ctx context.Context, query string) (jobs map[int64]int64, err error) {
	rows, err := q.store.DB().QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // Err says what went wrong
	jobs = map[int64]int64{}
	for rows.Next() {
		var run, id int64
		if err := rows.Scan(&run, &id); err != nil {
			return nil, err
		}
		jobs[run] = id
	}
	return jobs, rows.Err()
}

// queued are the runs that have been queued and have one of some states, with their newest jobs.
func (q *Queue) queued(ctx context.Context, runs []tracker.Info, states ...tracker.Status) ([]tracker.Info, map[int64]int64, error) {
	jobs, err := q.jobs(ctx, sqlJobs)
	return slices.DeleteFunc(slices.Clone(runs), func(i tracker.Info) bool { return jobs[i.ID] == 0 || !slices.Contains(states, i.Status) }), jobs, err
}

// Cancel takes queued runs from the queue, which become stopped, and stops those that a worker is at. Others stay as
// they are. It returns how many it cancelled.
func (q *Queue) Cancel(ctx context.Context, runs []tracker.Info) (int, error) {
	runs, jobs, err := q.queued(ctx, runs, tracker.Queued, tracker.Running, tracker.Lost)
	if err != nil {
		return 0, err
	}
	for n, info := range runs {
		if _, err := q.client.JobCancel(ctx, jobs[info.ID]); err != nil {
			return n, err
		}
		if info.Status != tracker.Running {
			run, err := q.store.Take(ctx, info.ID)
			if errors.Is(err, tracker.ErrTaken) { // a worker was quicker, and is told
				continue
			}
			if err != nil {
				return n, err
			}
			if err := run.Finish(ctx, context.Canceled); err != nil {
				return n, err
			}
		}
	}
	return len(runs), nil
}

// Retry queues runs again that failed, were stopped or are lost. Others stay as they are. It returns how many it queued.
func (q *Queue) Retry(ctx context.Context, runs []tracker.Info) (int, error) {
	runs, jobs, err := q.queued(ctx, runs, tracker.Failed, tracker.Stopped, tracker.Lost)
	if err != nil {
		return 0, err
	}
	tx, err := q.store.DB().BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() //nolint:errcheck // committed below, or the error is known
	for _, info := range runs {
		if err := q.store.Requeue(ctx, tx, info.ID); err != nil {
			return 0, err
		}
		if _, err := q.client.JobRetryTx(ctx, tx, jobs[info.ID]); err != nil {
			return 0, err
		}
	}
	return len(runs), tx.Commit()
}

// worker fits what the queue has.
type worker struct {
	river.WorkerDefaults[job]
	lab      Lab
	progress func(Progress)
	stopping context.Context // done when the worker is to end
	pair     hrstyle.Pair    // of the last job
	digests  [2]string       // of its pictures
}

// errLeft ends the run of a worker that is told to stop.
var errLeft = fmt.Errorf("%w: %w", context.Canceled, tracker.ErrLeft)

// Work fits one trial.
func (w *worker) Work(ctx context.Context, r *river.Job[job]) error {
	j := r.Args
	info, err := w.lab.Tracker.Run(ctx, strconv.FormatInt(j.RunID, 10))
	if err != nil {
		return river.JobCancel(err)
	}
	switch {
	case info.Status == tracker.Finished:
		return nil
	case over(info): // it was cancelled, or its worker died before it could say so
		return river.JobCancel(fmt.Errorf("run %d is %s", info.ID, info.Status))
	}
	ctx, done := w.cancellable(ctx, r)
	defer done()
	fitting, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	defer context.AfterFunc(ctx, func() { // the job is cancelled, or this worker is to end
		if w.stopping.Err() != nil {
			end(errLeft)
		}
		end(context.Canceled)
	})()
	p := Progress{Run: j.RunID, Config: j.Config}
	err = w.fit(fitting, info, j, &p)
	switch {
	case w.stopping.Err() != nil: // the trial is for the next worker
		err = river.JobSnooze(0)
	case errors.Is(err, tracker.ErrTaken): // another has it, or is dead and not yet seen to be
		return river.JobSnooze(2 * time.Second)
	case err != nil:
		err = river.JobCancel(err) // another try would fail likewise; Retry asks for one
	}
	p.Ended, p.Err = true, errors.Unwrap(err)
	if w.stopping.Err() != nil {
		p.Err = errLeft
	}
	w.progress(p)
	return err
}

func (w *worker) fit(ctx context.Context, info tracker.Info, j job, p *Progress) error {
	if digest, wanted := w.lab.Engine.VGG.Digest, j.Inputs["vgg"]; digest != wanted {
		return w.fail(ctx, info, fmt.Errorf("the trial is for other VGG19 weights (%.12s) than this worker's (%.12s)", wanted, digest))
	}
	if wanted := [2]string{j.Inputs["content"], j.Inputs["style"]}; w.digests != wanted {
		pair, err := hrstyle.LoadPair(j.Content, j.Style)
		if err != nil {
			return w.fail(ctx, info, err)
		}
		w.pair, w.digests = pair, [2]string{pair.Content.Digest(), pair.Style.Digest()}
		if w.digests != wanted {
			return w.fail(ctx, info, fmt.Errorf("%s or %s has changed since the trial was queued: queue it again", j.Content, j.Style))
		}
	}
	if j.Config.Init = j.Init; j.Init != "" {
		g, err := hrstyle.LoadGenerator(j.Init)
		if err == nil && g.Digest() != j.Inputs["init"] {
			err = fmt.Errorf("%s has changed since the trial was queued: queue it again", j.Init)
		}
		if err != nil {
			return w.fail(ctx, info, err)
		}
	}
	run, start, err := w.lab.goOn(ctx, info)
	if err != nil && run != nil {
		return errors.Join(err, run.Finish(ctx, err))
	}
	if err != nil {
		return err
	}
	return w.lab.run(ctx, run, start, w.pair, j.Config, j.Patience, p, w.progress)
}

// fail records that a run could not even begin.
func (w *worker) fail(ctx context.Context, info tracker.Info, err error) error {
	run, _, takeErr := w.lab.goOn(ctx, info)
	if run == nil {
		return errors.Join(err, takeErr)
	}
	return errors.Join(err, run.Finish(ctx, err))
}

// Work takes trials from the queue until ctx is done, or with drain until there are none. Device, weights and compiled
// graphs stay. The trial that it is at when ctx ends is queued again, with a checkpoint for the next worker.
func (l Lab) Work(ctx context.Context, drain bool, progress func(Progress)) error {
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	w := &worker{lab: l, progress: progress, stopping: ctx}
	q, err := openQueue(ctx, l.Tracker, w)
	if err != nil {
		return err
	}
	if err := q.reap(ctx); err != nil {
		return err
	}
	if err := q.client.Start(background); err != nil {
		return err
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
		case <-tick.C:
			if err := q.reap(ctx); err != nil && ctx.Err() == nil {
				return errors.Join(err, q.client.StopAndCancel(background))
			}
			if !drain {
				continue
			}
			if left, err := q.Open(ctx); err != nil || len(left) > 0 {
				continue
			}
		}
		return errors.Join(q.client.StopAndCancel(background), context.Cause(ctx))
	}
}

// reap makes jobs available again whose worker is dead: whose run is lost, never began, or has ended and the job was not
// told (whoever takes that one ends it).
func (q *Queue) reap(ctx context.Context) error {
	lost, err := q.store.Runs(ctx, tracker.Query{Where: "status = lost"})
	if err != nil {
		return err
	}
	var ids []int64
	for _, info := range lost {
		ids = append(ids, info.ID)
	}
	rows, err := q.store.DB().QueryContext(ctx, sqlStale, stamp(time.Now().Add(-8*time.Second)))
	if err != nil {
		return err
	}
	var stale []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return errors.Join(err, rows.Close())
		}
		stale = append(stale, id)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, id := range stale {
		info, err := q.store.Run(ctx, strconv.FormatInt(id, 10))
		if err != nil && !errors.Is(err, tracker.ErrNotFound) {
			return err
		}
		if err != nil || info.Status != tracker.Running || !info.Deleted.IsZero() {
			ids = append(ids, id)
		}
	}
	for _, id := range ids {
		if _, err := q.store.DB().ExecContext(ctx, sqlReap, id, stamp(time.Now())); err != nil {
			return err
		}
	}
	return nil
}
