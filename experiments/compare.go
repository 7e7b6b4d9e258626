package experiments

import (
	"cmp"
	"image"
	"image/color"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"hrlab/tracker"
)

// measure is the last value of a run's measure; NaN where it has none, or one that is not defined: infinite, or so far below
// what pictures can have that it was divided by noise, which was recorded once.
func measure(run tracker.Info, name string) float64 {
	const possible = -1e9
	if m, ok := run.Metrics[name]; ok && m.Last > possible && !math.IsInf(m.Last, 0) {
		return m.Last
	}
	return math.NaN()
}

// param is a parameter of a run; ok is false where it has none. Runs of before there was a style gain have one of 1.
func param(run tracker.Info, name string) (v tracker.Value, ok bool) {
	v, ok = run.Params[name]
	if !ok && name == "style_gain" {
		return tracker.Value{Text: "1", Number: 1, IsNumber: true}, true
	}
	return v, ok
}

// Front is the Pareto front of content_kept against style_match: the runs than which no other is better in one and at
// least as good in the other, from the most content kept to the best style match. Of equal ones the first counts; runs
// without these measures do not.
func Front(runs []tracker.Info) (front []tracker.Info) {
	sorted := slices.DeleteFunc(slices.Clone(runs), func(r tracker.Info) bool {
		return math.IsNaN(measure(r, ContentKept)) || math.IsNaN(measure(r, StyleMatch))
	})
	slices.SortStableFunc(sorted, func(a, b tracker.Info) int {
		return cmp.Or(cmp.Compare(measure(b, ContentKept), measure(a, ContentKept)), cmp.Compare(measure(b, StyleMatch), measure(a, StyleMatch)))
	})
	best := math.Inf(-1)
	for _, r := range sorted {
		if s := measure(r, StyleMatch); s > best {
			front, best = append(front, r), s
		}
	}
	return front
}

// Knee is the run of a front that is furthest from the straight line between the front's ends, with both measures
// scaled to 0 to 1 over the front (Satopää, Albrecht, Irwin, Raghavan, "Finding a 'Kneedle' in a Haystack", ICDCSW 2011).
// A front of two has no knee: then, as of one, it is the first. ok is false for an empty front.
func Knee(front []tracker.Info) (knee tracker.Info, ok bool) {
	if len(front) == 0 {
		return knee, false
	}
	first, last := front[0], front[len(front)-1]
	knee = first
	content := measure(first, ContentKept) - measure(last, ContentKept)
	style := measure(last, StyleMatch) - measure(first, StyleMatch)
	best := 0.0
	for _, r := range front {
		// On the line the two scaled measures sum up to 1.
		d := (measure(r, ContentKept)-measure(last, ContentKept))/content + (measure(r, StyleMatch)-measure(first, StyleMatch))/style - 1
		if d > best+1e-12 {
			knee, best = r, d
		}
	}
	return knee, true
}

// unvaried are parameters that are no axis of a comparison: names of files, and what does not alter a result.
var unvaried = []string{"seed", "report_every", "checkpoint_every", "content", "style", "vgg", "init"}

// Varied lists the parameters, the seed and files apart, that differ among runs; the two weights come first.
func Varied(runs []tracker.Info) []string {
	values := map[string]map[string]bool{"style_gain": {}}
	for _, r := range runs {
		for name := range r.Params {
			if !slices.Contains(unvaried, name) && values[name] == nil {
				values[name] = map[string]bool{}
			}
		}
	}
	for _, r := range runs {
		for name := range values {
			if v, ok := param(r, name); ok {
				values[name][v.Text] = true
			}
		}
	}
	maps.DeleteFunc(values, func(_ string, v map[string]bool) bool { return len(v) < 2 })
	return slices.SortedFunc(maps.Keys(values), func(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b)) })
}

// rank puts the two weights first.
func rank(name string) int {
	if i := slices.Index([]string{"content_weight", "style_weight"}, name); i >= 0 {
		return i
	}
	return 2
}

// Effect is how much an axis moves a measure: the difference of the largest and the smallest of the measure's means over
// the runs with one value of the axis (a main effect in the design of experiments).
type Effect struct {
	Axis, Measure string
	Effect        float64
}

// Effects are those of every varied parameter on every one of the measures that runs with two of its values have.
func Effects(runs []tracker.Info, measures ...string) (effects []Effect) {
	for _, axis := range Varied(runs) {
		for _, m := range measures {
			sums, counts := map[string]float64{}, map[string]float64{}
			for _, r := range runs {
				if v := measure(r, m); !math.IsNaN(v) {
					value, _ := param(r, axis)
					sums[value.Text] += v
					counts[value.Text]++
				}
			}
			low, high := math.Inf(1), math.Inf(-1)
			for value, sum := range sums {
				low, high = min(low, sum/counts[value]), max(high, sum/counts[value])
			}
			if len(sums) > 1 {
				effects = append(effects, Effect{axis, m, high - low})
			}
		}
	}
	return effects
}

// Spread is the standard deviation of a measure over runs that differ in nothing but the seed, pooled over all such
// groups; NaN where no run was repeated. A difference of two runs below twice that says nothing.
func Spread(runs []tracker.Info, name string) float64 {
	groups := map[string][]float64{}
	for _, r := range runs {
		if v := measure(r, name); !math.IsNaN(v) {
			groups[settings(r)] = append(groups[settings(r)], v)
		}
	}
	squares, freedom := 0.0, 0
	for _, values := range groups {
		mean := 0.0
		for _, v := range values {
			mean += v / float64(len(values))
		}
		for _, v := range values {
			squares += (v - mean) * (v - mean)
		}
		freedom += len(values) - 1
	}
	return math.Sqrt(squares / float64(freedom)) // 0/0 is NaN
}

// settings is a run's parameters but the seed, as a key.
func settings(r tracker.Info) string {
	gain, _ := param(r, "style_gain")
	parts := []string{gain.Text}
	for _, name := range slices.Sorted(maps.Keys(r.Params)) {
		if name != "seed" && name != "style_gain" {
			parts = append(parts, strconv.Quote(name), strconv.Quote(r.Params[name].Text))
		}
	}
	return strings.Join(parts, " ")
}

// Nearest is the run whose two weights are nearest to those given, by the sum of their logarithms' distances; a weight
// of 0 is nearest to 0. ok is false where there is no run.
func Nearest(runs []tracker.Info, contentWeight, styleWeight float64) (nearest tracker.Info, ok bool) {
	distance := func(r tracker.Info) float64 {
		log := func(v float64) float64 { return math.Log(max(v, 1e-9)) }
		return math.Abs(log(r.Params["content_weight"].Number)-log(contentWeight)) + math.Abs(log(r.Params["style_weight"].Number)-log(styleWeight))
	}
	if len(runs) == 0 {
		return nearest, false
	}
	return slices.MinFunc(runs, func(a, b tracker.Info) int { return cmp.Compare(distance(a), distance(b)) }), true
}

// Difference shows where two pictures of one size differ: black where they do not, four times the difference elsewhere.
func Difference(a, b image.Image) *image.RGBA {
	size := a.Bounds().Size()
	out := image.NewRGBA(image.Rectangle{Max: size})
	for y := range size.Y {
		for x := range size.X {
			r1, g1, b1, _ := a.At(a.Bounds().Min.X+x, a.Bounds().Min.Y+y).RGBA()
			r2, g2, b2, _ := b.At(b.Bounds().Min.X+x, b.Bounds().Min.Y+y).RGBA()
			d := func(p, q uint32) uint8 { return uint8(min(4*(max(p, q)-min(p, q))>>8, 255)) }
			out.SetRGBA(x, y, color.RGBA{d(r1, r2), d(g1, g2), d(b1, b2), 255})
		}
	}
	return out
}
