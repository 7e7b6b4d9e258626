package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"

	"hrlab/experiments"
	"hrlab/hrstyle"
	"hrlab/tracker"
)

// trackFlags say where runs are recorded.
type trackFlags struct {
	DB         string            `name:"db" default:"hrlab.db" env:"HRLAB_DB" placeholder:"URL" help:"The tracker's database: a path."`
	NoTrack    bool              `help:"Do not record the run."`
	Experiment string            `default:"default" help:"The experiment that the run belongs to."`
	Name       string            `placeholder:"TEXT" help:"The run's name (default: CONTENT_STYLE)."`
	Tag        map[string]string `mapsep:"none" placeholder:"KEY=VALUE" help:"Tags of the run."`
}

// tracked is the run that a fit is recorded in; its zero value records nothing.
type tracked struct {
	store *tracker.Store
	run   *tracker.Run
	lab   experiments.Lab
}

// findRun looks for the run that --resume or --run names, unless there is a file of that name.
func findRun(ctx context.Context, db, name string) (store *tracker.Store, info tracker.Info, err error) {
	path, err := tracker.Path(db)
	if err != nil {
		return nil, info, err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, info, fmt.Errorf("%s: there is no such file, and no database %s (--db) with runs", name, db)
	}
	if store, err = tracker.Open(ctx, db); err != nil {
		return nil, info, err
	}
	if info, err = store.Run(ctx, name); err != nil {
		return nil, info, errors.Join(fmt.Errorf("%s: there is no such file, and %w", name, err), store.Close())
	}
	return store, info, nil
}

// start begins to record, or goes on with the run resumed, if it is not 0.
func (t *tracked) start(ctx context.Context, c *console, f *fitCmd, engine *hrstyle.Engine, pair hrstyle.Pair, config hrstyle.Config, resumed int64) (err error) {
	if t.store == nil {
		return nil
	}
	t.lab = experiments.Lab{Engine: engine, Tracker: t.store}
	if resumed != 0 {
		if err = engine.Fits(pair, config); err == nil {
			t.run, err = t.lab.Resume(ctx, resumed, config)
		}
	} else {
		t.run, err = t.lab.Start(ctx, experiments.About{Experiment: f.Experiment, Name: f.Name, Tags: f.Tag}, pair, config)
	}
	if err == nil {
		fmt.Fprintf(c.messages, "run %d in %s\n", t.run.ID, f.DB)
	}
	return err
}

func (t *tracked) record(ctx context.Context, fit iter.Seq2[hrstyle.Step, error]) iter.Seq2[hrstyle.Step, error] {
	if t.run == nil {
		return fit
	}
	return t.lab.Record(ctx, t.run, fit)
}

// close closes the store.
func (t *tracked) close() error {
	if t.store == nil {
		return nil
	}
	return t.store.Close()
}

// has says whether the run has an artifact; one that cannot be read is not there to be had.
func (t *tracked) has(ctx context.Context, artifact string) bool {
	if t.run == nil {
		return false
	}
	list, _ := t.store.Artifacts(ctx, t.run.ID)
	return slices.ContainsFunc(list, func(a tracker.Artifact) bool { return a.Name == artifact })
}
