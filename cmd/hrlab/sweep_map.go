package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"

	"hrlab/experiments"
	"hrlab/hrstyle"
	"hrlab/picture"
	"hrlab/tracker"
)

// runMap measures a weight map without fitting: every trial begins with the generator that the map has for its ratio, and has no
// steps but those that --steps gives it.
func (s *sweepCmd) runMap(ctx context.Context, c *console) (err error) {
	loop := s.loopFlags
	loop.Steps = nil
	if s.Pairs+s.Preset != "" || s.StyleWeight != nil || s.StyleGain != nil || s.LearningRate != nil || s.Repeats != 1 || s.Cold || s.Queue || s.DryRun || !reflect.ValueOf(loop).IsZero() {
		return errors.New("--map takes its settings from the map's run; allowed with it: --content-weight, --steps, --report-every, --patience, --content, --style, --experiment, --out")
	}
	var ratios []float64
	if s.ContentWeight != nil {
		if ratios, err = experiments.ParseValues("content-weight", *s.ContentWeight); err != nil {
			return err
		}
	}
	store, info, err := s.findRun(ctx, s.Map)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := store.ReadOnly(); err != nil {
		return err
	}
	m, err := experiments.LoadGenerator(ctx, store, info.ID)
	if err != nil {
		return err
	}
	steps := 0
	set(&steps, s.Steps)
	trials, err := experiments.MapTrials(m, fmt.Sprintf("run %d", info.ID), steps, ratios...)
	if err != nil {
		return fmt.Errorf("--map %s: %w", s.Map, err)
	}
	for i := range trials {
		set(&trials[i].Config.ReportEvery, s.ReportEvery)
	}
	if err := experiments.Validate(trials); err != nil {
		return err
	}
	files := fitCmd{Content: s.Content, Style: s.Style}
	pair, err := files.loadPair(ctx, c, store, &hrstyle.Checkpoint{Content: info.Params["content"].Text, Style: info.Params["style"].Text}, info.ID)
	if err != nil {
		return err
	}
	pairs := [][]string{{pair.Content.Name, pair.Style.Name}}
	if err := s.checkOut(pairs, pair.Content.Bounds().Size()); err != nil {
		return err
	}
	engine, err := s.open(ctx, c)
	if err != nil {
		return err
	}
	defer engine.Close()
	lab := experiments.Lab{Engine: engine, Tracker: store}
	if err := lab.SameInputs(ctx, info.ID, pair); err != nil {
		return err
	}
	s.Experiment = cmp.Or(s.Experiment, info.Experiment)
	return s.show(ctx, c, &sweeping{
		store: store, engine: engine, pairs: pairs, trials: [][]experiments.Trial{trials}, state: compiling, stopped: "stopped; the same command goes on. So far",
		do: func(ctx context.Context, _ int, show *sweepProgress) ([]tracker.Info, error) {
			return lab.Sweep(ctx, s.Experiment, pair, trials, s.Patience, show.report)
		},
		content: func(int, int64) (picture.Picture, error) { return pair.Content, nil },
	})
}
