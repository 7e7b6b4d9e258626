package hrstyle

import (
	"context"
	"errors"
	"iter"
)

// ErrDiverged says that a loss became NaN or infinite.
var ErrDiverged = errors.New("the fit diverged")

// Last runs a fit to its end, and returns the last step that it yielded and the error that came with it.
func Last(fit iter.Seq2[Step, error]) (last Step, err error) {
	for last, err = range fit {
	}
	return last, err
}

// Fit optimises a generator for pair and yields steps 0, ReportEvery, 2·ReportEvery … and config.Steps. Nothing runs before
// the first step is asked for.
//
// An error ends the fit. It is yielded with the last step that was reported, which exists if Step.Ok says so. The error is
// ErrDiverged, wrapped, with the name of the loss and the step, when a loss becomes NaN or infinite. It is the context's
// cause, within a step, when the context is cancelled. Both that and a break leave a checkpoint, if config names one.
func (e *Engine) Fit(ctx context.Context, pair Pair, config Config) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) {
		first := &Generator{flat: initialParameters(config.Seed)}
		if config.Knots > 0 {
			first.flat = config.initial(first.flat)
		}
		if config.Init != "" {
			var err error
			if first, err = LoadInit(config.Init); err != nil {
				yield(Step{}, err)
				return
			}
		}
		e.fit(ctx, pair, first.Start(config), yield)
	}
}

// Resume goes on with the fit of a checkpoint and yields steps as Fit does, from that of the checkpoint on. Pictures and VGG19
// weights must be those the checkpoint was made with. The result equals that of a fit that was never interrupted.
func (e *Engine) Resume(ctx context.Context, pair Pair, from *Checkpoint) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) { e.fit(ctx, pair, from, yield) }
}

func (e *Engine) fit(ctx context.Context, pair Pair, start *Checkpoint, yield func(Step, error) bool) {
	s, err := e.newSession(pair, start)
	if err != nil {
		yield(Step{}, err)
		return
	}
	defer s.close()
	if last, err := s.run(ctx, start.Step, yield); err != nil {
		yield(last, err)
	}
}

// run is THE loop: it takes the fit from step first to its end, and returns the last step that was reported with what
// ended it early. It looks at every step's losses, but only once the next step is on its way, so that the device never
// waits for the host except where a step is reported.
func (s *session) run(ctx context.Context, first int, yield func(Step, error) bool) (last Step, err error) {
	c := s.config
	due := func(n, every int) bool { return every > 0 && n%every == 0 || n == c.Steps }
	for n := first; n <= c.Steps; n++ {
		cause := context.Cause(ctx)
		if err := s.step(n); err != nil {
			return last, err
		}
		report := due(n, c.ReportEvery) || cause != nil
		save := c.Checkpoint != "" && c.CheckpointEvery > 0 && n > first && due(n, c.CheckpointEvery)
		if report || save { // a state that diverged is not reported, and replaces no good one
			losses, err := s.readLosses(n)
			if err != nil {
				return last, err
			}
			if report {
				last = s.report(n, losses)
				if cause != nil || !yield(last, nil) {
					return last, s.stop(last, cause)
				}
			}
			if save {
				if err := s.checkpoint(n).Save(c.Checkpoint); err != nil {
					return last, err
				}
			}
		}
		s.advance()
	}
	return last, nil
}
