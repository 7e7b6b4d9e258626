package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hrlab/experiments"
	"hrlab/hrstyle"
	"hrlab/tracker"

	"github.com/shirou/gopsutil/v4/process"
)

type workerCmd struct {
	Drain bool  `help:"End when the queue is empty, or paused, or holds only trials that this worker cannot do. The exit code is 1 where trials failed or are left."`
	While int32 `placeholder:"PID" help:"End when that process ends. A database has only one such worker per device and weights."`
	dbFlags
	engineFlags
}

// Help has examples.
func (*workerCmd) Help() string {
	return `Examples:

	hrlab worker
	hrlab worker --drain --device cuda`
}

// Run takes trials from the queue. Ctrl-C gives the current one back to the queue, with a checkpoint.
func (w *workerCmd) Run(ctx context.Context, c *console) (err error) {
	store, err := w.openToWrite(ctx)
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
		case p.Ended && errors.Is(p.Err, tracker.ErrGivenBack):
			fmt.Fprintln(c.messages, weights+tracker.ErrGivenBack.Error())
		case p.Ended && errors.Is(p.Err, context.Canceled):
			fmt.Fprintln(c.messages, weights+string(tracker.Stopped))
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

// during is a context that ends with ctx, or when a process has ended.
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
	const jitter = 5000 // ms: the start is computed from the time of boot, which moves when the clock is set
	was, err := born()
	if err != nil {
		return nil, nil, fmt.Errorf("--while %d: %w", pid, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		for tick := time.Tick(250 * time.Millisecond); ctx.Err() == nil; <-tick {
			if now, err := born(); err != nil || max(now-was, was-now) > jitter { // another process may have its number by now
				cancel()
			}
		}
	}()
	return ctx, cancel, nil
}
