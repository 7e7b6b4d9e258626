package report

import (
	"math"

	"hrlab/tracker"
)

// Effect is how much a setting moves a measure (a main effect in the design of experiments): the measure is averaged over
// the runs with each value of the setting, and the effect is the largest mean minus the smallest.
type Effect struct {
	Axis, Measure string
	Effect        float64
}

// Effects are the effects of every varied parameter on each of the measures. Where fewer than two values of the parameter
// have runs with the measure there is none.
func Effects(runs []tracker.Info, measures ...string) (effects []Effect) {
	for _, axis := range Varied(runs) {
		for _, m := range measures {
			sums, counts := map[string]float64{}, map[string]float64{}
			for _, r := range runs {
				if v := Measured(r, m); !math.IsNaN(v) {
					value, _ := Param(r, axis)
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

// Spread is the standard deviation of a measure over runs that differ in the seed alone, pooled over all such groups; NaN
// where no run was repeated. Two runs that differ by less than twice this may differ by chance.
func Spread(runs []tracker.Info, name string) float64 {
	groups := map[string][]float64{}
	for _, r := range runs {
		if v := Measured(r, name); !math.IsNaN(v) {
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
