package experiments

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"hrlab/hrstyle"
)

// Trial is a fit to make.
type Trial struct {
	Config hrstyle.Config
	// Init is the generator that the fit begins with, where it is one of a weight map. Map is the map's name, for the record.
	Init *hrstyle.Generator
	Map  string
}

// Axis is a setting and the values that it takes in a sweep: each once, in the order given. Rounding errors are removed:
// 0.30000000000000004, which is what adding up 0.1 gives, becomes 0.3.
type Axis struct {
	Name   string // as the parameter of runs is called: content_weight
	values []float64
	set    func(c *hrstyle.Config, value float64)
}

// Len is the number of values.
func (a Axis) Len() int { return len(a.values) }

func floatAxis(name string, values []float64, field func(*hrstyle.Config) *float64) Axis {
	a := Axis{Name: name, set: func(c *hrstyle.Config, v float64) { *field(c) = v }}
	for _, v := range values {
		if !math.IsInf(v, 0) {
			v, _ = written(v, rounding*math.Abs(v))
		}
		if !slices.Contains(a.values, v) {
			a.values = append(a.values, v)
		}
	}
	return a
}

func intAxis[T int | int64](name string, values []T, field func(*hrstyle.Config) *T) Axis {
	a := Axis{Name: name, set: func(c *hrstyle.Config, v float64) { *field(c) = T(v) }}
	for _, v := range values {
		if !slices.Contains(a.values, float64(v)) {
			a.values = append(a.values, float64(v))
		}
	}
	return a
}

// rounding is the relative error that a few operations in float64 leave.
const rounding = 4e-16

// written is v as a person would write it: the number of up to 12 digits that differs from v by no more than off, a rounding
// error. ok is false where there is none, and w is v then.
func written(v, off float64) (w float64, ok bool) {
	if math.Abs(v) <= off {
		return 0, true // and not -0
	}
	return shorter(v, 1, 12, off)
}

// inRange is written for a number of a range whose neighbours are step away. A number that has no end, such as a third, gets
// 6 digits, or more where 6 would move it by a hundredth of a step.
func inRange(v, off, step float64) float64 {
	w, ok := written(v, off)
	if !ok {
		w, _ = shorter(v, 6, 17, step/100)
	}
	return w
}

// shorter rounds v to as few digits, of fewest to most, as change it by no more than off.
func shorter(v float64, fewest, most int, off float64) (w float64, ok bool) {
	for n := fewest; n <= most; n++ {
		if w, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', n, 64), 64); math.Abs(w-v) <= off {
			return w, true
		}
	}
	return v, false
}

// ContentWeight varies the weight of the content loss.
func ContentWeight(values ...float64) Axis {
	return floatAxis("content_weight", values, func(c *hrstyle.Config) *float64 { return &c.ContentWeight })
}

// StyleWeight varies the weight of the style loss.
func StyleWeight(values ...float64) Axis {
	return floatAxis("style_weight", values, func(c *hrstyle.Config) *float64 { return &c.StyleWeight })
}

// StyleGain varies what the style picture's Gram matrices are multiplied by.
func StyleGain(values ...float64) Axis {
	return floatAxis("style_gain", values, func(c *hrstyle.Config) *float64 { return &c.StyleGain })
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
	trials := []Trial{{Config: base}}
	for _, a := range axes {
		var next []Trial
		for _, t := range trials {
			for _, v := range a.values {
				c := t.Config
				a.set(&c, v)
				next = append(next, Trial{Config: c})
			}
		}
		trials = next
	}
	return trials
}

// List is a trial for every configuration.
func List(configs ...hrstyle.Config) (trials []Trial) {
	for _, c := range configs {
		trials = append(trials, Trial{Config: c})
	}
	return trials
}

// Repeat is every trial n times: with its own seed, and with the seeds that follow.
func Repeat(trials []Trial, n int) (all []Trial) {
	for _, t := range trials {
		for i := range n {
			c := t.Config
			c.Seed += int64(i)
			all = append(all, Trial{c, t.Init, t.Map})
		}
	}
	return all
}

// Presets are sweeps by name: paper is what the paper recommends, table is its figure of content weights, wide is a grid
// around both. The first two have [hrstyle.AuthorsGain], which stands for the sizes of the authors' style pictures. They have
// it only where the base has GramMean: with GramSum, as Reference has it, the sizes themselves count.
var Presets = map[string][]Axis{
	"paper": {ContentWeight(50, 100), StyleWeight(1, 10), authorsGain},
	"table": {ContentWeight(0.8, 8, 80, 800, 8000), authorsGain},
	"wide":  {ContentWeight(0.8, 8, 80, 800, 8000), StyleWeight(0.1, 1, 10)},
}

var authorsGain = Axis{"style_gain", []float64{hrstyle.AuthorsGain}, func(c *hrstyle.Config, gain float64) {
	if c.Gram == hrstyle.GramMean {
		c.StyleGain = gain
	}
}}

// Validate returns an error where there are no trials, or where a setting of one is out of range: the first one is named.
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

// ParseValues reads the values of an axis: comma-separated numbers, log:FROM:TO:N for N numbers evenly spaced in their
// logarithms, or lin:FROM:TO:N.
func ParseValues(axis, text string) ([]float64, error) {
	fail := func(what string) ([]float64, error) {
		return nil, fmt.Errorf("%s %q: %s; allowed: comma-separated numbers, log:FROM:TO:N or lin:FROM:TO:N", axis, text, what)
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
		return fail("FROM is less than TO, and N is 2 to 1000")
	case kind == "log" && from <= 0:
		return fail("FROM of log is above 0")
	}
	values := make([]float64, n)
	for i := range values {
		t := float64(i) / float64(n-1)
		if kind == "log" {
			v := from * math.Pow(to/from, t)
			values[i] = inRange(v, 10*rounding*v, v*math.Log(to/from)/float64(n-1))
		} else {
			values[i] = inRange(from+t*(to-from), rounding*max(math.Abs(from), math.Abs(to)), (to-from)/float64(n-1))
		}
	}
	values[0], values[n-1] = from, to // to the last digit
	return values, nil
}

// Progress tells how far a sweep is: at a step of a trial, at its end, or when it is skipped.
type Progress struct {
	Trial, Trials int   // the trial's place, from 1, and how many there are
	Run           int64 // of the trial
	Config        hrstyle.Config
	Step          hrstyle.Step // the trial's latest; not Ok where the trial was skipped
	Skipped       string       // why the trial was skipped; empty where it was not
	Ended         bool         // where somebody retries the trial it may go on, and end again
	Err           error        // why a trial failed that ended
}

// ErrTrials says that trials of a sweep failed.
var ErrTrials = errors.New("trials failed")

// failures is the error of a sweep of n trials: how many failed, and why the first of them did. failed has their places,
// from 0. It is nil where none failed.
func failures(failed map[int]error, n int) error {
	if len(failed) == 0 {
		return nil
	}
	first := slices.Min(slices.Collect(maps.Keys(failed)))
	return fmt.Errorf("%d of %d %w: trial %d: %w", len(failed), n, ErrTrials, first+1, failed[first])
}
