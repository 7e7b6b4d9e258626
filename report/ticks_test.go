package report

import (
	"math"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/plot"
)

// Axes have round numbers, and at least three.
func TestTicks(t *testing.T) {
	for _, c := range []struct {
		ticks     func(low, high float64) []plot.Tick
		low, high float64
		want      string
	}{
		{roundTicks, 0, 50, "0 25 50"},
		{roundTicks, 0, 250, "0 100 200"},
		{roundTicks, 0, 80, "0 25 50 75"},
		{roundTicks, 0, 4, "0 2 4"},
		{roundTicks, 0, 1, "0 0.5 1"},
		{roundTicks, -0.12, 0.97, "0 0.25 0.5 0.75"},
		{roundTicks, 0.119, 0.982, "0.25 0.5 0.75"},
		{roundTicks, -0.3, 0.3, "-0.25 0 0.25"},
		{roundTicks, 1e6, 1.2e6, "1e+06 1.1e+06 1.2e+06"},
		{stepTicks, 0, 50, "0 25 50"},
		{stepTicks, 0, 6, "0 5"},
		{stepTicks, 0, 1, "0 1"},
		{stepTicks, 0, 0, "0"},
		{logTicks, 1, 1000, "1 10 100 1000"},
		{logTicks, 0.3, 30, "0.5 1 2 5 10 20"},
		{logTicks, 150, 1949, "200 500 1000"},
		{logTicks, 5.1, 5.9, "5.25 5.5 5.75"},
		{logTicks, 1e-6, 1e6, "1e-06 0.0001 0.01 1 100 10000 1e+06"},
	} {
		var labels []string
		for _, tick := range c.ticks(c.low, c.high) {
			if tick.Label != "" {
				labels = append(labels, tick.Label)
			}
		}
		if got := strings.Join(labels, " "); got != c.want {
			t.Errorf("%g to %g: %s, want %s", c.low, c.high, got, c.want)
		}
	}
	// Whatever the range is, there are ticks, and they are numbers.
	for _, odd := range [][2]float64{{1, 1}, {2, 1}, {math.Inf(-1), math.Inf(1)}, {1e300, math.Inf(1)}, {1, math.Nextafter(1, 2)}, {-math.MaxFloat64, math.MaxFloat64}, {0, 1e-320}, {math.SmallestNonzeroFloat32, math.MaxFloat32}} {
		ticks := append(roundTicks(odd[0], odd[1]), stepTicks(max(odd[0], 0), max(odd[1], 5))...)
		if odd[0] > 0 && !math.IsInf(odd[1], 0) {
			ticks = append(ticks, logTicks(odd[0], odd[1])...)
		}
		if len(ticks) == 0 || len(ticks) > 1000 || slices.ContainsFunc(ticks, func(t plot.Tick) bool { return math.IsNaN(t.Value) }) {
			t.Errorf("%v: %v", odd, ticks)
		}
	}
}
