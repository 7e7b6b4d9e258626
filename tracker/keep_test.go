package tracker

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gofrs/flock"
)

// queue makes two queued runs that share files, and are called by its number.
func queue(ctx context.Context, s *Store, t *sql.Tx, files []*File) (ids []int64, err error) {
	for range 2 {
		id, err := s.Enqueue(ctx, t, NewRun{})
		if err != nil {
			return nil, err
		}
		for i, file := range files {
			if err := file.AddTo(ctx, t, id, fmt.Sprint("file ", i)); err != nil {
				return nil, err
			}
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// files are the digests of the files in the directory of artifacts, and how many have no name yet.
func files(t *testing.T, s *Store) (digests []string, unnamed int) {
	t.Helper()
	must(t, s.files.each(func(path string, _ int64) error {
		if name := filepath.Base(path); strings.HasPrefix(name, temporary) {
			unnamed++
		} else {
			digests = append(digests, name)
		}
		return nil
	}))
	return digests, unnamed
}

// Queued runs share files, which go with the last of them.
func TestKeep(t *testing.T) {
	s, ctx := fresh(t), t.Context()
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
	if digests, unnamed := files(t, s); len(digests) != 2 || unnamed > 0 {
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
	// A worker takes one: its files are the worker's now, and nobody else gives it others.
	r, err := s.Take(ctx, ids[0])
	must(t, err)
	give := func(id int64) error {
		return s.Keep(ctx, []io.Reader{strings.NewReader("other")}, func(tx *sql.Tx, files []*File) error {
			return files[0].AddTo(ctx, tx, id, "file 0")
		})
	}
	for _, id := range []int64{r.ID, 99} {
		if err := give(id); !errors.Is(err, ErrTaken) || err.Error() != fmt.Sprintf("run %d is not queued: taken by another process, or ended", id) {
			t.Error(err)
		}
	}
	must(t, r.DropArtifact(ctx, "file 0"), r.Finish(ctx, nil))
	must(t, give(ids[1])) // what it had there is nobody's now
	if digests, _ := files(t, s); len(digests) != 2 {
		t.Errorf("%q", digests)
	}
	if text, err := s.ReadArtifact(ctx, ids[1], "file 0"); err != nil || string(text) != "other" {
		t.Errorf("%q %v", text, err)
	}
	whole(t, s)
	for i, want := range []Freed{{Runs: 1}, {Runs: 1, Files: 2}} { // the second run is still queued when it is deleted
		must(t, s.Delete(ctx, ids[i]))
		if freed, err := s.GC(ctx); err != nil || freed.Runs != want.Runs || freed.Files != want.Files {
			t.Errorf("%+v %v, want %+v", freed, err, want)
		}
		whole(t, s)
	}
}

// Nothing is left of runs that could not be queued with their files, whatever step of it fails; then the same call works.
func TestKeepFaults(t *testing.T) {
	nothing := func() {}
	whatever := errors.New("whatever")
	for what, c := range map[string]struct {
		fault   func(t *testing.T, s *Store) (undo func())
		content io.Reader
		end     func(tx *sql.Tx) error
	}{
		"a content":    {content: io.MultiReader(strings.NewReader("half"), iotest.ErrReader(whatever))},
		"the function": {end: func(*sql.Tx) error { return whatever }},
		"its panic":    {end: func(*sql.Tx) error { panic(whatever) }},
		"the commit": {end: func(tx *sql.Tx) error {
			_, err := tx.Exec("PRAGMA defer_foreign_keys = 1; INSERT INTO note (run, time, text) VALUES (99, 0, '')")
			return err
		}},
		"a row": {fault: func(t *testing.T, s *Store) func() { return refuse(t, s, "INSERT ON artifact WHEN new.run = 2") }},
		"the directory": {fault: func(t *testing.T, s *Store) func() {
			must(t, os.WriteFile(s.files.path, nil, 0o666))
			return func() { must(t, os.Remove(s.files.path)) }
		}},
	} {
		t.Run(what, func(t *testing.T) {
			s, ctx := fresh(t), t.Context()
			undo := nothing
			if c.fault != nil {
				undo = c.fault(t, s)
			}
			keep := func(last io.Reader, end func(tx *sql.Tx) error) (err error) {
				defer func() {
					if recover() != nil {
						err = whatever
					}
				}()
				return s.Keep(ctx, []io.Reader{strings.NewReader("content"), last}, func(tx *sql.Tx, files []*File) error {
					if _, err := queue(ctx, s, tx, files); err != nil || end == nil {
						return err
					}
					return end(tx)
				})
			}
			content := c.content
			if content == nil {
				content = strings.NewReader("style")
			}
			failed(t, "kept", keep(content, c.end))
			undo()
			if digests, unnamed := files(t, s); len(digests)+unnamed > 0 {
				t.Errorf("files %q and %d more", digests, unnamed)
			}
			if runs, err := s.Runs(ctx, Query{Deleted: true}); err != nil || len(runs) > 0 {
				t.Errorf("%+v %v", runs, err)
			}
			whole(t, s)
			must(t, keep(strings.NewReader("style"), nil))
			if runs, err := s.Runs(ctx, Query{Where: "status = queued"}); err != nil || len(runs) != 2 {
				t.Errorf("%+v %v", runs, err)
			}
			whole(t, s)
		})
	}
}

// Where the process is killed while it writes the files, or before it commits, there are no runs, and gc frees the files.
func TestKeepKilled(t *testing.T) {
	for _, named := range []bool{false, true} {
		t.Run(fmt.Sprint("named ", named), func(t *testing.T) {
			s, ctx := fresh(t), t.Context()
			c := child(ctx, "keep", s.Path())
			in, err := c.StdinPipe()
			must(t, err)
			out, err := c.StdoutPipe()
			must(t, err, c.Start())
			_, err = io.WriteString(in, "half")
			must(t, err)
			if named {
				must(t, in.Close())
				line, err := bufio.NewReader(out).ReadString('\n')
				if err != nil || line != "named\n" {
					t.Fatal(line, err)
				}
			} else {
				for digests, unnamed := files(t, s); len(digests) == 0 || unnamed == 0; digests, unnamed = files(t, s) { // until it writes the second
				}
			}
			must(t, c.Process.Kill())
			_ = c.Wait()
			if runs, err := s.Runs(ctx, Query{Deleted: true}); err != nil || len(runs) > 0 {
				t.Errorf("%+v %v", runs, err)
			}
			if findings := check(t, s); len(findings) != 2 || !findings[0].Leftover || !findings[1].Leftover {
				t.Errorf("%v", findings)
			}
			if freed, err := s.GC(ctx); err != nil || freed.Files != 2 {
				t.Errorf("%+v %v", freed, err)
			}
			whole(t, s)
		})
	}
}

// Files that are written and not named yet are freed by nobody.
func TestKeepWhileFreeing(t *testing.T) {
	s, ctx := fresh(t), t.Context()
	other := open(t, s.Path()) // another process, as far as locks go
	old := start(t, other, NewRun{})
	must(t, old.LogArtifact(ctx, "a", strings.NewReader("content")))
	freed := make(chan error)
	var ids []int64
	must(t, s.Keep(ctx, []io.Reader{strings.NewReader("content"), strings.NewReader("style")}, func(tx *sql.Tx, files []*File) (err error) {
		if free, err := flock.New(filepath.Join(s.files.path, ".lock")).TryLock(); err != nil || free {
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
	if digests, _ := files(t, s); len(digests) != 2 {
		t.Errorf("%q", digests)
	}
}

// A file that goes while the directory is read, because it has got its name or was freed, is no trouble.
func TestFileGoes(t *testing.T) {
	s := fresh(t)
	must(t, s.files.make(), os.WriteFile(filepath.Join(s.files.path, "aa"), nil, 0o666), os.WriteFile(filepath.Join(s.files.path, temporary+"1"), nil, 0o666))
	must(t, s.files.each(func(path string, _ int64) error {
		if filepath.Base(path) != "aa" {
			t.Error(path)
		}
		return os.Remove(filepath.Join(s.files.path, temporary+"1"))
	}))
}
