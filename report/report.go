// Package report compares the recorded runs of an experiment and shows them: as a page, in Markdown, as charts. All it
// needs is the tracker: no device, no model, no queue.
//
//	r, err := report.New(ctx, store, "boat")
//	err = r.HTML("boat.html")
//
// [Front] finds the Pareto front: the runs for which no other run keeps more content and matches more style. [Knee] is the
// run of the front where more of either costs most of the other: it is suggested, where [Pair.Suggestion] does not say what is
// missing for that. [Effects] says how much each setting moves each measure, [Spread] how much the seed alone does. The measures
// are explained at their names, such as [SSIM].
package report

import (
	"context"
	"fmt"
	"strings"
	"time"

	"hrlab/tracker"
)

// Report is the comparison of the runs of an experiment.
type Report struct {
	Experiment string
	Made       time.Time
	Pairs      []*Pair
	VGG        []string // labels of the VGG19 weights that were used
	Random     bool     // some of them are random filters
	Commands   []string // the command lines that made the runs
	Devices    []string // what the runs were made on
	Faults     []string // outputs that are left out because their files are missing or damaged: run, file and what is wrong
}

// New compares the runs of an experiment. One without runs is [tracker.ErrNotFound]; outputs that cannot be read are named in
// Faults.
func New(ctx context.Context, store *tracker.Store, experiment string) (*Report, error) {
	runs, err := store.Runs(ctx, tracker.Query{Experiment: experiment, Sort: "params.content_weight,params.style_weight,params.seed,id"})
	if err != nil {
		return nil, err
	}
	if len(runs) == 0 {
		return nil, fmt.Errorf("experiment %q: %w: it has no runs; hrlab runs list shows those there are", experiment, tracker.ErrNotFound)
	}
	r := &Report{Experiment: experiment, Made: time.Now()}
	pairs := map[[3]string]*Pair{} // by the digests of pictures and VGG19 weights, since names may be the same
	for _, info := range runs {
		environment, err := store.Environment(ctx, info.ID)
		if err != nil {
			return nil, err
		}
		key := [3]string{environment["input.content"], environment["input.style"], environment["input.vgg"]}
		if pairs[key] == nil {
			pairs[key] = &Pair{Name: info.Tags["pair"], Spread: map[string]float64{}}
			r.Pairs = append(r.Pairs, pairs[key])
		}
		if IsMap(info) {
			pairs[key].Maps = append(pairs[key].Maps, NewMap(info))
		} else {
			run := Run{Info: info, Seeds: 1}
			run.Output, err = outputJPEG(ctx, store, info.ID, len(runs))
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if err != nil {
				r.Faults = append(r.Faults, err.Error())
			}
			pairs[key].Runs = append(pairs[key].Runs, run)
		}
		r.Random = r.Random || environment["input.vgg"] == "random"
		r.VGG = appendNew(r.VGG, info.Params["vgg"].Text)
		device, _, _ := strings.Cut(environment["device"], " (") // the rest is the path of its plugin
		r.Devices = appendNew(r.Devices, device)
		r.Commands = appendNew(r.Commands, info.Command)
	}
	r.tellApart()
	for _, p := range r.Pairs {
		if err := p.gather(ctx, store); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// tellApart makes the names of pairs differ: by the files' names where two pairs have one name, and by the weights where
// several were used.
func (r *Report) tellApart() {
	files := map[string]map[string]bool{} // by name
	for _, p := range r.Pairs {
		if files[p.Name] == nil {
			files[p.Name] = map[string]bool{}
		}
		files[p.Name][p.files()] = true
	}
	for _, p := range r.Pairs {
		if len(files[p.Name]) > 1 {
			p.Name = p.files()
		}
		if len(r.VGG) > 1 {
			p.Name += ", " + p.any().Params["vgg"].Text
		}
	}
}
