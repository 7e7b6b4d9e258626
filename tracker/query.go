package tracker

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Info is a run as it is recorded: everything but curves, pictures, artifacts, environment and load.
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

// Query selects runs. The zero Query selects all that are not deleted, newest first.
type Query struct {
	Where      string // a filter, as in the package comment
	Sort       string // fields, comma-separated; - before one sorts in descending order
	Experiment string // only runs of this experiment; empty: of all
	Limit      int    // the largest number of runs; 0: no limit
	After      int64  // only runs that come after the run of this id, which q selects too; 0: from the first on
	Deleted    bool   // deleted runs too
}

// Runs lists the runs that q selects.
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
	if q.After > 0 {
		return s.runsAfter(ctx, condition, append(args, more...), q.After, q.Limit)
	}
	if q.Limit > 0 {
		condition += fmt.Sprintf(sqlRunsLimit, q.Limit)
	}
	return s.runs(ctx, condition, append(args, more...))
}

// runsAfter reads the runs that come after one among those that meet a condition, limit of them. A page begins after a run, not
// at a number, so that runs that come meanwhile move nothing.
func (s *Store) runsAfter(ctx context.Context, condition string, args []any, after int64, limit int) ([]Info, error) {
	var ids []int64
	found := false
	err := each(ctx, s.db.reads(), sqlRunIDs+condition, args, func(scan func(...any) error) error {
		var id int64
		err := scan(&id)
		if found && (limit == 0 || len(ids) < limit) {
			ids = append(ids, id)
		}
		found = found || id == after
		return err
	})
	if err != nil {
		return nil, s.plain(err)
	}
	return s.RunsByID(ctx, ids)
}

// RunsByID are the runs with these ids, in this order, deleted ones too.
func (s *Store) RunsByID(ctx context.Context, ids []int64) ([]Info, error) {
	const atOnce = 500
	found := map[int64]Info{}
	for chunk := range slices.Chunk(ids, atOnce) {
		args := []any{true}
		for _, id := range chunk {
			args = append(args, id)
		}
		runs, err := s.runs(ctx, fmt.Sprintf(sqlRunsWithIDs, list(2, len(chunk))), args)
		if err != nil {
			return nil, err
		}
		for _, r := range runs {
			found[r.ID] = r
		}
	}
	runs := make([]Info, len(ids))
	for i, id := range ids {
		r, ok := found[id]
		if !ok {
			return nil, fmt.Errorf("%s: run %d: %w", s.db.name(), id, ErrNotFound)
		}
		runs[i] = r
	}
	return runs, nil
}

// Run finds a run by its id, or by its name. It is an error if several runs have the name; deleted ones count only if
// there is no other.
func (s *Store) Run(ctx context.Context, idOrName string) (Info, error) {
	return s.find(ctx, idOrName, false)
}

// Deleted finds a run as [Store.Run] does, but if several have the name it looks among the deleted ones first.
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
		return Info{}, fmt.Errorf("%s: run %q: %w", s.db.name(), idOrName, ErrNotFound)
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

// runs reads the runs that meet a condition, and what other tables have of them. It waits for a server that goes away meanwhile.
func (s *Store) runs(ctx context.Context, condition string, args []any) (runs []Info, err error) {
	err = s.db.again(ctx, func() (err error) {
		runs, err = s.runsNow(ctx, condition, args)
		return err
	})
	return runs, err
}

func (s *Store) runsNow(ctx context.Context, condition string, args []any) ([]Info, error) {
	if err := s.findLost(ctx, true); err != nil {
		return nil, err
	}
	t, err := s.view(ctx)
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

// details reads what other tables have of runs.
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

// Measured is a run and the last values of some metrics.
type Measured struct {
	Run        int64
	Experiment string
	Last       []float64 // NaN where the run has no such metric
}

// Measured are the runs that are not deleted, the newest first, with the last values of these metrics: much quicker than
// [Store.Runs] for many runs.
func (s *Store) Measured(ctx context.Context, metrics ...string) (list []Measured, err error) {
	columns := ""
	args := make([]any, len(metrics))
	for i, name := range metrics {
		columns, args[i] = columns+", "+fmt.Sprintf(sqlValueOf, "last", fmt.Sprintf(sqlRowsOfMetric, i+1)), clean(name)
	}
	err = each(ctx, s.db.reads(), fmt.Sprintf(sqlMeasured, columns), args, func(scan func(...any) error) error {
		var m Measured
		last := make([]sql.NullFloat64, len(metrics))
		into := []any{&m.Run, &m.Experiment}
		for i := range last {
			into = append(into, &last[i])
		}
		err := scan(into...)
		for _, v := range last {
			m.Last = append(m.Last, fromNull(v))
		}
		list = append(list, m)
		return err
	})
	return list, s.plain(err)
}

// Difference is something in which two runs differ.
type Difference struct {
	What string `json:"what"` // param, tag, environment or metric (its last value)
	Key  string `json:"key"`
	A    string `json:"a"` // empty if the first run does not have it
	B    string `json:"b"` // empty if the second run does not have it
}

// Diff lists the differences of two runs, given by their ids.
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

// Cursor is what [Store.Watch] takes to wait for what changes from now on.
func (s *Store) Cursor(ctx context.Context) (cursor int64, err error) {
	err = value(ctx, s.db.reads(), []any{&cursor}, sqlChange)
	return cursor, s.plain(err)
}

// Watch waits until any run has changed since an earlier call returned cursor. It returns the runs that have changed,
// deleted ones too, and the next cursor. With cursor 0 that is every run there is. If ctx ends first Watch returns the
// error of ctx.
func (s *Store) Watch(ctx context.Context, cursor int64) (changed []Info, next int64, err error) {
	const lookForLost = time.Second
	tick := time.NewTicker(lookForLost)
	defer tick.Stop()
	for look := true; ; {
		if look {
			if err := s.db.again(ctx, func() error { return s.findLost(ctx, false) }); err != nil {
				return nil, cursor, err
			}
		}
		changes := s.db.changes(ctx)
		var n int64
		if err := value(ctx, s.db.reads(), []any{&n}, sqlChange); err != nil {
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
			look = true
		case <-changes:
			look = false
		}
	}
}

// Names are the names of all parameters, tags and metrics that runs have, each once and in order.
func Names(runs []Info) (params, tags, metrics []string) {
	p, t, m := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, i := range runs {
		for name := range i.Params {
			p[name] = true
		}
		for name := range i.Tags {
			t[name] = true
		}
		for name := range i.Metrics {
			m[name] = true
		}
	}
	return slices.Sorted(maps.Keys(p)), slices.Sorted(maps.Keys(t)), slices.Sorted(maps.Keys(m))
}
