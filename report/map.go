package report

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"hrlab/tracker"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// IsMap says whether a run is that of a weight map, which has measures at many ratios of the weights.
func IsMap(run tracker.Info) bool { return run.Params["map_knots"].Number > 0 }

// Map is a weight map as it is on record: what it makes at some ratios of the weights.
type Map struct {
	Run    tracker.Info
	Points []Point // by rising ratio
	Knee   *Point  // of their Pareto front; nil where the map is not finished or its measures are not defined
}

// Point is a weight map at a ratio of the weights. Its Info has the measures there under their own names, and is of no run.
type Point struct {
	tracker.Info
	Ratio   float64
	OnFront bool
	Picture []byte // a JPEG of the latest step on record; nil where there is none
}

// NewMap is the map of a run, without pictures.
func NewMap(run tracker.Info) *Map {
	m := &Map{Run: run}
	for name := range run.Metrics {
		text, ok := strings.CutPrefix(name, "content_at_")
		ratio, err := strconv.ParseFloat(text, 64)
		if !ok || err != nil {
			continue
		}
		p := Point{Ratio: ratio, Info: tracker.Info{Metrics: map[string]tracker.Metric{}}}
		for _, measure := range measures {
			if v, ok := run.Metrics[At(measure.Name, ratio)]; ok {
				p.Metrics[measure.Name] = v
			}
		}
		m.Points = append(m.Points, p)
	}
	slices.SortFunc(m.Points, func(a, b Point) int { return cmp.Compare(a.Ratio, b.Ratio) })
	var infos []tracker.Info
	for i := range m.Points {
		m.Points[i].ID = int64(i)
		infos = append(infos, m.Points[i].Info)
	}
	front := Front(infos)
	for _, r := range front {
		m.Points[r.ID].OnFront = true
	}
	if knee, ok := Knee(front); ok {
		m.Knee = &m.Points[knee.ID]
	}
	return m
}

// Suggestion is one sentence: the ratio at the knee, or why there is none.
func (m *Map) Suggestion() string {
	switch {
	case m.Knee != nil:
		return fmt.Sprintf("the knee of the map is at %s : 1, content kept %s, style match %s", m.Knee.Text(), m.Knee.Measure(ContentKept), m.Knee.Measure(StyleMatch))
	case m.Run.Status == tracker.Finished:
		return "the map has no knee, since content kept or style match is not defined for the pair"
	}
	return fmt.Sprintf("the map has no measures yet: run %d is %s", m.Run.ID, m.Run.Status)
}

// Measure is a measure at the point as text, with three digits after the point; – where it is not defined.
func (p *Point) Measure(name string) string { return (&Run{Info: p.Info}).Measure(name) }

// IsKnee says whether the i-th point is the knee.
func (m *Map) IsKnee(i int) bool { return m.Knee == &m.Points[i] }

// Text is the ratio: "25.3".
func (p *Point) Text() string { return strconv.FormatFloat(p.Ratio, 'g', -1, 64) }

// gather reads the pictures of the map's points.
func (m *Map) gather(ctx context.Context, store *tracker.Store) error {
	pictures, err := store.Pictures(ctx, m.Run.ID)
	if err != nil {
		return err
	}
	for i := range m.Points {
		p := &m.Points[i]
		for _, shown := range pictures { // by rising step
			if shown.Name != At(Output, p.Ratio) {
				continue
			}
			if p.Picture, err = store.Thumbnail(ctx, shown.Digest); err != nil {
				return err
			}
		}
	}
	return nil
}

// Charts are the measures over the ratio of the weights, on a logarithmic axis, with the knee marked. Those that are not defined
// are left out.
func (m *Map) Charts() (charts []*plot.Plot, err error) {
	for _, measure := range measures {
		chart, err := m.chart(measure.Name)
		if err != nil {
			return nil, err
		}
		if chart != nil {
			charts = append(charts, chart)
		}
	}
	return charts, nil
}

// chart is that of one measure; nil where fewer than two points have it.
func (m *Map) chart(name string) (*plot.Plot, error) {
	chart := NewChart(measureTitle(name), "content weight : style weight", "")
	var curve plotter.XYs
	for _, p := range m.Points {
		if v := Measured(p.Info, name); !math.IsNaN(v) {
			curve = append(curve, plotter.XY{X: p.Ratio, Y: v})
		}
	}
	if len(curve) < 2 {
		return nil, nil // there is nothing to draw
	}
	line, points, err := plotter.NewLinePoints(curve)
	if err != nil {
		return nil, err
	}
	line.Color, line.Width = Colours[0], vg.Points(2)
	points.GlyphStyle = draw.GlyphStyle{Color: Colours[0], Radius: 3, Shape: draw.CircleGlyph{}}
	chart.Add(line, points)
	chart.X.Scale, chart.X.Tick.Marker = plot.LogScale{}, plot.TickerFunc(logTicks)
	if m.Knee != nil {
		knee, err := plotter.NewScatter(plotter.XYs{{X: m.Knee.Ratio, Y: Measured(m.Knee.Info, name)}})
		if err != nil {
			return nil, err
		}
		knee.GlyphStyle = draw.GlyphStyle{Color: accent, Radius: 6, Shape: draw.CircleGlyph{}}
		chart.Add(knee)
	}
	return chart, nil
}
