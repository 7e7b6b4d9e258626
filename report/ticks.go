package report

import (
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
)

// few is the least number of labels of an axis.
const few = 3

// roundTicks are the multiples of 1, 2, 2.5 or 5 times a power of ten, of the largest of which the axis has at least three:
// 0, 25, 50.
func roundTicks(low, high float64) (ticks []plot.Tick) {
	if !(high > low) || math.IsInf(high-low, 0) {
		return []plot.Tick{tick(low)}
	}
	for power := math.Ceil(math.Log10(high - low)); ; power-- {
		for _, of := range []float64{5, 2.5, 2, 1} {
			step := of * math.Pow(10, power)
			slack := step * 1e-9 // for rounding
			first, last := math.Ceil((low-slack)/step), math.Floor((high+slack)/step)
			if last-first+1 < few {
				continue
			}
			if first == first-1 || first+1 == first { // the axis is shorter than what floats tell apart
				return []plot.Tick{tick(low)}
			}
			for i := first; i <= last; i++ {
				ticks = append(ticks, tick(i*step))
			}
			return ticks
		}
	}
}

// stepTicks are those of them that are whole numbers.
func stepTicks(low, high float64) []plot.Tick {
	return slices.DeleteFunc(roundTicks(low, high), func(t plot.Tick) bool { return t.Value != math.Trunc(t.Value) })
}

// logTicks are powers of ten; where the axis has fewer than three of them also 2 and 5 times those, and where that is not
// enough round numbers. What is between has ticks without labels.
func logTicks(low, high float64) (ticks []plot.Tick) {
	first, last := int(math.Floor(math.Log10(low))), int(math.Ceil(math.Log10(high)))
	const most = 6
	every := max(1, (last-first)/most)
	for _, labelled := range [][]int{{1}, {1, 2, 5}} {
		ticks = nil
		labels := 0
		for power := first; power <= last; power++ {
			for of := 1; of <= 9; of++ {
				t := plot.Tick{Value: float64(of) * math.Pow(10, float64(power))}
				if t.Value < low || t.Value > high || every > 1 && of > 1 {
					continue
				}
				for _, l := range labelled {
					if l == of && (power-first)%every == 0 {
						t = tick(t.Value)
						labels++
					}
				}
				ticks = append(ticks, t)
			}
		}
		if labels >= few {
			return ticks
		}
	}
	return roundTicks(low, high)
}

// tick has its value as its label, with six digits: what is lost is rounding.
func tick(v float64) plot.Tick {
	return plot.Tick{Value: v, Label: strconv.FormatFloat(v+0, 'g', 6, 64)}
}
