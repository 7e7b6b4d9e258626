package tracker

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
)

// Series is a curve: the values of a metric of a run, in the order of steps.
type Series struct {
	Run    int64
	Metric string
	Steps  []int64
	Values []float64
}

// Series returns the curves of runs, in the order of run ids and of names: those of the metrics named, or of all if
// none is.
//
// A curve of more than maxPoints values (0: no limit) is downsampled. Its steps, counted from 0, are divided into
// buckets whose length is a power of two, and of each bucket the smallest and the largest value are kept; the last
// value of the curve is always kept. So extremes stay visible, and while a curve grows its points are kept or dropped,
// but never moved. There may be maxPoints+1 points, because of the last one.
func (s *Store) Series(ctx context.Context, runs []int64, metrics []string, maxPoints int) ([]Series, error) {
	var out []Series
	const atOnce = 500
	names := make([]any, len(metrics))
	for i, m := range metrics {
		names[i] = clean(m)
	}
	for chunk := range slices.Chunk(slices.Compact(slices.Sorted(slices.Values(runs))), atOnce) {
		args := make([]any, len(chunk))
		for i, id := range chunk {
			args[i] = id
		}
		query := fmt.Sprintf(sqlSeries, list(1, len(chunk)))
		if len(names) > 0 {
			query += fmt.Sprintf(sqlSeriesOf, list(len(chunk)+1, len(names)))
		}
		var found []curve
		err := each(ctx, s.db.reads(), query+sqlSeriesOrder, append(args, names...), func(scan func(...any) error) error {
			var c curve
			err := scan(&c.series.Run, &c.id, &c.series.Metric, &c.count, &c.last)
			found = append(found, c)
			return err
		})
		if err != nil {
			return nil, s.plain(err)
		}
		for _, c := range found {
			if err := c.read(ctx, s.db.reads(), maxPoints); err != nil {
				return nil, s.plain(err)
			}
			out = append(out, c.series)
		}
	}
	return out, nil
}

// PointsAfter are the values of a run at the steps after one, in the order of metrics and steps; -1 is before the first.
func (s *Store) PointsAfter(ctx context.Context, run, step int64) (points []Point, err error) {
	err = each(ctx, s.db.reads(), sqlPointsAfter, []any{run, step}, func(scan func(...any) error) error {
		var p Point
		var value sql.NullFloat64
		err := scan(&p.Metric, &p.Step, &value)
		p.Value = fromNull(value)
		points = append(points, p)
		return err
	})
	return points, s.plain(err)
}

// curve is a series being read.
type curve struct {
	series Series
	id     int64 // of the metric's name
	count  int64 // of its values
	last   int64 // the last step
}

// read reads the values.
func (c *curve) read(ctx context.Context, q querier, maxPoints int) error {
	width := int64(1)
	if maxPoints > 0 && c.count > int64(maxPoints) {
		width = bucket(c.last, maxPoints)
	}
	var low, high, latest at // of the bucket
	keep := func(points ...at) {
		for _, p := range points {
			if n := len(c.series.Steps); p.ok && (n == 0 || p.step > c.series.Steps[n-1]) {
				c.series.Steps, c.series.Values = append(c.series.Steps, p.step), append(c.series.Values, p.value)
			}
		}
	}
	flush := func() {
		if low.step > high.step {
			low, high = high, low
		}
		keep(low, high)
		low, high = at{}, at{}
	}
	err := eachValue(ctx, q, c.series.Run, c.id, func(step int64, value float64) {
		p := at{true, step, value}
		if latest.ok && p.step/width != latest.step/width {
			flush()
		}
		if !low.ok || p.value < low.value || math.IsNaN(low.value) && !math.IsNaN(p.value) {
			low = p
		}
		if !high.ok || p.value > high.value || math.IsNaN(high.value) && !math.IsNaN(p.value) {
			high = p
		}
		latest = p
	})
	flush()
	keep(latest)
	return err
}

// at is a value at a step, if ok.
type at struct {
	ok    bool
	step  int64
	value float64
}

// bucket is the smallest power of two, at least 2, with which the buckets of the steps 0 to last have at most maxPoints
// points, two each.
func bucket(last int64, maxPoints int) int64 {
	width := int64(2)
	for 2*(last/width+1) > int64(maxPoints) && width < math.MaxInt64/2 {
		width *= 2
	}
	return width
}
