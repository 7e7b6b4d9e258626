package tracker

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// Steps may be repeated and come in any order: the last value counts, in curve and summary.
func (db suite) stepsInAnyOrder(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	r := start(t, s, NewRun{})
	for _, p := range [][2]float64{{5, 1}, {3, 9}, {5, 7}, {3, 2}, {4, 8}, {4, 3}} {
		must(t, r.Log(ctx, int64(p[0]), map[string]float64{"m": p[1]}))
	}
	must(t, r.LogBatch(ctx, []Point{{"m", 6, 100}, {"m", 6, 5}, {"m", 2, 1}}))
	series, err := s.Series(ctx, []int64{r.ID}, []string{"m"}, 0)
	if err != nil || !slices.Equal(series[0].Steps, []int64{2, 3, 4, 5, 6}) || !slices.Equal(series[0].Values, []float64{1, 2, 3, 7, 5}) {
		t.Errorf("%+v %v", series, err)
	}
	if m := info(t, s, r.ID).Metrics["m"]; m != (Metric{5, 1, 7, 6, 2, 5}) {
		t.Errorf("%+v", m)
	}
	if err := r.Log(ctx, -1, map[string]float64{"m": 1}); err == nil || !strings.Contains(err.Error(), "step -1; allowed: 0 or more") {
		t.Error(err)
	}
	whole(t, s)
}

// A name that is not valid UTF-8 is one metric with what it becomes, in one batch, and when the run is resumed.
func (db suite) oddMetricNames(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	r := start(t, s, NewRun{})
	must(t, r.LogBatch(ctx, []Point{{"a\xff", 1, 5}, {"a\x00", 2, 7}, {"a\uFFFD", 3, 6}}), r.Finish(ctx, nil))
	r, err := s.Resume(ctx, r.ID, nil)
	must(t, err, r.Log(ctx, 4, map[string]float64{"a\xfe": 4}))
	if m := info(t, s, r.ID).Metrics["a\uFFFD"]; m != (Metric{4, 4, 7, 4, 4, 2}) {
		t.Errorf("%+v", m)
	}
	whole(t, s)
}

// Of a growing curve, whatever it looks like, points are kept or dropped; none moves, and the smallest and largest
// value and the last are there. A curve that is short enough is whole.
func (db suite) seriesIsDownsampled(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	random := rand.New(rand.NewPCG(3, 4))
	for round := range 30 {
		r := start(t, s, NewRun{})
		limit := 4 + random.IntN(60)
		stride := int64(1)
		if round%2 == 1 {
			stride = 1 + random.Int64N(50)
		}
		all, before, step := map[int64]float64{}, []int64{}, int64(0)
		var low, high Metric
		for len(all) < 2000 {
			var points []Point
			for range 1 + random.IntN(300) {
				v := math.Round(random.NormFloat64() * 20) // so that some are equal
				if round%3 == 0 && random.IntN(5) == 0 {
					v = []float64{math.NaN(), math.Inf(1), math.Inf(-1)}[random.IntN(3)]
				}
				low.add(len(all) == 0, step, v)
				high.add(len(all) == 0, step, v)
				all[step] = v
				points = append(points, Point{"m", step, v})
				step += 1 + random.Int64N(stride)
			}
			must(t, r.LogBatch(ctx, points))
			series, err := s.Series(ctx, []int64{r.ID}, []string{"m"}, limit)
			must(t, err)
			now := series[0]
			if len(all) <= limit && len(now.Steps) != len(all) || len(now.Steps) > limit+1 || !slices.IsSorted(now.Steps) {
				t.Fatalf("%d points of %d, limit %d", len(now.Steps), len(all), limit)
			}
			if last := points[len(points)-1].Step; now.Steps[len(now.Steps)-1] != last {
				t.Fatalf("the last point, %d, is not shown", last)
			}
			for i, at := range now.Steps {
				if v, ok := all[at]; !ok || v != now.Values[i] && !(math.IsNaN(v) && math.IsNaN(now.Values[i])) {
					t.Fatalf("step %d is shown as %v, and is %v", at, now.Values[i], v)
				}
			}
			if !slices.Contains(now.Values, low.Min) && low.Min == low.Min || !slices.Contains(now.Values, high.Max) && high.Max == high.Max {
				t.Fatalf("from %v to %v is not shown: %v", low.Min, high.Max, now.Values)
			}
			if len(before) > 0 {
				// The bucket that was not complete yet may show others now.
				complete := before[len(before)-1] / bucket(before[len(before)-1], limit) * bucket(before[len(before)-1], limit)
				if len(before) < limit {
					complete = before[len(before)-1]
				}
				for _, at := range now.Steps {
					if at < complete && !slices.Contains(before, at) {
						t.Fatalf("step %d appeared behind %d", at, complete)
					}
				}
			}
			before = now.Steps
		}
		must(t, r.Finish(ctx, nil))
	}
}

// Curves come in the order of run ids, each once, however many runs are asked for and in which order.
func (db suite) seriesInOrder(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	first, second := start(t, s, NewRun{}), start(t, s, NewRun{})
	must(t, first.Log(ctx, 1, map[string]float64{"b": 1, "a": 2}), second.Log(ctx, 1, map[string]float64{"a": 3}))
	ids := []int64{second.ID}
	for i := range int64(1000) {
		ids = append(ids, 1_000_000-i)
	}
	series, err := s.Series(ctx, append(ids, first.ID, second.ID), nil, 0)
	must(t, err)
	var got []string
	for _, c := range series {
		got = append(got, fmt.Sprint(c.Run, c.Metric, c.Values))
	}
	if want := []string{fmt.Sprint(first.ID, "a", []float64{2}), fmt.Sprint(first.ID, "b", []float64{1}), fmt.Sprint(second.ID, "a", []float64{3})}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
