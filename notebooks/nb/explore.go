package nb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"math"
	"os"
	"strconv"

	"hrlab/experiments"
	"hrlab/report"
	"hrlab/tracker"

	"github.com/janpfeifer/gonb/gonbui/protocol"
)

// Explore shows sliders for the two weights, and the output of the run that is nearest to them. Everything is in the page: it
// works in a saved notebook, and without scripts it is a table of the outputs. Where there is a kernel, a button queues the
// fit with the weights of the sliders, for the worker of [Lab] with the same vgg.
func Explore(r *report.Report, vgg string) {
	for _, p := range r.Pairs {
		e := explorer{ID: id(), Pair: p}
		for i := range p.Runs {
			run := &p.Runs[i]
			content, style := run.Params["content_weight"].Number, run.Params["style_weight"].Number
			if run.Status != tracker.Finished || run.Output == nil || content <= 0 || style <= 0 { // sliders are logarithmic
				continue
			}
			e.Runs = append(e.Runs, run)
			e.Content.add(content)
			e.Style.add(style)
		}
		if len(e.Runs) == 0 {
			display("<p>no finished run to explore</p>", "no finished run to explore")
			continue
		}
		e.Content.widen()
		e.Style.widen()
		e.Kernel = os.Getenv(protocol.GONB_JUPYTER_KERNEL_ID_ENV)
		// What the button has the kernel execute; CONTENT and STYLE are numbers.
		e.Cell = fmt.Sprintf("import \"hrlab/notebooks/nb\"\n%%%%\nnb.Queue(%s, %d, CONTENT, STYLE)", strconv.Quote(vgg), e.Runs[0].ID)
		display(render("explore", e), fmt.Sprintf("[%s: %d outputs to explore by weight]", p.Name, len(e.Runs)))
	}
}

// explorer is the data of the page of Explore.
type explorer struct {
	ID             string
	Pair           *report.Pair
	Runs           []*report.Run
	Content, Style span
	Kernel, Cell   string
}

// JSON is the data of the page's script.
func (e explorer) JSON() template.JS {
	text, err := json.Marshal(map[string]any{"kernel": e.Kernel, "cell": e.Cell})
	Check(err)
	return template.JS(text) //nolint:gosec // JSON
}

// span is the range of a slider.
type span struct{ Low, High float64 }

func (s *span) add(v float64) {
	if s.Low == 0 {
		s.Low, s.High = v, v
	}
	s.Low, s.High = min(s.Low, v), max(s.High, v)
}

// widen makes a range of one value larger, so that there is something to slide over.
func (s *span) widen() {
	if s.Low == s.High {
		s.Low, s.High = s.Low/10, s.High*10
	}
}

// LogLow is the logarithm, base 10, of the lower end.
func (s span) LogLow() float64 { return math.Log10(s.Low) }

// LogHigh is that of the upper end.
func (s span) LogHigh() float64 { return math.Log10(s.High) }

// Queue queues a fit with the settings of the run like but other weights, for the worker of [Lab]. It prints a line, and does
// not wait for the fit.
func Queue(vgg string, like int64, contentWeight, styleWeight float64) {
	ctx := context.Background()
	lab := warmLab(ctx, vgg)
	run := Must(lab.Tracker.Run(ctx, strconv.FormatInt(like, 10)))
	config := Must(experiments.LoadGenerator(ctx, lab.Tracker, like)).Config
	config.ContentWeight, config.StyleWeight = contentWeight, styleWeight
	pair, err := experiments.LoadPair(ctx, lab.Tracker, like)
	if errors.Is(err, tracker.ErrNotFound) { // it was not queued
		pair, err = Pair(run.Params["content"].Text, run.Params["style"].Text), nil
	}
	Check(err)
	ids := Must(lab.Enqueue(ctx, run.Experiment, pair, experiments.List(config)))
	fmt.Printf("queued as run %d: execute the cell again to see it\n", ids[0])
}
