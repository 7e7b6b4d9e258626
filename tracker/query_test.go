package tracker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// A name finds its run among those that are not deleted, and a deleted one where there is no other.
func (db suite) names(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	a, b := start(t, s, NewRun{Name: "twice"}), start(t, s, NewRun{Name: "twice"})
	c := start(t, s, NewRun{Name: "once"})
	if i, err := s.Run(ctx, "once"); err != nil || i.ID != c.ID {
		t.Error(i.ID, err)
	}
	if _, err := s.Run(ctx, "twice"); err == nil || err.Error() != fmt.Sprintf(`2 runs are called "twice"; name one by its id: %d, %d`, a.ID, b.ID) {
		t.Error(err)
	}
	must(t, s.Delete(ctx, a.ID))
	if i, err := s.Run(ctx, "twice"); err != nil || i.ID != b.ID {
		t.Error(i.ID, err)
	}
	if i, err := s.Deleted(ctx, "twice"); err != nil || i.ID != a.ID {
		t.Error(i.ID, err)
	}
	if i, err := s.Deleted(ctx, "once"); err != nil || i.ID != c.ID {
		t.Error(i.ID, err)
	}
	must(t, s.Delete(ctx, b.ID), s.Delete(ctx, c.ID))
	if i, err := s.Run(ctx, "once"); err != nil || i.ID != c.ID {
		t.Error(i.ID, err)
	}
	if _, err := s.Run(ctx, "twice"); err == nil || !strings.Contains(err.Error(), "2 runs are called") {
		t.Error(err)
	}
	if _, err := s.Run(ctx, "never"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// Diff and Watch.
func (db suite) diffAndWatch(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	a := start(t, s, NewRun{Params: map[string]any{"w": 1, "same": 2}, Tags: map[string]string{"only": "a"}})
	b := start(t, s, NewRun{Params: map[string]any{"w": 3, "same": 2}})
	must(t, a.Log(ctx, 1, map[string]float64{"m": 1}), b.Log(ctx, 1, map[string]float64{"m": 2}))
	diff, err := s.Diff(ctx, a.ID, b.ID)
	want := []Difference{{"param", "w", "1", "3"}, {"tag", "only", "a", ""}, {"metric", "m", "1", "2"}}
	if err != nil || !slices.Equal(diff, want) {
		t.Errorf("%v %v", diff, err)
	}
	changed, cursor, err := s.Watch(ctx, 0)
	if err != nil || len(changed) != 2 {
		t.Fatal(changed, err)
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if changed, _, err := s.Watch(short, cursor); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nothing changed, but: %v %v", changed, err)
	}
	go func() {
		time.Sleep(50 * time.Millisecond)
		_ = b.Log(ctx, 2, map[string]float64{"m": 3})
	}()
	if changed, _, err := s.Watch(ctx, cursor); err != nil || len(changed) != 1 || changed[0].ID != b.ID {
		t.Errorf("%v %v", changed, err)
	}
}

// Who watches sees all changes of all writers, none twice, in the order of cursors.
func (db suite) watchWriters(t *testing.T) {
	url, ctx := db.empty(t), t.Context()
	s := open(t, url)
	const writers, steps = 2, 300
	for range writers {
		w := open(t, url)
		r := start(t, w, NewRun{})
		go func() {
			for i := range int64(steps) {
				if err := r.Log(ctx, i, map[string]float64{"m": float64(i)}); err != nil {
					t.Error(err)
					return
				}
			}
			if err := r.Finish(ctx, nil); err != nil {
				t.Error(err)
			}
		}()
	}
	cursor, finished := int64(0), 0
	last := map[int64]int64{}
	for finished < writers {
		changed, next, err := s.Watch(ctx, cursor)
		must(t, err)
		if next <= cursor || len(changed) == 0 {
			t.Fatalf("%d runs from %d to %d", len(changed), cursor, next)
		}
		for _, r := range changed {
			if r.changed <= cursor || r.changed > next {
				t.Errorf("a change of %d between %d and %d", r.changed, cursor, next)
			}
			if at := r.Metrics["m"].LastStep; at < last[r.ID] {
				t.Errorf("run %d went back from step %d to %d", r.ID, last[r.ID], at)
			}
			last[r.ID] = r.Metrics["m"].LastStep
			if r.Status == Finished {
				finished++
			}
		}
		cursor = next
	}
	for id, at := range last {
		if at != steps-1 {
			t.Errorf("run %d: the last change seen is of step %d", id, at)
		}
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if changed, _, err := s.Watch(short, cursor); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("seen twice: %v %v", changed, err)
	}
}

// Pages after a run have every run once, in any order, with filters, and whatever comes meanwhile.
func (db suite) pages(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	for i := range 23 {
		r := start(t, s, NewRun{Experiment: []string{"a", "b"}[i%2], Params: map[string]any{"w": i % 5}})
		if i%3 > 0 {
			must(t, r.Log(ctx, 0, map[string]float64{"m": float64(i % 7)}))
		}
	}
	for _, q := range []Query{{}, {Sort: "-metrics.m"}, {Sort: "params.w,metrics.m"}, {Sort: "id", Where: "params.w > 1"}, {Experiment: "b", Sort: "name"}} {
		all, err := s.Runs(ctx, q)
		must(t, err)
		var paged []Info
		for q.Limit = 4; ; {
			page, err := s.Runs(ctx, q)
			must(t, err)
			if len(page) == 0 {
				break
			}
			paged, q.After = append(paged, page...), page[len(page)-1].ID
		}
		if !slices.EqualFunc(all, paged, func(a, b Info) bool { return a.ID == b.ID }) {
			t.Errorf("%+v: %d runs in pages, of %d", q, len(paged), len(all))
		}
	}
	if runs, err := s.Runs(ctx, Query{After: 99}); err != nil || len(runs) != 0 {
		t.Error(runs, err)
	}
	if runs, err := s.RunsByID(ctx, []int64{7, 3, 20}); err != nil || len(runs) != 3 || runs[0].ID != 7 || runs[2].ID != 20 || runs[0].Params["w"].Text != "1" {
		t.Error(runs, err)
	}
	if _, err := s.RunsByID(ctx, []int64{7, 99}); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	var fault *QueryError
	if _, err := s.Runs(ctx, Query{Sort: "id,"}); !errors.As(err, &fault) || fault.What != "sort" || fault.Column != 4 {
		t.Error(err)
	}
}

// What is new of a run is read without what is known.
func (db suite) pointsAfter(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	r := start(t, s, NewRun{})
	before, err := s.Cursor(ctx)
	must(t, err, r.Log(ctx, 0, map[string]float64{"a": 1, "b": 2}), r.Log(ctx, 5, map[string]float64{"a": 3}), r.Log(ctx, 9, map[string]float64{"b": math.Inf(1)}))
	for step, want := range map[int64][]Point{-1: {{"a", 0, 1}, {"a", 5, 3}, {"b", 0, 2}, {"b", 9, math.Inf(1)}}, 0: {{"a", 5, 3}, {"b", 9, math.Inf(1)}}, 9: nil} {
		if points, err := s.PointsAfter(ctx, r.ID, step); err != nil || !slices.Equal(points, want) {
			t.Errorf("after %d: %v %v", step, points, err)
		}
	}
	if now, err := s.Cursor(ctx); err != nil || now <= before {
		t.Errorf("cursor %d, then %d %v", before, now, err)
	}
}

// What an experiment has, and the pictures of several runs, are found at once.
func (db suite) experiments(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	a, b, c := start(t, s, NewRun{Experiment: "x"}), start(t, s, NewRun{Experiment: "x"}), start(t, s, NewRun{Experiment: "y"})
	must(t, a.LogPicture(ctx, 3, "output", grey(1)), a.LogPicture(ctx, 1, "output", grey(2)), c.LogPicture(ctx, 0, "content", grey(3)),
		a.Finish(ctx, nil), b.Finish(ctx, errors.New("failed")), s.Delete(ctx, c.ID))
	list, err := s.Experiments(ctx)
	if err != nil || len(list) != 1 || list[0].Name != "x" || list[0].Runs[Finished] != 1 || list[0].Runs[Failed] != 1 || list[0].Changed.Before(list[0].Created) {
		t.Errorf("%+v %v", list, err)
	}
	pictures, err := s.PicturesOf(ctx, []int64{a.ID, b.ID, c.ID})
	if err != nil || len(pictures) != 2 || len(pictures[a.ID]) != 2 || pictures[a.ID][0].Step != 1 || pictures[c.ID][0].Name != "content" {
		t.Errorf("%+v %v", pictures, err)
	}
}
