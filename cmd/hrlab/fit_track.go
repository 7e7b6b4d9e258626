package main

import (
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"slices"

	"hrlab/experiments"
	"hrlab/hrstyle"
	"hrlab/tracker"
)

// trackFlags say where runs are recorded.
type trackFlags struct {
	dbFlags
	NoTrack    bool              `help:"Do not record a run."`
	Experiment string            `predictor:"experiment" default:"default" help:"The experiment that the run belongs to."`
	Name       string            `placeholder:"TEXT" help:"The run's name (default: CONTENT_STYLE)."`
	Tag        map[string]string `mapsep:"none" placeholder:"KEY=VALUE" help:"Tags of the run."`
}

// tracked is the run that a fit is recorded in; its zero value records nothing.
type tracked struct {
	store *tracker.Store
	run   *tracker.Run
	lab   experiments.Lab
	fresh bool // the run has no checkpoint: it goes on from its generator
}

// start begins to record. It goes on with the run resumed, unless that is 0.
func (t *tracked) start(ctx context.Context, c *console, f *fitCmd, engine *hrstyle.Engine, pair hrstyle.Pair, config hrstyle.Config, resumed int64) (err error) {
	if t.store == nil {
		return nil
	}
	t.lab = experiments.Lab{Engine: engine, Tracker: t.store}
	if resumed != 0 {
		if t.fresh {
			fmt.Fprintf(c.messages, "run %d has no checkpoint: it goes on from its generator, and the moments of Adam begin anew\n", resumed)
			if err := t.lab.SameInputs(ctx, resumed, pair); err != nil {
				return err
			}
		}
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

// outputFile is the tag of a run that has the path of its picture.
const outputFile = "output_file"

// wrote tags the run with the file that its picture was written to, so that it goes there again when the run goes on.
func (t *tracked) wrote(ctx context.Context, path string) error {
	if t.run == nil || path == "-" {
		return nil
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	return t.store.Tag(ctx, t.run.ID, outputFile, path)
}

// close closes the store.
func (t *tracked) close() error {
	if t.store == nil {
		return nil
	}
	return t.store.Close()
}

// has says whether the run has an artifact; false also where that cannot be found out.
func (t *tracked) has(ctx context.Context, artifact string) bool {
	if t.run == nil {
		return false
	}
	list, _ := t.store.Artifacts(ctx, t.run.ID)
	return slices.ContainsFunc(list, func(a tracker.Artifact) bool { return a.Name == artifact })
}
