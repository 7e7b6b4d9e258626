package experiments

import (
	"context"
	"errors"
	"iter"

	"hrlab/hrstyle"
	"hrlab/hrstyle/device"
	"hrlab/tracker"
)

// WarmLab hands its fits to a warm worker by way of the queue, and follows their runs. It starts the worker where there is
// none. A fit that the worker cannot do, because memory is short for example, is an error: nobody else is there to do it.
type WarmLab struct {
	Warm    *Warm
	Tracker *tracker.Store
}

var _ Fitter = WarmLab{}

// Fit fits a pair by the warm worker: see [Fitter].
func (l WarmLab) Fit(ctx context.Context, experiment string, pair hrstyle.Pair, config hrstyle.Config) iter.Seq2[hrstyle.Step, error] {
	return func(yield func(hrstyle.Step, error) bool) {
		err := config.Validate()
		var f *following
		if err == nil {
			f, err = l.hand(ctx, experiment, pair, List(config), 0)
		}
		if err != nil {
			yield(hrstyle.Step{}, err)
			return
		}
		f.steps(ctx)(yield)
	}
}

// Sweep fits a pair with many settings by the warm worker: see [Fitter].
func (l WarmLab) Sweep(ctx context.Context, experiment string, pair hrstyle.Pair, trials []Trial, patience int, progress func(Progress)) ([]tracker.Info, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	f, err := l.hand(ctx, experiment, pair, trials, patience)
	if err != nil {
		return nil, err
	}
	runs, err := f.follow(ctx, trials, progress)
	if err != nil && !errors.Is(err, ErrTrials) {
		err = errors.Join(err, f.stop(ctx))
	}
	return runs, err
}

// Enqueue hands the trials of a pair to the warm worker and does not wait for them. It returns their runs.
func (l WarmLab) Enqueue(ctx context.Context, experiment string, pair hrstyle.Pair, trials []Trial) ([]int64, error) {
	f, err := l.hand(ctx, experiment, pair, trials, 0)
	if err != nil {
		return nil, err
	}
	return f.ids, nil
}

// hand queues trials for the warm worker.
func (l WarmLab) hand(ctx context.Context, experiment string, pair hrstyle.Pair, trials []Trial, patience int) (*following, error) {
	worker, err := l.Warm.ready(ctx, l.Tracker)
	if err != nil {
		return nil, err
	}
	vgg := &hrstyle.VGG{Label: worker.Label, Digest: worker.Digest}
	queue, err := OpenQueue(ctx, l.Tracker)
	if err != nil {
		return nil, err
	}
	common := job{Patience: patience}
	if l.Warm.Options.Device != string(device.Auto) {
		common.Device = l.Warm.Options.Device
	}
	ids, err := queue.enqueue(ctx, experiment, vgg, pair, trials, common)
	if err != nil {
		return nil, err
	}
	return newFollowing(l.Tracker, queue, l.Warm, ids), nil
}

// MapPictures is the address at which browsers of this machine get the pictures of weight maps from the warm worker, as long as
// it lives: see [Pictures.ServeHTTP]. It has a secret in it, which only who can read the database learns.
func (l WarmLab) MapPictures(ctx context.Context) (address string, err error) {
	worker, err := l.Warm.ready(ctx, l.Tracker)
	return worker.Maps, err
}
