package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"hrlab/experiments"
	"hrlab/hrstyle"
	"hrlab/tracker"

	"github.com/shirou/gopsutil/v4/process"
)

type workerCmd struct {
	Drain bool   `help:"End when the queue is empty, or has nothing but what this worker cannot do."`
	While int32  `placeholder:"PID" help:"End when that process does. A database has one such worker for the same device and weights."`
	DB    string `name:"db" default:"hrlab.db" env:"HRLAB_DB" placeholder:"URL" help:"The tracker's database: a path."`
	engineFlags
}

// Run takes trials from the queue. Ctrl-C hands the one it is at back, with a checkpoint.
func (w *workerCmd) Run(ctx context.Context, c *console) (err error) {
	store, err := tracker.Open(ctx, w.DB)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	open := func() (*hrstyle.Engine, error) { return w.open(ctx, c) }
	var engine *hrstyle.Engine
	if w.While == 0 {
		engine, err = open()
	} else {
		var cancel context.CancelFunc
		if ctx, cancel, err = during(ctx, w.While); err != nil {
			return err
		}
		defer cancel()
		var release func()
		engine, release, err = experiments.Announce(store, hrstyle.Options{Device: w.Device, VGG: w.VGG}, open)
		if err == nil {
			defer release()
		}
	}
	if err != nil {
		return err
	}
	defer engine.Close()
	fmt.Fprintf(c.messages, "working on %s; Ctrl-C ends\n", w.DB)
	at := int64(0)
	return experiments.Lab{Engine: engine, Tracker: store}.Work(ctx, w.Drain, func(p experiments.Progress) {
		weights := ""
		if p.Run != 0 {
			weights = fmt.Sprintf("run %d, content %g, style %g: ", p.Run, p.Config.ContentWeight, p.Config.StyleWeight)
		}
		switch {
		case p.Skipped != "":
			fmt.Fprintln(c.messages, weights+p.Skipped)
		case p.Run == 0:
			fmt.Fprintln(c.messages, oneLine(p.Err)+"; trying again")
		case p.Ended && errors.Is(p.Err, tracker.ErrLeft):
			fmt.Fprintln(c.messages, weights+tracker.ErrLeft.Error())
		case p.Ended && errors.Is(p.Err, context.Canceled):
			fmt.Fprintln(c.messages, weights+"cancelled")
		case p.Ended && p.Err != nil:
			fmt.Fprintln(c.messages, weights+oneLine(p.Err))
		case p.Ended:
			fmt.Fprintf(c.messages, "%stotal %.5g  content %.5g  style %.5g\n", weights, p.Step.Total, p.Step.Content, p.Step.Style)
		case p.Run != at:
			fmt.Fprintf(c.messages, "%sfrom step %d of %d\n", weights, p.Step.N, p.Config.Steps)
		}
		at = p.Run
	})
}

// during is ctx until a process has ended.
func during(ctx context.Context, pid int32) (context.Context, context.CancelFunc, error) {
	born := func() (int64, error) {
		p, err := process.NewProcess(pid)
		if err != nil {
			return 0, err
		}
		if state, err := p.Status(); err == nil && slices.Contains(state, process.Zombie) {
			return 0, process.ErrorProcessNotRunning
		}
		return p.CreateTime()
	}
	const jitter = 5000 // ms: the start is reckoned from the time of boot, which moves when the clock is set
	was, err := born()
	if err != nil {
		return nil, nil, fmt.Errorf("--while %d: %w", pid, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		for tick := time.Tick(250 * time.Millisecond); ctx.Err() == nil; <-tick {
			if now, err := born(); err != nil || max(now-was, was-now) > jitter { // its number may be another's by now
				cancel()
			}
		}
	}()
	return ctx, cancel, nil
}

// queueCmd are the verbs on the queue.
type queueCmd struct {
	Status queueStatusCmd `cmd:"" help:"Say how many trials wait, run and are done."`
	Pause  queuePauseCmd  `cmd:"" help:"Keep workers from taking trials."`
	Resume queueResumeCmd `cmd:"" help:"End a pause."`
	Cancel queueCancelCmd `cmd:"" help:"Take runs from the queue, and stop those that workers are at."`
	Retry  queueRetryCmd  `cmd:"" help:"Queue runs again that failed, were stopped or are lost."`

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
		for _, status := range slices.Sorted(maps.Keys(trials)) {
			fmt.Fprintf(&text, "%-10s %d\n", status, trials[status])
		}
		if len(trials) == 0 {
			fmt.Fprintln(&text, "empty")
		}
		waiting := map[string]int{}
		for _, u := range unfit {
			waiting[fmt.Sprintf("for another worker than %s: %s", u.Worker, u.Why)]++
		}
		for _, why := range slices.Sorted(maps.Keys(waiting)) {
			fmt.Fprintf(&text, "%d wait %s\n", waiting[why], why)
		}
		_, err = io.WriteString(c.out, text.String())
		return err
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
