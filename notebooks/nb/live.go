package nb

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"iter"
	"os"
	"sync"
	"time"

	"hrlab/picture"

	"hrlab/experiments"
	"hrlab/hrstyle"
	"hrlab/report"

	"github.com/janpfeifer/gonb/gonbui"
	"github.com/janpfeifer/gonb/gonbui/protocol"
)

// live is one output of a cell that changes at most five times a second. The notebook is saved with its last state.
type live struct {
	id   string
	last time.Time
}

const livePause = time.Second / 5

// show shows what page returns, as HTML and as plain text, unless it is too early for a change that is not urgent.
func (l *live) show(urgent bool, page func() (html, text string)) {
	if !gonbui.IsNotebook || !urgent && time.Since(l.last) < livePause {
		return
	}
	if l.id == "" {
		l.id = id()
	}
	html, text := page()
	gonbui.SendData(&protocol.DisplayData{Data: map[protocol.MIMEType]any{protocol.MIMETextHTML: html, protocol.MIMETextPlain: text}, DisplayID: l.id})
	gonbui.Sync()
	l.last = time.Now()
}

// wait is an output of a cell that says what the cell waits for.
type wait struct {
	mu    sync.Mutex // guards what follows: tell and its timer
	what  string     // empty where the cell does not wait
	since time.Time
	tick  *time.Timer // updates the output while the cell waits
	out   live
}

const waitPause = time.Second // before the cell says that it waits, and between updates

// tell is for [tracker.OnWait].
func (w *wait) tell(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if what == w.what {
		return
	}
	w.what, w.since = what, time.Now()
	if w.tick != nil {
		w.tick.Stop()
	}
	if what != "" {
		w.tick = time.AfterFunc(waitPause, w.again)
	}
	if w.out.id != "" { // it says something else by now
		w.out.show(true, w.page)
	}
}

// again shows how long the cell has waited.
func (w *wait) again() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.what == "" { // it was told while this waited for the lock
		return
	}
	w.out.show(true, w.page)
	w.tick.Reset(waitPause)
}

func (w *wait) page() (html, text string) {
	if w.what != "" {
		text = fmt.Sprintf("%s, %.0f s", w.what, time.Since(w.since).Seconds())
	}
	return render("wait", text), text
}

const fitting = "fitting" // the state of a fit that goes on

// Curves yields the steps of fit, and shows the two losses and the current picture as they come. The last ones stay.
func Curves(fit iter.Seq2[hrstyle.Step, error]) iter.Seq2[hrstyle.Step, error] {
	return func(yield func(hrstyle.Step, error) bool) {
		var l live
		var last hrstyle.Step
		content, style := report.Curve{Label: "content loss"}, report.Curve{Label: "style loss"}
		state := "starting; the first fit of a picture size is compiled first"
		page := func() (html, text string) {
			data := struct {
				State string
				Step  hrstyle.Step
				JPEG  []byte
				Chart template.URL
				Width int    // of the picture, where it is shown large
				At    string // the time, in mid-fit: where the kernel ends the page stays as it is
			}{State: state, Step: last}
			if state == fitting {
				data.At = time.Now().Format(time.TimeOnly)
			}
			text = state
			if last.Ok() {
				text += fmt.Sprintf(": step %d, total %.4g, content %.4g, style %.4g", last.N, last.Total, last.Content, last.Style)
				data.JPEG, data.Chart = Must(picture.JPEG(last.Picture(), maxShown, 0)), chart(report.Curves("", content, style))
				if saidStopped {
					data.Width = shownWidth(last.Picture())
				}
			}
			return render("curves", data), text
		}
		l.show(true, page)
		state = fitting
		for step, err := range fit {
			if step.Ok() && (!last.Ok() || step.N > last.N) {
				content.Steps, content.Values = append(content.Steps, int64(step.N)), append(content.Values, step.Content)
				style.Steps, style.Values = append(style.Steps, int64(step.N)), append(style.Values, step.Style)
			}
			if step.Ok() {
				last = step
			}
			if err != nil {
				state, saidStopped = ended(err, last.Ok())
			}
			l.show(err != nil, page)
			if !yield(step, err) {
				state = "stopped"
				l.show(true, page)
				return
			}
			if err != nil {
				return
			}
		}
		state = "fitted"
		l.show(true, page)
	}
}

// ended says how a fit ended that did not come to its end, and whether a person stopped it. begun says whether there was a step.
func ended(err error, begun bool) (state string, stopped bool) {
	switch stopped = errors.Is(err, context.Canceled); {
	case stopped && begun:
		return "stopped", true
	case stopped:
		return "stopped before the first step", true
	case begun:
		return "failed", false
	}
	return "not begun", false
}

// Progress shows how far a sweep is. It is the last argument of Sweep.
func Progress() func(experiments.Progress) {
	var l live
	var fitted, skipped, failed, over, work int
	at := map[int]int{}        // step by trial
	unfitted := map[int]bool{} // trials that failed, and may be retried
	began := time.Time{}
	return func(p experiments.Progress) {
		state := fmt.Sprintf("content weight %g, style weight %g: step %d of %d", p.Config.ContentWeight, p.Config.StyleWeight, p.Step.N, p.Config.Steps)
		if p.Step.Ok() {
			if _, ok := at[p.Trial]; ok || !began.IsZero() {
				work += p.Step.N - at[p.Trial]
			} else {
				began = time.Now() // compiled
			}
			at[p.Trial] = p.Step.N
		}
		if unfitted[p.Trial] { // somebody has retried it
			delete(unfitted, p.Trial)
			over--
			failed--
		}
		if p.Ended {
			over++
			switch {
			case p.Err != nil:
				failed++
				unfitted[p.Trial] = true
				fmt.Fprintln(os.Stderr, "hrlab:", p.Err)
			case p.Skipped != "":
				skipped++
			default:
				fitted++
			}
		}
		left := ""
		if rest := (p.Trials-over)*p.Config.Steps - at[p.Trial]; work > 0 && !p.Ended && rest > 0 {
			left = (time.Since(began) * time.Duration(rest) / time.Duration(work)).Round(time.Second).String() + " left"
		}
		done := over == p.Trials
		l.show(p.Ended, func() (html, text string) {
			data := struct {
				State, Left             string
				Done                    bool
				Over, Trials            int
				Fitted, Skipped, Failed int
				JPEG                    []byte
			}{state, left, done, over, p.Trials, fitted, skipped, failed, nil}
			if p.Step.Ok() && !done {
				data.JPEG = Must(picture.JPEG(p.Step.Picture(), maxShown, 0))
			}
			return render("progress", data), fmt.Sprintf("%d of %d trials; %s", over, p.Trials, state)
		})
	}
}
