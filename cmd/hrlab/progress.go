package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"hrlab/hrstyle"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// progress shows how far a fit is: a bar on a terminal, a line a report otherwise.
type progress struct {
	messages    io.Writer
	first, last int // steps
	began       hrstyle.Step
	unhook      func() bool // from the context

	bars *mpb.Progress // nil where messages is no terminal
	bar  *mpb.Bar
	text atomic.Value // a string, which another goroutine draws
}

// newProgress says that the fit compiles, and once ctx is cancelled that the step at work is the last.
func (c *console) newProgress(ctx context.Context, first, last int) *progress {
	p := &progress{messages: c.messages, first: first, last: last}
	if c.terminal {
		p.text.Store("")
		p.bars = mpb.New(mpb.WithOutput(c.messages), mpb.WithWidth(16))
		p.bar = p.bars.AddBar(int64(last-first),
			mpb.PrependDecorators(decor.Elapsed(decor.ET_STYLE_MMSS)),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return p.text.Load().(string) })))
	}
	p.say("compiling")
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

// report shows a step and the time left, judged by the steps since the first report (which includes compilation). On a
// terminal the time comes first: a narrow one cuts off the end.
func (p *progress) report(s hrstyle.Step) {
	var each time.Duration
	if !p.began.Ok() {
		p.began = s
	} else if s.N > p.began.N {
		each = (s.Elapsed - p.began.Elapsed) / time.Duration(s.N-p.began.N)
	}
	left := each * time.Duration(p.last-s.N)
	if p.bars == nil {
		text := fmt.Sprintf("step %d/%d  total %.5g  content %.5g  style %.5g", s.N, p.last, s.Total, s.Content, s.Style)
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
	p.say(text + fmt.Sprintf("  total %.4g content %.4g style %.4g", s.Total, s.Content, s.Style))
	p.bar.SetCurrent(int64(s.N - p.first))
}

// close leaves the bar as it is.
func (p *progress) close() {
	p.unhook()
	if p.bars != nil {
		p.bar.Abort(false)
		p.bars.Wait()
	}
}
