package tracker

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Deleted runs are out of sight until they are restored, or purged with all they had.
func (db suite) deleteRestoreGC(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	var runs []*Run
	for i := range 2 {
		r := start(t, s, NewRun{Name: fmt.Sprint("r", i), Params: map[string]any{"w": i}})
		must(t, r.Log(ctx, 1, map[string]float64{"m": 1}), r.LogPicture(ctx, 1, "p", grey(uint8(i))), r.LogPicture(ctx, 2, "p", grey(77)),
			r.LogArtifact(ctx, "own", strings.NewReader(fmt.Sprint("own ", i))), r.LogArtifact(ctx, "shared", strings.NewReader("shared")), r.Finish(ctx, nil))
		runs = append(runs, r)
	}
	must(t, s.Delete(ctx, runs[0].ID))
	if list, _ := s.Runs(ctx, Query{}); len(list) != 1 {
		t.Errorf("%d listed", len(list))
	}
	if list, _ := s.Runs(ctx, Query{Deleted: true}); len(list) != 2 {
		t.Errorf("%d listed with deleted ones", len(list))
	}
	must(t, s.Restore(ctx, runs[0].ID), s.Delete(ctx, runs[0].ID))
	freed, err := s.GC(ctx)
	if err != nil || freed.Runs != 1 || freed.Files != 1 {
		t.Errorf("%+v %v", freed, err)
	}
	if err := s.Restore(ctx, runs[0].ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("restored after gc: %v", err)
	}
	var params int
	if err := value(ctx, s.db.reads(), []any{&params}, "SELECT count(*) FROM param"); err != nil || params != 1 {
		t.Errorf("%d parameters of one run, %v", params, err)
	}
	pictures, err := s.Pictures(ctx, runs[1].ID)
	if err != nil || len(pictures) != 2 {
		t.Error(pictures, err)
	}
	for _, p := range pictures {
		if _, err := s.Thumbnail(ctx, p.Digest); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.OpenArtifact(ctx, runs[1].ID, "shared"); err != nil {
		t.Error(err)
	}
	whole(t, s)
}

// What others write while deleted runs are freed stays: pictures and artifacts that the freed ones had, too.
func (db suite) gcWhileWriting(t *testing.T) {
	url, ctx := db.empty(t), t.Context()
	s, other := open(t, url), open(t, url)
	r := start(t, other, NewRun{})
	const n = 40
	done := make(chan error)
	go func() {
		for i := range int64(n) {
			if err := errors.Join(r.LogPicture(ctx, i, "p", grey(uint8(i%4))), r.LogArtifact(ctx, strconv.FormatInt(i, 10), strings.NewReader(strconv.FormatInt(i%4, 10)))); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for writing := true; writing; {
		d := start(t, s, NewRun{})
		for i := range int64(4) {
			must(t, d.LogPicture(ctx, i, "p", grey(uint8(i))), d.LogArtifact(ctx, strconv.FormatInt(i, 10), strings.NewReader(strconv.FormatInt(i, 10))))
		}
		must(t, d.Finish(ctx, nil), s.Delete(ctx, d.ID))
		if _, err := s.GC(ctx); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			must(t, err)
			writing = false
		default:
		}
	}
	whole(t, s)
	for i := range n {
		f, err := s.OpenArtifact(ctx, r.ID, strconv.Itoa(i))
		must(t, err)
		f.Close()
	}
	pictures, err := s.Pictures(ctx, r.ID)
	if err != nil || len(pictures) != n {
		t.Fatal(len(pictures), err)
	}
	for _, p := range pictures {
		_, err := s.Thumbnail(ctx, p.Digest)
		must(t, err)
	}
}

// Check makes anew what follows from what is there. What is missing or damaged it only names, until it is asked to
// replace it by notes; leftovers are for gc.
func (db suite) checkRepairs(t *testing.T) {
	s, ctx := db.withDirectory(t), t.Context()
	r := start(t, s, NewRun{})
	must(t, r.LogBatch(ctx, []Point{{"m", 1, 1}, {"fewer", 1, 5}, {"fewer", 2, 7}, {"none", 1, 9}}), r.LogArtifact(ctx, "gone", strings.NewReader("1")),
		r.LogArtifact(ctx, "bent\n", strings.NewReader("2")), r.LogArtifact(ctx, "bent too", strings.NewReader("2")), r.LogArtifact(ctx, "unreadable", strings.NewReader("3")),
		r.LogArtifact(ctx, "good", strings.NewReader("4")), r.Finish(ctx, nil))
	digest := map[string]string{}
	artifacts, err := s.Artifacts(ctx, r.ID)
	must(t, err)
	for _, a := range artifacts {
		digest[a.Name] = a.Digest
	}
	aside := filepath.Join(t.TempDir(), "aside")
	must(t, os.Rename(dir(s).of(digest["gone"]), aside), os.WriteFile(dir(s).of(digest["bent too"]), []byte("other"), 0o666),
		os.Remove(dir(s).of(digest["unreadable"])), os.Mkdir(dir(s).of(digest["unreadable"]), 0o777)) //nolint:gosec // a directory
	orphan, foreign := filepath.Join(dir(s).path, "ab", strings.Repeat("ab", 32)), filepath.Join(dir(s).path, "README")
	must(t, os.MkdirAll(filepath.Dir(orphan), 0o777), os.WriteFile(orphan, []byte("x"), 0o666), os.WriteFile(foreign, []byte("x"), 0o666)) //nolint:gosec // a directory
	for _, statement := range []string{"UPDATE summary SET last = 99 WHERE name = 1", "DELETE FROM metric WHERE name = 2 AND step = 2", "DELETE FROM metric WHERE name = 3"} {
		execute(t, s, statement)
	}
	if m := info(t, s, r.ID).Metrics; m["fewer"].Last != 7 || m["none"].Last != 9 {
		t.Fatal(m)
	}
	for _, c := range []struct {
		drop bool
		want []string
	}{
		{false, []string{
			"run 1: the summary of metric 1 is not that of its values: computed again", "run 1: 1 of 2 values of metric 2 are missing", "run 1: 1 of 1 values of metric 3 are missing",
			`run 1: artifact "bent\n" (1 bytes, sha256 DIGEST) is damaged: FILE`, `run 1: artifact "bent too" (1 bytes, sha256 DIGEST) is damaged: FILE`,
			`run 1: artifact "gone" (1 bytes, sha256 DIGEST) is missing: FILE`, `run 1: artifact "unreadable": FILE: is a directory`, "FILE: 1 bytes that belong to no run, which gc removes",
		}},
		{false, []string{
			"run 1: 1 of 2 values of metric 2 are missing", "run 1: 1 of 1 values of metric 3 are missing",
			`run 1: artifact "bent\n" (1 bytes, sha256 DIGEST) is damaged: FILE`, `run 1: artifact "bent too" (1 bytes, sha256 DIGEST) is damaged: FILE`,
			`run 1: artifact "gone" (1 bytes, sha256 DIGEST) is missing: FILE`, `run 1: artifact "unreadable": FILE: is a directory`, "FILE: 1 bytes that belong to no run, which gc removes",
		}},
		{true, []string{
			"run 1: 1 of 2 values of metric 2 are missing: its summary is now that of the others", "run 1: 1 of 1 values of metric 3 are missing: its summary is now that of the others",
			`run 1: artifact "bent\n" (1 bytes, sha256 DIGEST) is damaged: FILE: replaced by a note`, `run 1: artifact "bent too" (1 bytes, sha256 DIGEST) is damaged: FILE: replaced by a note`,
			`run 1: artifact "gone" (1 bytes, sha256 DIGEST) is missing: FILE: replaced by a note`, `run 1: artifact "unreadable": FILE: is a directory`, "FILE: 1 bytes that belong to no run, which gc removes",
		}},
		{true, []string{`run 1: artifact "unreadable": FILE: is a directory`, "FILE: 1 bytes that belong to no run, which gc removes"}},
	} {
		findings, err := s.Check(ctx, c.drop)
		must(t, err)
		var got []string
		for _, f := range findings {
			text := regexp.MustCompile(`/\S*/([0-9a-f]{64})`).ReplaceAllString(f.String(), "FILE")
			got = append(got, regexp.MustCompile("[0-9a-f]{64}").ReplaceAllString(text, "DIGEST"))
		}
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("drop %v:\n%s\nwant\n%s", c.drop, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
		if artifacts, err := s.Artifacts(ctx, r.ID); err != nil || !c.drop && len(artifacts) != 5 {
			t.Errorf("%v %v", artifacts, err)
		}
		if _, err := os.Stat(orphan); err != nil {
			t.Error(err)
		}
	}
	i := info(t, s, r.ID)
	if _, none := i.Metrics["none"]; i.Metrics["m"].Last != 1 || i.Metrics["fewer"].Last != 5 || none || len(i.Notes) != 3 || !strings.Contains(i.Notes[0].Text, "is damaged") {
		t.Errorf("%+v", i)
	}
	if text, err := os.ReadFile(dir(s).of(digest["bent too"]) + damaged); err != nil || string(text) != "other" {
		t.Errorf("what is left of the damaged file: %q %v", text, err)
	}
	must(t, os.Remove(dir(s).of(digest["unreadable"])))
	if _, err := s.Check(ctx, true); err != nil {
		t.Error(err)
	}
	if freed, err := s.GC(ctx); err != nil || freed.Files != 2 { // the orphan and what is left of the damaged file
		t.Errorf("%+v %v", freed, err)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Error("a file that is not the tracker's is gone: ", err)
	}
	whole(t, s)
}

// Check removes the parameters and values of a run that is gone, where the database has no reference that would have.
func (db suite) checkRunless(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	r := start(t, s, NewRun{Params: map[string]any{"p": 1}})
	must(t, r.LogBatch(ctx, []Point{{"m", 1, 1}}), r.Finish(ctx, nil))
	execute(t, s, "INSERT INTO metric (run, name, step, value, nan) VALUES (8, 1, 1, 1, 0), (8, 1, 2, 1, 0)")
	want := []string{"run 8 is gone, but not its parameters and values: removed"}
	if db.server {
		execute(t, s, "INSERT INTO param (run, key, text) VALUES (8, 'p', '1'), (8, 'q', '1'), (9, 'p', '1')")
		want = append(want, "run 9 is gone, but not its parameters and values: removed")
	}
	var got []string
	for _, f := range check(t, s) {
		got = append(got, f.String())
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	whole(t, s)
	if i := info(t, s, r.ID); len(i.Params) != 1 || i.Metrics["m"].Last != 1 {
		t.Errorf("%+v", i)
	}
}

// Check waits for no writer, and none for it.
func (db suite) checkWhileWriting(t *testing.T) {
	url, ctx := db.empty(t), t.Context()
	s, other := open(t, url), open(t, url)
	r := start(t, s, NewRun{})
	must(t, r.Log(ctx, 1, map[string]float64{"m": 1}), r.LogArtifact(ctx, "a", strings.NewReader("x")))
	must(t, other.Transaction(ctx, func(*sql.Tx) error { whole(t, s); return nil }))
}
