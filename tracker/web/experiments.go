package web

import (
	"context"
	"net/http"
	"slices"

	"hrlab/tracker"
)

// card is an experiment and its best runs.
type card struct {
	tracker.Experiment
	Best []shownRun
	Tags map[string]string // that its best runs have in common
}

// shownRun is a run with the picture that stands for it; the digest is empty where it has none.
type shownRun struct {
	tracker.Info
	Picture tracker.Picture
}

// bestRuns is how many runs a card shows.
const bestRuns = 4

// cards is how many experiments have a card with pictures; there is a line for each of the others.
const cards = 24

func (s *Server) experimentsPage(w http.ResponseWriter, r *http.Request) error {
	cursor, err := s.store.Cursor(r.Context())
	if err != nil {
		return err
	}
	experiments, err := s.store.Experiments(r.Context())
	if err != nil {
		return err
	}
	best, err := s.best(r.Context())
	if err != nil {
		return err
	}
	var list []int64 // of the experiments with cards, so that all are read at once
	for _, e := range experiments[:min(cards, len(experiments))] {
		list = append(list, best[e.Name]...)
	}
	runs, err := s.store.RunsByID(r.Context(), list)
	if err != nil {
		return err
	}
	pictures, err := s.withPictures(r, runs)
	if err != nil {
		return err
	}
	shown := map[int64]shownRun{}
	for _, run := range pictures {
		shown[run.ID] = run
	}
	all := make([]card, 0, len(experiments))
	for i, e := range experiments {
		c := card{Experiment: e}
		for _, id := range best[e.Name] {
			if i < cards {
				c.Best = append(c.Best, shown[id])
			}
		}
		c.Tags = common(c.Best)
		all = append(all, c)
	}
	s.Show(w, r, Page{Title: "Experiments", Template: body("experiments"), Data: map[string]any{"Cards": all, "Cursor": cursor}, Scripts: []string{"/assets/experiments.js"}})
	return nil
}

// best are the ids of the runs that stand for an experiment, by its name.
func (s *Server) best(ctx context.Context) (map[string][]int64, error) {
	measured, err := s.store.Measured(ctx, s.options.Measures...)
	if err != nil {
		return nil, err
	}
	of := map[string][]tracker.Measured{}
	for _, run := range measured {
		of[run.Experiment] = append(of[run.Experiment], run)
	}
	best := make(map[string][]int64, len(of))
	for name, runs := range of {
		var list []tracker.Measured
		if s.options.Best != nil {
			list = s.options.Best(runs)
		}
		for _, run := range append(list, runs...) {
			if ids := best[name]; len(ids) < bestRuns && !slices.Contains(ids, run.Run) {
				best[name] = append(ids, run.Run)
			}
		}
	}
	return best, nil
}

// common are the tags that all runs have with one value.
func common(runs []shownRun) map[string]string {
	tags := map[string]string{}
	for i, run := range runs {
		for key, value := range run.Tags {
			if i == 0 {
				tags[key] = value
			}
		}
		for key, value := range tags {
			if run.Tags[key] != value {
				delete(tags, key)
			}
		}
	}
	if len(runs) < 2 { // nothing is in common with nobody
		return nil
	}
	return tags
}

// withPictures finds the pictures that stand for runs.
func (s *Server) withPictures(r *http.Request, runs []tracker.Info) ([]shownRun, error) {
	pictures, err := s.store.PicturesOf(r.Context(), ids(runs))
	if err != nil {
		return nil, err
	}
	list := make([]shownRun, len(runs))
	for i, run := range runs {
		list[i] = shownRun{Info: run, Picture: s.standsFor(pictures[run.ID])}
	}
	return list, nil
}

// standsFor is the picture that stands for a run: the last of the name in the options, or else the latest.
func (s *Server) standsFor(pictures []tracker.Picture) (picture tracker.Picture) {
	for _, p := range pictures {
		if s.options.Picture == "" || p.Name == s.options.Picture || picture.Digest == "" {
			picture = p
		}
	}
	return picture
}

func ids(runs []tracker.Info) []int64 {
	list := make([]int64, len(runs))
	for i, run := range runs {
		list[i] = run.ID
	}
	return list
}
