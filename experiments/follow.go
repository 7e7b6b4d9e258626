package experiments

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"hrlab/hrstyle"
	"hrlab/tracker"
)

// handed are trials in the hands of workers, or of whoever has them.
type handed struct {
	lab    Lab
	queue  *Queue // nil where there is nothing to cancel
	ids    []int64
	mine   map[int64]bool // the ids
	cursor int64
	asked  time.Time      // for what Watch does not tell
	waits  map[Unfit]bool // what workers said of trials that they left to others
}

func newHanded(lab Lab, queue *Queue, ids []int64) *handed {
	h := &handed{lab: lab, queue: queue, ids: slices.Clone(ids), mine: map[int64]bool{}}
	for _, id := range ids {
		h.mine[id] = true
	}
	return h
}

// change is something that has become of the trials.
type change struct {
	runs  []tracker.Info // that have changed
	gone  []int64        // that are not there any more
	unfit []Unfit        // newly left to others by a worker
}

// changed waits until something has become of the runs, and sees to it that there is a worker.
func (h *handed) changed(ctx context.Context) (c change, err error) {
	for {
		if h.queue != nil && h.lab.Warm != nil {
			if _, err := h.lab.Warm.ready(ctx, h.lab.Tracker); err != nil {
				return c, err
			}
		}
		patience := time.Second
		if time.Since(h.asked) >= patience {
			if c.gone, err = column(ctx, h.lab.Tracker.DB(), sqlGone, list(h.ids)); err == nil {
				c.unfit, err = h.unfit(ctx)
			}
			if ctx.Err() != nil {
				return c, context.Cause(ctx)
			}
			if err != nil || len(c.gone)+len(c.unfit) > 0 {
				return c, err
			}
			h.asked = time.Now()
		}
		if h.cursor == 0 { // the first look reads all runs
			patience = time.Minute
		}
		look, cancel := context.WithTimeout(ctx, patience)
		c.runs, h.cursor, err = h.lab.Tracker.Watch(look, h.cursor)
		late := look.Err() != nil
		cancel()
		if ctx.Err() != nil {
			return c, context.Cause(ctx)
		}
		if err != nil && !late {
			return c, err
		}
		c.runs = slices.DeleteFunc(c.runs, func(i tracker.Info) bool { return !h.mine[i.ID] })
		if len(c.runs) > 0 {
			return c, nil
		}
	}
}

// unfit are trials that a worker has left to others since the last look. Where there is a warm worker, it is the one that
// counts.
func (h *handed) unfit(ctx context.Context) (unfit []Unfit, err error) {
	if h.queue == nil {
		return nil, nil
	}
	all, err := h.queue.Unfit(ctx)
	waits := map[Unfit]bool{}
	for _, u := range all {
		if !h.mine[u.Run] || h.lab.Warm != nil && u.Worker != thisWorker(h.lab.Warm.pid) {
			continue
		}
		if waits[u] = true; !h.waits[u] {
			unfit = append(unfit, u)
		}
	}
	h.waits = waits
	return unfit, err
}

// stop cancels what is not over, and waits a moment for the run that a worker is at: who stops it wants to see its last
// picture, but not to wait for a long step.
func (h *handed) stop(ctx context.Context) error {
	if h.queue == nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	if _, err := h.queue.cancel(ctx, h.ids); err != nil {
		return err
	}
	const patience, pause = 800 * time.Millisecond, 20 * time.Millisecond
	for began := time.Now(); time.Since(began) < patience; time.Sleep(pause) {
		if n, err := h.queue.count(ctx, sqlRunning, list(h.ids)); err != nil || n == 0 {
			return err
		}
	}
	return nil
}

// steps yields the steps of the one run as they come.
func (h *handed) steps(ctx context.Context) iter.Seq2[hrstyle.Step, error] {
	return func(yield func(hrstyle.Step, error) bool) {
		var last hrstyle.Step
		var stop error
		fail := func(err error) { yield(last, err) }
		for {
			c, err := h.changed(ctx)
			if err != nil {
				stop = errors.Join(err, h.stop(ctx))
				c.runs, err = h.lab.infos(context.WithoutCancel(ctx), h.ids)
			}
			switch {
			case err != nil:
				fail(err)
				return
			case len(c.gone) > 0:
				fail(errGone(h.ids[0]))
				return
			case len(c.unfit) > 0 && h.lab.Warm != nil: // nobody else is there to do it
				fail(errors.Join(fmt.Errorf("run %d: %s", h.ids[0], c.unfit[0].Why), h.stop(ctx)))
				return
			case len(c.runs) == 0:
				continue
			}
			info := c.runs[0]
			ended := over(info) || stop != nil
			steps, err := h.lab.stepsAfter(context.WithoutCancel(ctx), info, last, ended)
			for _, s := range steps {
				last = s
				if !yield(s, nil) {
					_ = h.stop(ctx) // the loop has other worries
					return
				}
			}
			if err = errors.Join(err, stop); err == nil && ended {
				err = failure(info)
			}
			if err == nil && !ended && h.queue == nil && info.Status != tracker.Running {
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

// errAbandoned ends the steps of a run that another process was at and did not bring to its end.
var errAbandoned = errors.New("the process that was at the run is gone")

// errGone is the error of a run that was deleted, and freed.
func errGone(id int64) error { return fmt.Errorf("run %d was deleted", id) }

// Follow shows how queued trials get on, whoever is at them, until all are over; ids are their runs, as Enqueue returns
// them. Runs and error are those of [Lab.Sweep]; runs that were deleted are not among them. A trial that a worker has left
// to others is reported with Skipped, before its end. When ctx is done the trials stay queued.
func (q *Queue) Follow(ctx context.Context, ids []int64, trials []Trial, progress func(Progress)) ([]tracker.Info, error) {
	return newHanded(Lab{Tracker: q.store}, q, ids).follow(ctx, trials, progress)
}

func (h *handed) follow(ctx context.Context, trials []Trial, progress func(Progress)) ([]tracker.Info, error) {
	open := map[int64]*Progress{}
	for i, id := range h.ids {
		open[id] = &Progress{Trial: i + 1, Trials: len(trials), Run: id, Config: trials[i].Config}
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
		c, err := h.changed(ctx)
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
			case h.lab.Warm != nil: // nobody else is there to do it
				if _, err := h.queue.cancel(ctx, []int64{u.Run}); err != nil {
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
			p := open[info.ID]
			if p == nil {
				continue
			}
			ended := over(info)
			if info.Status == tracker.Finished && info.Ended.Before(began) {
				p.Skipped = "finished before"
			} else {
				steps, err := h.lab.stepsAfter(ctx, info, p.Step, ended)
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
		h.ids = slices.DeleteFunc(h.ids, func(id int64) bool { return gone[id] })
	}
	runs, err := h.lab.infos(ctx, h.ids)
	return runs, errors.Join(err, failures(failed, len(trials)))
}
