package experiments

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"slices"
	"strconv"

	"hrlab/hrstyle"
	"hrlab/report"
	"hrlab/tracker"
)

// Sweep fits a pair with many settings by the lab's own engine: see [Fitter]. What another process is at it does in the end,
// if that process has not finished it and is gone.
func (l Lab) Sweep(ctx context.Context, experiment string, pair hrstyle.Pair, trials []Trial, patience int, progress func(Progress)) ([]tracker.Info, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	ids, failed := make([]int64, len(trials)), map[int]error{}
	inputs := pairInputs(pair, l.Engine.VGG)
	var elsewhere []int // trials that another process was at
	for last, todo := false, upTo(len(trials)); len(todo) > 0; last, todo, elsewhere = true, elsewhere, nil {
		for _, i := range todo {
			p := Progress{Trial: i + 1, Trials: len(trials), Config: trials[i].Config}
			err := l.try(ctx, About{Experiment: experiment}, inputs, pair, trials[i], patience, &p, progress)
			ids[i] = p.Run
			if p.Skipped == runningElsewhere && !last {
				elsewhere = append(elsewhere, i)
				continue
			}
			p.Ended, p.Err = true, err
			progress(p)
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if errors.Is(err, errCancelled) {
				err = errors.New(stoppedError(p.Run).Error()) // cancelled is not what this sweep is
			}
			if err != nil {
				failed[i] = err
			}
		}
	}
	runs, err := runsByID(ctx, l.Tracker, slices.DeleteFunc(ids, func(id int64) bool { return id == 0 }))
	return runs, errors.Join(err, failures(failed, len(trials)))
}

// runningElsewhere is why a trial is skipped that another process is at.
const runningElsewhere = "running in another process"

// upTo is 0 to n-1.
func upTo(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// try brings one trial to its end.
func (l Lab) try(ctx context.Context, about About, inputs map[string]string, pair hrstyle.Pair, trial Trial, patience int, p *Progress, progress func(Progress)) error {
	run, start, err := l.begin(ctx, about, inputs, pair, trial, patience, p)
	if err != nil && run != nil {
		return errors.Join(err, run.Finish(ctx, err))
	}
	if err != nil || run == nil {
		return err
	}
	p.Run = run.ID
	if start == nil && trial.Init != nil {
		start = &from{trial.Init.Start(trial.Config), tracker.Metric{Min: math.Inf(1)}}
	}
	return l.run(ctx, run, start, pair, trial.Config, patience, p, progress)
}

// run fits and records.
func (l Lab) run(ctx context.Context, run *tracker.Run, start *from, pair hrstyle.Pair, config hrstyle.Config, patience int, p *Progress, progress func(Progress)) error {
	fit, least := l.Engine.Fit(ctx, pair, config), tracker.Metric{Min: math.Inf(1)}
	if start != nil {
		fit = l.Engine.Resume(ctx, pair, start.Checkpoint)
		if start.total.MinStep <= int64(start.Step) { // later steps come again
			least = start.total
		}
	}
	for step, err := range l.Record(ctx, run, patient(fit, patience, least)) {
		p.Step = step
		if err != nil {
			return err
		}
		progress(*p)
	}
	return nil
}

// begin starts the run of a trial, or takes the one that it has, with its checkpoint. Where the trial is finished, or another
// process is at it, there is nothing to do: it returns no run, and p.Skipped says why.
func (l Lab) begin(ctx context.Context, about About, inputs map[string]string, pair hrstyle.Pair, trial Trial, patience int, p *Progress) (run *tracker.Run, start *from, err error) {
	n, err := l.describe(about, inputs, pair, trial, patience)
	if err != nil {
		return nil, nil, err
	}
	// Two sweeps of the same trials at once: the second to look finds the first's run.
	locked := l.Tracker.Locked(ctx, func() error {
		run, start, err = l.beginOnly(ctx, n, pair, trial.Config, p)
		return nil
	})
	return run, start, errors.Join(err, locked)
}

// beginOnly is begin for the process that holds the lock.
func (l Lab) beginOnly(ctx context.Context, n tracker.NewRun, pair hrstyle.Pair, config hrstyle.Config, p *Progress) (*tracker.Run, *from, error) {
	earlier, err := l.Tracker.Runs(ctx, tracker.Query{Experiment: n.Experiment, Where: fmt.Sprintf("tags.fit = %q", n.Tags["fit"])})
	if err != nil {
		return nil, nil, err
	}
	for _, info := range earlier {
		switch info.Status {
		case tracker.Finished:
			p.Run, p.Skipped = info.ID, "finished before"
			return nil, nil, nil
		case tracker.Running:
			p.Run, p.Skipped = info.ID, runningElsewhere
			return nil, nil, nil
		}
	}
	if err := l.Engine.Fits(pair, config); err != nil { // before there is a run of it
		return nil, nil, err
	}
	if len(earlier) == 0 {
		run, err := l.Tracker.Start(ctx, n)
		return run, nil, err
	}
	run, start, err := l.goOn(ctx, earlier[0].ID, earlier[0].Status)
	if errors.Is(err, tracker.ErrTaken) { // a worker was quicker
		p.Run, p.Skipped = earlier[0].ID, runningElsewhere
		return nil, nil, nil
	}
	return run, start, err
}

// from is the state that a run goes on from.
type from struct {
	*hrstyle.Checkpoint
	total tracker.Metric // the total loss so far
}

// goOn takes a run that is not finished, and its checkpoint if it has one.
func (l Lab) goOn(ctx context.Context, id int64, status tracker.Status) (*tracker.Run, *from, error) {
	take := l.Tracker.Resume
	if status == tracker.Queued || status == tracker.Lost { // which another may bring to its end meanwhile
		take = l.Tracker.Take
	}
	run, err := take(ctx, id, l.environment())
	if err != nil {
		return nil, nil, err
	}
	file, err := l.Tracker.OpenArtifact(ctx, id, report.Checkpoint)
	if errors.Is(err, tracker.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return run, nil, nil
	}
	if err != nil {
		return run, nil, err
	}
	defer file.Close()
	start, err := hrstyle.ReadCheckpoint(report.Checkpoint, file, file.Size())
	if err != nil {
		return run, nil, nil // it is damaged: the fit begins anew, and its result is the same
	}
	info, err := l.Tracker.Run(ctx, strconv.FormatInt(id, 10))
	return run, &from{start, info.Metrics["total"]}, err
}

// patient ends a fit when its total loss has not fallen for n steps. least has the smallest total loss so far, and its step.
func patient(fit iter.Seq2[hrstyle.Step, error], n int, least tracker.Metric) iter.Seq2[hrstyle.Step, error] {
	if n <= 0 {
		return fit
	}
	return func(yield func(hrstyle.Step, error) bool) {
		for step, err := range fit {
			if !yield(step, err) {
				return
			}
			if step.Total < least.Min {
				least.Min, least.MinStep = step.Total, int64(step.N)
			} else if step.N-int(least.MinStep) >= n {
				return
			}
		}
	}
}

// Fit fits a pair with the lab's own engine: see [Fitter]. A run that another process is at is followed, and goes on here
// should that process end.
func (l Lab) Fit(ctx context.Context, experiment string, pair hrstyle.Pair, config hrstyle.Config) iter.Seq2[hrstyle.Step, error] {
	return func(yield func(hrstyle.Step, error) bool) {
		for last := -1; ; {
			fit, err := l.recorded(ctx, experiment, pair, config)
			if err != nil {
				yield(hrstyle.Step{}, err)
				return
			}
			over := true
			for step, err := range fit {
				if errors.Is(err, errAbandoned) {
					over = false
					break
				}
				if err == nil && step.N <= last { // seen before, from another process
					continue
				}
				if last = max(last, step.N); !yield(step, err) {
					return
				}
			}
			if over {
				return
			}
		}
	}
}

// recorded starts or finds the run of a fit.
func (l Lab) recorded(ctx context.Context, experiment string, pair hrstyle.Pair, config hrstyle.Config) (iter.Seq2[hrstyle.Step, error], error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	var p Progress
	run, start, err := l.begin(ctx, About{Experiment: experiment}, pairInputs(pair, l.Engine.VGG), pair, Trial{Config: config}, 0, &p)
	switch {
	case err != nil && run != nil:
		return nil, errors.Join(err, run.Finish(ctx, err))
	case err != nil:
		return nil, err
	case run == nil:
		return newFollowing(l.Tracker, nil, nil, []int64{p.Run}).steps(ctx), nil
	case start != nil:
		return l.Record(ctx, run, l.Engine.Resume(ctx, pair, start.Checkpoint)), nil
	}
	return l.Record(ctx, run, l.Engine.Fit(ctx, pair, config)), nil
}
