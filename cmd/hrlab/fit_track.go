package main

import (
	"context"
	"encoding/json"
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
		t.run, err = t.lab.Start(ctx, experiments.About{Experiment: f.Experiment, Name: f.Name, Tags: f.Tag}, pair, experiments.Trial{Config: config, Init: f.of.Init, Map: f.of.Map})
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

// outputAs is the tag of a run that says how its picture was written: see [written].
const outputAs = "output_as"

// written is how a picture was written, as the flags of the same names say.
type written struct {
	OutSize  string  `json:"out-size"`
	Strength float64 `json:"strength"`
	Bits     int     `json:"bits"`
	Quality  int     `json:"quality"`
}

// written is what the flags say.
func (f *fitCmd) written() written { return written{f.OutSize, f.Strength, f.Bits, f.Quality} }

// writeAs sets the flags that are not on the command line to what the tags of a run have. Tags that people changed may have anything:
// what cannot be read is left out.
func (f *fitCmd) writeAs(tags map[string]string) {
	as := f.written()
	if json.Unmarshal([]byte(tags[outputAs]), &as) != nil {
		return
	}
	if !f.typed["out-size"] {
		f.OutSize = as.OutSize
	}
	if !f.typed["strength"] {
		f.Strength = as.Strength
	}
	if !f.typed["bits"] {
		f.Bits = as.Bits
	}
	if !f.typed["quality"] {
		f.Quality = as.Quality
	}
}

// wrote tags the run with the file that its picture was written to, and how, so that this is so again when the run goes on.
func (t *tracked) wrote(ctx context.Context, path string, as written) error {
	if t.run == nil {
		return nil
	}
	text, err := json.Marshal(as)
	if err == nil {
		err = t.store.Tag(ctx, t.run.ID, outputAs, string(text))
	}
	if err != nil || path == "-" {
		return err
	}
	if path, err = filepath.Abs(path); err != nil {
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
