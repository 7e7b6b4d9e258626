package experiments

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"

	"hrlab/hrstyle"
)

// Trial is a fit to make.
type Trial struct{ Config hrstyle.Config }

// Axis is a setting and the values that it takes in a sweep.
type Axis struct {
	Name   string // as the parameter of runs is called: content_weight
	values []float64
	set    func(c *hrstyle.Config, value float64)
}

// Len is the number of values.
func (a Axis) Len() int { return len(a.values) }

func floatAxis(name string, values []float64, field func(*hrstyle.Config) *float64) Axis {
	return Axis{name, values, func(c *hrstyle.Config, v float64) { *field(c) = v }}
}

func intAxis[T int | int64](name string, values []T, field func(*hrstyle.Config) *T) Axis {
	a := Axis{Name: name, set: func(c *hrstyle.Config, v float64) { *field(c) = T(v) }}
	for _, v := range values {
		a.values = append(a.values, float64(v))
	}
	return a
}

// ContentWeight varies the weight of the content loss.
func ContentWeight(values ...float64) Axis {
	return floatAxis("content_weight", values, func(c *hrstyle.Config) *float64 { return &c.ContentWeight })
}

// StyleWeight varies the weight of the style loss.
func StyleWeight(values ...float64) Axis {
	return floatAxis("style_weight", values, func(c *hrstyle.Config) *float64 { return &c.StyleWeight })
}

// LearningRate varies Adam's learning rate.
func LearningRate(values ...float64) Axis {
	return floatAxis("learning_rate", values, func(c *hrstyle.Config) *float64 { return &c.LearningRate })
}

// Seed varies the initial generator.
func Seed(values ...int64) Axis {
	return intAxis("seed", values, func(c *hrstyle.Config) *int64 { return &c.Seed })
}

// Steps varies the number of updates.
func Steps(values ...int) Axis {
	return intAxis("steps", values, func(c *hrstyle.Config) *int { return &c.Steps })
}

// Size varies the longer side of the fitted picture.
func Size(values ...int) Axis {
	return intAxis("size", values, func(c *hrstyle.Config) *int { return &c.Size })
}

// StyleSize varies the longer side of the style picture.
func StyleSize(values ...int) Axis {
	return intAxis("style_size", values, func(c *hrstyle.Config) *int { return &c.StyleSize })
}

// Grid is every combination of the axes' values, on top of base; the last axis changes quickest.
func Grid(base hrstyle.Config, axes ...Axis) []Trial {
	trials := []Trial{{base}}
	for _, a := range axes {
		var next []Trial
		for _, t := range trials {
			for _, v := range a.values {
				c := t.Config
				a.set(&c, v)
				next = append(next, Trial{c})
			}
		}
		trials = next
	}
	return trials
}

// Random is n trials whose values are drawn, evenly in their logarithms, between the least and the largest of each axis,
// which must be above 0.
func Random(base hrstyle.Config, n int, seed uint64, axes ...Axis) []Trial {
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // reproducible on purpose
	trials := make([]Trial, n)
	for i := range trials {
		trials[i].Config = base
		for _, a := range axes {
			low, high := math.Inf(1), math.Inf(-1)
			for _, v := range a.values {
				low, high = min(low, math.Log(v)), max(high, math.Log(v))
			}
			a.set(&trials[i].Config, math.Exp(low+(high-low)*random.Float64()))
		}
	}
	return trials
}

// List is a trial for every configuration.
func List(configs ...hrstyle.Config) (trials []Trial) {
	for _, c := range configs {
		trials = append(trials, Trial{c})
	}
	return trials
}

// Repeat is every trial n times, with the seeds after its own.
func Repeat(trials []Trial, n int) (all []Trial) {
	for _, t := range trials {
		for i := range n {
			c := t.Config
			c.Seed += int64(i)
			all = append(all, Trial{c})
		}
	}
	return all
}

// Presets are sweeps by name, over both weights: paper, its recommendation; table, its figure of content weights; wide,
// a grid around both.
var Presets = map[string][]Axis{
	"paper": {ContentWeight(50, 100), StyleWeight(1, 10)},
	"table": {ContentWeight(0.8, 8, 80, 800, 8000)},
	"wide":  {ContentWeight(0.8, 8, 80, 800, 8000), StyleWeight(0.1, 1, 10)},
}

// Validate names the first trial's setting that is out of range, and that there is something to do.
func Validate(trials []Trial) error {
	if len(trials) == 0 {
		return errors.New("a sweep without trials")
	}
	for i, t := range trials {
		if err := t.Config.Validate(); err != nil {
			return fmt.Errorf("trial %d of %d: %w", i+1, len(trials), err)
		}
	}
	return nil
}

// ParseValues reads the values of an axis: numbers by comma, log:FROM:TO:N for N numbers evenly spaced in their
// logarithms, or lin:FROM:TO:N.
func ParseValues(axis, text string) ([]float64, error) {
	fail := func(what string) ([]float64, error) {
		return nil, fmt.Errorf("%s %q: %s; allowed: numbers by comma, log:FROM:TO:N or lin:FROM:TO:N", axis, text, what)
	}
	kind, rest, spaced := strings.Cut(text, ":")
	if !spaced {
		var values []float64
		for word := range strings.SplitSeq(text, ",") {
			v, err := strconv.ParseFloat(strings.TrimSpace(word), 64)
			if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
				return fail(fmt.Sprintf("%q is no number", word))
			}
			values = append(values, v)
		}
		return values, nil
	}
	parts := strings.Split(rest, ":")
	if kind != "log" && kind != "lin" || len(parts) != 3 {
		return fail("not understood")
	}
	from, err := strconv.ParseFloat(parts[0], 64)
	to, err2 := strconv.ParseFloat(parts[1], 64)
	n, err3 := strconv.Atoi(parts[2])
	switch {
	case errors.Join(err, err2, err3) != nil || math.IsNaN(from-to) || math.IsInf(from-to, 0):
		return fail("FROM and TO are numbers, N is a whole one")
	case n < 2 || n > 1000 || from >= to:
		return fail("an empty range: FROM is less than TO, and N 2 to 1000")
	case kind == "log" && from <= 0:
		return fail("FROM of log is above 0")
	}
	values := make([]float64, n)
	for i := range values {
		t := float64(i) / float64(n-1)
		if kind == "log" { // 6 digits: what people would have written
			values[i], _ = strconv.ParseFloat(strconv.FormatFloat(from*math.Pow(to/from, t), 'g', 6, 64), 64)
		} else {
			values[i] = from + t*(to-from)
		}
	}
	return values, nil
}
