package web

import (
	"fmt"
	"math"
	"net/http"
	"slices"

	"hrlab/tracker"
)

// maxCompared is how many runs are compared at once.
const maxCompared = 50

// difference is a line of the comparison: the values of something, by run.
type difference struct {
	Name   string
	Values []string
}

// compared is a run and the parameters that tell it from the others.
type compared struct {
	shownRun
	Settings []string
}

// captioned is how many parameters a caption has room for.
const captioned = 3

type comparison struct {
	Runs         []compared
	Differ, Same []difference
	States       []runState
	Two          bool
}

func (s *Server) comparePage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	list, err := runIDs(r.URL.Query()["run"])
	if err == nil && (len(list) < 2 || len(list) > maxCompared) {
		err = Bad(fmt.Errorf("%d runs are chosen; allowed: 2 to %d", len(list), maxCompared))
	}
	if err != nil {
		return err
	}
	cursor, err := s.store.Cursor(ctx)
	if err != nil {
		return err
	}
	infos, err := s.store.RunsByID(ctx, list)
	if err != nil {
		return err
	}
	pictures, err := s.store.PicturesOf(ctx, list)
	if err != nil {
		return err
	}
	c := comparison{Two: len(list) == 2}
	for _, info := range infos {
		c.Runs = append(c.Runs, compared{shownRun: shownRun{info, s.standsFor(pictures[info.ID])}})
		c.States = append(c.States, s.state(info, cursor, pictures[info.ID], nil))
	}
	c.compare(infos)
	experiment := infos[0].Experiment
	if slices.ContainsFunc(infos, func(i tracker.Info) bool { return i.Experiment != experiment }) {
		experiment = ""
	}
	s.Show(w, r, Page{Title: "Compare", Experiment: experiment, Template: body("compare"), Data: c, Scripts: []string{"/assets/compare.js"}})
	return nil
}

// compare finds what is the same of runs, and what is not.
func (c *comparison) compare(infos []tracker.Info) {
	add := func(name string, of func(i tracker.Info) string) {
		d := difference{Name: name}
		for _, info := range infos {
			d.Values = append(d.Values, of(info))
		}
		if len(slices.Compact(slices.Clone(d.Values))) == 1 {
			c.Same = append(c.Same, d)
		} else {
			c.Differ = append(c.Differ, d)
		}
	}
	params, tags, metrics := tracker.Names(infos)
	add("status", func(i tracker.Info) string { return string(i.Status) })
	n := len(c.Differ)
	for _, key := range params {
		add(key, func(i tracker.Info) string { return i.Params[key].Text })
	}
	for i := range c.Runs {
		for _, d := range c.Differ[n:min(len(c.Differ), n+captioned)] {
			c.Runs[i].Settings = append(c.Runs[i].Settings, d.Name+" "+d.Values[i])
		}
	}
	for _, key := range metrics {
		add(key, func(i tracker.Info) string {
			m, ok := i.Metrics[key]
			if !ok || math.IsNaN(m.Last) {
				return ""
			}
			return number(m.Last)
		})
	}
	for _, key := range tags {
		add("tag "+key, func(i tracker.Info) string { return i.Tags[key] })
	}
}
