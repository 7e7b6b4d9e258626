package experiments

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"hrlab/hrstyle"
	"hrlab/picture"
	"hrlab/report"
	"hrlab/tracker"
)

// Queue is the queue of trials, which workers take: see [Lab.Work]. A trial is a run of the tracker and a job of River's, in
// one database. They come about in one transaction, together with the files that the trial reads, which are artifacts of
// the run. So any machine that reaches the database and its artifacts can do any trial.
//
// The run's status says how far a trial is. Its job is open until the trial is over, and has what a worker needs to know:
//
//	run                       job open                            job closed
//	queued                    waits for a worker                  mended: opened again, or the run is stopped if the
//	                                                              trial was cancelled
//	running                   a worker, or a sweep, is at it      it was cancelled: its worker stops it
//	lost                      waits, as a queued one              it was cancelled, or is no trial of the queue
//	finished, failed, stopped mended: closed                      over, until Retry or Enqueue opens it
//	deleted                   waits until it is restored          over
//
// docs/lifecycle.md draws who moves a trial from one state to another. Nobody but [tracker.Store.Take] decides who has a
// trial. So a worker that dies leaves nothing to be cleared up: its run is lost, and the next worker goes on from its
// checkpoint.
type Queue struct {
	store *tracker.Store
	jobs  jobs
}

// OpenQueue opens the queue of a tracker's database, and makes its tables where they are missing.
func OpenQueue(ctx context.Context, store *tracker.Store) (*Queue, error) {
	jobs, err := openJobs(ctx, store)
	return &Queue{store, jobs}, err
}

// Enqueue hands the trials of a pair to workers and returns their runs, in the order of the trials. A trial that has a run
// in the experiment which is finished, running or queued gets no other. vgg are the weights to be used. A trial ends early
// after patience steps without a better total loss; 0 is never.
func (q *Queue) Enqueue(ctx context.Context, experiment string, vgg *hrstyle.VGG, pair hrstyle.Pair, trials []Trial, patience int) ([]int64, error) {
	return q.enqueue(ctx, experiment, vgg, pair, trials, job{Patience: patience})
}

// entry is a trial as it enters the queue.
type entry struct {
	run   tracker.NewRun
	job   job
	files map[string]int // that it reads: the names of artifacts, and the places of their contents
}

// enqueue is Enqueue, with what the jobs have in common.
func (q *Queue) enqueue(ctx context.Context, experiment string, vgg *hrstyle.VGG, pair hrstyle.Pair, trials []Trial, common job) (ids []int64, err error) {
	var contents [][]byte // of artifacts
	for _, p := range []picture.Picture{pair.Content, pair.Style} {
		data, err := p.Encoded()
		if err != nil {
			return nil, err
		}
		contents = append(contents, data)
	}
	type generator struct {
		digest string
		place  int // of its content
	}
	inits := map[string]generator{} // by path
	common.Inputs = pairInputs(pair, vgg)
	var list []entry // described before anybody has to wait
	for _, trial := range trials {
		one := entry{job: common, files: map[string]int{report.Content: 0, report.Style: 1}}
		one.job.Config = trial.Config
		if path := trial.Config.Init; path != "" {
			init, known := inits[path]
			if !known {
				g, err := hrstyle.LoadGenerator(path)
				if err != nil {
					return nil, err
				}
				data, err := g.Encode()
				if err != nil {
					return nil, err
				}
				init = generator{g.Digest(), len(contents)}
				inits[path], contents = init, append(contents, data)
			}
			one.job.Inputs, one.files[report.Init] = withInit(common.Inputs, init.digest), init.place
			one.job.Config.Init = ""
		}
		if one.run, err = describe(About{Experiment: experiment}, vgg.Label, one.job.Inputs, pair, trial.Config, common.Patience); err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	const limit, pause = 10 * time.Second, 50 * time.Millisecond
	for began := time.Now(); ; {
		stopping := false
		err := q.store.Locked(ctx, func() (err error) { // nobody else looks for the same trials meanwhile
			ids, stopping, err = q.enqueueOnly(ctx, experiment, list, contents, time.Since(began) < limit)
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

// enqueueOnly is Enqueue for the process that holds the lock. With wait it does nothing while a trial was cancelled that
// its worker has not stopped yet: it would be stopped after it was queued.
func (q *Queue) enqueueOnly(ctx context.Context, experiment string, list []entry, contents [][]byte, wait bool) (ids []int64, stopping bool, err error) {
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
	var running, finished []int64
	for _, one := range list {
		switch info := known[one.run.Tags["fit"]]; info.Status {
		case tracker.Running:
			running = append(running, info.ID)
		case tracker.Finished:
			finished = append(finished, info.ID)
		}
	}
	if len(finished) == len(list) { // a cell that is executed again
		return finished, false, nil
	}
	if n, err := q.jobs.stopping(ctx, running); err != nil || wait && n > 0 {
		return nil, true, err
	}
	var readers []io.Reader
	for _, data := range contents {
		readers = append(readers, bytes.NewReader(data))
	}
	err = q.store.Keep(ctx, readers, func(tx *sql.Tx, files []*tracker.File) error {
		var open []job
		for _, one := range list {
			info, ok := known[one.run.Tags["fit"]]
			if !ok {
				if info.ID, err = q.store.Enqueue(ctx, tx, one.run); err != nil {
					return err
				}
				known[one.run.Tags["fit"]] = info
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
			for name, place := range one.files {
				if err := files[place].AddTo(ctx, tx, info.ID, name); err != nil && !errors.Is(err, tracker.ErrTaken) { // it has begun by now
					return err
				}
			}
			one.job.RunID = info.ID
			open = append(open, one.job)
		}
		return q.jobs.insert(ctx, tx, open)
	})
	return ids, false, err
}

// Pause keeps workers from taking trials; those they have go on.
func (q *Queue) Pause(ctx context.Context) error { return q.jobs.pause(ctx) }

// Resume ends a pause.
func (q *Queue) Resume(ctx context.Context) error { return q.jobs.resume(ctx) }

// State is how many trials there are of each status, and whether the queue is paused.
func (q *Queue) State(ctx context.Context) (trials map[tracker.Status]int, paused bool, err error) {
	if err := q.findLost(ctx); err != nil {
		return nil, false, err
	}
	if trials, err = q.jobs.states(ctx); err != nil {
		return nil, false, err
	}
	paused, err = q.jobs.paused(ctx)
	return trials, paused, err
}

// findLost has the tracker find out whose process is gone.
func (q *Queue) findLost(ctx context.Context) error {
	_, err := q.store.Runs(ctx, tracker.Query{Where: "status = lost", Limit: 1})
	return err
}

// Open are the runs that wait for a worker or are at one, with their status.
func (q *Queue) Open(ctx context.Context) (map[int64]tracker.Status, error) { return q.jobs.open(ctx) }

// Unfit are the trials that wait and that workers have left to others, by run. Where a worker comes that can do one, it
// is not of them any more.
func (q *Queue) Unfit(ctx context.Context) ([]Unfit, error) { return q.jobs.unfit(ctx) }

// thisWorker names a process of this machine.
func thisWorker(pid int) string {
	host, _ := os.Hostname()
	return fmt.Sprintf("%d on %s", pid, cmp.Or(host, "this machine"))
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
	err = q.jobs.transaction(ctx, func(tx *sql.Tx) error {
		trials, err := q.jobs.ofQueue(ctx, tx, ids)
		if err != nil {
			return err
		}
		closed, err := q.jobs.cancel(ctx, tx, ids)
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
	err = q.jobs.transaction(ctx, func(tx *sql.Tx) error {
		opened, err := q.jobs.reopen(ctx, tx, ids)
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
	if err := q.jobs.closeOver(ctx); err != nil {
		return nil, err
	}
	closed, cancelled, bare, err := q.jobs.stray(ctx)
	if err != nil || len(closed)+len(cancelled)+len(bare) == 0 {
		return nil, err
	}
	mended = map[int64]tracker.Status{}
	var missing []job
	for _, id := range bare {
		j, broken, err := q.remembered(ctx, id)
		if err != nil {
			return nil, err
		}
		mended[id] = tracker.Queued
		if broken == nil {
			missing = append(missing, j)
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
	err = q.jobs.transaction(ctx, func(tx *sql.Tx) error {
		stopped, err := q.store.CancelQueued(ctx, tx, cancelled)
		if err != nil {
			return err
		}
		opened, err := q.jobs.reopen(ctx, tx, closed)
		if err != nil {
			return err
		}
		for _, id := range stopped {
			mended[id] = tracker.Stopped
		}
		for _, id := range opened {
			mended[id] = tracker.Queued
		}
		return q.jobs.insert(ctx, tx, missing)
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
	artifacts, err := q.store.Artifacts(ctx, run)
	if err != nil {
		return j, nil, err
	}
	j.RunID, j.Config, j.Inputs, j.Patience = run, hrstyle.Default, inputsOf(env), int(info.Params["patience"].Number)
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
	j.Config.Init = ""
	if slices.ContainsFunc(artifacts, func(a tracker.Artifact) bool { return a.Name == report.Content }) {
		return j, nil, nil
	}
	at := func(path string) string { // where an earlier version has queued the run
		if path == "" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(env["directory"], path)
	}
	j.Content, j.Style, j.Init = at(info.Params["content"].Text), at(info.Params["style"].Text), at(info.Params["init"].Text)
	if j.Content == "" || j.Style == "" {
		return j, errors.New("a queued run without pictures: queue it again"), nil
	}
	return j, nil, nil
}
