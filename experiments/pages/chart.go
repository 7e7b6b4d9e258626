package pages

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"

	"hrlab/report"
	"hrlab/tracker"
	"hrlab/tracker/web"
)

var chartBody = body("map.html")

// chart is the map of runs.
type chart struct {
	*subject
	Fields  []field
	X, Y    axis
	Dots    []dot
	Front   string // points of the line through the Pareto front
	OnFront int
	Axes    []axis // of the parallel coordinates
	Lines   []dot
	Width   int
	Height  int
	Tall    int // the height of the parallel coordinates
}

// axis is an axis of a chart, drawn from Start to End, both in px.
type axis struct {
	field
	Best       string // which values are best: high or low
	At         float64
	Start, End float64
	Ticks      []tick

	low, high float64
	log       bool
}

type tick struct {
	At   float64
	Text string
}

// dot is a run in a chart.
type dot struct {
	tracker.Info
	Text    string
	X, Y    float64
	Points  string // of the line through the axes
	OnFront bool
}

// Sizes of the charts in px: of the whole, and of the room for labels.
const (
	chartWidth, chartHeight, parallelHeight = 900, 480, 300
	roomLeft, roomBelow, room               = 70, 50, 20
)

func (s site) chart(w http.ResponseWriter, r *http.Request) error {
	about, err := s.subject(r)
	if err != nil {
		return err
	}
	c := chart{subject: about, Width: chartWidth, Height: chartHeight, Tall: parallelHeight}
	settings := about.settings()
	for _, f := range slices.Concat(settings, about.metrics()) {
		if numeric(about.Runs, f.Name) {
			c.Fields = append(c.Fields, f)
		}
	}
	c.X = c.axis(chosen(r, "x", c.Fields, report.ContentKept, "content_weight"))
	c.Y = c.axis(chosen(r, "y", c.Fields, report.StyleMatch, "style_weight"))
	for _, a := range []struct {
		axis *axis
		name string
	}{{&c.X, "xbest"}, {&c.Y, "ybest"}} {
		switch text := r.URL.Query().Get(a.name); text {
		case "high", "low":
			a.axis.Best = text
		case "":
		default:
			return web.Bad(fmt.Errorf("%s %q; allowed: high or low", a.name, text))
		}
	}
	c.X.draw(about.Runs, roomLeft, chartWidth-room)
	c.Y.draw(about.Runs, chartHeight-roomBelow, room)
	c.fill(settings)
	s.Show(w, r, web.Page{
		Title: "Map", Experiment: c.Experiment, Template: chartBody, Data: &c,
		Scripts: []string{"/map/map.js"}, Styles: []string{"/map/pages.css"},
	})
	return nil
}

// number is a metric or a setting of a run, by its name; NaN where there is none.
func number(run tracker.Info, name string) float64 {
	if v, ok := report.Param(run, name); ok {
		if !v.IsNumber {
			return math.NaN()
		}
		return v.Number
	}
	return report.Measured(run, name)
}

// numeric says whether any run has a number of this name.
func numeric(runs []tracker.Info, name string) bool {
	return slices.ContainsFunc(runs, func(r tracker.Info) bool { return !math.IsNaN(number(r, name)) })
}

// axis is the axis of a field. Of measures it is known which values are best; a loss is best low.
func (c *chart) axis(name string) axis {
	a := axis{Best: "high"}
	for _, f := range c.Fields {
		if f.Name == name {
			a.field = f
		}
	}
	if slices.Contains([]string{"total", "content", "style", "seconds"}, name) {
		a.Best = "low"
	}
	for _, m := range report.Measures() {
		if m.Name == name {
			a.Best = m.Best
		}
	}
	return a
}

// draw places the axis from start to end. It is logarithmic where all values are above 0 and the highest is 20 times the
// lowest, as weights are.
func (a *axis) draw(runs []tracker.Info, start, end float64) {
	a.Start, a.End, a.low, a.high = start, end, math.Inf(1), math.Inf(-1)
	for _, run := range runs {
		if v := number(run, a.Name); !math.IsNaN(v) {
			a.low, a.high = min(a.low, v), max(a.high, v)
		}
	}
	const wide = 20
	if a.log = a.low > 0 && a.high > wide*a.low; a.log {
		a.low, a.high = math.Log10(a.low), math.Log10(a.high)
	}
	if !(a.low < a.high) { // one value, or none
		a.low, a.high = a.low-1, a.high+1
	}
	const edge = 0.03 // so that no dot is on the border
	a.low, a.high = a.low-edge*(a.high-a.low), a.high+edge*(a.high-a.low)
	for _, v := range a.round() {
		a.Ticks = append(a.Ticks, tick{a.place(v), digits(v, 3)})
	}
}

// place is where a value is on the axis.
func (a *axis) place(v float64) float64 {
	if a.log {
		v = math.Log10(v)
	}
	return math.Round(10*(a.Start+(a.End-a.Start)*(v-a.low)/(a.high-a.low))) / 10
}

// round are a few round numbers on the axis.
func (a *axis) round() (list []float64) {
	if a.log {
		for power := math.Floor(a.low); power <= a.high; power++ {
			for _, digit := range []float64{1, 3} {
				if v := digit * math.Pow(10, power); math.Log10(v) >= a.low && math.Log10(v) <= a.high {
					list = append(list, v)
				}
			}
		}
		return list
	}
	const few = 4
	size := math.Pow(10, math.Floor(math.Log10((a.high-a.low)/few)))
	for _, by := range []float64{5, 2} {
		if (a.high-a.low)/(size*by) >= few {
			size *= by
			break
		}
	}
	for i := int(math.Ceil(a.low / size)); i <= int(math.Floor(a.high/size)); i++ { // as a float it would begin at -0
		list = append(list, float64(i)*size)
	}
	return list
}

// fill places the runs.
func (c *chart) fill(settings []field) {
	sign := map[string]float64{"high": 1, "low": -1}
	front := report.FrontOf(c.Runs, func(r tracker.Info) (x, y float64) {
		return sign[c.X.Best] * number(r, c.X.Name), sign[c.Y.Best] * number(r, c.Y.Name)
	})
	onFront := map[int64]bool{}
	var line []string
	for _, run := range front {
		onFront[run.ID] = true
		line = append(line, fmt.Sprintf("%g,%g", c.X.place(number(run, c.X.Name)), c.Y.place(number(run, c.Y.Name))))
	}
	c.Front, c.OnFront = strings.Join(line, " "), len(front)
	for _, f := range slices.Concat(settings, measures(c.Runs)) {
		if len(different(c.Runs, f.Name)) == 1 && slices.Contains(settings, f) { // the weights are always settings
			continue
		}
		if numeric(c.Runs, f.Name) {
			c.Axes = append(c.Axes, c.axis(f.Name))
		}
	}
	for i := range c.Axes {
		a := &c.Axes[i]
		a.At = roomLeft + (chartWidth-roomLeft-3*room)*float64(i)/float64(max(1, len(c.Axes)-1))
		a.draw(c.Runs, parallelHeight-room, 2*room)
	}
	for _, run := range c.Runs {
		d := dot{Info: run, Text: label(run), OnFront: onFront[run.ID]}
		var points []string
		for i := range c.Axes {
			a := &c.Axes[i]
			if v := number(run, a.Name); !math.IsNaN(v) {
				points = append(points, fmt.Sprintf("%g,%g", a.At, a.place(v)))
			}
		}
		d.Points = strings.Join(points, " ")
		c.Lines = append(c.Lines, d)
		x, y := number(run, c.X.Name), number(run, c.Y.Name)
		if math.IsNaN(x + y) {
			continue
		}
		d.X, d.Y = c.X.place(x), c.Y.place(y)
		c.Dots = append(c.Dots, d)
	}
}

// measures are the measures that runs have.
func measures(runs []tracker.Info) (list []field) {
	for _, m := range report.Measures() {
		if numeric(runs, m.Name) {
			list = append(list, field{m.Name, m.Title})
		}
	}
	return list
}

// Last is the digest of a run's output.
func (c *chart) Last(run int64) string { return c.last(run).Digest }

// Shown is a number of a run as text.
func (c *chart) Shown(run tracker.Info, name string) string {
	v := number(run, name)
	if math.IsNaN(v) {
		return "–"
	}
	return digits(v, 4)
}
