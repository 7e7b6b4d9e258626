package main

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"hrlab/hrstyle"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// progress shows how far a fit is: on a terminal as a bar, otherwise as one line per report.
type progress struct {
	messages    io.Writer
	first, last int // the steps that the fit begins and ends at
	began       hrstyle.Step
	start       time.Time
	compiling   firstLoss
	unhook      func() bool // takes back what newProgress asked of the context

	bars *mpb.Progress // nil where messages is no terminal
	bar  *mpb.Bar
	text atomic.Value // the string at the right of the bar, which another goroutine draws
}

// newProgress begins to show a fit, which is compiling. When ctx is cancelled it says that the current step is the last.
func (c *console) newProgress(ctx context.Context, first, last int, compiling firstLoss) *progress {
	p := &progress{messages: c.messages, first: first, last: last, start: time.Now(), compiling: compiling}
	text := "compiling"
	if c.terminal {
		text = compiling.text() // the bar shows how long it has been at it
		p.text.Store("")
		p.bars = mpb.New(mpb.WithOutput(c.messages), mpb.WithWidth(16))
		p.bar = p.bars.AddBar(int64(last-first),
			mpb.PrependDecorators(decor.Elapsed(decor.ET_STYLE_MMSS)),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return p.text.Load().(string) })))
	}
	p.say(text)
	p.unhook = context.AfterFunc(ctx, func() { p.say("stopping after this step; Ctrl-C again stops at once") })
	return p
}

func (p *progress) say(text string) {
	if p.bars == nil {
		fmt.Fprintln(p.messages, text)
		return
	}
	p.text.Store(text)
}

// report shows a step and the time left, estimated from the steps after the first report, since that includes compilation.
// On a terminal the time comes first, because a narrow terminal cuts off the end.
func (p *progress) report(s hrstyle.Step) {
	var each time.Duration
	if !p.began.Ok() {
		p.began = s
		p.compiling.took(time.Since(p.start))
	} else if s.N > p.began.N {
		each = (s.Elapsed - p.began.Elapsed) / time.Duration(s.N-p.began.N)
	}
	left := each * time.Duration(p.last-s.N)
	if p.bars == nil {
		text := fmt.Sprintf("step %d/%d  %stotal %.5g  content %.5g  style %.5g", s.N, p.last, ratioOf(s), s.Total, s.Content, s.Style)
		if each > 0 {
			text += fmt.Sprintf("  %.2g s/step", each.Seconds())
		}
		if left > 0 {
			text += fmt.Sprintf(", %v left", left.Round(time.Second))
		}
		p.say(text)
		return
	}
	text := fmt.Sprintf("%d/%d", s.N, p.last)
	if left > 0 {
		text += fmt.Sprintf(" %v left", left.Round(time.Second))
	}
	p.say(text + fmt.Sprintf("  %stotal %.4g content %.4g style %.4g", ratioOf(s), s.Total, s.Content, s.Style))
	p.bar.SetCurrent(int64(s.N - p.first))
}

// ratioOf is the ratio of the weights at a step of a weight map, which its losses are of.
func ratioOf(s hrstyle.Step) string {
	if g := s.Generator(); g == nil || !g.IsMap() {
		return ""
	}
	return fmt.Sprintf("ratio %.3g  ", s.ContentWeight/s.Generator().Config.StyleWeight)
}

// close stops the bar where it is.
func (p *progress) close() {
	p.unhook()
	if p.bars != nil {
		p.bar.Abort(false)
		p.bars.Wait()
	}
}
