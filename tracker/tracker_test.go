package tracker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// open opens a new database, or the one at path.
func open(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func fresh(t testing.TB) *Store {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "hrlab.db"))
}

func start(t testing.TB, s *Store, n NewRun) *Run {
	t.Helper()
	r, err := s.Start(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// must fails the test on the first error.
func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func info(t testing.TB, s *Store, id int64) Info {
	t.Helper()
	i, err := s.Run(t.Context(), strconv.FormatInt(id, 10))
	must(t, err)
	return i
}

// whole says that check finds nothing.
func whole(t testing.TB, s *Store) {
	t.Helper()
	if findings, err := s.Check(t.Context(), false); err != nil || len(findings) > 0 {
		t.Errorf("check: %v %v", findings, err)
	}
}

func grey(v uint8) image.Image {
	img := image.NewGray(image.Rect(0, 0, 400, 100))
	for i := range img.Pix {
		img.Pix[i] = v
	}
	return img
}

// What is recorded is read again as it was.
func TestRun(t *testing.T) {
	s, ctx := fresh(t), t.Context()
	r := start(t, s, NewRun{
		Experiment: "e", Name: "n",
		Params: map[string]any{"w": 0.1, "deep": map[string]any{"a": 7, "b": "x"}, "list": []int{1, 2}, "yes": true},
		Tags:   map[string]string{"pair": "boat"}, Inputs: map[string]string{"content": "abc"}, Environment: map[string]string{"device": "d"},
	})
	must(t, r.Log(ctx, 0, map[string]float64{"total": 5, "nan": math.NaN()}), r.Log(ctx, 10, map[string]float64{"total": 3, "nan": math.Inf(1)}),
		r.Log(ctx, 20, map[string]float64{"total": 4, "nan": math.Inf(-1)}), r.Tag(ctx, "good", "yes"), r.Note(ctx, "a remark"),
		r.LogPicture(ctx, 10, "output", grey(3)), r.LogArtifact(ctx, "file", strings.NewReader("content")))
	i := info(t, s, r.ID)
	if i.Status != Running || i.Experiment != "e" || i.Name != "n" || i.Started.IsZero() || !strings.Contains(i.Command, "test") {
		t.Errorf("%+v", i)
	}
	if i.Params["w"].Number != 0.1 || i.Params["deep.a"].Text != "7" || i.Params["deep.b"].Text != "x" || i.Params["list"].Text != "[1,2]" || i.Params["yes"].Text != "true" {
		t.Errorf("%+v", i.Params)
	}
	if i.Tags["good"] != "yes" || i.Tags["pair"] != "boat" || len(i.Notes) != 1 || i.Notes[0].Text != "a remark" {
		t.Errorf("%v %v", i.Tags, i.Notes)
	}
	if m := i.Metrics["total"]; m != (Metric{4, 3, 5, 20, 10, 0}) {
		t.Errorf("total: %+v", m)
	}
	if m := i.Metrics["nan"]; !math.IsInf(m.Last, -1) || !math.IsInf(m.Min, -1) || !math.IsInf(m.Max, 1) {
		t.Errorf("nan: %+v", m)
	}
	series, err := s.Series(ctx, []int64{r.ID}, nil, 0)
	if err != nil || len(series) != 2 || !math.IsNaN(series[0].Values[0]) || !math.IsInf(series[0].Values[1], 1) || !slices.Equal(series[1].Values, []float64{5, 3, 4}) {
		t.Errorf("%+v %v", series, err)
	}
	env, err := s.Environment(ctx, r.ID)
	if err != nil || env["device"] != "d" || env["input.content"] != "abc" || env["go"] == "" {
		t.Errorf("%v %v", env, err)
	}
	pictures, err := s.Pictures(ctx, r.ID)
	if err != nil || len(pictures) != 1 || pictures[0].Width != 400 {
		t.Fatal(pictures, err)
	}
	thumbnail, err := s.Thumbnail(ctx, pictures[0].Digest)
	must(t, err)
	if c, _, err := image.DecodeConfig(strings.NewReader(string(thumbnail))); err != nil || c.Width != ThumbnailSize || c.Height != 80 {
		t.Errorf("thumbnail %dx%d, %v", c.Width, c.Height, err)
	}
	f, err := s.OpenArtifact(ctx, r.ID, "file")
	must(t, err)
	if text, _ := io.ReadAll(f); string(text) != "content" {
		t.Errorf("%q", text)
	}
	f.Close()
	must(t, r.Finish(ctx, nil))
	if i := info(t, s, r.ID); i.Status != Finished || i.Ended.IsZero() {
		t.Errorf("%+v", i)
	}
	if err := r.Log(ctx, 30, map[string]float64{"total": 1}); !errors.Is(err, ErrTaken) {
		t.Errorf("log after the end: %v", err)
	}
	whole(t, s)
}

// Steps may be repeated and come in any order: the last value counts, in curve and summary.
func TestStepsInAnyOrder(t *testing.T) {
	s, ctx := fresh(t), t.Context()
	r := start(t, s, NewRun{})
	for _, p := range [][2]float64{{5, 1}, {3, 9}, {5, 7}, {3, 2}, {4, 8}, {4, 3}} {
		must(t, r.Log(ctx, int64(p[0]), map[string]float64{"m": p[1]}))
	}
	must(t, r.LogBatch(ctx, []Point{{"m", 6, 100}, {"m", 6, 5}, {"m", 2, 1}}))
	series, err := s.Series(ctx, []int64{r.ID}, []string{"m"}, 0)
	if err != nil || !slices.Equal(series[0].Steps, []int64{2, 3, 4, 5, 6}) || !slices.Equal(series[0].Values, []float64{1, 2, 3, 7, 5}) {
		t.Errorf("%+v %v", series, err)
	}
	if m := info(t, s, r.ID).Metrics["m"]; m != (Metric{5, 1, 7, 6, 2, 5}) {
		t.Errorf("%+v", m)
	}
	if err := r.Log(ctx, -1, map[string]float64{"m": 1}); err == nil || !strings.Contains(err.Error(), "step -1; allowed: 0 or more") {
		t.Error(err)
	}
	whole(t, s)
}

// Names and texts of any bytes and length are kept, but for what no database keeps.
func TestOddStrings(t *testing.T) {
	s, ctx := fresh(t), t.Context()
	long := strings.Repeat("ä\n", 500_000)
	for _, c := range []struct{ in, want string }{
		{`quotes ' " ; -- \`, `quotes ' " ; -- \`}, {"nul\x00byte", "nul\uFFFDbyte"}, {"bad \xff utf", "bad \uFFFD utf"}, {long, long}, {"%_", "%_"}, {"", ""},
	} {
		r := start(t, s, NewRun{Name: c.in, Experiment: c.in, Params: map[string]string{"k" + c.in: c.in}, Tags: map[string]string{"k" + c.in: c.in}})
		must(t, r.Log(ctx, 1, map[string]float64{"m" + c.in: 1}), r.Note(ctx, c.in), r.LogPicture(ctx, 0, c.in, grey(1)), r.LogArtifact(ctx, c.in, strings.NewReader("x")))
		i := info(t, s, r.ID)
		if i.Name != c.want || i.Params["k"+c.want].Text != c.want || i.Tags["k"+c.want] != c.want || i.Notes[0].Text != c.want || i.Metrics["m"+c.want].Last != 1 {
			t.Errorf("%.40q: %.200v", c.in, i)
		}
		found, err := s.Runs(ctx, Query{Experiment: c.in})
		if c.in != "" && (err != nil || len(found) != 1) {
			t.Errorf("%.40q: %d of the experiment, %v", c.in, len(found), err)
		}
		must(t, r.Finish(ctx, errors.New(c.in)))
	}
	whole(t, s)
}

// Ids are not used again, not even after a purge.
func TestIDs(t *testing.T) {
	s, ctx := fresh(t), t.Context()
	a := start(t, s, NewRun{})
	must(t, a.Finish(ctx, nil), s.Delete(ctx, a.ID))
	if _, err := s.GC(ctx); err != nil {
		t.Fatal(err)
	}
	if b := start(t, s, NewRun{}); b.ID <= a.ID {
		t.Errorf("run %d after run %d", b.ID, a.ID)
	}
	if _, err := s.Run(ctx, "1"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// Deleted runs are out of sight until they are restored, or purged with all they had.
func TestDeleteRestoreGC(t *testing.T) {
	s, ctx := fresh(t), t.Context()
	var runs []*Run
	for i := range 2 {
		r := start(t, s, NewRun{Name: fmt.Sprint("r", i)})
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

// A replaced or dropped artifact frees its file, unless another run names it.
func TestReplacedArtifacts(t *testing.T) {
	s, ctx := fresh(t), t.Context()
	files := func() (n int) {
		must(t, s.files.each(func(string, int64) error { n++; return nil }))
		return n
	}
	a, b := start(t, s, NewRun{}), start(t, s, NewRun{})
	must(t, a.LogArtifact(ctx, "c", strings.NewReader("1")), b.LogArtifact(ctx, "c", strings.NewReader("1")), a.LogArtifact(ctx, "c", strings.NewReader("2")))
	if n := files(); n != 2 {
		t.Errorf("%d files", n)
	}
	must(t, b.LogArtifact(ctx, "c", strings.NewReader("2")), a.DropArtifact(ctx, "c"), a.DropArtifact(ctx, "c"))
	if n := files(); n != 1 {
		t.Errorf("%d files", n)
	}
	f, err := s.OpenArtifact(ctx, b.ID, "c")
	must(t, err)
	f.Close()
	whole(t, s)
}

// Check makes anew what follows from what is there. What is missing or damaged it only names, until it is asked to replace
// it by notes; leftovers are for gc.
func TestCheckRepairs(t *testing.T) {
	s, ctx := fresh(t), t.Context()
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
	must(t, os.Rename(s.files.of(digest["gone"]), aside), os.WriteFile(s.files.of(digest["bent too"]), []byte("other"), 0o666),
		os.Remove(s.files.of(digest["unreadable"])), os.Mkdir(s.files.of(digest["unreadable"]), 0o777)) //nolint:gosec // a directory
	orphan, foreign := filepath.Join(s.files.path, "ab", strings.Repeat("ab", 32)), filepath.Join(s.files.path, "README")
	must(t, os.MkdirAll(filepath.Dir(orphan), 0o777), os.WriteFile(orphan, []byte("x"), 0o666), os.WriteFile(foreign, []byte("x"), 0o666)) //nolint:gosec // a directory
	for _, statement := range []string{"UPDATE summary SET last = 99 WHERE name = 1", "DELETE FROM metric WHERE name = 2 AND step = 2", "DELETE FROM metric WHERE name = 3"} {
		_, err = s.db.writer.ExecContext(ctx, statement)
		must(t, err)
	}
	if m := info(t, s, r.ID).Metrics; m["fewer"].Last != 7 || m["none"].Last != 9 {
		t.Fatal(m)
	}
	for _, c := range []struct {
		drop bool
		want []string
	}{
		{false, []string{
			"run 1: the summary of metric 1 is not that of its values: made anew", "run 1: of 2 values of metric 2 1 are missing", "run 1: of 1 values of metric 3 1 are missing",
			`run 1: artifact "bent\n" (1 bytes, sha256 DIGEST) is damaged: FILE`, `run 1: artifact "bent too" (1 bytes, sha256 DIGEST) is damaged: FILE`,
			`run 1: artifact "gone" (1 bytes, sha256 DIGEST) is missing: FILE`, `run 1: artifact "unreadable": FILE: is a directory`, "FILE: 1 bytes that no run names, which gc frees",
		}},
		{false, []string{
			"run 1: of 2 values of metric 2 1 are missing", "run 1: of 1 values of metric 3 1 are missing",
			`run 1: artifact "bent\n" (1 bytes, sha256 DIGEST) is damaged: FILE`, `run 1: artifact "bent too" (1 bytes, sha256 DIGEST) is damaged: FILE`,
			`run 1: artifact "gone" (1 bytes, sha256 DIGEST) is missing: FILE`, `run 1: artifact "unreadable": FILE: is a directory`, "FILE: 1 bytes that no run names, which gc frees",
		}},
		{true, []string{
			"run 1: of 2 values of metric 2 1 are missing: its summary is that of the others now", "run 1: of 1 values of metric 3 1 are missing: its summary is that of the others now",
			`run 1: artifact "bent\n" (1 bytes, sha256 DIGEST) is damaged: FILE: replaced by a note`, `run 1: artifact "bent too" (1 bytes, sha256 DIGEST) is damaged: FILE: replaced by a note`,
			`run 1: artifact "gone" (1 bytes, sha256 DIGEST) is missing: FILE: replaced by a note`, `run 1: artifact "unreadable": FILE: is a directory`, "FILE: 1 bytes that no run names, which gc frees",
		}},
		{true, []string{`run 1: artifact "unreadable": FILE: is a directory`, "FILE: 1 bytes that no run names, which gc frees"}},
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
	if text, err := os.ReadFile(s.files.of(digest["bent too"]) + damaged); err != nil || string(text) != "other" {
		t.Errorf("what is left of the damaged file: %q %v", text, err)
	}
	must(t, os.Remove(s.files.of(digest["unreadable"])))
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

// A backup is a database of its own, whole at one moment while others write: also what they replace meanwhile is there.
func TestBackup(t *testing.T) {
	s, ctx := fresh(t), t.Context()
	other := open(t, s.Path()) // another process, as far as locks go
	r := start(t, other, NewRun{})
	must(t, r.LogArtifact(ctx, "a", strings.NewReader("x")))
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		for i := int64(0); ; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			err := errors.Join(r.Log(ctx, i, map[string]float64{"m": float64(i)}), r.LogPicture(ctx, i, "p", grey(uint8(i))),
				r.LogArtifact(ctx, "replaced", strings.NewReader(strconv.FormatInt(i, 10))))
			if err != nil {
				done <- err
				return
			}
		}
	}()
	dir := t.TempDir()
	for i := range 20 {
		path := filepath.Join(dir, fmt.Sprint(i, ".db"))
		must(t, s.Backup(ctx, path))
		copied := open(t, path)
		whole(t, copied)
		artifacts, err := copied.Artifacts(ctx, r.ID)
		must(t, err)
		for _, a := range artifacts {
			f, err := copied.OpenArtifact(ctx, r.ID, a.Name)
			must(t, err)
			f.Close()
		}
	}
	close(stop)
	must(t, <-done)
	for _, suffix := range []string{"", "-wal", "-journal"} { // left of another database, SQLite would add it to the copy
		path := filepath.Join(t.TempDir(), "copy.db")
		must(t, os.WriteFile(path+suffix, nil, 0o666))
		if err := s.Backup(ctx, path); err == nil || !strings.Contains(err.Error(), "copy.db"+suffix+": is there already") {
			t.Error(err)
		}
	}
}

// A backup lacks what is missing or damaged, and says so; everything else is in it.
func TestBackupIncomplete(t *testing.T) {
	s, ctx := fresh(t), t.Context()
	a, b := start(t, s, NewRun{}), start(t, s, NewRun{})
	must(t, a.LogArtifact(ctx, "gone", strings.NewReader("1")), a.LogArtifact(ctx, "good", strings.NewReader("2")), b.LogArtifact(ctx, "bent", strings.NewReader("3")),
		b.LogArtifact(ctx, "good too", strings.NewReader("2")), b.LogArtifact(ctx, "gone too", strings.NewReader("1")), a.Finish(ctx, nil), b.Finish(ctx, nil))
	path := func(run *Run, name string) string {
		f, err := s.OpenArtifact(ctx, run.ID, name)
		must(t, err, f.Close())
		return f.Name()
	}
	gone, bent := path(a, "gone"), path(b, "bent")
	must(t, os.Remove(gone), os.WriteFile(bent, []byte("x"), 0o666))
	to := filepath.Join(t.TempDir(), "copy.db")
	err := s.Backup(ctx, to)
	want := fmt.Sprintf(`run 1: artifact "gone": %[1]s: no such file or directory
run 2: artifact "bent": %[2]s: damaged: its content is not what was kept
run 2: artifact "gone too": %[1]s: no such file or directory`, gone, bent)
	if partial, ok := errors.AsType[*IncompleteError](err); !ok || len(partial.Missing) != 3 || err.Error() != want {
		t.Errorf("%v\nwant\n%s", err, want)
	}
	copied := open(t, to)
	for _, c := range []struct {
		run  int64
		name string
	}{{a.ID, "good"}, {b.ID, "good too"}} {
		if text, err := copied.ReadArtifact(ctx, c.run, c.name); err != nil || string(text) != "2" {
			t.Errorf("%q %v", text, err)
		}
	}
	var out bytes.Buffer
	runs, err := s.Runs(ctx, Query{Sort: "id"})
	must(t, err)
	if err := s.ExportJSON(ctx, &out, runs); err == nil || err.Error() != want {
		t.Errorf("%v\nwant\n%s", err, want)
	}
	other := fresh(t)
	if ids, err := other.Import(ctx, &out); err != nil || len(ids) != 2 {
		t.Error(ids, err)
	} else if text, err := other.ReadArtifact(ctx, ids[1], "good too"); err != nil || string(text) != "2" {
		t.Errorf("%q %v", text, err)
	}
}

// What others write while deleted runs are freed stays: pictures and artifacts that the freed ones had, too.
func TestGCWhileWriting(t *testing.T) {
	s, ctx := fresh(t), t.Context()
	other := open(t, s.Path())
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

// Check waits for no writer, and none for it.
func TestCheckWhileWriting(t *testing.T) {
	s, ctx := fresh(t), t.Context()
	r := start(t, s, NewRun{})
	must(t, r.Log(ctx, 1, map[string]float64{"m": 1}), r.LogArtifact(ctx, "a", strings.NewReader("x")))
	other := open(t, s.Path())
	tx, err := other.DB().BeginTx(ctx, nil)
	must(t, err)
	whole(t, s)
	must(t, tx.Rollback())
}

// A name that is not valid UTF-8 is one metric with what it becomes, in one batch, and when the run is resumed.
func TestOddMetricNames(t *testing.T) {
	s, ctx := fresh(t), t.Context()
	r := start(t, s, NewRun{})
	must(t, r.LogBatch(ctx, []Point{{"a\xff", 1, 5}, {"a\x00", 2, 7}, {"a\uFFFD", 3, 6}}), r.Finish(ctx, nil))
	r, err := s.Resume(ctx, r.ID)
	must(t, err, r.Log(ctx, 4, map[string]float64{"a\xfe": 4}))
	if m := info(t, s, r.ID).Metrics["a\uFFFD"]; m != (Metric{4, 4, 7, 4, 4, 2}) {
		t.Errorf("%+v", m)
	}
	whole(t, s)
}

// Parameters may be set later.
func TestSetParams(t *testing.T) {
	s, ctx := fresh(t), t.Context()
	r := start(t, s, NewRun{Params: map[string]any{"steps": 10, "gram": "mean"}})
	must(t, r.SetParams(ctx, map[string]any{"steps": 20}))
	if p := info(t, s, r.ID).Params; p["steps"].Number != 20 || p["gram"].Text != "mean" {
		t.Errorf("%v", p)
	}
	if err := r.SetParams(ctx, math.NaN()); err == nil || !strings.HasPrefix(err.Error(), "parameters: ") {
		t.Error(err)
	}
}

// Of a growing curve, whatever it looks like, points are kept or dropped; none moves, and the smallest and largest value
// and the last are there. A curve that is short enough is whole.
func TestSeriesIsThinned(t *testing.T) {
	s, ctx := fresh(t), t.Context()
	random := rand.New(rand.NewPCG(3, 4))
	for round := range 30 {
		r := start(t, s, NewRun{})
		limit := 4 + random.IntN(60)
		stride := int64(1)
		if round%2 == 1 {
			stride = 1 + random.Int64N(50)
		}
		all, before, step := map[int64]float64{}, []int64{}, int64(0)
		var low, high Metric
		for len(all) < 2000 {
			var points []Point
			for range 1 + random.IntN(300) {
				v := math.Round(random.NormFloat64() * 20) // so that some are equal
				if round%3 == 0 && random.IntN(5) == 0 {
					v = []float64{math.NaN(), math.Inf(1), math.Inf(-1)}[random.IntN(3)]
				}
				low.add(len(all) == 0, step, v)
				high.add(len(all) == 0, step, v)
				all[step] = v
				points = append(points, Point{"m", step, v})
				step += 1 + random.Int64N(stride)
			}
			must(t, r.LogBatch(ctx, points))
			series, err := s.Series(ctx, []int64{r.ID}, []string{"m"}, limit)
			must(t, err)
			now := series[0]
			if len(all) <= limit && len(now.Steps) != len(all) || len(now.Steps) > limit+1 || !slices.IsSorted(now.Steps) {
				t.Fatalf("%d points of %d, limit %d", len(now.Steps), len(all), limit)
			}
			if last := points[len(points)-1].Step; now.Steps[len(now.Steps)-1] != last {
				t.Fatalf("the last point, %d, is not shown", last)
			}
			for i, at := range now.Steps {
				if v, ok := all[at]; !ok || v != now.Values[i] && !(math.IsNaN(v) && math.IsNaN(now.Values[i])) {
					t.Fatalf("step %d is shown as %v, and is %v", at, now.Values[i], v)
				}
			}
			if !slices.Contains(now.Values, low.Min) && low.Min == low.Min || !slices.Contains(now.Values, high.Max) && high.Max == high.Max {
				t.Fatalf("from %v to %v is not shown: %v", low.Min, high.Max, now.Values)
			}
			if len(before) > 0 {
				// The stretch that was not complete yet may show others now.
				complete := before[len(before)-1] / stretch(before[len(before)-1], limit) * stretch(before[len(before)-1], limit)
				if len(before) < limit {
					complete = before[len(before)-1]
				}
				for _, at := range now.Steps {
					if at < complete && !slices.Contains(before, at) {
						t.Fatalf("step %d appeared behind %d", at, complete)
					}
				}
			}
			before = now.Steps
		}
		must(t, r.Finish(ctx, nil))
	}
}

// Who watches sees all changes of all writers, none twice, in the order of cursors.
func TestWatchWriters(t *testing.T) {
	s, ctx := fresh(t), t.Context()
	const writers, steps = 2, 300
	for range writers {
		w := open(t, s.Path())
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

// Diff and Watch.
func TestDiffAndWatch(t *testing.T) {
	s, ctx := fresh(t), t.Context()
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

// A queued run is made in a transaction and taken by one of many; who lost a run to another cannot write it.
func TestQueueAndFence(t *testing.T) {
	s, ctx := fresh(t), t.Context()
	tx, err := s.DB().BeginTx(ctx, nil)
	must(t, err)
	if _, err := s.Enqueue(ctx, tx, NewRun{Name: "undone"}); err != nil {
		t.Fatal(err)
	}
	must(t, tx.Rollback())
	tx, err = s.DB().BeginTx(ctx, nil)
	must(t, err)
	id, err := s.Enqueue(ctx, tx, NewRun{Name: "q"})
	must(t, err, tx.Commit())
	if list, _ := s.Runs(ctx, Query{Where: "status = queued"}); len(list) != 1 || list[0].ID != id {
		t.Errorf("%v", list)
	}
	results := make(chan error, 8)
	runs := make(chan *Run, 8)
	for range 8 {
		go func() {
			r, err := s.Take(ctx, id)
			if err == nil {
				runs <- r
			}
			results <- err
		}()
	}
	won := 0
	for range 8 {
		if err := <-results; err == nil {
			won++
		} else if !errors.Is(err, ErrTaken) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Fatalf("%d took the run", won)
	}
	old := <-runs
	// Its process seems gone: another goes on with the run.
	old.stop()
	s.clock, _ = setClock()
	_, err = s.db.writer.ExecContext(ctx, "UPDATE run SET beat = 0, host = 'elsewhere'")
	must(t, err)
	if i := info(t, s, id); i.Status != Lost {
		t.Fatalf("%s", i.Status)
	}
	next, err := s.Resume(ctx, id)
	must(t, err, next.Log(ctx, 1, map[string]float64{"m": 2}))
	for what, err := range map[string]error{
		"log": old.Log(ctx, 1, map[string]float64{"m": 1}), "picture": old.LogPicture(ctx, 1, "p", grey(1)), "tag": old.Tag(ctx, "a", "b"),
		"artifact": old.LogArtifact(ctx, "a", strings.NewReader("x")), "finish": old.Finish(ctx, nil),
	} {
		if !errors.Is(err, ErrTaken) {
			t.Errorf("%s by the former writer: %v", what, err)
		}
	}
	must(t, next.Finish(ctx, context.Canceled))
	if i := info(t, s, id); i.Status != Stopped || i.Metrics["m"].Last != 2 {
		t.Errorf("%+v", i)
	}
}

// A name finds its run among those that are not deleted, and a deleted one where there is no other.
func TestNames(t *testing.T) {
	s, ctx := fresh(t), t.Context()
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
	for url, want := range map[string]string{"mysql://x": `unknown kind of database "mysql"`, "": "allowed: a path", ":memory:": "allowed: a path"} {
		if _, err := Open(ctx, url); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// A run ends and forgets artifacts in one transaction: where that fails it is neither ended nor poorer, and the same call
// ends it later.
func TestFinishDrops(t *testing.T) {
	s, ctx := fresh(t), t.Context()
	r := start(t, s, NewRun{})
	must(t, r.LogArtifact(ctx, "checkpoint", strings.NewReader("c")), r.LogArtifact(ctx, "output", strings.NewReader("o")))
	_, err := s.db.writer.ExecContext(ctx, "CREATE TRIGGER fault BEFORE UPDATE OF status ON run WHEN new.status = 'finished' BEGIN SELECT RAISE(ABORT, 'fault'); END")
	must(t, err)
	if err := r.Finish(ctx, nil, "checkpoint"); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
	if artifacts, err := s.Artifacts(ctx, r.ID); err != nil || len(artifacts) != 2 || info(t, s, r.ID).Status != Running {
		t.Errorf("%v %v %s", artifacts, err, info(t, s, r.ID).Status)
	}
	f, err := s.OpenArtifact(ctx, r.ID, "checkpoint")
	must(t, err, f.Close())
	_, err = s.db.writer.ExecContext(ctx, "DROP TRIGGER fault")
	must(t, err, r.Finish(ctx, nil, "checkpoint", "never"))
	if artifacts, err := s.Artifacts(ctx, r.ID); err != nil || len(artifacts) != 1 || info(t, s, r.ID).Status != Finished {
		t.Errorf("%v %v %s", artifacts, err, info(t, s, r.ID).Status)
	}
	must(t, s.files.each(func(path string, size int64) error {
		if digest, err := fileDigest(path); err != nil || size != 1 || digest != filepath.Base(path) || info(t, s, r.ID).Status != Finished {
			t.Errorf("%s %v", path, err)
		}
		return nil
	}))
	whole(t, s)
}

// Queued and lost runs are cancelled in one transaction; a lost one's writer that comes back is refused.
func TestCancelQueued(t *testing.T) {
	s, ctx := fresh(t), t.Context()
	tx, err := s.DB().BeginTx(ctx, nil)
	must(t, err)
	queued, err := s.Enqueue(ctx, tx, NewRun{})
	must(t, err, tx.Commit())
	lost, running, finished := start(t, s, NewRun{}), start(t, s, NewRun{}), start(t, s, NewRun{})
	must(t, finished.Finish(ctx, nil))
	_, err = s.db.writer.ExecContext(ctx, "UPDATE run SET status = 'lost', ended = 7 WHERE id = ?1", lost.ID)
	must(t, err)
	all := []int64{finished.ID, lost.ID, running.ID, queued, 999}
	for _, commit := range []bool{false, true} {
		tx, err := s.DB().BeginTx(ctx, nil)
		must(t, err)
		if stopped, err := s.CancelQueued(ctx, tx, all); err != nil || !slices.Equal(stopped, []int64{lost.ID, queued}) {
			t.Errorf("%v %v", stopped, err)
		}
		if commit {
			must(t, tx.Commit())
		} else {
			must(t, tx.Rollback())
		}
	}
	for id, want := range map[int64]Status{queued: Stopped, lost.ID: Stopped, running.ID: Running, finished.ID: Finished} {
		if i := info(t, s, id); i.Status != want || (i.Ended.IsZero() != (want == Running)) {
			t.Errorf("run %d is %s, ended %v", id, i.Status, i.Ended)
		}
	}
	if err := lost.Log(ctx, 1, map[string]float64{"m": 1}); !errors.Is(err, ErrTaken) {
		t.Error(err)
	}
}
