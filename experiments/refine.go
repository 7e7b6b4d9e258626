package experiments

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"hrlab/hrstyle"
	"hrlab/tracker"
)

// refineRate is the learning rate of a fit that begins with a weight map. That of a cold fit, 5e-3, first loses what the map has:
// docs/weight-map.md.
const refineRate = 1e-3

// RefineSteps are enough to bring the output of a weight map to the loss of a fit of 250 steps: docs/weight-map.md.
const RefineSteps = 60

// WeightMaps are the runs of the finished weight maps on record, the newest first.
func WeightMaps(ctx context.Context, store *tracker.Store) ([]tracker.Info, error) {
	return store.Runs(ctx, tracker.Query{Where: "status = finished and params.map_knots > 0", Sort: "-id"})
}

// Refining says how the trials of a pair begin.
type Refining struct {
	Trials []Trial
	Map    int64  // the run of the weight map that all begin with; 0: they begin from nothing
	Why    string // why they begin from nothing where there is a map of the pair
}

// Refine has the trials of a pair, which begin from nothing, begin with the first of the weight maps that was fitted to the same
// pictures, VGG19 and settings and has the ratios of all trials. Each makes so many steps, at the learning rate of [MapTrials]. A
// sweep that goes on stays what it was: where the experiment has runs of the trials, these say which map it is, or none.
func Refine(ctx context.Context, store *tracker.Store, maps []tracker.Info, experiment string, vgg *hrstyle.VGG, pair hrstyle.Pair, trials []Trial, patience, steps int) (Refining, error) {
	cold := Refining{Trials: trials}
	if len(maps) == 0 {
		return cold, nil
	}
	inputs := pairInputs(pair, vgg)
	var fitting []Refining
	for _, info := range maps {
		environment, err := store.Environment(ctx, info.ID)
		if err != nil {
			return cold, err
		}
		if was := inputsOf(environment); was["content"] != inputs["content"] || was["style"] != inputs["style"] || was["vgg"] != inputs["vgg"] {
			continue
		}
		m, err := LoadGenerator(ctx, store, info.ID)
		if errors.Is(err, tracker.ErrNotFound) {
			continue
		}
		if err != nil {
			return cold, err
		}
		list, err := refined(m, info.ID, trials, steps)
		if err == nil {
			fitting = append(fitting, Refining{Trials: list, Map: info.ID})
		} else if cold.Why == "" {
			cold.Why = fmt.Sprintf("the weight map of run %d is not used: %v", info.ID, err)
		}
	}
	if len(fitting) == 0 {
		return cold, nil
	}
	earlier, err := store.Runs(ctx, tracker.Query{Experiment: experiment})
	if err != nil {
		return cold, err
	}
	known := map[string]int64{} // by the tag fit
	for _, info := range earlier {
		known[info.Tags["fit"]] = info.ID
	}
	for _, r := range append(slices.Clone(fitting), cold) {
		for _, t := range r.Trials {
			of := inputs
			if t.Init != nil {
				of = withInit(inputs, t.Init.Digest())
			}
			fit, err := fitDigest(t.Config, of, patience)
			if err != nil {
				return cold, err
			}
			if id := known[fit]; id != 0 {
				if r.Map == 0 {
					r.Why = fmt.Sprintf("the weight map of run %d is not used: run %d of this sweep began from nothing", fitting[0].Map, id)
				}
				return r, nil
			}
		}
	}
	return fitting[0], nil
}

// refined are trials that begin with the weight map m of a run. The error says why one of them cannot.
func refined(m *hrstyle.Generator, run int64, trials []Trial, steps int) (list []Trial, err error) {
	for _, t := range trials {
		c := t.Config
		for _, f := range []struct {
			name    string
			was, is any
		}{
			{"size", m.Config.Size, c.Size},
			{"square", m.Config.Square, c.Square},
			{"style size", m.Config.StyleSize, c.StyleSize},
			{"Gram", m.Config.Gram, c.Gram},
			{"style gain", m.Config.StyleGain, c.StyleGain},
			{"layer weights", m.Config.LayerWeights, c.LayerWeights},
			{"weight decay", m.Config.WeightDecay, c.WeightDecay},
		} {
			if f.was != f.is {
				return nil, fmt.Errorf("%s %v, and not %v", f.name, f.was, f.is)
			}
		}
		g, err := m.At(c.ContentWeight / c.StyleWeight)
		if err != nil {
			return nil, err
		}
		c.Seed, c.Steps, c.LearningRate = m.Config.Seed, steps, refineRate
		list = append(list, Trial{c, g, fmt.Sprintf("run %d", run)})
	}
	return list, nil
}
