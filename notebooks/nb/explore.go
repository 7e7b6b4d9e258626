package nb

import (
	"context"
	"encoding/json"
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

// Explore shows sliders over the two weights, and at once the output of the nearest run of the experiment. Everything is
// in the page: it works in a saved notebook, and without scripts it is a table of the outputs. Where there is a kernel a
// button queues the fit with the very weights of the sliders, for [Lab]'s worker with these vgg.
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

// explorer is what the page of Explore is made of.
type explorer struct {
	ID             string
	Pair           *report.Pair
	Runs           []*report.Run
	Content, Style span
	Kernel, Cell   string
}

// JSON is for the page's script.
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

// widen leaves something to slide over where there is one value.
func (s *span) widen() {
	if s.Low == s.High {
		s.Low, s.High = s.Low/10, s.High*10
	}
}

// LogLow and LogHigh are the ends as base 10 logarithms.
func (s span) LogLow() float64 { return math.Log10(s.Low) }

// LogHigh is the upper end.
func (s span) LogHigh() float64 { return math.Log10(s.High) }

// Queue hands a fit to the worker that is as a run but for the two weights, and says so in a line. It does not wait.
func Queue(vgg string, like int64, contentWeight, styleWeight float64) {
	ctx := context.Background()
	lab := Lab(ctx, vgg)
	run := Must(lab.Tracker.Run(ctx, strconv.FormatInt(like, 10)))
	config := Must(experiments.LoadGenerator(ctx, lab.Tracker, like)).Config
	config.ContentWeight, config.StyleWeight = contentWeight, styleWeight
	ids := Must(lab.Enqueue(ctx, run.Experiment, Pair(run.Params["content"].Text, run.Params["style"].Text), experiments.List(config)))
	fmt.Printf("queued as run %d: execute the cell again to see it\n", ids[0])
}
