package experiments

import (
	"cmp"
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

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"

	"hrlab/hrstyle"
	"hrlab/tracker"
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
	const limit, pause = 10 * time.Second, 50 * time.Millisecond
	for began := time.Now(); ; {
		stopping := false
		err := q.store.Locked(ctx, func() (err error) { // nobody else looks for the same trials meanwhile
			ids, stopping, err = q.enqueueOnly(ctx, experiment, runs, jobs, time.Since(began) < limit)
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

// thisWorker names a process of this machine.
func thisWorker(pid int) string {
	host, _ := os.Hostname()
	return fmt.Sprintf("%d on %s", pid, cmp.Or(host, "this machine"))
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
