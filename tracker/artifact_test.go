package tracker

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gofrs/flock"
)

// queue makes two queued runs that share files, and are called by its number.
func queue(ctx context.Context, s *Store, t *sql.Tx, files []*File) (ids []int64, err error) {
	ids, err = s.EnqueueAll(ctx, t, make([]NewRun, 2))
	for i, file := range files {
		if err == nil {
			err = file.AddTo(ctx, t, ids, fmt.Sprint("file ", i))
		}
	}
	return ids, err
}

// dir is the directory of artifacts.
func dir(s *Store) directory { return s.files.(directory) }

// kept are the digests of the files in the directory of artifacts, and how many have no name yet.
func kept(t *testing.T, s *Store) (digests []string, unnamed int) {
	t.Helper()
	must(t, s.files.each(t.Context(), func(path string, _ int64) error {
		if name := filepath.Base(path); strings.HasPrefix(name, temporary) {
			unnamed++
		} else {
			digests = append(digests, name)
		}
		return nil
	}))
	return digests, unnamed
}

// A replaced or dropped artifact frees its file, unless another run names it.
func (db suite) replacedArtifacts(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	files := func() (n int) {
		must(t, s.files.each(t.Context(), func(string, int64) error { n++; return nil }))
		return n
	}
	a, b := start(t, s, NewRun{}), start(t, s, NewRun{})
	must(t, a.LogArtifact(ctx, "c", strings.NewReader("1")), b.LogArtifact(ctx, "c", strings.NewReader("1")), a.LogArtifact(ctx, "c", strings.NewReader("2")))
	if n := files(); n != 2 {
		t.Errorf("%d files", n)
	}
	must(t, b.LogArtifact(ctx, "c", strings.NewReader("2")), a.Finish(ctx, nil, "c", "c"))
	if n := files(); n != 1 {
		t.Errorf("%d files", n)
	}
	f, err := s.OpenArtifact(ctx, b.ID, "c")
	must(t, err)
	f.Close()
	whole(t, s)
}

// Queued runs share files, which go with the last of them.
func (db suite) keep(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	must(t, start(t, s, NewRun{}).Finish(ctx, nil))
	_, cursor, err := s.Watch(ctx, 0)
	must(t, err)
	var ids []int64
	must(t, s.Keep(ctx, []io.Reader{strings.NewReader("content"), strings.NewReader("style"), strings.NewReader("nobody's")}, func(tx *sql.Tx, files []*File) (err error) {
		if files[0].Size != 7 || files[1].Size != 5 {
			t.Errorf("%+v %+v", files[0], files[1])
		}
		ids, err = queue(ctx, s, tx, files[:2])
		return err
	}))
	if digests, unnamed := kept(t, s); len(digests) != 2 || unnamed > 0 {
		t.Errorf("files %q and %d more", digests, unnamed)
	}
	if changed, _, err := s.Watch(ctx, cursor); err != nil || len(changed) != 2 || changed[0].Status != Queued {
		t.Errorf("%+v %v", changed, err)
	}
	for _, id := range ids {
		for name, want := range map[string]string{"file 0": "content", "file 1": "style"} {
			if text, err := s.ReadArtifact(ctx, id, name); err != nil || string(text) != want {
				t.Errorf("%q %v", text, err)
			}
		}
	}
	// What they have they keep. A run that a worker is at may be given more until it is over.
	give := func(name string, runs ...int64) {
		t.Helper()
		must(t, s.Keep(ctx, []io.Reader{strings.NewReader("other")}, func(tx *sql.Tx, files []*File) error {
			return files[0].AddTo(ctx, tx, runs, name)
		}))
	}
	give("file 0", ids...)
	if digests, _ := kept(t, s); len(digests) != 2 {
		t.Errorf("%q", digests)
	}
	r, err := s.Take(ctx, ids[0], nil)
	must(t, err)
	_, cursor, err = s.Watch(ctx, 0)
	must(t, err)
	give("more", append(ids, 99)...)
	if changed, _, err := s.Watch(ctx, cursor); err != nil || len(changed) != 2 {
		t.Errorf("%+v %v", changed, err)
	}
	must(t, r.Finish(ctx, nil, "file 0", "more"))
	give("more", ids...)
	for i, want := range []string{"file 1", "file 0, file 1, more"} {
		artifacts, err := s.Artifacts(ctx, ids[i])
		must(t, err)
		var names []string
		for _, a := range artifacts {
			names = append(names, a.Name)
		}
		if got := strings.Join(names, ", "); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if text, err := s.ReadArtifact(ctx, ids[1], "more"); err != nil || string(text) != "other" {
		t.Errorf("%q %v", text, err)
	}
	whole(t, s)
	for i, want := range []Freed{{Runs: 1}, {Runs: 1, Files: 3}} { // the second run is still queued when it is deleted
		must(t, s.Delete(ctx, ids[i]))
		if freed, err := s.GC(ctx); err != nil || freed.Runs != want.Runs || freed.Files != want.Files {
			t.Errorf("%+v %v, want %+v", freed, err, want)
		}
		whole(t, s)
	}
}

// Files that are written and not named yet are freed by nobody.
func (db suite) keepWhileFreeing(t *testing.T) {
	url, ctx := db.empty(t), t.Context()
	s, other := open(t, url), open(t, url) // two processes, as far as locks go
	old := start(t, other, NewRun{})
	must(t, old.LogArtifact(ctx, "a", strings.NewReader("content")))
	freed := make(chan error)
	var ids []int64
	must(t, s.Keep(ctx, []io.Reader{strings.NewReader("content"), strings.NewReader("style")}, func(tx *sql.Tx, files []*File) (err error) {
		if db.server { // the transaction keeps them
		} else if free, err := flock.New(filepath.Join(dir(s).path, ".lock")).TryLock(); err != nil || free {
			t.Errorf("files may be freed: %v", err)
		}
		go func() { // drops a file that it shares
			freed <- old.Finish(ctx, nil, "a")
		}()
		go func() {
			_, err := other.GC(ctx)
			freed <- err
		}()
		ids, err = queue(ctx, s, tx, files)
		return err
	}))
	must(t, <-freed, <-freed)
	for _, id := range ids {
		if text, err := s.ReadArtifact(ctx, id, "file 0"); err != nil || string(text) != "content" {
			t.Errorf("%q %v", text, err)
		}
	}
	whole(t, s)
	if digests, _ := kept(t, s); len(digests) != 2 {
		t.Errorf("%q", digests)
	}
}

// A file that goes while the directory is read, because it has got its name or was freed, is no trouble.
func TestFileGoes(t *testing.T) {
	s := fresh(t)
	must(t, s.files.make(), os.WriteFile(filepath.Join(dir(s).path, "aa"), nil, 0o666), os.WriteFile(filepath.Join(dir(s).path, temporary+"1"), nil, 0o666))
	must(t, s.files.each(t.Context(), func(path string, _ int64) error {
		if filepath.Base(path) != "aa" {
			t.Error(path)
		}
		return os.Remove(filepath.Join(dir(s).path, temporary+"1"))
	}))
}

// Many runs that are queued at once have what each was given, in their order.
func (db suite) enqueueAll(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	var runs []NewRun
	const n = 2*maxRows + 1
	for i := range n {
		runs = append(runs, NewRun{Experiment: fmt.Sprint("e", i%2), Name: fmt.Sprint("r", i), Params: map[string]any{"w": i, "text": "x"}, Tags: map[string]string{"i": strconv.Itoa(i)}, Inputs: map[string]string{"content": strconv.Itoa(i % 3)}})
	}
	var ids []int64
	must(t, s.Keep(ctx, []io.Reader{strings.NewReader("0"), strings.NewReader("1")}, func(tx *sql.Tx, files []*File) (err error) {
		for i := range runs {
			runs[i].Files = map[string]*File{"file": files[i%2]}
		}
		ids, err = s.EnqueueAll(ctx, tx, runs)
		return err
	}))
	list, err := s.RunsByID(ctx, ids)
	must(t, err)
	for i, r := range list {
		if r.Experiment != fmt.Sprint("e", i%2) || r.Name != fmt.Sprint("r", i) || r.Params["w"].Number != float64(i) || len(r.Params) != 2 || r.Tags["i"] != strconv.Itoa(i) || r.Status != Queued {
			t.Fatalf("%d: %+v", i, r)
		}
	}
	for _, i := range []int{0, 1, n - 1} {
		env, err := s.Environment(ctx, ids[i])
		must(t, err)
		data, err := s.ReadArtifact(ctx, ids[i], "file")
		if err != nil || string(data) != strconv.Itoa(i%2) || env["input.content"] != strconv.Itoa(i%3) || env["go"] == "" {
			t.Errorf("%d: %q, %v, %v", i, data, env, err)
		}
	}
	whole(t, s)
}
