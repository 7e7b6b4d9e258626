package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"hrlab/experiments"
	"hrlab/tracker"
)

// queueCmd are the verbs on the queue.
type queueCmd struct {
	Status queueStatusCmd `cmd:"" help:"Count the trials by status, in the words of runs list."`
	Pause  queuePauseCmd  `cmd:"" help:"Keep workers from taking trials."`
	Resume queueResumeCmd `cmd:"" help:"End a pause."`
	Cancel queueCancelCmd `cmd:"" help:"Take runs from the queue, and stop those that are running."`
	Retry  queueRetryCmd  `cmd:"" help:"Queue failed, stopped or lost runs again."`

	dbFlags
}

// Help has examples.
func (*queueCmd) Help() string {
	return `Examples:

	hrlab sweep --content boat.jpg --style sunset.jpg --preset wide --queue
	hrlab worker --drain
	hrlab queue status`
}

// with opens the queue of an existing database, runs f and closes it.
func (q *queueCmd) with(ctx context.Context, f func(s *tracker.Store, q *experiments.Queue) error) error {
	return q.dbFlags.with(ctx, func(s *tracker.Store) error {
		queue, err := experiments.OpenQueue(ctx, s)
		if err != nil {
			return err
		}
		return f(s, queue)
	})
}

type queueStatusCmd struct{}

// Help has examples.
func (*queueStatusCmd) Help() string {
	return `Examples:

	hrlab queue status`
}

// Run counts.
func (*queueStatusCmd) Run(ctx context.Context, c *console, q *queueCmd) error {
	return q.with(ctx, func(s *tracker.Store, queue *experiments.Queue) error {
		trials, paused, err := queue.State(ctx)
		if err != nil {
			return err
		}
		unfit, err := queue.Unfit(ctx)
		if err != nil {
			return err
		}
		var text strings.Builder
		if paused {
			fmt.Fprintln(&text, "paused: hrlab queue resume ends it")
		}
		for _, status := range []tracker.Status{tracker.Queued, tracker.Running, tracker.Lost, tracker.Finished, tracker.Failed, tracker.Stopped} {
			if n := trials[status]; n > 0 {
				fmt.Fprintf(&text, "%-10s %d\n", status, n)
			}
		}
		if len(trials) == 0 {
			fmt.Fprintln(&text, "empty")
		}
		waiting := map[string]int{}
		for _, u := range unfit {
			waiting[fmt.Sprintf("by %s: %s", u.Worker, u.Why)]++
		}
		for _, why := range slices.Sorted(maps.Keys(waiting)) {
			fmt.Fprintf(&text, "%d left for other workers, %s\n", waiting[why], why)
		}
		_, err = io.WriteString(c.out, text.String())
		return err
	})
}

type queuePauseCmd struct{}

// Help has examples.
func (*queuePauseCmd) Help() string {
	return `Workers finish the trial that they are at.

Examples:

	hrlab queue pause`
}

// Run pauses.
func (*queuePauseCmd) Run(ctx context.Context, q *queueCmd) error {
	return q.with(ctx, func(_ *tracker.Store, queue *experiments.Queue) error { return queue.Pause(ctx) })
}

type queueResumeCmd struct{}

// Help has examples.
func (*queueResumeCmd) Help() string {
	return `Examples:

	hrlab queue resume`
}

// Run resumes.
func (*queueResumeCmd) Run(ctx context.Context, q *queueCmd) error {
	return q.with(ctx, func(_ *tracker.Store, queue *experiments.Queue) error { return queue.Resume(ctx) })
}

// queuedRuns are runs by id or name, or those of an experiment.
type queuedRuns struct {
	Runs       []string `arg:"" optional:"" name:"run" predictor:"run" help:"Runs, by id or name."`
	Experiment string   `predictor:"experiment" placeholder:"NAME" help:"All runs of this experiment."`
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

// Help has examples.
func (*queueCancelCmd) Help() string {
	return `Examples:

	hrlab queue cancel 12 13
	hrlab queue cancel --experiment boat`
}

// Run cancels.
func (d *queueCancelCmd) Run(ctx context.Context, c *console, q *queueCmd) error {
	return q.with(ctx, func(s *tracker.Store, queue *experiments.Queue) error {
		runs, err := d.find(ctx, s, tracker.Queued, tracker.Running, tracker.Lost)
		if err != nil {
			return err
		}
		n, err := queue.Cancel(ctx, runs)
		if err == nil {
			fmt.Fprintf(c.messages, "%d cancelled\n", n)
		}
		return err
	})
}

type queueRetryCmd struct{ queuedRuns }

// Help has examples.
func (*queueRetryCmd) Help() string {
	return `Examples:

	hrlab queue retry 12
	hrlab queue retry --experiment boat`
}

// Run queues again.
func (d *queueRetryCmd) Run(ctx context.Context, c *console, q *queueCmd) error {
	return q.with(ctx, func(s *tracker.Store, queue *experiments.Queue) error {
		runs, err := d.find(ctx, s, tracker.Failed, tracker.Stopped, tracker.Lost, tracker.Queued)
		if err != nil {
			return err
		}
		n, err := queue.Retry(ctx, runs)
		if err == nil {
			fmt.Fprintf(c.messages, "%d queued again\n", n)
		}
		return err
	})
}
