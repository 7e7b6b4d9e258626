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
	"time"
)

// Info is what is known of a run.
type Info struct {
	ID         int64             `json:"id"`
	Name       string            `json:"name"`
	Experiment string            `json:"experiment"`
	Status     Status            `json:"status"`
	Error      string            `json:"error,omitempty"`
	Command    string            `json:"command,omitempty"`
	Created    time.Time         `json:"created"`
	Started    time.Time         `json:"started,omitzero"`
	Ended      time.Time         `json:"ended,omitzero"`
	Deleted    time.Time         `json:"deleted,omitzero"`
	Params     map[string]Value  `json:"params"`
	Tags       map[string]string `json:"tags"`
	Notes      []Note            `json:"notes,omitempty"`
	Metrics    map[string]Metric `json:"metrics"`

	changed int64
}

// Note is a remark on a run.
type Note struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

// Metric is the last, smallest and largest value of a metric, and the steps they are of. NaN is smallest and largest
// only where there is nothing else.
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

// Float is a number that in JSON may also be "NaN", "Infinity" or "-Infinity", texts that both JavaScript's Number and
// Python's float understand.
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

// Query chooses runs. The zero Query chooses all that are not deleted, newest first.
type Query struct {
	Where      string // a filter: see the package comment
	Sort       string // fields by comma, with - before those that sort downwards
	Experiment string // of this experiment alone
	Limit      int    // at most so many; 0: all
	Deleted    bool   // deleted ones too
}

// Runs lists runs.
func (s *Store) Runs(ctx context.Context, q Query) ([]Info, error) {
	condition, sort := "", ""
	args := []any{q.Deleted}
	if q.Experiment != "" {
		args = append(args, clean(q.Experiment))
		condition += fmt.Sprintf(sqlRunsOfExperiment, len(args))
	}
	if strings.TrimSpace(q.Where) != "" {
		where, more, err := parseFilter(q.Where, len(args)+1)
		if err != nil {
			return nil, err
		}
		args = append(args, more...)
		condition += fmt.Sprintf(sqlRunsWhere, where)
	}
	sort, more, err := parseSort(q.Sort, len(args)+1)
	if err != nil {
		return nil, err
	}
	condition += fmt.Sprintf(sqlRunsSort, sort)
	if q.Limit > 0 {
		condition += fmt.Sprintf(sqlRunsLimit, q.Limit)
	}
	return s.runs(ctx, condition, append(args, more...))
}

// Run finds a run by its id, or by its name if only one has it. Deleted runs have their names only where no other has.
func (s *Store) Run(ctx context.Context, idOrName string) (Info, error) {
	return s.find(ctx, idOrName, false)
}

// Deleted finds a run as [Store.Run] does, but of those with a name a deleted one first.
func (s *Store) Deleted(ctx context.Context, idOrName string) (Info, error) {
	return s.find(ctx, idOrName, true)
}

func (s *Store) find(ctx context.Context, idOrName string, deleted bool) (Info, error) {
	if id, err := strconv.ParseInt(idOrName, 10, 64); err == nil {
		runs, err := s.runs(ctx, fmt.Sprintf(sqlRunsWithID, 2), []any{true, id})
		if err != nil || len(runs) == 1 {
			return only(runs), err
		}
	}
	runs, err := s.runs(ctx, fmt.Sprintf(sqlRunsWithName, 2), []any{true, clean(idOrName)})
	if err != nil {
		return Info{}, err
	}
	others := func(r Info) bool { return r.Deleted.IsZero() == deleted }
	if first := slices.DeleteFunc(slices.Clone(runs), others); len(first) > 0 {
		runs = first
	}
	switch {
	case len(runs) == 0:
		return Info{}, fmt.Errorf("%s: run %q: %w", s.name, idOrName, ErrNotFound)
	case len(runs) > 1:
		var ids []string
		for _, r := range runs {
			ids = append(ids, strconv.FormatInt(r.ID, 10))
		}
		return Info{}, fmt.Errorf("%d runs are called %q; name one by its id: %s", len(runs), idOrName, strings.Join(ids, ", "))
	}
	return only(runs), nil
}

func only(runs []Info) (info Info) {
	if len(runs) > 0 {
		info = runs[0]
	}
	return info
}

// runs reads the runs of a condition, with all that belongs to them.
func (s *Store) runs(ctx context.Context, condition string, args []any) ([]Info, error) {
	if err := s.findLost(ctx, true); err != nil {
		return nil, err
	}
	t, err := s.reader.BeginTx(ctx, nil) // of one moment
	if err != nil {
		return nil, s.plain(err)
	}
	defer t.Rollback() //nolint:errcheck // nothing was written
	runs := []Info{}
	err = each(ctx, t, sqlRuns+condition, args, func(scan func(...any) error) error {
		r := Info{Params: map[string]Value{}, Tags: map[string]string{}, Metrics: map[string]Metric{}}
		var created, started, ended, deleted sql.NullInt64
		err := scan(&r.ID, &r.Name, &r.Experiment, &r.Status, &r.Error, &r.Command, &created, &started, &ended, &deleted, &r.changed)
		r.Created, r.Started, r.Ended, r.Deleted = instant(created), instant(started), instant(ended), instant(deleted)
		runs = append(runs, r)
		return err
	})
	const atOnce = 500
	for chunk := range slices.Chunk(runs, atOnce) {
		if err == nil {
			err = details(ctx, t, chunk)
		}
	}
	return runs, s.plain(err)
}

// details fills in what other tables have of runs.
func details(ctx context.Context, q querier, runs []Info) error {
	ids, byID := make([]any, len(runs)), make(map[int64]*Info, len(runs))
	for i := range runs {
		ids[i], byID[runs[i].ID] = runs[i].ID, &runs[i]
	}
	of := func(query string, row func(scan func(...any) error) error) error {
		return each(ctx, q, fmt.Sprintf(query, list(1, len(ids))), ids, row)
	}
	var id int64
	var key, text string
	var number sql.NullFloat64
	err := of(sqlParamsOf, func(scan func(...any) error) error {
		err := scan(&id, &key, &text, &number)
		byID[id].Params[key] = Value{text, number.Float64, number.Valid}
		return err
	})
	if err == nil {
		err = of(sqlTagsOf, func(scan func(...any) error) error {
			err := scan(&id, &key, &text)
			byID[id].Tags[key] = text
			return err
		})
	}
	if err == nil {
		var at sql.NullInt64
		err = of(sqlNotesOf, func(scan func(...any) error) error {
			err := scan(&id, &at, &text)
			byID[id].Notes = append(byID[id].Notes, Note{instant(at), text})
			return err
		})
	}
	if err == nil {
		var m summary
		err = of(sqlSummariesOf, func(scan func(...any) error) error {
			err := m.scan(scan, &id, &key)
			byID[id].Metrics[key] = m.Metric
			return err
		})
	}
	return err
}

// candidate is a running run that has lost its process, as far as one could see.
type candidate struct{ id, beat, token int64 }

// findLost records which running runs have lost their process. One that is patient looks on where a single look does not
// tell.
func (s *Store) findLost(ctx context.Context, patient bool) error {
	for {
		lost, unsure, err := s.lookForLost(ctx)
		if err != nil {
			return err
		}
		if len(lost) > 0 {
			if err := s.recordLost(ctx, lost); err != nil {
				return err
			}
		}
		if !unsure || !patient {
			return nil
		}
		const pause = 200 * time.Millisecond
		if err := s.clock.sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// lookForLost finds runs that have lost their process. It is unsure while the time of a run's last beat is odd and it has
// not been looked at for long: its process may be gone, or a clock wrong.
func (s *Store) lookForLost(ctx context.Context) (lost []candidate, unsure bool, err error) {
	s.sights.mu.Lock()
	defer s.sights.mu.Unlock()
	now, steady := s.clock.now(), s.clock.steady()
	seen := map[int64]sight{}
	err = each(ctx, s.reader, sqlAlive, nil, func(scan func(...any) error) error {
		var c candidate
		var o owner
		if err := scan(&c.id, &o.host, &o.pid, &o.start, &c.beat, &c.token); err != nil {
			return err
		}
		what := o.fate(s.self)
		if what == unknown {
			v, known := s.sights.run[c.id]
			if !known || v.beat != c.beat || v.token != c.token {
				v = sight{c.beat, c.token, steady, known}
			}
			seen[c.id] = v
			if steady-v.since > beatTimeout {
				what = gone
			} else if !v.moved && now.Sub(time.UnixMicro(c.beat)).Abs() > beatTimeout {
				unsure = true
			}
		}
		if what == gone {
			lost = append(lost, c)
		}
		return nil
	})
	s.sights.run = seen
	return lost, unsure, s.plain(err)
}

func (s *Store) recordLost(ctx context.Context, lost []candidate) error {
	return s.write(ctx, func(t tx) error {
		changed := int64(0)
		for _, c := range lost {
			n, err := t.exec(sqlLost, c.id, c.token, c.beat)
			if err != nil {
				return err
			}
			changed += n
		}
		if changed == 0 { // another process was quicker
			return nil
		}
		return t.all(nil, sqlNextChange)
	})
}

// Environment is where and with what a run was made: host, platform, Go and module versions, git commit, and what
// [NewRun] said of device and inputs.
func (s *Store) Environment(ctx context.Context, run int64) (map[string]string, error) {
	var text string
	err := s.reader.QueryRowContext(ctx, bind(sqlEnvironment), run).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return map[string]string{}, nil
	}
	env := map[string]string{}
	if err == nil {
		err = json.Unmarshal([]byte(text), &env)
	}
	if env == nil { // null, of a run that was imported without
		env = map[string]string{}
	}
	return env, s.plain(err)
}

// Samples is the load of a run's process over time, every two seconds.
func (s *Store) Samples(ctx context.Context, run int64) (samples []Sample, err error) {
	err = each(ctx, s.reader, sqlSamples, []any{run}, func(scan func(...any) error) error {
		var a Sample
		var at, memory sql.NullInt64
		var gpu sql.NullFloat64
		err := scan(&at, &a.CPU, &a.Memory, &gpu, &memory)
		a.Time = instant(at)
		if gpu.Valid {
			a.GPU = &GPULoad{gpu.Float64, memory.Int64}
		}
		samples = append(samples, a)
		return err
	})
	return samples, s.plain(err)
}

// Difference is something two runs do not have in common; empty is what one does not have.
type Difference struct {
	What string `json:"what"` // param, tag, environment or metric (its last value)
	Key  string `json:"key"`
	A    string `json:"a"`
	B    string `json:"b"`
}

// Diff says in what two runs differ.
func (s *Store) Diff(ctx context.Context, a, b int64) ([]Difference, error) {
	var both [2]map[string]map[string]string
	for i, id := range []int64{a, b} {
		info, err := s.Run(ctx, strconv.FormatInt(id, 10))
		if err != nil {
			return nil, err
		}
		env, err := s.Environment(ctx, id)
		if err != nil {
			return nil, err
		}
		params, metrics := map[string]string{}, map[string]string{}
		for key, v := range info.Params {
			params[key] = v.Text
		}
		for key, m := range info.Metrics {
			metrics[key] = strconv.FormatFloat(m.Last, 'g', -1, 64)
		}
		both[i] = map[string]map[string]string{"param": params, "tag": info.Tags, "environment": env, "metric": metrics}
	}
	var out []Difference
	for _, what := range []string{"param", "tag", "environment", "metric"} {
		keys := maps.Clone(both[0][what])
		maps.Copy(keys, both[1][what])
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			if x, y := both[0][what][key], both[1][what][key]; x != y {
				out = append(out, Difference{what, key, x, y})
			}
		}
	}
	return out, nil
}

// Watch waits until a run has changed since cursor (0: since ever) and returns those that have, deleted ones too, and
// the next cursor. When ctx ends first it returns its error.
func (s *Store) Watch(ctx context.Context, cursor int64) (changed []Info, next int64, err error) {
	const look, lookForLost = 100 * time.Millisecond, 10
	tick := time.NewTicker(look)
	defer tick.Stop()
	for i := 0; ; i++ {
		if i%lookForLost == 0 {
			if err := s.findLost(ctx, false); err != nil {
				return nil, cursor, err
			}
		}
		var n int64
		if err := s.reader.QueryRowContext(ctx, sqlChange).Scan(&n); err != nil {
			return nil, cursor, s.plain(err)
		}
		if n > cursor {
			changed, err := s.runs(ctx, sqlRunsChanged, []any{true, cursor})
			if err != nil {
				return nil, cursor, err
			}
			for _, r := range changed {
				n = max(n, r.changed)
			}
			if len(changed) > 0 {
				return changed, n, nil
			}
			cursor = n
		}
		select {
		case <-ctx.Done():
			return nil, cursor, ctx.Err()
		case <-tick.C:
		}
	}
}
