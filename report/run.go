package report

import (
	"math"
	"strconv"
	"strings"

	"hrlab/tracker"
)

// Run is a run and what the report shows of it.
type Run struct {
	tracker.Info
	Output    []byte // a JPEG; nil where the run has no output
	Seeds     int    // how many runs have these settings with other seeds, itself included; counted at the first of them
	Other     string // the settings that vary apart from the weights: "size 96"
	OnFront   bool   // it is on the Pareto front
	Suggested bool   // it is the suggested run of its pair
}

// Measures are the run's measures as text: "content kept 0.812, style match 0.904". Those that are not defined are left out.
func (r *Run) Measures() string {
	var list []string
	for _, m := range measures {
		if !math.IsNaN(Measured(r.Info, m.Name)) {
			list = append(list, m.Title+" "+r.Measure(m.Name))
		}
	}
	return strings.Join(list, ", ")
}

// Measure is the last value of a measure as text, with three digits after the point; – where it is not defined.
func (r *Run) Measure(name string) string {
	v := Measured(r.Info, name)
	if math.IsNaN(v) {
		return "–"
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}

// Param is the text of a parameter; empty where the run has none.
func (r *Run) Param(name string) string {
	v, _ := Param(r.Info, name)
	return v.Text
}

// Label names the run in short by its weights and what else varies: "30 : 1, size 96".
func (r *Run) Label() string {
	return join(r.Param("content_weight")+" : "+r.Param("style_weight"), r.Other)
}

// Settings are the weights and what else varies: "content weight 30, style weight 1, size 96".
func (r *Run) Settings() string {
	return join("content weight "+r.Param("content_weight")+", style weight "+r.Param("style_weight"), r.Other)
}

// row is the head of the run's row in the matrix.
func (r *Run) row() string { return join("content "+r.Param("content_weight"), r.Other) }

func join(weights, other string) string { return strings.TrimSuffix(weights+", "+other, ", ") }
