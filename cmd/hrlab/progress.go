package main

import (
	"fmt"
	"io"
	"os"
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
	text        string

	bars *mpb.Progress // nil where messages is no terminal
	bar  *mpb.Bar
}

func (c *console) newProgress(first, last int) *progress {
	p := &progress{messages: c.messages, first: first, last: last, text: "compiling"}
	if !c.terminal {
		fmt.Fprintln(c.messages, p.text)
	} else {
		p.bars = mpb.New(mpb.WithOutput(c.messages), mpb.WithWidth(24))
		p.bar = p.bars.AddBar(int64(last-first),
			mpb.PrependDecorators(decor.Elapsed(decor.ET_STYLE_MMSS)),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return p.text })))
	}
	return p
}

// report shows a step and the time left, judged by the steps since the first report (which includes compilation).
func (p *progress) report(s hrstyle.Step) {
	p.text = fmt.Sprintf("step %d/%d  total %.5g  content %.5g  style %.5g", s.N, p.last, s.Total, s.Content, s.Style)
	if !p.began.Ok() {
		p.began = s
	} else if s.N > p.began.N {
		each := (s.Elapsed - p.began.Elapsed) / time.Duration(s.N-p.began.N)
		p.text += fmt.Sprintf("  %.2g s/step", each.Seconds())
		if left := each * time.Duration(p.last-s.N); left > 0 {
			p.text += fmt.Sprintf(", %v left", left.Round(time.Second))
		}
	}
	if p.bars == nil {
		fmt.Fprintln(p.messages, p.text)
		return
	}
	p.bar.SetCurrent(int64(s.N - p.first))
}

// close leaves the bar as it is.
func (p *progress) close() {
	if p.bars != nil {
		p.bar.Abort(false)
		p.bars.Wait()
	}
}
