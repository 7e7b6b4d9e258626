package experiments

import (
	"context"
	"errors"

	"hrlab/hrstyle"
	"hrlab/hrstyle/device"
	"hrlab/tracker"
)

// hand hands trials to the warm worker.
func (l Lab) hand(ctx context.Context, experiment string, pair hrstyle.Pair, trials []Trial, patience int) (*handed, error) {
	if l.Warm == nil {
		return nil, errors.New("a lab without engine and without warm worker cannot fit")
	}
	vgg, err := l.Warm.ready(ctx, l.Tracker)
	if err != nil {
		return nil, err
	}
	queue, err := OpenQueue(ctx, l.Tracker)
	if err != nil {
		return nil, err
	}
	common := job{Patience: patience}
	if l.Warm.Options.Device != string(device.Auto) {
		common.Device = l.Warm.Options.Device
	}
	ids, err := queue.enqueue(ctx, experiment, vgg, pair, trials, common)
	return newHanded(l, queue, ids), err
}

// sweepWarm is Sweep by the warm worker.
func (l Lab) sweepWarm(ctx context.Context, experiment string, pair hrstyle.Pair, trials []Trial, patience int, progress func(Progress)) ([]tracker.Info, error) {
	h, err := l.hand(ctx, experiment, pair, trials, patience)
	if err != nil {
		return nil, err
	}
	runs, err := h.follow(ctx, trials, progress)
	if err != nil && !errors.Is(err, ErrTrials) {
		err = errors.Join(err, h.stop(ctx))
	}
	return runs, err
}

// Enqueue hands the trials of a pair to the warm worker and does not wait for them. It returns their runs.
func (l Lab) Enqueue(ctx context.Context, experiment string, pair hrstyle.Pair, trials []Trial) ([]int64, error) {
	h, err := l.hand(ctx, experiment, pair, trials, 0)
	if err != nil {
		return nil, err
	}
	return h.ids, nil
}
