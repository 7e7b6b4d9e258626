package hrstyle

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/gomlx/gomlx/core/tensors"
)

// ErrDiverged says that a loss became NaN or infinite.
var ErrDiverged = errors.New("the fit diverged")

// Last runs a fit to its end and returns the last step that it yielded, with its error.
func Last(fit iter.Seq2[Step, error]) (last Step, err error) {
	for last, err = range fit {
	}
	return last, err
}

// Fit optimises a generator for pair and yields steps 0, ReportEvery, 2·ReportEvery … and config.Steps.
//
// An error ends it and comes with the last good step, if there was one (Step.Ok): ErrDiverged, wrapped, naming term
// and step, when a loss becomes NaN or infinite; the context's cause when that is cancelled, within a step.
func (e *Engine) Fit(ctx context.Context, pair Pair, config Config) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) {
		first := &Generator{flat: initialParameters(config.Seed)}
		if config.Init != "" {
			var err error
			if first, err = LoadGenerator(config.Init); err != nil {
				yield(Step{}, err)
				return
			}
		}
		e.fit(ctx, pair, first.Start(config), yield)
	}
}

// Resume goes on with the fit of a checkpoint, which must be of the same pictures and VGG19 weights. The result equals
// that of a fit that was never interrupted.
func (e *Engine) Resume(ctx context.Context, pair Pair, from *Checkpoint) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) { e.fit(ctx, pair, from, yield) }
}

// fit is THE loop. It looks at every step's losses, but only once the next step is on its way, so that the device
// never waits for the host except where a step is reported.
func (e *Engine) fit(ctx context.Context, pair Pair, start *Checkpoint, yield func(Step, error) bool) {
	var last Step
	fail := func(err error) { yield(last, err) }
	p, err := e.newProblem(pair, start)
	if err != nil {
		fail(err)
		return
	}
	defer p.close()

	config, due := p.config, func(n, every int) bool { return every > 0 && n%every == 0 || n == p.config.Steps }
	var running *tensors.Tensor // losses of the step that the device is busy with
	for n := start.Step; n <= config.Steps; n++ {
		cause := context.Cause(ctx)
		var out stepOutputs
		if err := try(fmt.Sprintf("step %d", n), func() { out = p.step(n) }); err != nil {
			fail(err)
			return
		}
		if running != nil {
			if _, err := readLosses(running, n-1); err != nil {
				fail(err)
				return
			}
		}
		running = out.losses
		if due(n, config.ReportEvery) || cause != nil {
			losses, err := readLosses(out.losses, n)
			if err != nil {
				fail(err)
				return
			}
			running = nil
			last = p.report(n, losses, out.picture)
			stopped := cause != nil || !yield(last, nil)
			if stopped && config.Checkpoint != "" {
				if err := last.checkpoint.Save(config.Checkpoint); err != nil && cause != nil {
					cause = errors.Join(cause, err)
				}
			}
			if cause != nil {
				fail(cause)
			}
			if stopped {
				return
			}
		}
		if config.Checkpoint != "" && config.CheckpointEvery > 0 && n > start.Step && due(n, config.CheckpointEvery) {
			if running != nil { // a state that diverged replaces no good one
				if _, err := readLosses(running, n); err != nil {
					fail(err)
					return
				}
				running = nil
			}
			if err := p.checkpoint(n).Save(config.Checkpoint); err != nil {
				fail(err)
				return
			}
		}
		free(append(p.state, out.picture)...)
		p.state = out.state
	}
}
