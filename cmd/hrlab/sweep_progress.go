package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"hrlab/experiments"
	"hrlab/hrstyle"
	"hrlab/tracker"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// sweepProgress shows how far a sweep is: on a terminal as two bars, otherwise as one line per trial and every half minute.
type sweepProgress struct {
	c                       *console
	unhook                  func() bool    // takes back what newSweepProgress asked of the context
	mu                      sync.Mutex     // guards what follows, which another goroutine draws
	trials                  int            // of all pairs
	all, over               int            // steps: of all trials, and of those that have ended
	at                      map[int64]int  // the current step of each running run
	unfitted                map[int64]bool // runs that failed, and may be retried
	work                    int            // steps made since began, which the time left is estimated from
	began                   time.Time
	fitted, skipped, failed int
	gains, rates, seeds     bool // trials differ in style gain, in learning rate, in seed

	bars         *mpb.Progress // nil where messages is no terminal
	sweep, trial *mpb.Bar
	text         string
	waits        string // what the trials wait for, instead of text; empty where one runs
	waitsSince   time.Time
	lines        sync.WaitGroup // where messages is no terminal: the goroutine that writes every half minute
	ended        chan struct{}  // ends it
}

// newSweepProgress begins to show a sweep of trials, of all pairs. state is what it does until the first step. When ctx is cancelled it says that the current step is the last.
func (c *console) newSweepProgress(ctx context.Context, trials []experiments.Trial, state string) *sweepProgress {
	p := &sweepProgress{c: c, trials: len(trials), text: state, at: map[int64]int{}, unfitted: map[int64]bool{}, ended: make(chan struct{})}
	for _, t := range trials {
		p.all += t.Config.Steps
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
		p.text, p.waits = stopping, ""
	})
	if !c.terminal {
		fmt.Fprintf(c.messages, "%d trials; %s\n", p.trials, state)
		p.lines.Go(p.everyHalfMinute)
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
	p.trial = p.bars.AddBar(1, mpb.PrependDecorators(decor.Name("current trial")), mpb.AppendDecorators(text(p.now)))
	return p
}

// everyHalfMinute writes a line with what the bars would show, so that a log shows a long trial to be alive.
func (p *sweepProgress) everyHalfMinute() {
	for ticks := time.Tick(30 * time.Second); ; {
		select {
		case <-p.ended:
			return
		case <-ticks:
		}
		p.mu.Lock()
		line := fmt.Sprintf("%d of %d trials; %s", p.fitted+p.skipped+p.failed, p.trials, p.now())
		if left := p.left(); left != "" {
			line += "  (" + left + ")"
		}
		fmt.Fprintln(p.c.messages, line)
		p.mu.Unlock()
	}
}

// now is what happens to the current trial.
func (p *sweepProgress) now() string {
	if p.waits == "" {
		return p.text
	}
	return fmt.Sprintf("%s, %.0f s", p.waits, time.Since(p.waitsSince).Seconds())
}

// wait notes what the trials wait for: see [tracker.OnWait].
func (p *sweepProgress) wait(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if what == p.waits {
		return
	}
	p.waits, p.waitsSince = what, time.Now()
	if what == "" && p.text == inQueue { // a worker has one
		p.text = compiling
	}
	if what != "" && p.bars == nil {
		fmt.Fprintln(p.c.messages, what)
	}
}

// left is the estimated time that the rest will take, as text; empty where it is not known.
func (p *sweepProgress) left() string {
	if p.work == 0 {
		return ""
	}
	rest := time.Duration(time.Since(p.began).Seconds() * float64(p.all-p.done()) / float64(p.work) * float64(time.Second))
	return rest.Round(time.Second).String() + " left"
}

// done is the number of steps that are made, or will not be because their trial has ended.
func (p *sweepProgress) done() int {
	steps := p.over
	for _, n := range p.at {
		steps += n
	}
	return steps
}

// settings names a trial by its weights and what else varies.
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

// What a sweep does until its first step.
const (
	compiling = "compiling"
	inQueue   = "queued"
)

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

// instead counts the steps of other trials in place of those of some.
func (p *sweepProgress) instead(some, others []experiments.Trial) {
	p.mu.Lock()
	for _, t := range some {
		p.all -= t.Config.Steps
	}
	for _, t := range others {
		p.all += t.Config.Steps
	}
	all := int64(p.all)
	p.mu.Unlock()
	if p.bars != nil {
		p.sweep.SetTotal(all, false)
	}
}

// unread counts the trials of a pair whose pictures could not be read as failed.
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

// note counts e, and returns the steps that are done. Without a terminal it prints a line for a trial that has ended.
func (p *sweepProgress) note(e experiments.Progress) (done int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	weights := p.settings(e.Config)
	if p.unfitted[e.Run] { // somebody has retried it
		delete(p.unfitted, e.Run)
		p.failed--
		p.over -= e.Config.Steps
	}
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
			p.unfitted[e.Run] = e.Run != 0
			if errors.Is(e.Err, context.Canceled) {
				line += string(tracker.Stopped)
			} else {
				line += oneLine(e.Err)
			}
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
	close(p.ended)
	p.lines.Wait()
	if p.bars != nil {
		p.trial.Abort(true)
		p.sweep.Abort(false)
		p.bars.Wait()
	}
}
