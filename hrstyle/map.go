package hrstyle

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	. "github.com/gomlx/gomlx/core/graph"
)

// A weight map is one generator for a whole range of weights, fitted once: You Only Train Once (Dosovitskiy and Djolonga, ICLR
// 2020), with the conditioning of "Adjustable Real-time Style Transfer" (Babaeizadeh and Ghiasi, ICLR 2020), for one pair. Only
// the ratio of the weights counts under Adam, so t = log10(content weight / style weight) is the whole range.

// WeightRange is the range of ratios, content weight to style weight, that a weight map is fitted for.
type WeightRange struct {
	From float64 `json:"map_from,omitzero"` // the lowest ratio, above 0
	To   float64 `json:"map_to,omitzero"`   // the highest, finite
	// Knots is the number of ratios, evenly spaced in their logarithms, at which the map has parameters of its own, 2 to 33.
	// Between them it interpolates linearly in t. 0, with From and To 0, means an ordinary fit.
	Knots int `json:"map_knots,omitzero"`
}

// DefaultMap is a weight map of every ratio that changes the output (docs/weight-ranges.md), for [Engine.Fit].
//
// With Knots some fields have another meaning. ContentWeight is 0, since every step has another ratio of the range, and that times
// StyleWeight as content weight. DecayEvery is 0, since the learning rate falls linearly to 0 at the last step. Init is empty,
// since starts from a fit gave worse maps. The losses and the picture of a Step are those of its own ratio. Its Generator is the
// map, and Generator.At the generator of any ratio.
var DefaultMap = func() Config {
	c := Default
	c.Size, c.Steps, c.LearningRate, c.ReportEvery = 160, 750, 2e-3, 50
	c.ContentWeight, c.DecayEvery, c.WeightRange = 0, 0, WeightRange{0.8, 8000, 5}
	return c
}()

// validateMap names the first field that does not fit a weight map.
func (c Config) validateMap() error {
	m := c.WeightRange
	if m == (WeightRange{}) {
		return nil
	}
	for _, f := range []struct {
		ok      bool
		name    string
		value   any
		allowed string
	}{
		{m.From > 0 && !math.IsInf(m.From, 0), "from", m.From, "a finite number above 0"},
		{m.To > m.From && !math.IsInf(m.To, 0), "to", m.To, fmt.Sprintf("a finite number above %g", m.From)},
		{m.Knots >= 2 && m.Knots <= 33, "knots", m.Knots, "2 to 33"},
		{c.ContentWeight == 0, "content-weight", c.ContentWeight, "0 for a weight map, which has all from " + m.text()},
		{c.StyleWeight > 0, "style-weight", c.StyleWeight, "a finite number above 0"},
		{c.DecayEvery == 0, "decay-every", c.DecayEvery, "0 for a weight map, whose learning rate falls linearly"},
		{c.Init == "", "init", c.Init, "none for a weight map"},
	} {
		if !f.ok {
			return fmt.Errorf("%s %v: allowed: %s", f.name, f.value, f.allowed)
		}
	}
	return nil
}

// text is "0.8 to 8000".
func (r WeightRange) text() string { return fmt.Sprintf("%g to %g", r.From, r.To) }

// Ratios are n ratios, 2 or more, evenly spaced in their logarithms from From to To, of three digits but for the ends.
func (r WeightRange) Ratios(n int) []float64 {
	list := make([]float64, n)
	for i := range list {
		list[i], _ = strconv.ParseFloat(strconv.FormatFloat(r.ratio(float64(i)/float64(n-1)), 'g', 3, 64), 64)
	}
	list[0], list[n-1] = r.From, r.To
	return list
}

// ratio is the one at u of the way, 0 to 1, from From to To in their logarithms.
func (r WeightRange) ratio(u float64) float64 { return r.From * math.Pow(r.To/r.From, u) }

// drawn is the ratio of step n. The multiples of the golden ratio spread over the range evenly from the first few on. They are
// stretched, so that both ends are hit, and then bent towards low ratios, where a fit takes longest.
func (r WeightRange) drawn(n int) float64 {
	_, u := math.Modf(0.5 + (math.Phi-1)*float64(n))
	return r.ratio(math.Pow(min(max(1.12*u-0.06, 0), 1), 1.15))
}

// weights are those of the knots at a ratio, the hat functions φⱼ(t): they add up to 1, and no more than two are above 0.
func (r WeightRange) weights(ratio float64) []float64 {
	list := make([]float64, r.Knots)
	at := math.Log(ratio/r.From) / math.Log(r.To/r.From) * float64(r.Knots-1)
	if near := math.Round(at); math.Abs(at-near) < 1e-9 {
		at = near // at a knot the others have no part, not even a rounding error's
	}
	for j := range list {
		list[j] = max(0, 1-math.Abs(at-float64(j)))
	}
	return list
}

// firstConditioned is where that part of the flat vector of a gated generator begins that depends on t: the last convolution,
// the scales and shifts, and the gate. A knot holds knotCount values, what it adds to that part.
var firstConditioned, knotCount = func() (begin, n int) {
	for _, p := range parameters {
		if p.name == "8_1.weight" {
			begin = p.begin
		}
	}
	return begin, gatedCount - begin
}()

// mapParameters lists the tensors of a weight map: those of a gated generator, and after them those of each knot.
func mapParameters(knots int) []parameter {
	list, n := slices.Clip(gatedParameters), gatedCount
	for j := range knots {
		for _, p := range gatedParameters {
			if p.begin >= firstConditioned {
				list = append(list, parameter{name: fmt.Sprintf("knots.%d.%s", j, p.name), shape: p.shape, begin: n, end: n + p.end - p.begin})
				n += p.end - p.begin
			}
		}
	}
	return list
}

// initial is the flat vector of a map before its first step, which begins with a plain generator's: scales are 1, and shifts and
// what knots add are 0. But for the gate: it lets the picture through at high ratios, clamp(5·(t − 3.2), ±6).
func (r WeightRange) initial(plain []float32) []float32 {
	flat := make([]float32, gatedCount+r.Knots*knotCount)
	copy(flat, plain)
	for _, p := range gatedParameters[len(parameters):] {
		if strings.HasSuffix(p.name, ".scale") {
			for i := p.begin; i < p.end; i++ {
				flat[i] = 1
			}
		}
	}
	for j := range r.Knots {
		t := math.Log10(r.ratio(float64(j) / float64(r.Knots-1)))
		flat[gatedCount+(j+1)*knotCount-1] = float32(min(max(5*(t-3.2), -6), 6))
	}
	return flat
}

// betweenKnots is the flat vector of the generator that a map has where its knots have these weights [knots]: the conditioned
// part is base + Σ φⱼ·Δⱼ. back takes the gradient with respect to that vector, and returns that with respect to the map's.
func betweenKnots(flat, weights *Node) (generator *Node, back backward) {
	knots := weights.Shape().Dim(0)
	shared := SliceAxis(flat, 0, AxisRange(0, firstConditioned))
	base := SliceAxis(flat, 0, AxisRange(firstConditioned, gatedCount))
	deltas := Reshape(SliceAxis(flat, 0, AxisRange(gatedCount)), knots, knotCount)
	generator = Concatenate([]*Node{shared, Add(base, Einsum("j,jp->p", weights, deltas))}, 0)
	return generator, func(d *Node) *Node { // dbase = d and dΔⱼ = φⱼ·d
		conditioned := SliceAxis(d, 0, AxisRange(firstConditioned))
		return Concatenate([]*Node{d, Reshape(Einsum("j,p->jp", weights, conditioned), -1)}, 0)
	}
}

// errNoRatio says that a generator is a weight map.
var errNoRatio = errors.New("the generator is a weight map, which has one for every ratio of the weights: choose one by At")

// IsMap says whether g is a weight map.
func (g *Generator) IsMap() bool { return g.Config.Knots > 0 }

// At returns the generator that a weight map has for a ratio of content weight to style weight, which must be in Config.WeightRange's
// range. It is an ordinary one, for [Engine.Apply] or to begin a fit with; its Config has the weights of that ratio.
func (g *Generator) At(ratio float64) (*Generator, error) {
	m := g.Config.WeightRange
	if !g.IsMap() {
		return nil, errors.New("ratio: the generator is of one fit; only a weight map (hrlab map) has one for every ratio")
	}
	if !(ratio >= m.From && ratio <= m.To) {
		return nil, fmt.Errorf("ratio %g: allowed: %s, the range of the weight map", ratio, m.text())
	}
	at := &Generator{Step: g.Step, Config: g.Config, VGG: g.VGG, flat: make([]float32, gatedCount)}
	at.Config.WeightRange, at.Config.ContentWeight = WeightRange{}, ratio*g.Config.StyleWeight
	copy(at.flat, g.flat)
	weights := m.weights(ratio)
	for i := firstConditioned; i < gatedCount; i++ {
		sum := float64(g.flat[i])
		for j, w := range weights {
			sum += w * float64(g.flat[gatedCount+j*knotCount+i-firstConditioned])
		}
		at.flat[i] = float32(sum)
	}
	return at, nil
}
