package experiments

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"hrlab/hrstyle"
	"hrlab/tracker"
)

// following are runs that others make, and what is known of them.
type following struct {
	store  *tracker.Store
	queue  *Queue // nil where the runs are not queued: another process is at them
	warm   *Warm  // the worker that makes them; nil where any may
	ids    []int64
	mine   map[int64]bool // the ids
	cursor int64
	asked  time.Time      // when gone and unfit runs were last looked for, of which Watch does not tell
	waits  map[Unfit]bool // what workers said of trials that they left to others
}

func newFollowing(store *tracker.Store, queue *Queue, warm *Warm, ids []int64) *following {
	f := &following{store: store, queue: queue, warm: warm, ids: slices.Clone(ids), mine: map[int64]bool{}}
	for _, id := range ids {
		f.mine[id] = true
	}
	return f
}

// change is what has happened to runs.
type change struct {
	runs  []tracker.Info // that have changed
	gone  []int64        // that are not there any more
	unfit []Unfit        // that a worker has just left to others
}

// changed waits until something happens to the runs. Where they are a warm worker's it sees to it that there is one.
func (f *following) changed(ctx context.Context) (c change, err error) {
	for {
		if f.warm != nil {
			if _, err := f.warm.ready(ctx, f.store); err != nil {
				return c, err
			}
		}
		pause := time.Second
		if time.Since(f.asked) >= pause {
			if c.gone, err = goneRuns(ctx, f.store, f.ids); err == nil {
				c.unfit, err = f.unfit(ctx)
			}
			if err == nil {
				err = f.tellWait(ctx)
			}
			if ctx.Err() != nil {
				return c, context.Cause(ctx)
			}
			if err != nil || len(c.gone)+len(c.unfit) > 0 {
				return c, err
			}
			f.asked = time.Now()
		}
		if f.cursor == 0 { // the first look reads all runs
			pause = time.Minute
		}
		look, cancel := context.WithTimeout(ctx, pause)
		c.runs, f.cursor, err = f.store.Watch(look, f.cursor)
		late := look.Err() != nil
		cancel()
		if ctx.Err() != nil {
			return c, context.Cause(ctx)
		}
		if err != nil && !late {
			return c, err
		}
		c.runs = slices.DeleteFunc(c.runs, func(i tracker.Info) bool { return !f.mine[i.ID] })
		if len(c.runs) > 0 {
			return c, nil
		}
	}
}

// tellWait tells the listener of the context what the runs wait for.
func (f *following) tellWait(ctx context.Context) error {
	if f.queue == nil { // steps tells
		return nil
	}
	what, err := f.waitsFor(ctx)
	if err == nil {
		tracker.Tell(ctx, what)
	}
	return err
}

// WaitsFor is what a queued or lost run waits for, as "no worker: start hrlab worker"; empty where a worker takes it in a moment,
// and where the run is no open trial of the queue.
func (q *Queue) WaitsFor(ctx context.Context, run int64) (string, error) {
	f := newFollowing(q.store, q, nil, []int64{run})
	if _, err := f.unfit(ctx); err != nil {
		return "", err
	}
	return f.waitsFor(ctx)
}

// waitsFor is what queued runs wait for; empty where one of them runs, or will in a moment.
func (f *following) waitsFor(ctx context.Context) (string, error) {
	open, err := f.queue.Open(ctx)
	if err != nil {
		return "", err
	}
	waiting := false
	for _, id := range f.ids {
		switch open[id] {
		case tracker.Running:
			return "", nil
		case tracker.Queued, tracker.Lost:
			waiting = true
		}
	}
	if !waiting {
		return "", nil
	}
	if paused, err := f.queue.jobs.paused(ctx); err != nil || paused {
		return "the queue is paused: hrlab queue resume", err
	}
	workers, err := f.store.Workers(ctx)
	if err != nil {
		return "", err
	}
	var busy []string
	idle := false
	for _, w := range workers {
		_, queued := open[w.Run]
		switch {
		case w.Silent, f.warm != nil && w.PID != int64(f.warm.pid):
		case w.Run == 0:
			idle = true
		case queued: // otherwise it is a fit or a sweep of its own
			busy = append(busy, strconv.FormatInt(w.Run, 10))
		}
	}
	switch {
	case idle && len(f.waits) == 0:
		return "", nil // it takes one in a moment
	case len(busy) > 0:
		return "waiting for run " + strings.Join(busy, ", "), nil
	case idle:
		return "waiting for a worker that can do it: hrlab queue status", nil
	case f.warm != nil:
		return "waiting for the worker", nil
	}
	return "no worker: start hrlab worker", nil
}

// unfit are trials that workers have left to others since the last look. Where the trials are a warm worker's, no other
// worker counts.
func (f *following) unfit(ctx context.Context) (unfit []Unfit, err error) {
	if f.queue == nil {
		return nil, nil
	}
	all, err := f.queue.Unfit(ctx)
	waits := map[Unfit]bool{}
	for _, u := range all {
		if !f.mine[u.Run] || f.warm != nil && u.Worker != thisWorker(f.warm.pid) {
			continue
		}
		if waits[u] = true; !f.waits[u] {
			unfit = append(unfit, u)
		}
	}
	f.waits = waits
	return unfit, err
}

// stop cancels the runs that are not over. It waits a moment for the one that a worker is at: who stops a fit wants to see
// its last picture, but not to wait for a long step.
func (f *following) stop(ctx context.Context) error {
	if f.queue == nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	if _, err := f.queue.cancel(ctx, f.ids); err != nil {
		return err
	}
	const limit, pause = 800 * time.Millisecond, 20 * time.Millisecond
	for began := time.Now(); time.Since(began) < limit; time.Sleep(pause) {
		if n, err := f.queue.jobs.running(ctx, f.ids); err != nil || n == 0 {
			return err
		}
	}
	return nil
}

// steps yields the steps of the one run as they come.
func (f *following) steps(ctx context.Context) iter.Seq2[hrstyle.Step, error] {
	return func(yield func(hrstyle.Step, error) bool) {
		defer tracker.Tell(ctx, "")
		if f.queue == nil { // until its first step: another process may be compiling
			tracker.Tell(ctx, fmt.Sprintf("waiting for run %d", f.ids[0]))
		}
		var last hrstyle.Step
		var stop error
		fail := func(err error) { yield(last, err) }
		for {
			c, err := f.changed(ctx)
			if err != nil {
				stop = errors.Join(err, f.stop(ctx))
				c.runs, err = runsByID(context.WithoutCancel(ctx), f.store, f.ids)
			}
			switch {
			case err != nil:
				fail(err)
				return
			case len(c.gone) > 0:
				fail(errGone(f.ids[0]))
				return
			case len(c.unfit) > 0 && f.warm != nil: // nobody else is there to do it
				fail(errors.Join(fmt.Errorf("run %d: %s", f.ids[0], c.unfit[0].Why), f.stop(ctx)))
				return
			case len(c.runs) == 0:
				continue
			}
			info := c.runs[0]
			ended := over(info) || stop != nil
			steps, err := stepsAfter(context.WithoutCancel(ctx), f.store, info, last, ended)
			for _, s := range steps {
				last = s
				tracker.Tell(ctx, "")
				if !yield(s, nil) {
					_ = f.stop(ctx) // nobody is there to be told
					return
				}
			}
			if err = errors.Join(err, stop); err == nil && ended {
				err = failure(info)
			}
			if err == nil && !ended && f.queue == nil && info.Status != tracker.Running {
				err = errAbandoned // there may be nobody else to go on with it
			}
			if err != nil {
				fail(err)
				return
			}
			if ended {
				return
			}
		}
	}
}

// errAbandoned ends the steps of a run that another process has begun and not finished.
var errAbandoned = errors.New("the process that was at the run is gone")

// errGone is the error of a run that was deleted, and freed by gc.
func errGone(id int64) error { return fmt.Errorf("run %d was deleted", id) }

// Follow tells progress how queued trials get on, until all are over. ids are their runs, as Enqueue returns them. It returns
// runs and error as [Fitter] says of a sweep, without runs that were deleted. A trial that a worker has left to others is told
// with Skipped, before its end. One that failed or was stopped, and is retried before the last is over, is told anew.
// When ctx is done the trials stay queued.
func (q *Queue) Follow(ctx context.Context, ids []int64, trials []Trial, progress func(Progress)) ([]tracker.Info, error) {
	return newFollowing(q.store, q, nil, ids).follow(ctx, trials, progress)
}

func (f *following) follow(ctx context.Context, trials []Trial, progress func(Progress)) ([]tracker.Info, error) {
	defer tracker.Tell(ctx, "")
	all, open := map[int64]*Progress{}, map[int64]*Progress{}
	for i, id := range f.ids {
		all[id] = &Progress{Trial: i + 1, Trials: len(trials), Run: id, Config: trials[i].Config}
		open[id] = all[id]
	}
	began := time.Now()
	failed := map[int]error{} // by the trials' places
	end := func(p *Progress, err error) {
		if p.Ended, p.Err = true, err; err != nil {
			failed[p.Trial-1] = errors.New(err.Error()) // cancelled is not what this sweep is
		}
		progress(*p)
		delete(open, p.Run)
	}
	gone, told := map[int64]bool{}, map[Unfit]bool{}
	for len(open) > 0 {
		c, err := f.changed(ctx)
		if err != nil {
			return nil, err
		}
		for _, id := range c.gone {
			if gone[id] = true; open[id] != nil {
				end(open[id], errGone(id))
			}
		}
		for _, u := range c.unfit {
			p := open[u.Run]
			switch {
			case p == nil:
			case f.warm != nil: // nobody else is there to do it
				if _, err := f.queue.cancel(ctx, []int64{u.Run}); err != nil {
					return nil, err
				}
				end(p, fmt.Errorf("run %d: %s", u.Run, u.Why))
			case !told[Unfit{0, u.Worker, u.Why}]:
				told[Unfit{0, u.Worker, u.Why}] = true
				waits := *p
				waits.Skipped = fmt.Sprintf("waits for another worker than %s: %s", u.Worker, u.Why)
				progress(waits)
			}
		}
		for _, info := range c.runs {
			p := all[info.ID]
			if p.Err != nil && failure(info) == nil { // somebody has retried it
				p.Ended, p.Err, open[p.Run] = false, nil, p
				delete(failed, p.Trial-1)
			}
			if p.Ended {
				continue
			}
			ended := over(info)
			if info.Status == tracker.Finished && info.Ended.Before(began) {
				p.Skipped = "finished before"
			} else {
				steps, err := stepsAfter(ctx, f.store, info, p.Step, ended)
				switch {
				case err != nil && ended && ctx.Err() == nil: // others may have their files
					end(p, err)
					continue
				case err != nil:
					return nil, err
				}
				if len(steps) > 0 {
					p.Step = steps[len(steps)-1]
					progress(*p)
				}
			}
			if ended {
				end(p, failure(info))
			}
		}
		f.ids = slices.DeleteFunc(f.ids, func(id int64) bool { return gone[id] })
	}
	runs, err := runsByID(ctx, f.store, f.ids)
	return runs, errors.Join(err, failures(failed, len(trials)))
}
