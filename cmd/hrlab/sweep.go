package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hrlab/experiments"
	"hrlab/hrstyle"
	"hrlab/picture"
	"hrlab/tracker"
)

type sweepCmd struct {
	Content       string  `placeholder:"FILE" help:"The picture to change."`
	Style         string  `placeholder:"FILE" help:"The picture whose look it gets."`
	Pairs         string  `placeholder:"FILE" help:"Many pairs: a CSV file with a content and a style picture per line, perhaps below the header content,style."`
	Map           string  `predictor:"run" placeholder:"RUN" help:"Measure a weight map (hrlab map) instead of fitting: its generators at nine ratios, or at those of --content-weight; with --steps each is fitted on from there."`
	Preset        string  `default:"" enum:",paper,table,wide" placeholder:"paper|table|wide" help:"paper: content weights 50 and 100, style weights 1 and 10; table: content weights 0.8 to 8000; wide: a grid around both."`
	ContentWeight *string `placeholder:"0.8,8,80|log:0.8:8000:5" help:"Values of the content weight."`
	StyleWeight   *string `placeholder:"1,10|log:0.1:10:3" help:"Values of the style weight."`
	StyleGain     *string `placeholder:"1,2.56" help:"Values of the style gain, the factor of the style picture's Gram matrices (2.56 in the presets paper and table, with --gram mean)."`
	LearningRate  *string `placeholder:"0.005" help:"Values of the learning rate."`
	loopFlags
	ReportEvery *int   `placeholder:"10" help:"Steps between reports."`
	Repeats     int    `default:"1" help:"Fit every trial with this many seeds, to see how much the seed matters."`
	Patience    int    `placeholder:"N" help:"Stop a trial early when its total loss has not fallen for N steps."`
	Cold        bool   `help:"Fit from nothing. Otherwise trials begin with the weight map (hrlab map) of their pair and settings where one is on record, with 60 steps each unless --steps is given."`
	Queue       bool   `help:"Hand the trials to workers (hrlab worker) and follow them. Ctrl-C ends the following, not the trials."`
	DryRun      bool   `help:"List the trials and estimate their time from a few steps; record nothing."`
	Out         string `placeholder:"FILE|DIR|-" help:"At the end apply the run that hrlab report suggests to the content picture, at its own size, and write that here (.png, .jpg, .webp; - is standard output, as PNG). In a folder it is CONTENT_STYLE.png, with a number where there is one; several pairs need one."`
	engineFlags
	dbFlags
	Experiment string `predictor:"experiment" placeholder:"sweep" help:"The experiment that the runs belong to; with --map that of the map."`
}

// Help has examples.
func (*sweepCmd) Help() string {
	return `Values of an axis are comma-separated numbers, log:FROM:TO:N or lin:FROM:TO:N. Several axes make a grid.

Examples:

	hrlab sweep --content boat.jpg --style sunset.jpg --content-weight 8,30,80,150,800
	hrlab sweep --content boat.jpg --style sunset.jpg --content-weight log:1:1000:4 --style-gain 1,2.56 --repeats 3
	hrlab sweep --pairs pairs.csv --preset paper --size 256 --dry-run
	hrlab sweep --pairs pairs.csv --preset paper --size 256 --queue
	hrlab sweep --content boat.jpg --style sunset.jpg --size 160 --content-weight 8,30,80,150,800 --out boat.png   # the suggested one, at full size
	hrlab sweep --map 12   # nine ratios of the weight map of run 12, each a run, without fitting`
}

// trials makes the trials of the flags.
func (s *sweepCmd) trials() ([]experiments.Trial, error) {
	base, err := s.config()
	if err != nil {
		return nil, err
	}
	set(&base.ReportEvery, s.ReportEvery)
	axes := map[string]experiments.Axis{}
	var order []string
	put := func(a experiments.Axis) {
		if _, ok := axes[a.Name]; !ok {
			order = append(order, a.Name)
		}
		axes[a.Name] = a
	}
	for _, a := range experiments.Presets[s.Preset] {
		put(a)
	}
	for _, flag := range []struct {
		name string
		text *string
		axis func(...float64) experiments.Axis
	}{
		{"content-weight", s.ContentWeight, experiments.ContentWeight},
		{"style-weight", s.StyleWeight, experiments.StyleWeight},
		{"style-gain", s.StyleGain, experiments.StyleGain},
		{"learning-rate", s.LearningRate, experiments.LearningRate},
	} {
		if flag.text == nil {
			continue
		}
		values, err := experiments.ParseValues(flag.name, *flag.text)
		if err != nil {
			return nil, err
		}
		put(flag.axis(values...))
	}
	if len(order) == 0 {
		return nil, errors.New("nothing to sweep: give --preset, --content-weight, --style-weight, --style-gain or --learning-rate")
	}
	if s.Repeats < 1 || s.Patience < 0 {
		return nil, fmt.Errorf("repeats %d, patience %d; allowed: 1 or more, 0 or more", s.Repeats, s.Patience)
	}
	var list []experiments.Axis
	const most = 100_000
	count := s.Repeats
	for _, name := range order {
		list = append(list, axes[name])
		if count *= axes[name].Len(); count > most {
			return nil, fmt.Errorf("%d trials or more; allowed: %d", count, most)
		}
	}
	trials := experiments.Repeat(experiments.Grid(base, list...), s.Repeats)
	return trials, experiments.Validate(trials)
}

// Run fits every trial on every pair.
func (s *sweepCmd) Run(ctx context.Context, c *console) (err error) {
	if s.Map != "" {
		return s.runMap(ctx, c)
	}
	s.Experiment = cmp.Or(s.Experiment, "sweep")
	trials, err := s.trials()
	if err != nil {
		return err
	}
	names, err := s.pairs()
	if err != nil {
		return err
	}
	first, err := loadPair(c, names[0][0], names[0][1])
	if err != nil {
		return err
	}
	if !s.DryRun {
		if err := s.checkOut(names, first.Content.Bounds().Size()); err != nil {
			return err
		}
	}
	if s.Queue && !s.DryRun {
		return s.enqueue(ctx, c, first, names, trials)
	}
	engine, err := s.open(ctx, c)
	if err != nil {
		return err
	}
	defer engine.Close()
	if s.DryRun {
		return s.dryRun(ctx, c, engine, first, names, trials)
	}
	store, err := s.openToWrite(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	lab := experiments.Lab{Engine: engine, Tracker: store}
	maps, err := s.maps(ctx, store)
	if err != nil {
		return err
	}
	var piped picture.Picture // the content picture from standard input, which is read only once
	return s.show(ctx, c, &sweeping{
		store: store, engine: engine, pairs: names, trials: slices.Repeat([][]experiments.Trial{trials}, len(names)), state: compiling, stopped: "stopped; the same command goes on. So far",
		do: func(ctx context.Context, i int, show *sweepProgress) ([]tracker.Info, error) {
			pair, err := first, error(nil)
			if first = (hrstyle.Pair{}); i > 0 { // only one pair is in memory at a time
				pair, err = loadPair(show.console(), names[i][0], names[i][1])
			}
			if err != nil {
				return nil, show.unread(err, trials)
			}
			if names[i][0] == "-" {
				piped = pair.Content
			}
			begun, err := s.begin(ctx, show.console(), store, maps, engine.VGG, pair, trials)
			if err != nil {
				return nil, show.unread(err, trials)
			}
			show.instead(trials, begun)
			return lab.Sweep(ctx, s.Experiment, pair, begun, s.Patience, show.report)
		},
		content: func(i int, _ int64) (picture.Picture, error) {
			if names[i][0] == "-" {
				return piped, nil
			}
			return picture.Load(names[i][0])
		},
	})
}

// maps are the weight maps that trials may begin with: none where the flags say how they begin.
func (s *sweepCmd) maps(ctx context.Context, store *tracker.Store) ([]tracker.Info, error) {
	if s.Cold || s.Repeats > 1 || s.Seed != nil || s.Init != nil || s.LearningRate != nil {
		return nil, nil
	}
	return experiments.WeightMaps(ctx, store)
}

// begin has the trials of a pair begin with one of the maps, where one is of the pair, and says so.
func (s *sweepCmd) begin(ctx context.Context, c *console, store *tracker.Store, maps []tracker.Info, vgg *hrstyle.VGG, pair hrstyle.Pair, trials []experiments.Trial) ([]experiments.Trial, error) {
	steps := experiments.RefineSteps
	set(&steps, s.Steps)
	r, err := experiments.Refine(ctx, store, maps, s.Experiment, vgg, pair, trials, s.Patience, steps)
	if err != nil {
		return nil, fmt.Errorf("%w; --cold fits from nothing", err)
	}
	text := r.Why
	if r.Map != 0 {
		text = fmt.Sprintf("begins with the weight map of run %d: %d steps each; --cold fits from nothing", r.Map, steps)
	}
	if text != "" && s.Pairs != "" {
		text = pair.Content.Name + ", " + pair.Style.Name + ": " + text
	}
	if text != "" {
		fmt.Fprintln(c.messages, text)
	}
	return r.Trials, nil
}

// sweeping is how a sweep is done: here, or by workers.
type sweeping struct {
	store          *tracker.Store
	engine         *hrstyle.Engine                                                                  // nil where workers fit
	pairs          [][]string                                                                       // the names of the pictures
	trials         [][]experiments.Trial                                                            // of each pair
	state, stopped string                                                                           // what is said until the first step, and when it is stopped
	do             func(ctx context.Context, pair int, show *sweepProgress) ([]tracker.Info, error) // fits a pair with all trials
	content        func(pair int, run int64) (picture.Picture, error)                               // the content picture of a pair, which has this run
}

// show does the sweep of every pair, shows its progress, prints how it ended, and writes the suggested runs.
func (s *sweepCmd) show(ctx context.Context, c *console, w *sweeping) (err error) {
	show := c.newSweepProgress(ctx, slices.Concat(w.trials...), w.state)
	waiting := tracker.OnWait(ctx, show.wait)
	runs := make([][]tracker.Info, len(w.pairs))
	for i := range w.pairs {
		var failed error
		runs[i], failed = w.do(waiting, i, show)
		err = errors.Join(err, failed)
		if ctx.Err() != nil {
			break
		}
	}
	show.close()
	report := "hrlab report --experiment " + quote(s.Experiment) + " --out report.html" + s.asFlag()
	switch {
	case ctx.Err() != nil:
		fmt.Fprintf(c.messages, "%s: %s\n", w.stopped, report)
		return err
	default:
		fmt.Fprintf(c.messages, "%d fitted, %d already done, %d failed. See them: %s\n", show.fitted, show.skipped, show.failed, report)
	}
	if s.Out != "" {
		err = errors.Join(err, s.writeSuggested(ctx, c, w, runs))
	}
	return err
}

// enqueue puts the trials into the queue and follows their runs.
func (s *sweepCmd) enqueue(ctx context.Context, c *console, first hrstyle.Pair, names [][]string, trials []experiments.Trial) (err error) {
	vgg, err := hrstyle.OpenVGG(s.VGG)
	if err != nil {
		return err
	}
	store, err := s.openToWrite(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	queue, err := experiments.OpenQueue(ctx, store)
	if err != nil {
		return err
	}
	maps, err := s.maps(ctx, store)
	if err != nil {
		return err
	}
	begun := slices.Repeat([][]experiments.Trial{trials}, len(names))
	ids, unread, queued := make([][]int64, len(names)), make([]error, len(names)), 0
	for i := range names {
		pair := first
		if first = (hrstyle.Pair{}); i > 0 { // only one pair is in memory at a time
			if pair, unread[i] = loadPair(c, names[i][0], names[i][1]); unread[i] != nil {
				continue
			}
		}
		if begun[i], err = s.begin(ctx, c, store, maps, vgg, pair, trials); err != nil {
			return err
		}
		if ids[i], err = queue.Enqueue(ctx, s.Experiment, vgg, pair, begun[i], s.Patience); err != nil {
			return err
		}
		queued += len(trials)
	}
	fmt.Fprintf(c.messages, "%d trials in %s; workers take them: hrlab worker\n", queued, s.DB)
	return s.show(ctx, c, &sweeping{
		store: store, pairs: names, trials: begun, state: inQueue, stopped: "left in the queue: hrlab queue status. So far",
		do: func(ctx context.Context, i int, show *sweepProgress) ([]tracker.Info, error) {
			if unread[i] != nil {
				return nil, show.unread(unread[i], trials)
			}
			return queue.Follow(ctx, ids[i], begun[i], show.report)
		},
		content: func(_ int, run int64) (picture.Picture, error) { return experiments.Content(ctx, store, run) },
	})
}

// dryRun prints the trials of the first pair and times a few steps of one. It estimates those of all pairs.
func (s *sweepCmd) dryRun(ctx context.Context, c *console, engine *hrstyle.Engine, pair hrstyle.Pair, names [][]string, trials []experiments.Trial) error {
	all := slices.Repeat([][]experiments.Trial{trials}, len(names))
	there, err := s.exists()
	if err == nil && there {
		err = s.with(ctx, func(store *tracker.Store) error { return s.beginAll(ctx, c, store, engine.VGG, pair, names, all) })
	}
	if err != nil {
		return err
	}
	for i, t := range all[0] {
		fmt.Fprintf(c.out, "%4d  content weight %g, style weight %g, style gain %g, learning rate %g, seed %d, %d steps\n", i+1, t.Config.ContentWeight, t.Config.StyleWeight, t.Config.StyleGain, t.Config.LearningRate, t.Config.Seed, t.Config.Steps)
	}
	config := trials[0].Config
	config.Steps, config.ReportEvery = min(3, config.Steps), 1
	var first, last hrstyle.Step
	for step, err := range engine.Fit(ctx, pair, config) {
		if err != nil {
			return err
		}
		if !first.Ok() {
			first = step
		}
		last = step
	}
	steps := 0
	for _, t := range slices.Concat(all...) {
		steps += t.Config.Steps
	}
	each := time.Duration(0)
	if last.N > 0 {
		each = (last.Elapsed - first.Elapsed) / time.Duration(last.N)
	}
	total := first.Elapsed + time.Duration(steps)*each
	_, err = fmt.Fprintf(c.out, "%d pairs x %d trials, %d steps of %.2g s: about %v\n", len(names), len(trials), steps, each.Seconds(), total.Round(time.Second))
	return err
}

// beginAll does for all pairs what begin does; all are their trials.
func (s *sweepCmd) beginAll(ctx context.Context, c *console, store *tracker.Store, vgg *hrstyle.VGG, first hrstyle.Pair, names [][]string, all [][]experiments.Trial) error {
	maps, err := s.maps(ctx, store)
	if err != nil || len(maps) == 0 { // no other picture need be read
		return err
	}
	for i := range all {
		pair := first
		if i > 0 {
			if pair, err = hrstyle.LoadPair(names[i][0], names[i][1]); err != nil {
				return err
			}
		}
		if all[i], err = s.begin(ctx, c, store, maps, vgg, pair, all[i]); err != nil {
			return err
		}
	}
	return nil
}
