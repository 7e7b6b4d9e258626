package nb

import (
	"fmt"
	"html/template"
	"image/color"
	"iter"
	"os"
	"time"

	"hrlab/picture"

	"hrlab/experiments"
	"hrlab/hrstyle"

	"github.com/janpfeifer/gonb/gonbui"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// live is one output of a cell that changes at most five times a second. The notebook is saved with its last state.
type live struct {
	id   string
	last time.Time
}

const livePause = time.Second / 5

// show shows what page returns, unless it is too early for a change that is not urgent.
func (l *live) show(urgent bool, page func() string) {
	if !gonbui.IsNotebook || !urgent && time.Since(l.last) < livePause {
		return
	}
	if l.id == "" {
		l.id = id()
	}
	gonbui.UpdateHtml(l.id, page())
	gonbui.Sync()
	l.last = time.Now()
}

// Curves yields the steps of fit, and shows the two losses and the current picture as they come. The last ones stay.
func Curves(fit iter.Seq2[hrstyle.Step, error]) iter.Seq2[hrstyle.Step, error] {
	return func(yield func(hrstyle.Step, error) bool) {
		var l live
		var last hrstyle.Step
		var content, style plotter.XYs
		state := "starting; the first fit of a picture size is compiled first"
		page := func() string {
			data := struct {
				State string
				Step  hrstyle.Step
				JPEG  []byte
				Chart template.URL
			}{State: state, Step: last}
			if last.Ok() {
				data.JPEG, data.Chart = Must(picture.JPEG(last.Picture(), maxShown, 0)), chart(lossChart(content, style))
			}
			return render("curves", data)
		}
		l.show(true, page)
		state = "fitting"
		for step, err := range fit {
			if step.Ok() && (!last.Ok() || step.N > last.N) {
				content = append(content, plotter.XY{X: float64(step.N), Y: step.Content})
				style = append(style, plotter.XY{X: float64(step.N), Y: step.Style})
			}
			if step.Ok() {
				last = step
			}
			if err != nil {
				state = "stopped"
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

// lossChart shows the two unweighted losses, on a logarithmic axis.
func lossChart(content, style plotter.XYs) *plot.Plot {
	chart := plot.New()
	chart.BackgroundColor = color.Transparent
	chart.X.Label.Text = "step"
	for _, t := range []*draw.TextStyle{&chart.X.Label.TextStyle, &chart.X.Tick.Label, &chart.Y.Tick.Label, &chart.Legend.TextStyle} {
		t.Font.Size, t.Font.Variant = 12, "Sans"
	}
	drawn := 0
	for _, curve := range []struct {
		name   string
		points plotter.XYs
		color  color.Color
	}{
		{"content", content, color.RGBA{0x2b, 0x8c, 0xbe, 0xff}},
		{"style", style, color.RGBA{0xe6, 0x55, 0x0d, 0xff}},
	} {
		var points plotter.XYs
		for _, p := range curve.points {
			if p.Y > 0 { // a logarithm needs it
				points = append(points, p)
			}
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			continue
		}
		line.Color, line.Width = curve.color, vg.Points(1.5)
		chart.Add(line)
		chart.Legend.Add(curve.name+" loss   ", line) // a page's font is wider than the one it was laid out with
		drawn++
	}
	if drawn > 0 {
		chart.Y.Scale, chart.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	}
	chart.Legend.Top = true
	return chart
}

// Progress shows how far a sweep is. It is the last argument of Sweep.
func Progress() func(experiments.Progress) {
	var l live
	var fitted, skipped, failed, over, work int
	at := map[int]int{} // step by trial
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
		if p.Ended {
			over++
			switch {
			case p.Err != nil:
				failed++
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
		l.show(p.Ended, func() string {
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
			return render("progress", data)
		})
	}
}
