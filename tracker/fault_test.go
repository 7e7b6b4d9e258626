package tracker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
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
	execute := func(statement string) {
		t.Helper()
		_, err := s.db.writer.ExecContext(context.Background(), statement)
		must(t, err)
	}
	execute("CREATE TRIGGER fault BEFORE " + what + " BEGIN SELECT RAISE(ABORT, 'the disk is broken'); END")
	return func() { execute("DROP TRIGGER fault") }
}

// failed says that err is there, in one line.
func failed(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: %v", what, err)
	}
}

// An artifact that cannot be kept, whatever step of it fails, leaves the one before and nothing else; then the same call
// works.
func TestArtifactFaults(t *testing.T) {
	const content = "new content"
	nothing := func() {}
	for what, c := range map[string]func(t *testing.T, s *Store, path string) (undo func()){
		"the content": nil,
		"the directory of artifacts": func(t *testing.T, s *Store, _ string) func() {
			must(t, os.Rename(s.files.path, s.db.path+".aside"), os.WriteFile(s.files.path, nil, 0o666))
			return func() { must(t, os.Remove(s.files.path), os.Rename(s.db.path+".aside", s.files.path)) }
		},
		"a link to a disk that is not there": func(t *testing.T, s *Store, _ string) func() {
			must(t, os.Rename(s.files.path, s.db.path+".aside"), os.Symlink("none", s.files.path))
			return func() { must(t, os.Remove(s.files.path), os.Rename(s.db.path+".aside", s.files.path)) }
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
				undo = c(t, s, s.files.of(fmt.Sprintf("%x", sha256.Sum256([]byte(content)))))
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

// A backup that fails, whatever step of it does, leaves nothing; then the same backup works, and also where one that was
// killed left something.
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
		must(t, os.WriteFile(s.files.path, nil, 0o666))
		_, err := s.Import(t.Context(), strings.NewReader(text))
		failed(t, "imported", err)
		must(t, os.Remove(s.files.path))
		imported(t, s, text)
	})
}

func importFault(t *testing.T, text, fault, second string) {
	t.Helper()
	s := fresh(t)
	allow := refuse(t, s, fault)
	if second != "" {
		_, err := s.db.writer.ExecContext(t.Context(), "CREATE TRIGGER second BEFORE "+second+" BEGIN SELECT RAISE(ABORT, 'still broken'); END")
		must(t, err)
	}
	ids, err := s.Import(t.Context(), strings.NewReader(text))
	if err == nil || len(ids) > 0 || !strings.HasPrefix(err.Error(), "line ") && !strings.Contains(err.Error(), "the disk is broken") {
		t.Errorf("%v %v", ids, err)
	}
	allow()
	if second != "" {
		_, err := s.db.writer.ExecContext(t.Context(), "DROP TRIGGER second")
		must(t, err)
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
	ids, err := s.Import(t.Context(), strings.NewReader(text))
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

// Of an import that is killed nothing is to be seen, and gc frees what is left.
func TestImportKilled(t *testing.T) {
	text := export(t)
	path := filepath.Join(t.TempDir(), "hrlab.db")
	s := open(t, path)
	c := child(t.Context(), "import", path)
	in, err := c.StdinPipe()
	must(t, err, c.Start())
	_, err = io.WriteString(in, text)
	must(t, err)
	for { // until the last line is there
		all, err := s.Runs(t.Context(), Query{Deleted: true})
		must(t, err)
		if len(all) == 1 {
			artifacts, err := s.Artifacts(t.Context(), all[0].ID)
			must(t, err)
			if visible, err := s.Runs(t.Context(), Query{}); err != nil || len(visible) > 0 {
				t.Fatal(visible, err)
			}
			if len(artifacts) == 1 {
				break
			}
		}
	}
	if freed, err := s.GC(t.Context()); err != nil || freed.Runs > 0 { // it is being written
		t.Errorf("%+v %v", freed, err)
	}
	must(t, c.Process.Kill())
	_ = c.Wait()
	if runs, err := s.Runs(t.Context(), Query{}); err != nil || len(runs) > 0 {
		t.Errorf("%+v %v", runs, err)
	}
	imported(t, s, text)
	if freed, err := s.GC(t.Context()); err != nil || freed.Runs != 1 {
		t.Errorf("%+v %v", freed, err)
	}
	whole(t, s)
}

// A gc that fails frees nothing by halves, and works later.
func TestGCFaults(t *testing.T) {
	for _, what := range []string{"DELETE ON metric", "DELETE ON run", "DELETE ON artifact", "DELETE ON thumbnail", "DELETE ON metric_name", "DELETE ON environment", "DELETE ON experiment"} {
		t.Run(what, func(t *testing.T) {
			s, ctx := fresh(t), t.Context()
			ids, err := s.Import(ctx, strings.NewReader(export(t)))
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
	_, err := s.db.writer.ExecContext(t.Context(), "UPDATE thumbnail SET jpeg = 'x' WHERE digest = (SELECT digest FROM picture WHERE name = 'bent')")
	must(t, err)
	err = s.ExportTensorBoard(t.Context(), dir, runs)
	if partial, ok := errors.AsType[*IncompleteError](err); !ok || len(partial.Missing) != 1 || !strings.HasPrefix(err.Error(), `run 1: thumbnail of "bent" at step 1: `) {
		t.Error(err)
	}
	var out bytes.Buffer
	if again := s.ExportJSON(t.Context(), &out, runs); again == nil || again.Error() != err.Error() {
		t.Error(again)
	}
	if ids, err := fresh(t).Import(t.Context(), &out); err != nil || len(ids) != 1 {
		t.Error(ids, err)
	}
	if data, err := os.ReadFile(file); err != nil || !bytes.Contains(data, []byte("pictures/good")) {
		t.Errorf("%d bytes: %v", len(data), err)
	}
}

// Who waits for another process to end its transaction can be told to stop, and has written nothing then.
func TestWaitingEnds(t *testing.T) {
	s := fresh(t)
	other := open(t, s.Path())
	r := start(t, s, NewRun{})
	held, err := other.db.writer.BeginTx(t.Context(), nil)
	must(t, err)
	waited := context.DeadlineExceeded
	for what, f := range map[string]func(ctx context.Context) error{
		"log":      func(ctx context.Context) error { return r.Log(ctx, 1, map[string]float64{"m": 1}) },
		"start":    func(ctx context.Context) error { _, err := s.Start(ctx, NewRun{}); return err },
		"delete":   func(ctx context.Context) error { return s.Delete(ctx, r.ID) },
		"artifact": func(ctx context.Context) error { return r.LogArtifact(ctx, "a", strings.NewReader("x")) },
		"import": func(ctx context.Context) error {
			_, err := s.Import(ctx, strings.NewReader(`{"run":{"id":1}}`))
			return err
		},
		"gc": func(ctx context.Context) error { _, err := s.GC(ctx); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if err := f(ctx); !errors.Is(err, waited) { // not that the database was busy for a minute
			t.Errorf("%s: %v", what, err)
		}
		cancel()
	}
	must(t, held.Rollback())
	must(t, r.Log(t.Context(), 2, map[string]float64{"m": 2}))
	if m := info(t, s, r.ID).Metrics["m"]; m.LastStep != 2 || m.MinStep != 2 {
		t.Errorf("%+v", m)
	}
	if runs, err := s.Runs(t.Context(), Query{Deleted: true}); err != nil || len(runs) != 1 {
		t.Errorf("%d runs %v", len(runs), err)
	}
	whole(t, s)
}

// What the environment is, git above all, is found out before a transaction that another process may wait for.
func TestEnvironmentBeforeTransaction(t *testing.T) {
	bin := t.TempDir()
	must(t, os.WriteFile(filepath.Join(bin, "git"), []byte("#!/bin/sh\necho asked >>"+bin+"/asked\n"), 0o777)) //nolint:gosec // a program
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	s := fresh(t)
	db := s.DB()
	if _, err := os.Stat(bin + "/asked"); err != nil {
		t.Fatal("git was not asked: ", err)
	}
	held, err := db.BeginTx(t.Context(), nil)
	must(t, err)
	_, err = s.Enqueue(t.Context(), held, NewRun{})
	must(t, err, held.Commit())
	if asked, err := os.ReadFile(bin + "/asked"); err != nil || string(asked) != "asked\n" {
		t.Errorf("%q %v", asked, err)
	}
}

// Beats end with the run, when it is another's, and when it is not there any more.
func TestBeatsEnd(t *testing.T) {
	for _, statement := range []string{"UPDATE run SET token = 1", "UPDATE run SET status = 'stopped'", "DELETE FROM run"} {
		t.Run(statement, func(t *testing.T) {
			t.Parallel()
			s := fresh(t)
			start(t, s, NewRun{})
			_, err := s.db.writer.ExecContext(t.Context(), statement)
			must(t, err)
			s.beats.Wait()
		})
	}
	s := fresh(t)
	must(t, start(t, s, NewRun{}).Finish(t.Context(), nil))
	s.beats.Wait()
}

// An import does not beat, and its run gets no load but that which it had.
func TestImportDoesNotBeat(t *testing.T) {
	s := fresh(t)
	in, out := io.Pipe()
	done := make(chan error)
	go func() {
		_, err := s.Import(t.Context(), in)
		done <- err
	}()
	_, err := io.WriteString(out, `{"run":{"id":1}}`+"\n"+`{"of":1,"samples":[{"time":"2026-01-02T03:04:05Z","cpu":1,"memory":2}]}`+"\n")
	must(t, err)
	s.beats.Wait() // nothing beats while it waits for more
	must(t, out.Close(), <-done)
	samples, err := s.Samples(t.Context(), 1)
	if err != nil || len(samples) != 1 {
		t.Errorf("%v %v", samples, err)
	}
}
