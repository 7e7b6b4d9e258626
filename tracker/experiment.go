package tracker

import (
	"cmp"
	"context"
	"database/sql"
	"maps"
	"slices"
	"time"
)

// Experiment is what an experiment has: its runs that are not deleted.
type Experiment struct {
	Name    string         `json:"name"`
	Runs    map[Status]int `json:"runs"`    // how many there are of each status
	Created time.Time      `json:"created"` // its first run
	Changed time.Time      `json:"changed"` // when a run was last made, begun or ended
}

// AddExperiment makes an experiment that has no runs yet, and returns its id. made is false if there is one of that name.
// As long as it has no run, [Store.GC] removes it.
func (s *Store) AddExperiment(ctx context.Context, name string) (id int64, made bool, err error) {
	err = s.write(ctx, func(t tx) error {
		n, err := t.exec(sqlAddExperiment, clean(name))
		made = n > 0
		if err != nil {
			return err
		}
		return t.value([]any{&id}, sqlExperimentID, clean(name))
	})
	return id, made, err
}

// ExperimentNames are the names of all experiments by their ids, also of those that have no runs.
func (s *Store) ExperimentNames(ctx context.Context) (map[int64]string, error) {
	names := map[int64]string{}
	err := each(ctx, s.db.reads(), sqlExperimentNames, nil, func(scan func(...any) error) error {
		var id int64
		var name string
		err := scan(&id, &name)
		names[id] = name
		return err
	})
	return names, s.plain(err)
}

// Experiments lists the experiments that have runs, the latest first.
func (s *Store) Experiments(ctx context.Context) ([]Experiment, error) {
	if err := s.findLost(ctx, false); err != nil {
		return nil, err
	}
	found := map[string]Experiment{}
	err := each(ctx, s.db.reads(), sqlExperiments, nil, func(scan func(...any) error) error {
		var name string
		var status Status
		var n int
		var created, changed sql.NullInt64
		err := scan(&name, &status, &n, &created, &changed)
		e, ok := found[name]
		if !ok {
			e = Experiment{Name: name, Runs: map[Status]int{}, Created: instant(created), Changed: instant(changed)}
		}
		e.Runs[status] = n
		if c := instant(created); c.Before(e.Created) {
			e.Created = c
		}
		if c := instant(changed); c.After(e.Changed) {
			e.Changed = c
		}
		found[name] = e
		return err
	})
	return slices.SortedFunc(maps.Values(found), func(a, b Experiment) int {
		return cmp.Or(b.Changed.Compare(a.Changed), cmp.Compare(a.Name, b.Name))
	}), s.plain(err)
}
