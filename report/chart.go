package report

import (
	"bytes"
	"cmp"
	"html/template"
	"image/color"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/palette/moreland"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// chartWidth and chartHeight are the size of every chart.
const chartWidth, chartHeight = 420, 300 // points

// margin is the room at the right for half of the last tick's label, in points.
const margin = 14

// legendRuns is the most curves for which a chart has a legend.
const legendRuns = 8

var accent = color.RGBA{0xd9, 0x48, 0x01, 0xff}

func newChart(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.BackgroundColor = color.Transparent
	p.Title.Padding = 6
	for _, style := range []struct {
		of   *draw.TextStyle
		size vg.Length
	}{{&p.Title.TextStyle, 14}, {&p.X.Label.TextStyle, 13}, {&p.Y.Label.TextStyle, 13}, {&p.X.Tick.Label, 11}, {&p.Y.Tick.Label, 11}, {&p.Legend.TextStyle, 11}} {
		style.of.Font.Size, style.of.Font.Variant = style.size, "Sans"
	}
	p.Add(plotter.NewGrid())
	return p
}

// shade is a colour for the i-th of n runs, from blue to red.
func shade(i, n int) color.Color {
	m := moreland.Kindlmann()
	m.SetMin(-0.3 * float64(max(n-1, 1)))
	m.SetMax(1.2 * float64(max(n-1, 1)))
	c, err := m.At(float64(i))
	if err != nil {
		return color.Black
	}
	return c
}

// Losses is a chart of one unweighted loss, content or style, of all finished runs by step.
func (p *Pair) Losses(name string) *plot.Plot {
	chart := newChart(name+" loss", "step", "")
	chart.Y.Scale, chart.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	labels := map[int64]string{}
	for _, r := range p.Runs {
		labels[r.ID] = r.Label()
	}
	const lowest, highest = math.SmallestNonzeroFloat32, math.MaxFloat32 // losses are float32, and a logarithm needs more than 0
	drawn, all := 0, 0
	for _, c := range p.curves {
		if c.Metric == name {
			all++
		}
	}
	for _, c := range p.curves {
		var points plotter.XYs
		for i, v := range c.Values {
			if v >= lowest && v <= highest {
				points = append(points, plotter.XY{X: float64(c.Steps[i]), Y: v})
			}
		}
		if c.Metric != name || len(points) == 0 {
			continue
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			continue
		}
		line.Color, line.Width = shade(drawn, all), vg.Points(1.2)
		chart.Add(line)
		if all <= legendRuns {
			chart.Legend.Add(labels[c.Run]+"   ", line) // spaces, since a page's font is wider than the one that the library measures
		}
		drawn++
	}
	if chart.Y.Min == chart.Y.Max { // the library would make room on both sides by 1, and take the logarithm of what is below 0
		chart.Y.Min, chart.Y.Max = chart.Y.Min/2, chart.Y.Max*2
	}
	if chart.Y.Min > 0 && len(labels) <= legendRuns { // room for the legend above the curves
		chart.Y.Max *= math.Pow(chart.Y.Max/chart.Y.Min, 0.07*float64(drawn))
	}
	if drawn == 0 { // a logarithmic axis of nothing panics
		chart.Y.Scale, chart.Y.Tick.Marker = plot.LinearScale{}, plot.DefaultTicks{}
	}
	chart.Legend.Top = true
	return chart
}

// tooNear is the distance of two points of the front below which the second has no label, since labels would overlap.
const tooNear = 0.04

// Pareto is a chart of content kept against style match of all finished runs. A line joins the Pareto front, and a ring marks the
// suggested run.
func (p *Pair) Pareto() *plot.Plot {
	chart := newChart("content kept against style match", "content kept", "style match")
	var front, others plotter.XYs
	labels := plotter.XYLabels{}
	for i := range p.Runs {
		run := &p.Runs[i]
		point := plotter.XY{X: measure(run.Info, ContentKept), Y: measure(run.Info, StyleMatch)}
		if run.Status != "finished" || math.IsNaN(point.X+point.Y) || math.IsInf(point.X+point.Y, 0) {
			continue
		}
		if run.OnFront {
			front = append(front, point)
			if !slices.ContainsFunc(labels.XYs, func(o plotter.XY) bool { return math.Hypot(o.X-point.X, o.Y-point.Y) < tooNear }) {
				labels.XYs, labels.Labels = append(labels.XYs, point), append(labels.Labels, run.Label())
			}
		} else {
			others = append(others, point)
		}
	}
	dots := func(points plotter.XYs, c color.Color, radius vg.Length) {
		if s, err := plotter.NewScatter(points); err == nil && len(points) > 0 {
			s.GlyphStyle = draw.GlyphStyle{Color: c, Radius: radius, Shape: draw.CircleGlyph{}}
			chart.Add(s)
		}
	}
	if p.Suggested != nil {
		dots(plotter.XYs{{X: measure(p.Suggested.Info, ContentKept), Y: measure(p.Suggested.Info, StyleMatch)}}, accent, 7)
	}
	slices.SortFunc(front, func(a, b plotter.XY) int { return cmp.Compare(a.X, b.X) })
	if line, err := plotter.NewLine(front); err == nil && len(front) > 1 {
		line.Color = color.Gray{128}
		chart.Add(line)
	}
	dots(others, color.Gray{150}, 3)
	dots(front, color.RGBA{0x2b, 0x6c, 0xb0, 0xff}, 4)
	if l, err := plotter.NewLabels(labels); err == nil && len(labels.Labels) > 0 {
		for i := range l.TextStyle {
			l.TextStyle[i].Font = chart.Legend.TextStyle.Font
		}
		l.Offset = vg.Point{X: 9, Y: 3}
		chart.Add(l)
		chart.X.Max += 0.15 * (chart.X.Max - chart.X.Min) // room for the last label
	}
	return chart
}

// SVG draws a chart as an svg element, in the colour of the text around it.
func SVG(p *plot.Plot) (template.HTML, error) {
	canvas := vgsvg.New(chartWidth, chartHeight)
	p.Draw(draw.Crop(draw.New(canvas), 0, -margin, 0, 0))
	var buf bytes.Buffer
	if _, err := canvas.WriteTo(&buf); err != nil {
		return "", err
	}
	_, text, _ := strings.Cut(buf.String(), "<svg")
	text = "<svg role=\"img\" fill=\"currentColor\"" + text // texts have no colour of their own
	text = strings.NewReplacer("#000000", "currentColor", "fill=\"black\"", "fill=\"currentColor\"").Replace(text)
	return template.HTML(text), nil //nolint:gosec // the library escapes the texts
}

// pngBytes draws a chart on white.
func pngBytes(p *plot.Plot) ([]byte, error) {
	p.BackgroundColor = color.White
	canvas := vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(chartWidth, chartHeight), vgimg.UseDPI(144))}
	p.Draw(draw.Crop(draw.New(canvas), 0, -margin, 0, 0))
	var buf bytes.Buffer
	_, err := canvas.WriteTo(&buf)
	return buf.Bytes(), err
}
