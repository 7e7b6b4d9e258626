package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"hrlab/experiments"
	"hrlab/hrstyle"
	"hrlab/tracker"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

type sweepCmd struct {
	Content       string  `placeholder:"FILE" help:"The picture to change."`
	Style         string  `placeholder:"FILE" help:"The picture whose look it gets."`
	Pairs         string  `placeholder:"FILE" help:"Many pairs: a CSV file with a content and a style picture a line."`
	Preset        string  `default:"" enum:",paper,table,wide" placeholder:"paper|table|wide" help:"paper: content 50, 100 by style 1, 10; table: content 0.8 to 8000; wide: both around."`
	ContentWeight *string `placeholder:"0.8,8,80|log:0.8:8000:5" help:"Values of the content weight."`
	StyleWeight   *string `placeholder:"1,10|log:0.1:10:3" help:"Values of the style weight."`
	StyleGain     *string `placeholder:"1,2.56" help:"Values of the style gain, which multiplies the style picture's Gram matrices (paper and table: 2.56 with --gram mean)."`
	LearningRate  *string `placeholder:"0.005" help:"Values of the learning rate."`
	loopFlags
	ReportEvery *int `placeholder:"10" help:"Steps from one report to the next."`
	Repeats     int  `default:"1" help:"Fit every trial with so many seeds, to see how much they matter."`
	Patience    int  `placeholder:"N" help:"End a trial when its total loss has not fallen for N steps."`
	Queue       bool `help:"Hand the trials to workers (hrlab worker) and show how they get on; Ctrl-C leaves them at it."`
	DryRun      bool `help:"List the trials and how long they will take, by a step or two; record nothing."`
	engineFlags
	DB         string `name:"db" default:"hrlab.db" env:"HRLAB_DB" placeholder:"URL" help:"The tracker's database: a path."`
	Experiment string `default:"sweep" help:"The experiment that the runs belong to."`
}

// trials reads the flags.
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

// pairs are the names of pictures, each a content and a style picture. That the files are there is known at once; a pair is
// read when its turn comes.
func (s *sweepCmd) pairs() (names [][]string, err error) {
	switch {
	case s.Pairs != "" && s.Content+s.Style != "":
		return nil, errors.New("--pairs FILE or --content FILE and --style FILE, not both")
	case s.Pairs != "":
		if names, err = readPairs(s.Pairs); err != nil {
			return nil, fmt.Errorf("--pairs %w", err)
		}
	case s.Content == "" || s.Style == "":
		return nil, errors.New("--content FILE and --style FILE, or --pairs FILE, are needed")
	default:
		names = [][]string{{s.Content, s.Style}}
	}
	for _, name := range slices.Concat(names...) {
		if err := readable(name); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// readable says why a picture cannot be read, without reading it: a pipe is read once.
func readable(path string) error {
	if path == "-" {
		return nil
	}
	info, err := os.Stat(path)
	if err == nil && info.Mode().IsRegular() {
		var file *os.File
		if file, err = os.Open(path); err == nil {
			return file.Close()
		}
	}
	if pathErr, ok := errors.AsType[*os.PathError](err); ok {
		return fmt.Errorf("%s: %w", path, pathErr.Err)
	}
	if err == nil && info.IsDir() {
		return fmt.Errorf("%s: is a directory; name a picture", path)
	}
	return err
}

// loadPair reads a pair.
func loadPair(c *console, names []string) (pair hrstyle.Pair, err error) {
	if pair.Content, err = loadPicture(c, names[0]); err == nil {
		pair.Style, err = loadPicture(c, names[1])
	}
	return pair, err
}

// afterField is white space between a field and the comma or line break after it, with the field where it is quoted.
var afterField = regexp.MustCompile(`("(?:[^"]|"")*")[ \t]*|[ \t]+(,|\r?\n|\z)`)

// readPairs reads a CSV file of two names a line, as spreadsheets and people write them: with a byte order mark, CRLF, white
// space around fields, empty lines, and comments after #. White space inside of quotes belongs to the name.
func readPairs(path string) (names [][]string, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if bytes.ContainsRune(data, 0) || bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return nil, fmt.Errorf("%s: is UTF-16, or no text; allowed: UTF-8", path)
	}
	data = afterField.ReplaceAll(bytes.TrimPrefix(data, []byte("\ufeff")), []byte("$1$2"))
	reader := csv.NewReader(bytes.NewReader(data))
	reader.FieldsPerRecord, reader.TrimLeadingSpace, reader.Comment = 2, true, '#'
	const allowed = "allowed: CONTENT,STYLE a line, in quotes where a name has a comma"
	for {
		fields, err := reader.Read()
		switch {
		case err == io.EOF && len(names) == 0:
			return nil, fmt.Errorf("%s: no pair in it; %s", path, allowed)
		case err == io.EOF:
			return names, nil
		case errors.Is(err, csv.ErrFieldCount) && strings.ContainsAny(fields[0], ";\t"):
			return nil, fmt.Errorf("%s: %w: divided by a semicolon or tab; %s", path, err, allowed)
		case err != nil:
			return nil, fmt.Errorf("%s: %w; %s", path, err, allowed)
		}
		if fields[0] == "" || fields[1] == "" {
			line, _ := reader.FieldPos(0)
			return nil, fmt.Errorf("%s: line %d: a name is missing; %s", path, line, allowed)
		}
		names = append(names, fields)
	}
}

// Run fits every trial on every pair.
func (s *sweepCmd) Run(ctx context.Context, c *console) (err error) {
	trials, err := s.trials()
	if err != nil {
		return err
	}
	names, err := s.pairs()
	if err != nil {
		return err
	}
	first, err := loadPair(c, names[0])
	if err != nil {
		return err
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
		return s.dryRun(ctx, c, engine, first, len(names), trials)
	}
	store, err := tracker.Open(ctx, s.DB)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	lab := experiments.Lab{Engine: engine, Tracker: store}
	return s.show(ctx, c, len(names), trials, "stopped; the same command goes on. So far", func(i int, show *sweepProgress) error {
		pair, err := first, error(nil)
		if first = (hrstyle.Pair{}); i > 0 { // one pair at a time
			pair, err = loadPair(show.console(), names[i])
		}
		if err != nil {
			return show.unread(err, trials)
		}
		_, err = lab.Sweep(ctx, s.Experiment, pair, trials, s.Patience, show.report)
		return err
	})
}

// show shows how far the trials of every pair are, which do brings to their end, and says how it ended.
func (s *sweepCmd) show(ctx context.Context, c *console, pairs int, trials []experiments.Trial, stopped string, do func(pair int, show *sweepProgress) error) (err error) {
	show := c.newSweepProgress(ctx, pairs, trials)
	for i := range pairs {
		err = errors.Join(err, do(i, show))
		if ctx.Err() != nil {
			break
		}
	}
	show.close()
	report := "hrlab report --experiment " + quote(s.Experiment) + " --out report.html"
	if s.DB != "hrlab.db" {
		report += " --db " + quote(s.DB)
	}
	switch {
	case ctx.Err() != nil:
		fmt.Fprintf(c.messages, "%s: %s\n", stopped, report)
	default:
		fmt.Fprintf(c.messages, "%d fitted, %d were there, %d failed. See them: %s\n", show.fitted, show.skipped, show.failed, report)
	}
	return err
}

// enqueue hands the trials to workers and follows their runs.
func (s *sweepCmd) enqueue(ctx context.Context, c *console, first hrstyle.Pair, names [][]string, trials []experiments.Trial) (err error) {
	vgg, err := hrstyle.OpenVGG(s.VGG)
	if err != nil {
		return err
	}
	store, err := tracker.Open(ctx, s.DB)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	queue, err := experiments.OpenQueue(ctx, store)
	if err != nil {
		return err
	}
	for _, name := range slices.Concat(names...) { // all or none
		if _, err := experiments.Queueable(name); err != nil {
			return err
		}
	}
	ids, unread, queued := make([][]int64, len(names)), make([]error, len(names)), 0
	for i := range names {
		pair := first
		if first = (hrstyle.Pair{}); i > 0 { // one pair at a time
			if pair, unread[i] = loadPair(c, names[i]); unread[i] != nil {
				continue
			}
		}
		if ids[i], err = queue.Enqueue(ctx, s.Experiment, vgg, pair, trials, s.Patience); err != nil {
			return err
		}
		queued += len(trials)
	}
	fmt.Fprintf(c.messages, "%d trials in %s; workers take them: hrlab worker\n", queued, s.DB)
	return s.show(ctx, c, len(names), trials, "left in the queue: hrlab queue status. So far", func(i int, show *sweepProgress) error {
		if unread[i] != nil {
			return show.unread(unread[i], trials)
		}
		_, err := queue.Follow(ctx, ids[i], trials, show.report)
		return err
	})
}

// dryRun prints the trials and times a few steps of the first.
func (s *sweepCmd) dryRun(ctx context.Context, c *console, engine *hrstyle.Engine, pair hrstyle.Pair, pairs int, trials []experiments.Trial) error {
	for i, t := range trials {
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
	for _, t := range trials {
		steps += t.Config.Steps
	}
	each := time.Duration(0)
	if last.N > 0 {
		each = (last.Elapsed - first.Elapsed) / time.Duration(last.N)
	}
	total := first.Elapsed + time.Duration(steps*pairs)*each
	_, err := fmt.Fprintf(c.out, "%d pairs x %d trials, %d steps of %.2g s: about %v\n", pairs, len(trials), steps*pairs, each.Seconds(), total.Round(time.Second))
	return err
}

// sweepProgress shows how far a sweep is: two bars on a terminal, otherwise a line when a trial ends.
type sweepProgress struct {
	c                       *console
	unhook                  func() bool   // from the context
	mu                      sync.Mutex    // of what follows: another goroutine draws it
	trials                  int           // on all pairs
	all, over               int           // steps: of all trials, and of those that are over
	at                      map[int64]int // the step that each run at work is at
	work                    int           // steps made here, of which the time left is judged
	began                   time.Time
	fitted, skipped, failed int
	gains, rates, seeds     bool // trials differ in style gain, in learning rate, in seed

	bars         *mpb.Progress // nil where messages is no terminal
	sweep, trial *mpb.Bar
	text         string
}

// newSweepProgress begins to show a sweep. Once ctx is cancelled it says that the step at work is the last.
func (c *console) newSweepProgress(ctx context.Context, pairs int, trials []experiments.Trial) *sweepProgress {
	p := &sweepProgress{c: c, trials: pairs * len(trials), text: "compiling", at: map[int64]int{}}
	for _, t := range trials {
		p.all += pairs * t.Config.Steps
		p.gains = p.gains || t.Config.StyleGain != trials[0].Config.StyleGain
		p.rates = p.rates || t.Config.LearningRate != trials[0].Config.LearningRate
		p.seeds = p.seeds || t.Config.Seed != trials[0].Config.Seed
	}
	p.unhook = context.AfterFunc(ctx, func() {
		const stopping = "stopping after this step; Ctrl-C again stops at once"
		if !c.terminal {
			fmt.Fprintln(c.messages, stopping)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.text = stopping
	})
	if !c.terminal {
		fmt.Fprintf(c.messages, "%d trials; compiling\n", p.trials)
		return p
	}
	p.bars = mpb.New(mpb.WithOutput(c.messages), mpb.WithWidth(16))
	text := func(text func() string) decor.Decorator {
		return decor.Any(func(decor.Statistics) string {
			p.mu.Lock()
			defer p.mu.Unlock()
			return text()
		})
	}
	p.sweep = p.bars.AddBar(int64(p.all),
		mpb.PrependDecorators(text(func() string { return fmt.Sprintf("%d of %d trials", p.fitted+p.skipped+p.failed, p.trials) })),
		mpb.AppendDecorators(text(p.left)))
	p.trial = p.bars.AddBar(1, mpb.PrependDecorators(decor.Name("this one")), mpb.AppendDecorators(text(func() string { return p.text })))
	return p
}

// left is the time that the rest will take, by what was fitted so far.
func (p *sweepProgress) left() string {
	if p.work == 0 {
		return ""
	}
	rest := time.Duration(time.Since(p.began).Seconds() * float64(p.all-p.done()) / float64(p.work) * float64(time.Second))
	return rest.Round(time.Second).String() + " left"
}

// done is the number of steps that are made, or need not be.
func (p *sweepProgress) done() int {
	steps := p.over
	for _, n := range p.at {
		steps += n
	}
	return steps
}

// settings names a trial by what varies, and by its weights.
func (p *sweepProgress) settings(c hrstyle.Config) string {
	text := fmt.Sprintf("content %g, style %g", c.ContentWeight, c.StyleWeight)
	if p.gains {
		text += fmt.Sprintf(", style gain %g", c.StyleGain)
	}
	if p.rates {
		text += fmt.Sprintf(", learning rate %g", c.LearningRate)
	}
	if p.seeds {
		text += fmt.Sprintf(", seed %d", c.Seed)
	}
	return text
}

func (p *sweepProgress) report(e experiments.Progress) {
	if !e.Ended && e.Skipped != "" { // it waits for a worker
		fmt.Fprintf(p.console().messages, "run %d, %s: %s\n", e.Run, p.settings(e.Config), e.Skipped)
		return
	}
	if done := p.note(e); p.bars != nil {
		p.trial.SetTotal(int64(e.Config.Steps)+1, false)
		p.trial.SetCurrent(int64(e.Step.N))
		p.sweep.SetCurrent(int64(done))
	}
}

// unread counts the trials of a pair that could not be read as failed.
func (p *sweepProgress) unread(err error, trials []experiments.Trial) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed += len(trials)
	for _, t := range trials {
		p.over += t.Config.Steps
	}
	return fmt.Errorf("%d of %d %w: %w", len(trials), len(trials), experiments.ErrTrials, err)
}

// console is where to write above the bars.
func (p *sweepProgress) console() *console {
	c := *p.c
	if p.bars != nil {
		c.messages = p.bars
	}
	return &c
}

// note counts, and returns the steps that are done. Without a terminal it writes a line for a trial that has ended.
func (p *sweepProgress) note(e experiments.Progress) (done int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	weights := p.settings(e.Config)
	switch {
	case !e.Ended:
		if n, ok := p.at[e.Run]; ok {
			p.work += e.Step.N - n
		} else if p.began.IsZero() {
			p.began = time.Now() // compiled
		}
		p.at[e.Run] = e.Step.N
		p.text = fmt.Sprintf("%s: step %d/%d  total %.5g", weights, e.Step.N, e.Config.Steps, e.Step.Total)
	default:
		p.over += e.Config.Steps
		delete(p.at, e.Run)
		line := fmt.Sprintf("run %d, %s: ", e.Run, weights)
		switch {
		case e.Err != nil:
			p.failed++
			line += oneLine(e.Err)
		case e.Skipped != "":
			p.skipped++
			line += e.Skipped
		default:
			p.fitted++
			line += fmt.Sprintf("total %.5g  content %.5g  style %.5g", e.Step.Total, e.Step.Content, e.Step.Style)
		}
		if p.bars == nil {
			if left := p.left(); left != "" && p.over < p.all {
				line += "  (" + left + ")"
			}
			fmt.Fprintln(p.c.messages, line)
		}
	}
	return p.done()
}

func (p *sweepProgress) close() {
	p.unhook()
	if p.bars != nil {
		p.trial.Abort(true)
		p.sweep.Abort(false)
		p.bars.Wait()
	}
}
