package experiments

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"hrlab/hrstyle"
	"hrlab/tracker"
)

// Fitter fits pairs of pictures and records every fit as a run. A [Lab] does so itself, a [WarmLab] hands its fits to a
// worker process. What a Fitter is asked for twice it does once.
type Fitter interface {
	// Fit fits pair with config as a run of the experiment, and yields its steps as they are recorded. A fit that was
	// finished before is not done again: its steps are those on record. One that was interrupted goes on, and one that
	// another process is at is followed. The error is that of [hrstyle.Engine.Fit]. When ctx is done the run is stopped, and
	// has its picture.
	//
	// Steps that this process did not make have neither generator nor checkpoint. But for the last, their pictures are
	// thumbnails: see [hrstyle.Recorded].
	Fit(ctx context.Context, experiment string, pair hrstyle.Pair, config hrstyle.Config) iter.Seq2[hrstyle.Step, error]

	// Sweep fits pair with the settings of every trial, each as a run of the experiment, and returns the runs in the order
	// of the trials. Trials that are finished already are skipped, and those that were interrupted go on. A trial that fails
	// does not stop the others: the error then wraps [ErrTrials] and says how many failed.
	//
	// A trial ends before its steps are over when its total loss has not fallen for patience steps; 0 is never. progress is
	// told how far the sweep is, and may be nil. When ctx is done the trial at hand is stopped, so that the same call goes on
	// with it.
	Sweep(ctx context.Context, experiment string, pair hrstyle.Pair, trials []Trial, patience int, progress func(Progress)) ([]tracker.Info, error)
}

// Lab fits with an engine of its own and records in a tracker. Like its engine it is for one goroutine at a time.
type Lab struct {
	Engine  *hrstyle.Engine
	Tracker *tracker.Store
}

var _ Fitter = Lab{}

// About says where a run belongs. Every field may be empty.
type About struct {
	Experiment string // empty is "default"
	Name       string // empty is CONTENT_STYLE, by the pictures' names
	Tags       map[string]string
}

// Start begins the run of the fit of a trial. The run's parameters are the fields of its configuration and the names of pictures
// and weights. Its tag "fit" is a digest of all that determines the result. It is an error where memory is too short for the
// fit; then there is no run.
func (l Lab) Start(ctx context.Context, about About, pair hrstyle.Pair, trial Trial) (*tracker.Run, error) {
	if err := l.Engine.Fits(pair, trial.Config); err != nil {
		return nil, err
	}
	run, err := l.describe(about, pairInputs(pair, l.Engine.VGG), pair, trial, 0)
	if err != nil {
		return nil, err
	}
	return l.Tracker.Start(ctx, run)
}

// Resume goes on with a run from its checkpoint. config is the checkpoint's; Steps may be changed, and what does not change
// the result.
func (l Lab) Resume(ctx context.Context, id int64, config hrstyle.Config) (*tracker.Run, error) {
	env, err := l.Tracker.Environment(ctx, id)
	if err != nil {
		return nil, err
	}
	fit, err := fitDigest(config, inputsOf(env), 0) // it now goes to its end
	if err != nil {
		return nil, err
	}
	run, err := l.Tracker.Resume(ctx, id, l.environment())
	if err != nil {
		return nil, err
	}
	return run, errors.Join(run.SetParams(ctx, config), run.Tag(ctx, "fit", fit))
}

// SameInputs says whether the pair and this lab's VGG19 are those of a run: the error names the first that is not.
func (l Lab) SameInputs(ctx context.Context, id int64, pair hrstyle.Pair) error {
	env, err := l.Tracker.Environment(ctx, id)
	if err != nil {
		return err
	}
	recorded, given := inputsOf(env), pairInputs(pair, l.Engine.VGG)
	for _, input := range slices.Sorted(maps.Keys(given)) {
		if recorded[input] != given[input] {
			name := map[string]string{"content": pair.Content.Name, "style": pair.Style.Name, "vgg": l.Engine.VGG.Label}[input]
			return fmt.Errorf("run %d was made with another %s than %s", id, input, name)
		}
	}
	return nil
}

func (l Lab) environment() map[string]string {
	return map[string]string{"device": l.Engine.Device.Name}
}

// describe is what a run of this lab is about. inputs are those of the pair.
func (l Lab) describe(about About, inputs map[string]string, pair hrstyle.Pair, trial Trial, patience int) (n tracker.NewRun, err error) {
	init := trial.Init
	if init == nil && trial.Config.Init != "" {
		if init, err = hrstyle.LoadInit(trial.Config.Init); err != nil {
			return n, err
		}
	}
	if init != nil {
		inputs = withInit(inputs, init.Digest())
	}
	n, err = describe(about, l.Engine.VGG.Label, inputs, pair, trial, patience)
	n.Environment = l.environment()
	return n, err
}

// inputsOf are the digests of what a run reads, of the environment that is on record.
func inputsOf(environment map[string]string) map[string]string {
	inputs := map[string]string{}
	for name, digest := range environment {
		if input, ok := strings.CutPrefix(name, "input."); ok {
			inputs[input] = digest
		}
	}
	return inputs
}

// pairInputs are the digests of what every fit of a pair reads.
func pairInputs(pair hrstyle.Pair, vgg *hrstyle.VGG) map[string]string {
	return map[string]string{"content": pair.Content.Digest(), "style": pair.Style.Digest(), "vgg": vgg.Digest}
}

// withInit are inputs with the digest of an initial generator.
func withInit(inputs map[string]string, digest string) map[string]string {
	inputs = maps.Clone(inputs)
	inputs["init"] = digest
	return inputs
}

// describe is what a run is about; vgg is the label of the weights, inputs are the digests of all that the fit reads.
func describe(about About, vgg string, inputs map[string]string, pair hrstyle.Pair, trial Trial, patience int) (tracker.NewRun, error) {
	fit, err := fitDigest(trial.Config, inputs, patience)
	if err != nil {
		return tracker.NewRun{}, err
	}
	name := stem(pair.Content.Name) + "_" + stem(pair.Style.Name)
	tags := map[string]string{"pair": name, "fit": fit}
	maps.Copy(tags, about.Tags)
	if about.Name != "" {
		name = about.Name
	}
	return tracker.NewRun{
		Experiment: about.Experiment, Name: name, Tags: tags, Inputs: inputs,
		Params: struct {
			hrstyle.Config
			Content string `json:"content"`
			Style   string `json:"style"`
			VGG     string `json:"vgg"`
			// Patience ends a fit early: see Fitter.
			Patience int `json:"patience,omitempty"`
			// Map names the weight map that the fit began with.
			Map string `json:"map,omitempty"`
		}{trial.Config, pair.Content.Name, pair.Style.Name, vgg, patience, trial.Map},
	}, nil
}

// fitDigest is a digest of everything that a fit's result depends on, 16 hexadecimal digits. A style gain of 1 is left out of
// it, so that runs keep the digests that they had before there was a style gain.
func fitDigest(config hrstyle.Config, inputs map[string]string, patience int) (string, error) {
	config.ReportEvery, config.CheckpointEvery, config.Init = 0, 0, ""
	var gain *float64
	if config.StyleGain != 1 {
		gain = &config.StyleGain
	}
	text, err := json.Marshal(struct {
		hrstyle.Config
		StyleGain *float64 `json:"style_gain,omitempty"` // in place of Config's
		Inputs    map[string]string
		Patience  int `json:",omitempty"`
	}{config, gain, inputs, patience})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8]), err
}

func stem(name string) string {
	return strings.TrimSuffix(filepath.Base(name), filepath.Ext(name))
}

// runsByID are the runs with these ids, in this order.
func runsByID(ctx context.Context, store *tracker.Store, ids []int64) (runs []tracker.Info, err error) {
	for _, id := range ids {
		info, err := store.Run(ctx, strconv.FormatInt(id, 10))
		if err != nil {
			return nil, err
		}
		runs = append(runs, info)
	}
	return runs, nil
}

// over says whether a run has ended.
func over(info tracker.Info) bool {
	return info.Status == tracker.Finished || info.Status == tracker.Failed || info.Status == tracker.Stopped || !info.Deleted.IsZero()
}

// stoppedError is the cancellation of a run.
type stoppedError int64

func (e stoppedError) Error() string { return fmt.Sprintf("run %d was stopped", int64(e)) }

func (stoppedError) Unwrap() error { return context.Canceled }

// failure is why a run that is over did not finish.
func failure(info tracker.Info) error {
	switch info.Status {
	case tracker.Stopped:
		return stoppedError(info.ID)
	case tracker.Failed:
		return fmt.Errorf("run %d: %s", info.ID, info.Error)
	}
	if !info.Deleted.IsZero() {
		return fmt.Errorf("run %d was deleted", info.ID)
	}
	return nil
}
