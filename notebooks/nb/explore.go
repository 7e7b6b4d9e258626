package nb

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"hrlab/experiments"
	"hrlab/picture"
	"hrlab/report"
	"hrlab/tracker"

	"github.com/janpfeifer/gonb/gonbui/protocol"
)

// Explore shows sliders for the two weights, and the output of the run that is nearest to them beside the content and the style
// picture. They begin at the suggested run, or at the middle one where none is; when the cell is executed again they are where
// they were. Everything is in the page: it works in a saved notebook, and without scripts it is a table of the outputs. Where
// there is a kernel, a button queues the fit with the weights of the sliders, for the worker of [Lab] with the same vgg, and
// follows it to its end.
func Explore(r *report.Report, vgg string) {
	for _, p := range r.Pairs {
		e := explore(p)
		if len(e.Runs) == 0 {
			display("<p>no finished run to explore</p>", "no finished run to explore")
			continue
		}
		// What the button has the kernel execute; CONTENT, STYLE and RUN are numbers.
		const cell = "import \"hrlab/notebooks/nb\"\n%%\nnb."
		e.Script = map[string]string{
			"kernel": os.Getenv(protocol.GONB_JUPYTER_KERNEL_ID_ENV),
			"key":    r.Experiment + " " + p.Name, // of the sliders' positions, in this notebook
			"queue":  cell + fmt.Sprintf("Queue(%s, %d, CONTENT, STYLE)", strconv.Quote(vgg), e.Runs[0].ID),
			"follow": cell + "Follow(RUN)",
		}
		display(render("explore", e), fmt.Sprintf("[%s: %d outputs to explore by weight]", p.Name, len(e.Runs)))
	}
}

// explore finds the runs of a pair that sliders can lead to, their range, and where to begin.
func explore(p *report.Pair) explorer {
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
		return e
	}
	start := e.Runs[len(e.Runs)/2]
	if slices.Contains(e.Runs, p.Suggested) {
		start = p.Suggested
	}
	e.Start = weightPair{start.Params["content_weight"].Number, start.Params["style_weight"].Number}
	e.Content.widen()
	e.Style.widen()
	return e
}

// explorer is the data of the page of Explore.
type explorer struct {
	ID             string
	Pair           *report.Pair
	Runs           []*report.Run
	Content, Style span
	Start          weightPair
	Script         map[string]string
}

type weightPair struct{ ContentWeight, StyleWeight float64 }

// JSON is the data of the page's script.
func (e explorer) JSON() template.JS {
	text, err := json.Marshal(e.Script)
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

// Queue queues a fit with the settings of the run like but other weights, for the worker of [Lab]. It prints the number of its
// run, and does not wait for the fit.
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
	fmt.Println(ids[0])
}

// Follow prints as JSON how a run gets on: a line of text, which says what a queued or lost one waits for, and whether it is over; in the end also its weights, and its output as
// the address of a picture.
func Follow(id int64) {
	ctx := context.Background()
	store := Tracker(ctx)
	text := follow(ctx, store, id)
	Check(store.Close())
	fmt.Println(text)
}

// follow is what Follow prints.
func follow(ctx context.Context, store *tracker.Store, id int64) string {
	info := Must(store.Run(ctx, strconv.FormatInt(id, 10)))
	run := report.Run{Info: info}
	var state struct {
		Text    string  `json:"text"`
		Over    bool    `json:"over"`
		Content float64 `json:"content"`
		Style   float64 `json:"style"`
		Src     string  `json:"src"`
	}
	state.Content, state.Style = info.Params["content_weight"].Number, info.Params["style_weight"].Number
	state.Text = fmt.Sprintf("run %d: %s", id, info.Status)
	switch info.Status {
	case tracker.Queued, tracker.Lost:
		if what := Must(Must(experiments.OpenQueue(ctx, store)).WaitsFor(ctx, id)); what != "" {
			state.Text += "; " + what
		}
	case tracker.Running:
		state.Text += fmt.Sprintf(", step %d of %s", info.Metrics["total"].LastStep, run.Param("steps"))
	case tracker.Finished:
		state.Over, state.Text = true, fmt.Sprintf("run %d: %s; %s", id, run.Settings(), run.Measures())
		if steps := Must(experiments.Recorded(ctx, store, info)); len(steps) > 0 {
			jpeg := Must(picture.JPEG(steps[len(steps)-1].Picture(), maxShown, 0))
			state.Src = "data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(jpeg)
		}
	case tracker.Failed, tracker.Stopped:
		state.Over, state.Text = true, strings.TrimSuffix(state.Text+": "+info.Error, ": ")
	}
	return string(Must(json.Marshal(state)))
}
