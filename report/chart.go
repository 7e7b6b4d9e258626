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
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// chartWidth and chartHeight are the size of every chart.
const chartWidth, chartHeight = 420, 300 // points

// margin is the room at the right for half of the last tick's label, in points; a third of it is on the other sides, since a
// page's font may be larger than the one that the library measures.
const margin = 15

// legendCurves is the most curves of which a legend names each.
const legendCurves = 8

// Colours tell lines and points of a chart apart, also for colour-blind eyes: blue, vermilion, bluish green and reddish purple of
// the palette by Okabe and Ito ("Color Universal Design", 2008; https://jfly.uni-koeln.de/color). They are its colours that have
// a contrast of 3 or more on white and on a dark page (#121212), as WCAG 2.2 asks of graphics.
var Colours = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 0xff}, color.RGBA{0xd5, 0x5e, 0x00, 0xff}, color.RGBA{0x00, 0x9e, 0x73, 0xff}, color.RGBA{0xcc, 0x79, 0xa7, 0xff},
}

// accent marks what is suggested, soft what is neither that nor on the front.
var accent, soft = Colours[1], color.Gray{128}

// NewChart is an empty chart in the style of the report's, without a background. Its axes have round numbers.
func NewChart(title, x, y string) *plot.Plot {
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
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.TickerFunc(roundTicks), plot.TickerFunc(roundTicks)
	grid := plotter.NewGrid()
	for _, line := range []*draw.LineStyle{&grid.Horizontal, &grid.Vertical} {
		line.Color = color.NRGBA{128, 128, 128, 80}
	}
	p.Add(grid)
	return p
}

// Curve is a line of a chart by step.
type Curve struct {
	Label  string
	Steps  []int64
	Values []float64
}

// Curves is a chart of curves by step. Up to eight differ by colour, and the second four are dashed; more go from blue for the
// first by purple to orange for the last. The axis is logarithmic unless a value is negative; zeros and what is not finite
// are left out there.
func Curves(title string, curves ...Curve) *plot.Plot {
	chart := NewChart(title, "step", "")
	chart.X.Tick.Marker = plot.TickerFunc(stepTicks)
	const lowest, highest = math.SmallestNonzeroFloat32, math.MaxFloat32 // losses are float32, and a logarithm needs more than 0
	log := !slices.ContainsFunc(curves, func(c Curve) bool { return slices.ContainsFunc(c.Values, func(v float64) bool { return v < 0 }) })
	drawn, named := 0, 0
	for i, c := range curves {
		var points plotter.XYs
		for k, v := range c.Values {
			if math.Abs(v) <= highest && (v >= lowest || !log) {
				points = append(points, plotter.XY{X: float64(c.Steps[k]), Y: v})
			}
		}
		line, err := plotter.NewLine(points)
		if err != nil || len(points) == 0 {
			continue
		}
		line.Width = vg.Points(1.5)
		line.Color, line.Dashes = ramp(i, len(curves)), nil
		if len(curves) <= legendCurves {
			line.Color = Colours[i%len(Colours)]
			if i >= len(Colours) {
				line.Dashes = []vg.Length{vg.Points(5), vg.Points(3)}
			}
		}
		chart.Add(line)
		if c.Label != "" && (len(curves) <= legendCurves || i == 0 || i == len(curves)-1) {
			chart.Legend.Add(c.Label+strings.Repeat(" ", 2+len(c.Label)/3), line) // spaces, since a page's font may be wider than the one that the library measures
			named++
		}
		drawn++
	}
	chart.Legend.Top = true
	if drawn == 0 { // a logarithmic axis of nothing panics
		return chart
	}
	room := 0.08 * float64(named) // for the legend, above the curves
	if !log {
		chart.Y.Max += room * (chart.Y.Max - chart.Y.Min)
		return chart
	}
	chart.Y.Scale, chart.Y.Tick.Marker = plot.LogScale{}, plot.TickerFunc(logTicks)
	if chart.Y.Min == chart.Y.Max { // the library would make room on both sides by 1, and take the logarithm of what is below 0
		chart.Y.Min, chart.Y.Max = chart.Y.Min/2, chart.Y.Max*2
	}
	chart.Y.Max *= math.Pow(chart.Y.Max/chart.Y.Min, room)
	return chart
}

// ramp is a colour for the i-th of n curves in an order: from blue by purple to orange.
func ramp(i, n int) color.Color {
	stops := []color.Color{Colours[0], Colours[3], Colours[1]}
	at := float64(i) / float64(max(n-1, 1)) * float64(len(stops)-1)
	k := min(int(at), len(stops)-2)
	a, b, t := stops[k].(color.RGBA), stops[k+1].(color.RGBA), at-float64(k)
	mix := func(a, b uint8) uint8 { return uint8(math.Round(float64(a) + t*(float64(b)-float64(a)))) }
	return color.RGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 0xff}
}

// Losses is a chart of one unweighted loss, content or style, of all finished runs by step.
func (p *Pair) Losses(name string) *plot.Plot {
	var curves []Curve
	for i := range p.Runs { // in the order of the content weight
		for _, c := range p.curves {
			if c.Run == p.Runs[i].ID && c.Metric == name {
				curves = append(curves, Curve{p.Runs[i].Label(), c.Steps, c.Values})
			}
		}
	}
	return Curves(name+" loss", curves...)
}

// labelWidth and labelHeight are the room of a label on the axes, as a share of them: a point of the front that is nearer to one
// with a label has none.
const labelWidth, labelHeight = 0.18, 0.06

// Pareto is a chart of content kept against style match of all finished runs. A line joins the Pareto front, and a ring marks the
// suggested run.
func (p *Pair) Pareto() *plot.Plot {
	chart := NewChart("content kept against style match", "content kept", "style match")
	var front, others plotter.XYs
	names := map[plotter.XY]string{}
	for i := range p.Runs {
		run := &p.Runs[i]
		point := plotter.XY{X: Measured(run.Info, ContentKept), Y: Measured(run.Info, StyleMatch)}
		if run.Status != "finished" || math.IsNaN(point.X+point.Y) || math.IsInf(point.X+point.Y, 0) {
			continue
		}
		if run.OnFront {
			front = append(front, point)
			names[point] = run.Label()
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
	slices.SortFunc(front, func(a, b plotter.XY) int { return cmp.Compare(a.X, b.X) })
	labelled := slices.Clone(front) // the suggested run first, so that it has its label
	if p.Suggested != nil {
		suggested := plotter.XY{X: Measured(p.Suggested.Info, ContentKept), Y: Measured(p.Suggested.Info, StyleMatch)}
		dots(plotter.XYs{suggested}, accent, 7)
		labelled = append(plotter.XYs{suggested}, labelled...)
	}
	if line, err := plotter.NewLine(front); err == nil && len(front) > 1 {
		line.Color = soft
		chart.Add(line)
	}
	dots(others, soft, 3)
	dots(front, Colours[0], 4)
	wide, high := chart.X.Max-chart.X.Min, chart.Y.Max-chart.Y.Min
	labels := plotter.XYLabels{}
	for _, point := range labelled {
		if !slices.ContainsFunc(labels.XYs, func(o plotter.XY) bool {
			return math.Abs(o.X-point.X) < labelWidth*wide && math.Abs(o.Y-point.Y) < labelHeight*high
		}) {
			labels.XYs, labels.Labels = append(labels.XYs, point), append(labels.Labels, names[point])
		}
	}
	if l, err := plotter.NewLabels(labels); err == nil && len(labels.Labels) > 0 {
		longest := 0
		for i := range l.TextStyle {
			l.TextStyle[i].Font = chart.Legend.TextStyle.Font
			longest = max(longest, len(labels.Labels[i]))
		}
		l.Offset = vg.Point{X: 9, Y: 3}
		chart.Add(l)
		chart.X.Max += min(0.02*float64(longest), 0.5) * wide // room for the last label
	}
	return chart
}

// SVG draws a chart as an svg element, in the colour of the text around it.
func SVG(p *plot.Plot) (template.HTML, error) {
	canvas := vgsvg.New(chartWidth, chartHeight)
	p.Draw(draw.Crop(draw.New(canvas), margin/3, -margin, margin/3, -margin/3))
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
	p.Draw(draw.Crop(draw.New(canvas), margin/3, -margin, margin/3, -margin/3))
	var buf bytes.Buffer
	_, err := canvas.WriteTo(&buf)
	return buf.Bytes(), err
}
