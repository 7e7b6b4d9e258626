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
//	running                   a worker, or a sweep, is at it      no trial of the queue
//	lost                      waits, as a queued one              no trial of the queue
//	finished, failed, stopped mended: closed                      over, until Retry or Enqueue opens it
//	deleted                   waits until it is restored          over
//
// A running trial that is cancelled says so in its run, which its process reads: it is stopped when that process ends it, is
// told to stop or dies, whatever comes first.
//
// docs/lifecycle.md draws who moves a trial from one state to another. Nobody but [tracker.Store.Take] decides who has a
// trial. So a worker that dies leaves nothing to be cleared up: its run is lost, and the next worker goes on from its
// checkpoint.
type Queue struct {
	store *tracker.Store
	jobs  jobs
}

// OpenQueue opens the queue of a tracker's database, and makes its tables where they are missing. That of a database that
// cannot be written can be looked at.
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
	keep := func(g *hrstyle.Generator) (generator, error) {
		data, err := g.Encode()
		contents = append(contents, data)
		return generator{g.Digest(), len(contents) - 1}, err
	}
	common.Inputs = pairInputs(pair, vgg)
	var list []entry // described before anybody has to wait
	for _, trial := range trials {
		one := entry{job: common, files: map[string]int{report.Content: 0, report.Style: 1}}
		one.job.Config = trial.Config
		if path := trial.Config.Init; path != "" || trial.Init != nil {
			init, known := inits[path]
			switch {
			case trial.Init != nil:
				if init, err = keep(trial.Init); err != nil {
					return nil, err
				}
			case !known:
				g, err := hrstyle.LoadInit(path)
				if err != nil {
					return nil, err
				}
				if init, err = keep(g); err != nil {
					return nil, err
				}
				inits[path] = init
			}
			one.job.Inputs, one.files[report.Init] = withInit(common.Inputs, init.digest), init.place
			one.job.Config.Init = ""
		}
		if one.run, err = describe(About{Experiment: experiment}, vgg.Label, one.job.Inputs, pair, trial, common.Patience); err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	err = q.store.Locked(ctx, func() (err error) { // nobody else looks for the same trials meanwhile
		ids, err = q.enqueueOnly(ctx, experiment, list, contents)
		return err
	})
	return ids, err
}

// enqueueOnly is Enqueue for the process that holds the lock.
func (q *Queue) enqueueOnly(ctx context.Context, experiment string, list []entry, contents [][]byte) (ids []int64, err error) {
	known := map[string]tracker.Info{} // by the tag fit
	earlier, err := q.store.Runs(ctx, tracker.Query{Experiment: experiment, Sort: "id"})
	if err != nil {
		return nil, err
	}
	rank := map[tracker.Status]int{tracker.Queued: 1, tracker.Running: 2, tracker.Finished: 3}
	for _, info := range earlier {
		if before, ok := known[info.Tags["fit"]]; !ok || rank[info.Status] >= rank[before.Status] {
			known[info.Tags["fit"]] = info
		}
	}
	var finished []int64
	for _, one := range list {
		if info := known[one.run.Tags["fit"]]; info.Status == tracker.Finished {
			finished = append(finished, info.ID)
		}
	}
	if len(finished) == len(list) { // a cell that is executed again
		return finished, nil
	}
	var readers []io.Reader
	for _, data := range contents {
		readers = append(readers, bytes.NewReader(data))
	}
	err = q.store.Keep(ctx, readers, func(tx *sql.Tx, files []*tracker.File) error {
		place := map[string]int{} // of new runs, by the tag fit
		var runs []tracker.NewRun
		for _, one := range list {
			fit := one.run.Tags["fit"]
			if _, ok := known[fit]; ok {
				continue
			}
			if _, ok := place[fit]; !ok { // two trials may be the same
				place[fit] = len(runs)
				one.run.Files = map[string]*tracker.File{}
				for name, place := range one.files {
					one.run.Files[name] = files[place]
				}
				runs = append(runs, one.run)
			}
		}
		made, err := q.store.EnqueueAll(ctx, tx, runs)
		if err != nil {
			return err
		}
		waiting, err := q.jobs.open(ctx, q.jobs.in(tx))
		if err != nil {
			return err
		}
		var open []job
		again := map[int][]int64{} // runs that there were, and that may lack files, by the place of their initial generator
		for _, one := range list {
			info, ok := known[one.run.Tags["fit"]]
			if !ok {
				info.ID = made[place[one.run.Tags["fit"]]]
			}
			ids = append(ids, info.ID)
			if info.Status == tracker.Finished {
				continue
			}
			if ok {
				again[one.files[report.Init]] = append(again[one.files[report.Init]], info.ID)
			}
			if waiting[info.ID] == "" {
				one.job.RunID = info.ID
				open = append(open, one.job)
			}
		}
		for init, runs := range again {
			if _, err := q.store.Requeue(ctx, tx, runs); err != nil {
				return err
			}
			reads := map[string]int{report.Content: 0, report.Style: 1}
			if init > 0 {
				reads[report.Init] = init
			}
			for name, place := range reads {
				if err := files[place].AddTo(ctx, tx, runs, name); err != nil {
					return err
				}
			}
		}
		return q.jobs.insert(ctx, tx, open)
	})
	return ids, err
}

// Pause keeps workers from taking trials; those they have go on.
func (q *Queue) Pause(ctx context.Context) error {
	if err := q.store.ReadOnly(); err != nil {
		return err
	}
	return q.jobs.pause(ctx)
}

// Resume ends a pause.
func (q *Queue) Resume(ctx context.Context) error {
	if err := q.store.ReadOnly(); err != nil {
		return err
	}
	return q.jobs.resume(ctx)
}

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
func (q *Queue) Open(ctx context.Context) (map[int64]tracker.Status, error) {
	return q.jobs.open(ctx, q.jobs.db)
}

// Unfit are the trials that wait and that workers have left to others, by run. Where a worker comes that can do one, it
// is not of them any more.
func (q *Queue) Unfit(ctx context.Context) ([]Unfit, error) { return q.jobs.unfit(ctx) }

// thisWorker names a process of this machine.
func thisWorker(pid int) string {
	host, _ := os.Hostname()
	return fmt.Sprintf("%d on %s", pid, cmp.Or(host, "this machine"))
}

// Cancel stops queued and lost runs, and has those that a process is at stopped by it, all in one transaction. Others, and
// those that were never queued, stay as they are. It returns how many it cancelled.
func (q *Queue) Cancel(ctx context.Context, runs []tracker.Info) (int, error) {
	var ids []int64
	for _, info := range runs {
		ids = append(ids, info.ID)
	}
	return q.cancel(ctx, ids)
}

func (q *Queue) cancel(ctx context.Context, ids []int64) (n int, err error) {
	if err := q.findLost(ctx); err != nil {
		return 0, err
	}
	err = q.store.Transaction(ctx, func(tx *sql.Tx) error {
		trials, err := q.jobs.ofQueue(ctx, tx, ids)
		if err != nil {
			return err
		}
		cancelled, err := q.store.Cancel(ctx, tx, trials)
		if err != nil {
			return err
		}
		n = len(cancelled)
		return q.jobs.closeOverIn(ctx, tx)
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Retry queues runs again that failed, were stopped or are lost, and has running ones go on that were cancelled, all in one
// transaction. Others, and those that were never queued, stay as they are. It returns how many it queued.
func (q *Queue) Retry(ctx context.Context, runs []tracker.Info) (n int, err error) {
	mended, err := q.mend(ctx)
	if err != nil {
		return 0, err
	}
	var ids []int64
	for _, info := range runs {
		switch {
		case !info.Deleted.IsZero():
		case mended[info.ID] == tracker.Queued:
			n++
		default:
			ids = append(ids, info.ID)
		}
	}
	err = q.store.Transaction(ctx, func(tx *sql.Tx) error {
		trials, err := q.jobs.ofQueue(ctx, tx, ids)
		if err != nil {
			return err
		}
		queued, err := q.store.Requeue(ctx, tx, trials)
		if err != nil {
			return err
		}
		n += len(queued)
		_, err = q.jobs.reopen(ctx, tx, queued)
		return err
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
		run, err := q.store.Take(ctx, id, nil)
		if err == nil {
			err = run.Finish(ctx, broken)
		}
		if err != nil && !errors.Is(err, tracker.ErrTaken) {
			return nil, err
		}
	}
	err = q.store.Transaction(ctx, func(tx *sql.Tx) error {
		stopped, err := q.store.Cancel(ctx, tx, cancelled)
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
