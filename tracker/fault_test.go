package tracker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
)

// refuse makes the database refuse what a trigger is for, such as "INSERT ON artifact", until allow is called.
func refuse(t *testing.T, s *Store, what string) (allow func()) {
	t.Helper()
	if s.Server() {
		execute(t, s, "CREATE OR REPLACE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'the disk is broken' USING ERRCODE = '53100'; END$$")
		execute(t, s, "CREATE TRIGGER fault BEFORE "+what+" FOR EACH ROW EXECUTE FUNCTION broken()")
		return func() { execute(t, s, "DROP TRIGGER fault ON "+what[strings.LastIndex(what, " "):]) }
	}
	execute(t, s, "CREATE TRIGGER fault BEFORE "+what+" BEGIN SELECT RAISE(ABORT, 'the disk is broken'); END")
	return func() { execute(t, s, "DROP TRIGGER fault") }
}

// failed says that err is there, in one line.
func failed(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: %v", what, err)
	}
}

// An artifact that cannot be kept, whatever step of it fails, leaves the one before and nothing else; then the same
// call works.
func TestArtifactFaults(t *testing.T) {
	const content = "new content"
	nothing := func() {}
	for what, c := range map[string]func(t *testing.T, s *Store, path string) (undo func()){
		"the content": nil,
		"the directory of artifacts": func(t *testing.T, s *Store, _ string) func() {
			must(t, os.Rename(dir(s).path, s.Path()+".aside"), os.WriteFile(dir(s).path, nil, 0o666))
			return func() { must(t, os.Remove(dir(s).path), os.Rename(s.Path()+".aside", dir(s).path)) }
		},
		"a link to a disk that is not there": func(t *testing.T, s *Store, _ string) func() {
			must(t, os.Rename(dir(s).path, s.Path()+".aside"), os.Symlink("none", dir(s).path))
			return func() { must(t, os.Remove(dir(s).path), os.Rename(s.Path()+".aside", dir(s).path)) }
		},
		"the directory of the digest": func(t *testing.T, _ *Store, path string) func() {
			must(t, os.WriteFile(filepath.Dir(path), nil, 0o666))
			return func() { must(t, os.Remove(filepath.Dir(path))) }
		},
		"the name": func(t *testing.T, _ *Store, path string) func() {
			must(t, os.MkdirAll(filepath.Join(path, "x"), 0o777))
			return func() { must(t, os.RemoveAll(path)) }
		},
		"the row": func(t *testing.T, s *Store, _ string) func() { return refuse(t, s, "UPDATE ON artifact") },
	} {
		t.Run(what, func(t *testing.T) {
			s, ctx := fresh(t), t.Context()
			r := start(t, s, NewRun{})
			must(t, r.LogArtifact(ctx, "a", strings.NewReader("old")))
			var in io.Reader = strings.NewReader(content)
			undo := nothing
			if c == nil {
				in = io.MultiReader(in, iotest.ErrReader(errors.New("the picture went")))
			} else {
				undo = c(t, s, dir(s).of(fmt.Sprintf("%x", sha256.Sum256([]byte(content)))))
			}
			failed(t, "kept", r.LogArtifact(ctx, "a", in))
			undo()
			if text, err := s.ReadArtifact(ctx, r.ID, "a"); err != nil || string(text) != "old" {
				t.Errorf("%q %v", text, err)
			}
			whole(t, s)
			must(t, r.LogArtifact(ctx, "a", strings.NewReader(content)))
			if text, err := s.ReadArtifact(ctx, r.ID, "a"); err != nil || string(text) != content {
				t.Errorf("%q %v", text, err)
			}
			must(t, r.Finish(ctx, nil))
			whole(t, s)
		})
	}
}

// Nothing is left of runs that could not be queued with their files, whatever step of it fails; then the same call
// works.
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
			must(t, os.WriteFile(dir(s).path, nil, 0o666))
			return func() { must(t, os.Remove(dir(s).path)) }
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
			if digests, unnamed := kept(t, s); len(digests)+unnamed > 0 {
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

// A run ends and forgets artifacts in one transaction: where that fails it is neither ended nor poorer, and the same
// call ends it later.
func TestFinishDrops(t *testing.T) {
	s, ctx := fresh(t), t.Context()
	r := start(t, s, NewRun{})
	must(t, r.LogArtifact(ctx, "checkpoint", strings.NewReader("c")), r.LogArtifact(ctx, "output", strings.NewReader("o")))
	allow := refuse(t, s, "UPDATE OF status ON run WHEN new.status = 'finished'")
	if err := r.Finish(ctx, nil, "checkpoint"); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
	if artifacts, err := s.Artifacts(ctx, r.ID); err != nil || len(artifacts) != 2 || info(t, s, r.ID).Status != Running {
		t.Errorf("%v %v %s", artifacts, err, info(t, s, r.ID).Status)
	}
	f, err := s.OpenArtifact(ctx, r.ID, "checkpoint")
	must(t, err, f.Close())
	allow()
	must(t, r.Finish(ctx, nil, "checkpoint", "never"))
	if artifacts, err := s.Artifacts(ctx, r.ID); err != nil || len(artifacts) != 1 || info(t, s, r.ID).Status != Finished {
		t.Errorf("%v %v %s", artifacts, err, info(t, s, r.ID).Status)
	}
	must(t, s.files.each(t.Context(), func(path string, size int64) error {
		if digest, err := fileDigest(path); err != nil || size != 1 || digest != filepath.Base(path) || info(t, s, r.ID).Status != Finished {
			t.Errorf("%s %v", path, err)
		}
		return nil
	}))
	whole(t, s)
}

// What a Finish could not write is written by a beat, once that is possible; the call made again has nothing to do.
func TestFinishIsMadeUpFor(t *testing.T) {
	for what, err := range map[string]error{"UPDATE OF status ON run WHEN new.status <> 'running'": nil, "DELETE ON artifact": errors.New("boom")} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s, ctx := fresh(t), t.Context()
			r := start(t, s, NewRun{})
			must(t, r.LogArtifact(ctx, "checkpoint", strings.NewReader("c")))
			allow := refuse(t, s, what)
			failed(t, "finished", r.Finish(ctx, context.Canceled, "checkpoint"))
			failed(t, "finished", r.Finish(ctx, err, "checkpoint")) // the last counts
			if _, err := s.ReadArtifact(ctx, r.ID, "checkpoint"); err != nil || info(t, s, r.ID).Status != Running {
				t.Errorf("%s: %v", info(t, s, r.ID).Status, err)
			}
			beaten(t, s, r.ID) // in vain
			allow()
			s.beats.Wait()
			want := Finished
			if err != nil {
				want = Failed
			}
			if i := info(t, s, r.ID); i.Status != want || i.Ended.IsZero() {
				t.Errorf("%+v", i)
			}
			if artifacts, err := s.Artifacts(ctx, r.ID); err != nil || len(artifacts) > 0 {
				t.Errorf("%v %v", artifacts, err)
			}
			must(t, r.Finish(ctx, err, "checkpoint"))
			whole(t, s)
		})
	}
}

// A backup that fails, whatever step of it does, leaves nothing; then the same backup works, and also where one that
// was killed left something.
func TestBackupFaults(t *testing.T) {
	s, ctx := fresh(t), t.Context()
	r := start(t, s, NewRun{})
	must(t, r.LogArtifact(ctx, "a", bytes.NewReader(make([]byte, 300_000))), r.LogArtifact(ctx, "b", strings.NewReader("b")), r.Finish(ctx, nil))
	works := func(t *testing.T, path string) {
		t.Helper()
		must(t, s.Backup(ctx, path))
		copied := open(t, path)
		whole(t, copied)
		if text, err := copied.ReadArtifact(ctx, r.ID, "b"); err != nil || string(text) != "b" {
			t.Errorf("%q %v", text, err)
		}
		failed(t, "backup over another", s.Backup(ctx, path))
		whole(t, copied)
	}
	for what, c := range map[string]func(t *testing.T, path string) (undo func()){
		"no directory": func(t *testing.T, path string) func() {
			must(t, os.Remove(filepath.Dir(path)))
			return func() { must(t, os.Mkdir(filepath.Dir(path), 0o777)) } //nolint:gosec // a directory
		},
		"something in the place of the part": func(t *testing.T, path string) func() {
			must(t, os.MkdirAll(path+".part/x", 0o777))
			return func() { must(t, os.RemoveAll(path+".part")) }
		},
		"something in the place of the artifacts": func(t *testing.T, path string) func() {
			must(t, os.WriteFile(path+".artifacts", nil, 0o666))
			return func() { must(t, os.Remove(path+".artifacts")) }
		},
		"a link to nothing": func(t *testing.T, path string) func() {
			must(t, os.Symlink("none", path))
			return func() { must(t, os.Remove(path)) }
		},
	} {
		t.Run(what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "dir", "copy.db")
			must(t, os.Mkdir(filepath.Dir(path), 0o777)) //nolint:gosec // a directory
			undo := c(t, path)
			before := tree(t, filepath.Dir(filepath.Dir(path)))
			err := s.Backup(ctx, path)
			if failed(t, what, err); err != nil && !strings.HasPrefix(err.Error(), path) {
				t.Errorf("another file is blamed: %v", err)
			}
			if after := tree(t, filepath.Dir(filepath.Dir(path))); !slices.Equal(after, before) {
				t.Errorf("%q, was %q", after, before)
			}
			undo()
			works(t, path)
		})
	}
	t.Run("killed", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "copy.db")
		must(t, os.WriteFile(path+".part", []byte("half"), 0o666), os.WriteFile(path+".part-journal", []byte("half"), 0o666))
		artifacts, err := s.Artifacts(ctx, r.ID)
		must(t, err)
		half := directory{path: path + ".artifacts"}.of(artifacts[0].Digest)
		must(t, os.MkdirAll(filepath.Dir(half), 0o777), os.WriteFile(half, []byte("half"), 0o666)) //nolint:gosec // a directory
		works(t, path)
	})
	t.Run("full disk", func(t *testing.T) {
		dir := t.TempDir()
		mount(t, "tmpfs", dir, "tmpfs", 0, "size=4k")
		for size := 4 << 10; ; size += 24 << 10 {
			must(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprint("size=", size)))
			path := filepath.Join(dir, "copy.db")
			err := s.Backup(ctx, path)
			if err == nil {
				must(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=16m"))
				whole(t, open(t, path))
				break
			}
			failed(t, strconv.Itoa(size), err)
			if !strings.HasPrefix(err.Error(), path) || len(tree(t, dir)) != 1 {
				t.Fatalf("%d bytes: %v: %q", size, err, tree(t, dir))
			}
		}
	})
	whole(t, s)
}

// export is all of a run with everything.
func export(t *testing.T) string {
	t.Helper()
	s := fresh(t)
	r := start(t, s, NewRun{Name: "r", Params: map[string]int{"p": 1}, Tags: map[string]string{"k": "v"}})
	must(t, r.Log(t.Context(), 1, map[string]float64{"m": 1}), r.Note(t.Context(), "n"), r.LogPicture(t.Context(), 1, "p", grey(1)), r.LogArtifact(t.Context(), "a", strings.NewReader("a")),
		s.write(t.Context(), func(t tx) error { return t.addSample(r.ID, Sample{time.Now(), 1, 1, nil}) }), r.Finish(t.Context(), nil))
	var out bytes.Buffer
	must(t, s.ExportJSON(t.Context(), &out, []Info{info(t, s, r.ID)}))
	return out.String()
}

// An import that fails, whatever step of it does, leaves the runs before and nothing of the one at hand; then the same
// import works.
func TestImportFaults(t *testing.T) {
	text := export(t)
	for _, table := range []string{"experiment", "environment", "run", "param", "tag", "note", "metric_name", "metric", "summary", "sample", "thumbnail", "picture", "artifact"} {
		t.Run(table, func(t *testing.T) { importFault(t, text, "INSERT ON "+table, "") })
	}
	t.Run("end", func(t *testing.T) { importFault(t, text, "UPDATE OF status ON run WHEN new.status = 'finished'", "") })
	t.Run("removal", func(t *testing.T) { importFault(t, text, "INSERT ON artifact", "DELETE ON run") })
	t.Run("files", func(t *testing.T) {
		s := fresh(t)
		must(t, os.WriteFile(dir(s).path, nil, 0o666))
		_, _, err := s.Import(t.Context(), strings.NewReader(text))
		failed(t, "imported", err)
		must(t, os.Remove(dir(s).path))
		imported(t, s, text)
	})
}

func importFault(t *testing.T, text, fault, second string) {
	t.Helper()
	s := fresh(t)
	allow := refuse(t, s, fault)
	if second != "" {
		execute(t, s, "CREATE TRIGGER second BEFORE "+second+" BEGIN SELECT RAISE(ABORT, 'still broken'); END")
	}
	ids, _, err := s.Import(t.Context(), strings.NewReader(text))
	if err == nil || len(ids) > 0 || !strings.HasPrefix(err.Error(), "line ") && !strings.Contains(err.Error(), "the disk is broken") {
		t.Errorf("%v %v", ids, err)
	}
	allow()
	if second != "" {
		execute(t, s, "DROP TRIGGER second")
	} else if all, err := s.Runs(t.Context(), Query{Deleted: true}); err != nil || len(all) > 0 {
		t.Errorf("%v %v", all, err)
	} else {
		whole(t, s) // no file is left either
	}
	imported(t, s, text)
}

// imported says that an import works, and is all that is to be seen.
func imported(t *testing.T, s *Store, text string) {
	t.Helper()
	ids, _, err := s.Import(t.Context(), strings.NewReader(text))
	if err != nil || len(ids) != 1 {
		t.Fatal(ids, err)
	}
	if runs, err := s.Runs(t.Context(), Query{}); err != nil || len(runs) != 1 || runs[0].ID != ids[0] || runs[0].Status != Finished || !runs[0].Deleted.IsZero() {
		t.Errorf("%+v %v", runs, err)
	}
	if i, err := s.Run(t.Context(), "r"); err != nil || i.ID != ids[0] {
		t.Errorf("%+v %v", i, err)
	}
	if text, err := s.ReadArtifact(t.Context(), ids[0], "a"); err != nil || string(text) != "a" {
		t.Errorf("%q %v", text, err)
	}
	whole(t, s)
}

// A gc that fails frees nothing by halves, and works later.
func TestGCFaults(t *testing.T) {
	for _, what := range []string{"DELETE ON metric", "DELETE ON run", "DELETE ON artifact", "DELETE ON thumbnail", "DELETE ON metric_name", "DELETE ON environment", "DELETE ON experiment"} {
		t.Run(what, func(t *testing.T) {
			s, ctx := fresh(t), t.Context()
			ids, _, err := s.Import(ctx, strings.NewReader(export(t)))
			must(t, err, s.Delete(ctx, ids[0]))
			allow := refuse(t, s, what)
			freed, err := s.GC(ctx)
			if failed(t, what, err); freed != (Freed{}) {
				t.Errorf("%+v", freed)
			}
			allow()
			whole(t, s)
			if text, err := s.ReadArtifact(ctx, ids[0], "a"); err != nil || string(text) != "a" {
				t.Errorf("%q %v", text, err)
			}
			if freed, err = s.GC(ctx); err != nil || freed.Runs != 1 || freed.Files != 1 {
				t.Errorf("%+v %v", freed, err)
			}
			whole(t, s)
		})
	}
}

// A database that cannot be made or upgraded, for its disk is full at any moment of it, is one line, and is made or
// upgraded when there is room; what it had is there.
func TestMigrationFaults(t *testing.T) {
	old, err := os.ReadFile("testdata/schema/1.db")
	must(t, err)
	for what, data := range map[string][]byte{"new": nil, "old": old} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			mount(t, "tmpfs", dir, "tmpfs", 0, "size=16m")
			room := func(size int) {
				t.Helper()
				must(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprint("size=", size)))
			}
			path := filepath.Join(dir, "hrlab.db")
			failures := 0
			for size := (len(data) + 4095) / 4096 * 4096; ; size += 8 << 10 {
				room(16 << 20)
				must(t, os.RemoveAll(path+".artifacts"))
				for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
					_ = os.Remove(path + suffix)
				}
				if data != nil {
					must(t, os.WriteFile(path, data, 0o666))
				}
				room(max(size, 4096))
				err := childOpen(path)
				room(16 << 20)
				s, openErr := Open(t.Context(), path)
				must(t, openErr)
				whole(t, s)
				if data != nil {
					if i, err := s.Run(t.Context(), "old"); err != nil || i.Metrics["m"].Last != 2 {
						t.Errorf("%+v %v", i, err)
					}
				}
				must(t, s.Close())
				if err == nil {
					break
				}
				failed(t, strconv.Itoa(size), err)
				failures++
			}
			if failures == 0 {
				t.Error("the disk was never full")
			}
		})
	}
}

// Event files are whole or not there.
func TestEventFaults(t *testing.T) {
	s, dir := fresh(t), t.TempDir()
	r := start(t, s, NewRun{Name: "r"})
	must(t, r.Log(t.Context(), 1, map[string]float64{"m": 1}), r.LogPicture(t.Context(), 1, "bent", grey(1)), r.LogPicture(t.Context(), 1, "good", grey(2)), r.Finish(t.Context(), nil))
	runs := []Info{info(t, s, r.ID)}
	folder := filepath.Join(dir, "1-r")
	file := filepath.Join(folder, fmt.Sprintf("events.out.tfevents.%d.hrlab", runs[0].Started.Unix()))
	must(t, os.MkdirAll(filepath.Join(file, "x"), 0o777))
	failed(t, "a directory in its place", s.ExportTensorBoard(t.Context(), dir, runs))
	if left := tree(t, folder); len(left) != 3 {
		t.Errorf("%q", left)
	}
	must(t, os.RemoveAll(file))
	execute(t, s, "UPDATE thumbnail SET jpeg = 'x' WHERE digest = (SELECT digest FROM picture WHERE name = 'bent')")
	err := s.ExportTensorBoard(t.Context(), dir, runs)
	if partial, ok := errors.AsType[*IncompleteError](err); !ok || len(partial.Missing) != 1 || !strings.HasPrefix(err.Error(), `run 1: thumbnail of "bent" at step 1: `) {
		t.Error(err)
	}
	var out bytes.Buffer
	if again := s.ExportJSON(t.Context(), &out, runs); again == nil || again.Error() != err.Error() {
		t.Error(again)
	}
	if ids, _, err := fresh(t).Import(t.Context(), &out); err != nil || len(ids) != 1 {
		t.Error(ids, err)
	}
	if data, err := os.ReadFile(file); err != nil || !bytes.Contains(data, []byte("pictures/good")) {
		t.Errorf("%d bytes: %v", len(data), err)
	}
}

// A full disk is said clearly, and what was acknowledged before stays.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skip("no small disk can be mounted here: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	s, err := Open(t.Context(), filepath.Join(dir, "hrlab.db"))
	must(t, err)
	r := start(t, s, NewRun{})
	last := int64(-1)
	for i := range int64(1000) {
		var points []Point
		for k := range 200 {
			points = append(points, Point{fmt.Sprint("m", k), i, 1})
		}
		if err = r.LogBatch(t.Context(), points); err != nil {
			break
		}
		last = i
	}
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "disk") {
		t.Errorf("on a full disk: %v", err)
	}
	if err := r.LogArtifact(t.Context(), "a", bytes.NewReader(make([]byte, 3<<20))); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("an artifact on a full disk: %v", err)
	}
	_ = s.Close() // the last change may not fit either
	must(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=16m"))
	s = open(t, filepath.Join(dir, "hrlab.db"))
	whole(t, s)
	if m := info(t, s, r.ID).Metrics["m7"]; m.LastStep != last || last < 1 {
		t.Errorf("last step %d, acknowledged %d", m.LastStep, last)
	}
}

// Files that are no database of ours get one clear line each, and stay as they are.
func TestBadDatabases(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, data []byte, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, data, mode))
		return path
	}
	good := filepath.Join(dir, "good.db")
	s, err := Open(t.Context(), good)
	must(t, err)
	r := start(t, s, NewRun{})
	for i := range int64(300) {
		must(t, r.LogBatch(t.Context(), []Point{{"a long name of a metric", i, 1}, {"b", i, 2}, {"c", i, 3}}))
	}
	must(t, s.Close())
	data, err := os.ReadFile(good)
	must(t, err)
	bent := bytes.Clone(data)
	for i := 4096; i < len(bent)-4096; i += 4096 {
		copy(bent[i:], bytes.Repeat([]byte{0xa5}, 64)) // the head of every page but the first
	}
	other := filepath.Join(dir, "other.db")
	if out, err := exec.Command("python3", "-c", "import sqlite3; sqlite3.connect('"+other+"').execute('create table t (a)')").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	newer := filepath.Join(dir, "newer.db")
	must(t, os.WriteFile(newer, data, 0o666))
	n := open(t, newer)
	execute(t, n, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)")

	for path, want := range map[string]string{
		dir:                                     "a directory; name a file",
		filepath.Join(dir, "none", "x.db"):      "no such file or directory",
		file("text.db", []byte("hello"), 0o666): "not a database",
		file("zeros.db", make([]byte, 9000), 0o666): "not a database",
		other: "a database of another program: name another file",
		newer: "made by a newer hrlab (schema 999, this one knows 5): update hrlab",
	} {
		_, err := Open(t.Context(), path)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	if os.Geteuid() != 0 { // root may write everything
		path := filepath.Join(dir, "closed", "hrlab.db")
		must(t, os.Mkdir(filepath.Dir(path), 0o777), os.WriteFile(path, data, 0o666), os.Chmod(filepath.Dir(path), 0o555)) //nolint:gosec // a directory
		for _, path := range []string{path, file("readonly.db", data, 0o444)} {
			if err := open(t, path).ReadOnly(); err == nil || !strings.Contains(err.Error(), "read-only") {
				t.Error(err)
			}
		}
		must(t, os.Chmod(filepath.Dir(path), 0o755)) //nolint:gosec // so that it can be removed
	}
	path := file("bent.db", bent, 0o666)
	s, err = Open(t.Context(), path)
	if err == nil {
		var findings []Finding
		findings, err = s.Check(t.Context(), false)
		if err == nil && len(findings) == 0 {
			t.Error("no damage found")
		}
		_ = s.Close()
	}
	if err != nil && (!strings.Contains(err.Error(), "damaged") && !strings.Contains(err.Error(), "not a database") || strings.Contains(err.Error(), "\n")) {
		t.Errorf("damaged pages: %v", err)
	}
}
