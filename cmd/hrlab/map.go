package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"hrlab/hrstyle"
	"hrlab/report"
)

type mapCmd struct {
	Content      string   `placeholder:"FILE" help:"The picture to change."`
	Style        string   `placeholder:"FILE" help:"The picture whose look it gets."`
	From         *float64 `placeholder:"0.8" help:"The lowest ratio of content weight to style weight."`
	To           *float64 `placeholder:"8000" help:"The highest."`
	Knots        *int     `placeholder:"5" help:"At how many ratios the map has parameters of its own; between them it interpolates."`
	Size         *int     `placeholder:"160" help:"Longer side of the fitted picture in pixels."`
	StyleSize    *int     `placeholder:"N" help:"Longer side of the style picture; 0: its own size (default: as --size)."`
	StyleGain    *float64 `placeholder:"1" help:"Factor of the style picture's Gram matrices: above 1 aims at stronger colours than the picture has."`
	Steps        *int     `placeholder:"750" help:"Updates to make."`
	LearningRate *float64 `placeholder:"0.002" help:"Adam's learning rate at first; it falls linearly to 0."`
	Seed         *int64   `placeholder:"0" help:"Seed of the initial generator."`
	Resume       string   `predictor:"run" placeholder:"RUN" help:"Go on with the run of a map. Of the settings only --steps and --report-every may be given."`
	ReportEvery  *int     `placeholder:"50" help:"Steps between reports, of which each records nine pictures."`
	Generator    string   `placeholder:"FILE" help:"Save the map, for hrlab apply --ratio."`
	engineFlags
	dbFlags
	Experiment string            `predictor:"experiment" default:"map" help:"The experiment that the run belongs to."`
	Name       string            `placeholder:"TEXT" help:"The run's name (default: CONTENT_STYLE)."`
	Tag        map[string]string `mapsep:"none" placeholder:"KEY=VALUE" help:"Tags of the run."`
}

// Help has examples.
func (*mapCmd) Help() string {
	return `One fit, about as long as three others, gives a generator for every ratio of the weights: docs/weight-map.md.

Examples:

	hrlab map --content boat.jpg --style sunset.jpg
	hrlab map --content boat.jpg --style sunset.jpg --size 96 --from 8 --to 800
	hrlab apply --run 12 --ratio 45 boat.jpg --out boat_45.png   # run 12 is the map's`
}

// config applies the flags to DefaultMap.
func (m *mapCmd) config() hrstyle.Config {
	c := hrstyle.DefaultMap
	set(&c.From, m.From)
	set(&c.To, m.To)
	set(&c.Knots, m.Knots)
	set(&c.Size, m.Size)
	set(&c.StyleSize, m.StyleSize)
	set(&c.StyleGain, m.StyleGain)
	set(&c.Steps, m.Steps)
	set(&c.LearningRate, m.LearningRate)
	set(&c.Seed, m.Seed)
	set(&c.ReportEvery, m.ReportEvery)
	return c
}

// Run fits the map and records it.
func (m *mapCmd) Run(ctx context.Context, c *console) (err error) {
	var track tracked
	defer func() { err = errors.Join(err, track.close()) }()
	fit := &fitCmd{Content: m.Content, Style: m.Style, Resume: m.Resume, ReportEvery: m.ReportEvery}
	fit.trackFlags = trackFlags{dbFlags: m.dbFlags, Experiment: m.Experiment, Name: m.Name, Tag: m.Tag}
	start, resumed, err := m.load(ctx, fit, &track)
	if err != nil {
		return err
	}
	pair, err := fit.loadPair(ctx, c, track.store, start, resumed)
	if err != nil {
		return err
	}
	var file place
	if m.Generator != "" {
		if file, err = m.place(stem(pair.Content.Name)+"_"+stem(pair.Style.Name), fit); err != nil {
			return err
		}
	}
	engine, err := m.open(ctx, c)
	if err != nil {
		return err
	}
	defer engine.Close()
	if track.store == nil {
		if track.store, err = m.openToWrite(ctx); err != nil {
			return err
		}
	}
	if err := track.start(ctx, c, fit, engine, pair, start.Config, resumed); err != nil {
		return err
	}
	bar := c.newProgress(ctx, start.Step, start.Config.Steps, newFirstLoss(engine.Device.Kind, start.Config.Size))
	steps := engine.Fit(ctx, pair, start.Config)
	if resumed != 0 {
		steps = engine.Resume(ctx, pair, start)
	}
	var last hrstyle.Step
	for step, stepErr := range track.record(ctx, steps) {
		if last, err = step, stepErr; err != nil {
			break
		}
		bar.report(step)
	}
	bar.close()
	if !last.Ok() {
		return err
	}
	return m.end(ctx, c, &track, &file, last, err)
}

// load makes the state to start from: that of the flags, or of the run to resume.
func (m *mapCmd) load(ctx context.Context, fit *fitCmd, track *tracked) (start *hrstyle.Checkpoint, resumed int64, err error) {
	if m.Resume == "" {
		config := m.config()
		return &hrstyle.Checkpoint{Config: config}, 0, config.Validate()
	}
	if m.From != nil || m.To != nil || m.Knots != nil || m.Size != nil || m.StyleSize != nil || m.StyleGain != nil || m.LearningRate != nil || m.Seed != nil {
		return nil, 0, errors.New("--resume takes its settings from the run; allowed with it: --steps, --report-every")
	}
	fit.Steps = m.Steps
	if start, resumed, err = fit.load(ctx, track); err != nil {
		return nil, 0, err
	}
	if start.Config.Knots == 0 || resumed == 0 {
		return nil, 0, fmt.Errorf("%s is not the run of a weight map: hrlab fit --resume goes on with other fits", m.Resume)
	}
	return start, resumed, nil
}

// place is where the map is saved.
func (m *mapCmd) place(name string, fit *fitCmd) (file place, err error) {
	if file, err = newPlace(m.Generator, name+".safetensors"); err != nil {
		return file, err
	}
	if err = endsIn(file.path, ".safetensors"); err == nil {
		err = apart([]string{file.path}, []string{fit.Content, fit.Style, m.VGG})
	}
	return file, err
}

// end prints what the map does, or how to go on with a fit that ended with err.
func (m *mapCmd) end(ctx context.Context, c *console, track *tracked, file *place, last hrstyle.Step, err error) error {
	ctx = context.WithoutCancel(ctx)
	run := track.run.ID
	again := fmt.Sprintf("hrlab map --resume %d", run)
	if m.Generator != "" {
		again += " " + option("generator", m.Generator)
	}
	again += m.asFlag()
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintf(c.messages, "stopped at step %d of %d. Go on with:\n  %s\n", last.N, last.Generator().Config.Steps, again)
		if other := uncancelled(err); other != nil {
			return other
		}
		return err
	case err != nil:
		if track.has(ctx, report.Checkpoint) && !errors.Is(err, hrstyle.ErrDiverged) {
			err = errors.Join(err, fmt.Errorf("go on with: %s", again))
		}
		return err
	}
	if file.path != "" {
		if err := file.write(last.Generator().Save); err != nil {
			return fmt.Errorf("%w; run %d has it: hrlab runs get %d %s --out FILE%s", err, run, run, report.Generator, m.asFlag())
		}
		fmt.Fprintln(c.messages, file.path)
	}
	info, err := track.store.Run(ctx, strconv.FormatInt(run, 10))
	if err != nil {
		return err
	}
	made := report.NewMap(info)
	if err := printMap(c, made); err != nil {
		return err
	}
	fmt.Fprintf(c.messages, "run %d: %d steps in %.0f s; %s\n", run, last.N, last.Elapsed.Seconds(), made.Suggestion())
	ratio := "80"
	if made.Knee != nil {
		ratio = made.Knee.Text()
	}
	fmt.Fprintf(c.messages, "next: hrlab apply --run %d --ratio %s PICTURE --out FILE%s\n      hrlab report %s%s\n", run, ratio, m.asFlag(), option("experiment", info.Experiment), m.asFlag())
	return nil
}

// printMap prints the measures of a map at its ratios; ● is on their Pareto front.
func printMap(c *console, m *report.Map) error {
	columns := []column{{head: "ratio"}}
	for i := range m.Points {
		p := &m.Points[i]
		mark := ""
		if p.OnFront {
			mark = " ●"
		}
		if m.IsKnee(i) {
			mark += " knee"
		}
		columns[0].cells = append(columns[0].cells, p.Text()+mark)
	}
	for _, measure := range report.Measures() {
		next := column{head: measure.Title}
		for i := range m.Points {
			next.cells = append(next.cells, m.Points[i].Measure(measure.Name))
		}
		columns = append(columns, next)
	}
	return printTable(c.out, columns, c.width)
}
