package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"hrlab/experiments"
	"hrlab/tracker"
)

type workerCmd struct {
	Drain bool   `help:"End when the queue is empty."`
	DB    string `name:"db" default:"hrlab.db" env:"HRLAB_DB" placeholder:"URL" help:"The tracker's database: a path."`
	engineFlags
}

// Run takes trials from the queue. Ctrl-C hands the one it is at back, with a checkpoint.
func (w *workerCmd) Run(ctx context.Context, c *console) (err error) {
	engine, err := w.open(ctx, c)
	if err != nil {
		return err
	}
	defer engine.Close()
	store, err := tracker.Open(ctx, w.DB)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	fmt.Fprintf(c.messages, "working on %s; Ctrl-C ends\n", w.DB)
	at := int64(0)
	err = experiments.Lab{Engine: engine, Tracker: store}.Work(ctx, w.Drain, func(p experiments.Progress) {
		weights := fmt.Sprintf("run %d, content %g, style %g: ", p.Run, p.Config.ContentWeight, p.Config.StyleWeight)
		switch {
		case p.Ended && p.Err != nil:
			fmt.Fprintln(c.messages, weights+oneLine(p.Err))
		case p.Ended:
			fmt.Fprintf(c.messages, "%stotal %.5g  content %.5g  style %.5g\n", weights, p.Step.Total, p.Step.Content, p.Step.Style)
		case p.Run != at:
			fmt.Fprintf(c.messages, "%sfrom step %d of %d\n", weights, p.Step.N, p.Config.Steps)
		}
		at = p.Run
	})
	return err
}

// queueCmd are the verbs on the queue.
type queueCmd struct {
	Status queueStatusCmd `cmd:"" help:"Say how many trials wait, run and are done."`
	Pause  queuePauseCmd  `cmd:"" help:"Keep workers from taking trials."`
	Resume queueResumeCmd `cmd:"" help:"End a pause."`
	Cancel queueCancelCmd `cmd:"" help:"Take runs from the queue, and stop those that workers are at."`
	Retry  queueRetryCmd  `cmd:"" help:"Queue runs again that failed or were stopped."`

	DB string `name:"db" default:"hrlab.db" env:"HRLAB_DB" placeholder:"URL" help:"The tracker's database: a path."`
}

// with opens the queue for f.
func (q *queueCmd) with(ctx context.Context, f func(s *tracker.Store, q *experiments.Queue) error) error {
	return (&runsCmd{DB: q.DB}).with(ctx, func(s *tracker.Store) error {
		queue, err := experiments.OpenQueue(ctx, s)
		if err != nil {
			return err
		}
		return f(s, queue)
	})
}

type queueStatusCmd struct{}

// Run counts.
func (*queueStatusCmd) Run(ctx context.Context, c *console, q *queueCmd) error {
	return q.with(ctx, func(s *tracker.Store, queue *experiments.Queue) error {
		jobs, paused, err := queue.State(ctx)
		if err != nil {
			return err
		}
		if paused {
			fmt.Fprintln(c.out, "paused: hrlab queue resume ends it")
		}
		for _, state := range slices.Sorted(maps.Keys(jobs)) {
			fmt.Fprintf(c.out, "%-10s %d\n", state, jobs[state])
		}
		if len(jobs) == 0 {
			fmt.Fprintln(c.out, "empty")
		}
		return nil
	})
}

type queuePauseCmd struct{}

// Run pauses.
func (*queuePauseCmd) Run(ctx context.Context, q *queueCmd) error {
	return q.with(ctx, func(_ *tracker.Store, queue *experiments.Queue) error { return queue.Pause(ctx) })
}

type queueResumeCmd struct{}

// Run resumes.
func (*queueResumeCmd) Run(ctx context.Context, q *queueCmd) error {
	return q.with(ctx, func(_ *tracker.Store, queue *experiments.Queue) error { return queue.Resume(ctx) })
}

// queuedRuns are runs by name, or all of an experiment that have one of some states.
type queuedRuns struct {
	Runs       []string `arg:"" optional:"" name:"run" help:"Runs."`
	Experiment string   `placeholder:"NAME" help:"All of this experiment."`
}

func (r queuedRuns) find(ctx context.Context, s *tracker.Store, states ...tracker.Status) (runs []tracker.Info, err error) {
	if (len(r.Runs) == 0) == (r.Experiment == "") {
		return nil, errors.New("name runs, or an experiment by --experiment")
	}
	for _, name := range r.Runs {
		info, err := s.Run(ctx, name)
		if err != nil {
			return nil, err
		}
		runs = append(runs, info)
	}
	if r.Experiment != "" {
		if runs, err = s.Runs(ctx, tracker.Query{Experiment: r.Experiment}); err != nil {
			return nil, err
		}
		runs = slices.DeleteFunc(runs, func(i tracker.Info) bool { return !slices.Contains(states, i.Status) })
	}
	return runs, nil
}

type queueCancelCmd struct{ queuedRuns }

// Run cancels.
func (d *queueCancelCmd) Run(ctx context.Context, c *console, q *queueCmd) error {
	return q.with(ctx, func(s *tracker.Store, queue *experiments.Queue) error {
		runs, err := d.find(ctx, s, tracker.Queued, tracker.Running)
		if err == nil {
			err = queue.Cancel(ctx, runs)
		}
		if err == nil {
			fmt.Fprintf(c.messages, "%d cancelled\n", len(runs))
		}
		return err
	})
}

type queueRetryCmd struct{ queuedRuns }

// Run queues again.
func (d *queueRetryCmd) Run(ctx context.Context, c *console, q *queueCmd) error {
	return q.with(ctx, func(s *tracker.Store, queue *experiments.Queue) error {
		runs, err := d.find(ctx, s, tracker.Failed, tracker.Stopped)
		if err == nil {
			err = queue.Retry(ctx, runs)
		}
		if err == nil {
			fmt.Fprintf(c.messages, "%d queued again\n", len(runs))
		}
		return err
	})
}
