package tracker

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

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
		a, file, err := s.openArtifact(ctx, run.ID, name)
		must(t, err, file.Close())
		return dir(s).of(a.Digest)
	}
	gone, bent := path(a, "gone"), path(b, "bent")
	must(t, os.Remove(gone), os.WriteFile(bent, []byte("x"), 0o666))
	to := filepath.Join(t.TempDir(), "copy.db")
	err := s.Backup(ctx, to)
	want := fmt.Sprintf(`run 1: artifact "gone": %[1]s: no such file or directory
run 2: artifact "bent": %[2]s: damaged: its content is not what was recorded
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
	if ids, _, err := other.Import(ctx, &out); err != nil || len(ids) != 2 {
		t.Error(ids, err)
	} else if text, err := other.ReadArtifact(ctx, ids[1], "good too"); err != nil || string(text) != "2" {
		t.Errorf("%q %v", text, err)
	}
}
