package tracker

import (
	"bytes"
	"errors"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// Choices are kept in their order, go with their runs into exports and backups, and are removed with them.
func (db suite) choices(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	var ids []int64
	for i := range 6 {
		r := start(t, s, NewRun{Experiment: []string{"a", "b"}[i/5], Name: strconv.Itoa(i)})
		must(t, r.Finish(ctx, nil))
		ids = append(ids, r.ID)
	}
	for _, c := range []struct {
		runs []int64
		best int64
		want string // of the error
	}{
		{ids[:2], ids[1], ""},
		{[]int64{ids[3], ids[2], ids[1], ids[0]}, 0, ""},
		{[]int64{ids[4], ids[0], ids[2]}, ids[2], ""},
		{ids[:1], 0, "a choice between the runs 1; allowed: two to four different ones"},
		{ids[:5], 0, "two to four different ones"},
		{[]int64{ids[0], ids[1], ids[0]}, 0, "two to four different ones"},
		{ids[:2], ids[2], "run 3 is best of the runs 1 2; allowed: one of them, or 0 for none"},
		{ids[4:], ids[4], "a choice between runs of 2 experiments; allowed: those of one"},
	} {
		if err := s.Choose(ctx, c.runs, c.best); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v %d: %v, want %s", c.runs, c.best, err, c.want)
		}
	}
	if err := s.Choose(ctx, []int64{ids[0], 99}, 0); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	// without their times
	short := func(s *Store, experiment string) (list []Choice) {
		choices, err := s.Choices(ctx, experiment)
		must(t, err)
		for _, c := range choices {
			if c.Time.IsZero() {
				t.Error("a choice without its time")
			}
			list = append(list, Choice{Runs: c.Runs, Best: c.Best})
		}
		return list
	}
	want := []Choice{{Runs: []int64{1, 2}, Best: 2}, {Runs: []int64{4, 3, 2, 1}}, {Runs: []int64{5, 1, 3}, Best: 3}}
	if got := short(s, "a"); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := short(s, "b"); got != nil {
		t.Error(got)
	}

	// A choice that is taken back is in no export.
	must(t, s.Choose(ctx, ids[1:4], ids[3]))
	made, err := s.Choices(ctx, "a")
	must(t, err)
	before, err := s.Cursor(ctx)
	must(t, err, s.TakeBack(ctx, made[3]))
	if now, err := s.Cursor(ctx); err != nil || now == before {
		t.Error("nobody is told that a choice was taken back")
	}
	if err := s.TakeBack(ctx, made[3]); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if got := short(s, "a"); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}

	runs, err := s.Runs(ctx, Query{Sort: "-id", Experiment: "a"})
	must(t, err)
	var all, part bytes.Buffer
	must(t, s.ExportJSON(ctx, &all, runs), s.ExportJSON(ctx, &part, runs[:4])) // without run 1
	if n := strings.Count(part.String(), `"choice"`); n != 0 {
		t.Errorf("%d choices with a run that is not exported", n)
	}
	other := db.fresh(t)
	for range 2 { // the second time all is there already
		_, _, err := other.Import(ctx, bytes.NewReader(all.Bytes()))
		must(t, err)
		if got, want := short(other, "a"), []Choice{{Runs: []int64{5, 4}, Best: 4}, {Runs: []int64{2, 3, 4, 5}}, {Runs: []int64{1, 5, 3}, Best: 3}}; !reflect.DeepEqual(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	run := func(id string) string {
		return `{"run":{"id":` + id + `,"name":"` + id + `","created":"2026-01-01T00:00:00Z"}}` + "\n"
	}
	for text, want := range map[string]string{
		`{"choice":{"time":"2026-01-01T00:00:00Z","runs":[1,2]}}`:                                "line 1: a choice with run 1, which no line before it has",
		run("7") + run("7") + `{"choice":{"runs":[7,7]}}`:                                        "line 3: a choice between the runs 7 7",
		run("7") + run("8") + `{"choice":{"runs":[7,8]}}`:                                        "a choice without a time",
		run("7") + run("8") + `{"choice":{"time":"2026-01-01T00:00:00Z","runs":[7,8],"best":1}}`: "run 1 is best of the runs 7 8",
	} {
		if _, _, err := other.Import(ctx, strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	whole(t, other)

	path := filepath.Join(t.TempDir(), "backup.db")
	if !db.server {
		must(t, s.Backup(ctx, path))
		if got := short(open(t, path), "a"); !reflect.DeepEqual(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}

	must(t, s.Delete(ctx, ids[2]))
	if got := short(s, "a"); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	_, err = s.GC(ctx)
	must(t, err)
	if got := short(s, "a"); !reflect.DeepEqual(got, want[:1]) {
		t.Errorf("%v, want %v", got, want[:1])
	}
	whole(t, s)
}
