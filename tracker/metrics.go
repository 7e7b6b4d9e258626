package tracker

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Point is the value of a metric at a step.
type Point struct {
	Metric string
	Step   int64
	Value  float64
}

// Metric is the last, smallest and largest value of a metric, and the steps at which it has them. Min and Max are NaN
// only if all values are.
type Metric struct {
	Last, Min, Max             float64
	LastStep, MinStep, MaxStep int64
}

// metricJSON is a Metric in JSON.
type metricJSON struct {
	Last     Float `json:"last"`
	Min      Float `json:"min"`
	Max      Float `json:"max"`
	LastStep int64 `json:"last_step"`
	MinStep  int64 `json:"min_step"`
	MaxStep  int64 `json:"max_step"`
}

// MarshalJSON writes an object with last, min, max and their steps; see [Float].
func (m Metric) MarshalJSON() ([]byte, error) {
	return json.Marshal(metricJSON{Float(m.Last), Float(m.Min), Float(m.Max), m.LastStep, m.MinStep, m.MaxStep})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (m *Metric) UnmarshalJSON(data []byte) error {
	var j metricJSON
	err := json.Unmarshal(data, &j)
	*m = Metric{float64(j.Last), float64(j.Min), float64(j.Max), j.LastStep, j.MinStep, j.MaxStep}
	return err
}

// Float is a number whose JSON may also be one of the texts "NaN", "Infinity" and "-Infinity", which JavaScript's
// Number and Python's float both understand.
type Float float64

// MarshalJSON writes a number or one of three texts.
func (f Float) MarshalJSON() ([]byte, error) {
	switch v := float64(f); {
	case math.IsNaN(v):
		return []byte(`"NaN"`), nil
	case math.IsInf(v, 1):
		return []byte(`"Infinity"`), nil
	case math.IsInf(v, -1):
		return []byte(`"-Infinity"`), nil
	default:
		return json.Marshal(v)
	}
}

// UnmarshalJSON reads what MarshalJSON writes.
func (f *Float) UnmarshalJSON(data []byte) error {
	v, err := strconv.ParseFloat(strings.Trim(string(data), `"`), 64)
	if err != nil {
		return fmt.Errorf("%s is no number", data)
	}
	*f = Float(v)
	return nil
}

// Log records values of metrics at a step, which must be 0 or more.
func (r *Run) Log(ctx context.Context, step int64, values map[string]float64) error {
	points := make([]Point, 0, len(values))
	for name, v := range values {
		points = append(points, Point{name, step, v})
	}
	return r.LogBatch(ctx, points)
}

// LogBatch records many values in one transaction: either all of them, or none and an error. It is far quicker than one
// call of [Run.Log] for each.
func (r *Run) LogBatch(ctx context.Context, points []Point) error {
	return r.Record(ctx, Batch{Points: points})
}

// Batch is what [Run.Record] records: points as [Run.LogBatch] does, pictures as [Run.LogPicture], parameters as
// [Run.SetParams], tags as [Run.Tag].
type Batch struct {
	Points   []Point
	Pictures []Thumbnail
	Params   any
	Tags     map[string]string
}

// Bytes is how much memory the points and pictures of a batch take, about.
func (b Batch) Bytes() int {
	const each = 100 // a point, or a picture without its pixels
	n := each * (len(b.Points) + len(b.Pictures))
	for _, p := range b.Pictures {
		n += len(p.jpeg)
	}
	return n
}

// Record records a batch in one transaction: either all of it, or nothing and an error.
func (r *Run) Record(ctx context.Context, b Batch) error {
	params, err := flatten(b.Params)
	if err != nil {
		return fmt.Errorf("parameters: %w", err)
	}
	for _, p := range b.Points {
		if p.Step < 0 {
			return fmt.Errorf("metric %s: step %d; allowed: 0 or more", p.Metric, p.Step)
		}
	}
	points := unique(named(b.Points))
	r.mu.Lock()
	defer r.mu.Unlock()
	changed := map[string]*summary{}
	err = r.write(ctx, func(t tx) error {
		clear(changed) // of another try
		for _, p := range b.Pictures {
			if err := t.addPicture(r.ID, p); err != nil {
				return err
			}
		}
		return errors.Join(r.log(t, points, changed), t.setParams(r.ID, params), t.setTags(r.ID, b.Tags))
	})
	if err != nil {
		return err
	}
	maps.Copy(r.metrics, changed)
	return nil
}

// maxRows is the largest number of rows in one INSERT.
const maxRows = 100

// log inserts points and leaves the summaries they change in changed.
func (r *Run) log(t tx, points []Point, changed map[string]*summary) error {
	var recount []*summary // of those metrics whose smallest or largest value was replaced
	args := []any{r.ID}
	for i, p := range points {
		m := changed[p.Metric]
		if m == nil {
			var err error
			if m, err = r.summary(t, p.Metric); err != nil {
				return err
			}
			changed[p.Metric] = m
		}
		known := false
		if m.count > 0 && p.Step <= m.LastStep {
			var one int
			err := t.value([]any{&one}, sqlMetricAt, r.ID, m.id, p.Step)
			if known = err == nil; !known && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
		}
		if known && (p.Step == m.MinStep || p.Step == m.MaxStep) {
			recount = append(recount, m)
		}
		m.add(m.count == 0, p.Step, p.Value)
		if !known {
			m.count++
		}
		nan := 0
		if math.IsNaN(p.Value) {
			nan = 1
		}
		args = append(args, m.id, p.Step, null(p.Value), nan)
		if n := (len(args) - 1) / 4; n == maxRows || i == len(points)-1 {
			if err := t.later(addMetrics(n), args...); err != nil {
				return err
			}
			args = args[:1]
		}
	}
	for _, m := range recount {
		if err := m.recount(t.ctx, t, r.ID); err != nil {
			return err
		}
	}
	return setSummaries(t, r.ID, changed)
}

// summary is what is kept of a metric beside its values.
type summary struct {
	id    int64 // of the metric's name
	count int64 // of its values
	Metric
}

// summary is a copy of the run's summary of a metric.
func (r *Run) summary(t tx, name string) (*summary, error) {
	if m := r.metrics[name]; m != nil {
		c := *m
		return &c, nil
	}
	id, err := metricID(t, name)
	return &summary{id: id}, err
}

// scan reads a row: the columns first, and then those of a summary.
func (m *summary) scan(scan func(...any) error, first ...any) error {
	var last, low, high sql.NullFloat64
	err := scan(append(first, &m.count, &last, &m.LastStep, &low, &m.MinStep, &high, &m.MaxStep)...)
	m.Last, m.Min, m.Max = fromNull(last), fromNull(low), fromNull(high)
	return err
}

func metricID(t tx, name string) (id int64, err error) {
	if _, err := t.exec(sqlAddMetricName, name); err != nil {
		return 0, err
	}
	return id, t.value([]any{&id}, sqlMetricName, name)
}

// add takes a value into account; first says that it is the first one.
func (m *Metric) add(first bool, step int64, value float64) {
	if first || step >= m.LastStep {
		m.Last, m.LastStep = value, step
	}
	if first || value < m.Min || m.Min != m.Min && value == value {
		m.Min, m.MinStep = value, step
	}
	if first || value > m.Max || m.Max != m.Max && value == value {
		m.Max, m.MaxStep = value, step
	}
}

// recount computes the summary anew from the values of the run.
func (m *summary) recount(ctx context.Context, q querier, run int64) error {
	m.count, m.Metric = 0, Metric{}
	return eachValue(ctx, q, run, m.id, func(step int64, value float64) {
		m.add(m.count == 0, step, value)
		m.count++
	})
}

// eachValue reads the values of a metric of a run, in the order of steps.
func eachValue(ctx context.Context, q querier, run, name int64, f func(step int64, value float64)) error {
	var step int64
	var value sql.NullFloat64
	dest := []any{&step, &value} // once, for there may be a million rows
	return each(ctx, q, sqlMetricSteps, []any{run, name}, func(scan func(...any) error) error {
		err := scan(dest...)
		f(step, fromNull(value))
		return err
	})
}

func setSummaries(t tx, run int64, metrics map[string]*summary) error {
	args := []any{run}
	for _, m := range metrics {
		args = append(args, m.id, m.count, null(m.Last), m.LastStep, null(m.Min), m.MinStep, null(m.Max), m.MaxStep)
		if n := (len(args) - 1) / 8; n == maxRows {
			if err := t.later(addSummaries(n), args...); err != nil {
				return err
			}
			args = args[:1]
		}
	}
	if len(args) == 1 {
		return nil
	}
	return t.later(addSummaries((len(args)-1)/8), args...)
}

// named cleans the names of metrics, so that two that become the same name count as one metric.
func named(points []Point) []Point {
	for i, p := range points {
		if clean(p.Metric) != p.Metric {
			points = slices.Clone(points)
			for k := i; k < len(points); k++ {
				points[k].Metric = clean(points[k].Metric)
			}
			break
		}
	}
	return points
}

// unique drops all but the last value of each metric at each step. It returns points itself if none comes twice.
func unique(points []Point) []Point {
	last := map[string]int64{}
	for _, p := range points {
		if step, ok := last[p.Metric]; ok && p.Step <= step {
			return lastOfEach(points)
		}
		last[p.Metric] = p.Step
	}
	return points
}

func lastOfEach(points []Point) []Point {
	type key struct {
		metric string
		step   int64
	}
	at := map[key]int{}
	var out []Point
	for _, p := range points {
		k := key{p.Metric, p.Step}
		if i, ok := at[k]; ok {
			out[i] = p
			continue
		}
		at[k] = len(out)
		out = append(out, p)
	}
	return out
}
