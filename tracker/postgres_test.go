package tracker

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pressly/goose/v3"
	"golang.org/x/sync/errgroup"

	"hrlab/tracker/postgrestest"
)

// What is wrong with a server, its database or its role is one line, which names the database and no password.
func TestPostgresTroubles(t *testing.T) {
	good := postgrestest.New(t)
	s := open(t, good)
	execute(t, s, "DROP ROLE IF EXISTS nobody")
	execute(t, s, "CREATE ROLE nobody LOGIN")
	execute(t, s, "DROP ROLE IF EXISTS locked")
	execute(t, s, "CREATE ROLE locked LOGIN PASSWORD 'right'")
	defer func() { execute(t, s, "DROP ROLE locked"); execute(t, s, "DROP ROLE nobody") }()
	u, err := url.Parse(good)
	must(t, err)
	with := func(change func(u *url.URL, settings url.Values)) string {
		c, settings := *u, u.Query()
		change(&c, settings)
		c.RawQuery = settings.Encode()
		return c.String()
	}
	silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { must(t, silent.Close()) }()
	program := postgrestest.New(t)
	other, err := sql.Open("pgx", program)
	must(t, err)
	_, err = other.ExecContext(t.Context(), "CREATE TABLE theirs (a INT)")
	must(t, err, other.Close())
	newer := postgrestest.New(t)
	execute(t, open(t, newer), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, true)")
	older := postgrestest.New(t)
	upgraded := open(t, older)
	execute(t, upgraded, "DELETE FROM goose_db_version WHERE version_id = $1", schema)
	execute(t, upgraded, "GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO nobody")
	defer execute(t, upgraded, "DROP OWNED BY nobody")
	for _, c := range []struct{ name, url, want string }{
		{"no such database", with(func(u *url.URL, _ url.Values) { u.Path = "/none" }), "postgres://postgres@/none: there is no database none: createdb makes it"},
		{"no database named", strings.Replace(good, "postgres@"+u.Path, "locked:right@", 1), "there is no database locked: createdb makes it"},
		{"nothing named", "postgres://?host=/none", "postgres:///: cannot be reached: dial unix /none/"},
		{"no such role", with(func(u *url.URL, _ url.Values) { u.User = url.UserPassword("who", "secret") }), "the server refuses user who: role \"who\" does not exist"},
		{"a wrong password", with(func(u *url.URL, _ url.Values) { u.User = url.UserPassword("locked", "secret") }), "the server refuses user locked: password authentication failed for user \"locked\"; passwords are in ~/.pgpass"},
		{"no right to make tables", with(func(u *url.URL, _ url.Values) { u.User, u.Path = url.UserPassword("nobody", "secret"), "/postgres" }), "role nobody may not make or upgrade the tables (permission denied for schema public)"},
		{"nobody there", "postgres://lab:secret@127.0.0.1:1/lab", "postgres://lab@127.0.0.1:1/lab: cannot be reached: dial tcp 127.0.0.1:1: connect: connection refused"},
		{"no answer", "postgres://lab:secret@" + silent.Addr().String() + "/lab?connect_timeout=1", "no answer within 1s"},
		{"a socket that is not there", "postgres://lab:secret@/lab?host=/none", "cannot be reached: dial unix /none/.s.PGSQL.5432"},
		{"no URL", "postgres://lab:secret@[/lab", "database: not a URL; allowed: postgres://USER@HOST/DATABASE"},
		{"a bad setting", "postgres://lab:secret@h/lab?sslmode=odd", "postgres://lab@h/lab: sslmode is invalid"},
		{"another program's", program, "a database of another program"},
		{"no such schema", with(func(_ *url.URL, settings url.Values) { settings.Set("search_path", "none") }), "there is no schema none: CREATE SCHEMA makes it"},
		{"a newer schema", newer, fmt.Sprintf("made by a newer hrlab (schema 99, this one knows %d): update hrlab", schema)},
		{"an older schema", strings.Replace(older, "postgres@", "nobody:secret@", 1), "role nobody may not make or upgrade the tables (must be owner of table run): their owner does, by hrlab queue status"},
	} {
		_, err := Open(t.Context(), c.url)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

// A database of every earlier schema is upgraded, by whoever of many comes first, and nothing of it is lost.
func TestPostgresUpgrade(t *testing.T) {
	for old := int64(1); old < schema; old++ {
		given, ctx := postgrestest.New(t), t.Context()
		db, err := sql.Open("pgx", given)
		must(t, err)
		all, err := postgresMigrations()
		must(t, err)
		provider, err := goose.NewProvider(goose.DialectPostgres, db, nil, goose.WithGoMigrations(all...))
		must(t, err)
		_, err = provider.UpTo(ctx, old)
		must(t, err)
		for _, statement := range []string{"INSERT INTO experiment (name) VALUES ('e')", "INSERT INTO run (experiment, name, status, created, changed) VALUES (1, 'old', 'finished', 7, 0)"} {
			_, err = db.ExecContext(ctx, statement)
			must(t, err)
		}
		must(t, db.Close())
		var opening errgroup.Group
		for range 8 {
			opening.Go(func() error {
				s, err := Open(ctx, given)
				if err != nil {
					return err
				}
				return s.Close()
			})
		}
		must(t, opening.Wait())
		s := open(t, given)
		if i, err := s.Run(ctx, "old"); err != nil || i.Created.UnixMicro() != 7 {
			t.Errorf("%+v %v", i, err)
		}
		must(t, start(t, s, NewRun{}).Finish(ctx, nil))
		whole(t, s)
	}
}

// A role that may only read reads everything, and is told what it may not.
func TestPostgresReader(t *testing.T) {
	given := postgrestest.New(t)
	s, ctx := open(t, given), t.Context()
	r := start(t, s, NewRun{Name: "a"})
	must(t, r.Log(ctx, 1, map[string]float64{"m": 1}), r.LogArtifact(ctx, "a", strings.NewReader("x")))
	execute(t, s, "DROP ROLE IF EXISTS watcher")
	execute(t, s, "CREATE ROLE watcher LOGIN")
	defer func() { execute(t, s, "DROP OWNED BY watcher"); execute(t, s, "DROP ROLE watcher") }()
	execute(t, s, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO watcher")
	watcher := open(t, strings.Replace(given, "postgres@", "watcher@", 1))
	if runs, err := watcher.Runs(ctx, Query{}); err != nil || len(runs) != 1 {
		t.Error(runs, err)
	}
	if text, err := watcher.ReadArtifact(ctx, r.ID, "a"); err != nil || string(text) != "x" {
		t.Errorf("%q %v", text, err)
	}
	if findings, err := watcher.Check(ctx, false); err != nil || len(findings) > 0 {
		t.Error(findings, err)
	}
	if err := watcher.ReadOnly(); err == nil || err.Error() != "postgres://watcher@/"+strings.TrimPrefix(watcher.Name(), "postgres://watcher@/")+": read-only: role watcher may only read" {
		t.Error(err)
	}
	if err := watcher.Tag(ctx, r.ID, "k", "v"); err == nil || err.Error() != watcher.ReadOnly().Error() {
		t.Error(err)
	}
	must(t, r.Finish(ctx, nil))
}

// Contents of any size are in the database, as long as a row names them, and what is missing of them is found.
func TestContents(t *testing.T) {
	s, ctx := open(t, postgrestest.New(t)), t.Context()
	r := start(t, s, NewRun{})
	for name, size := range map[string]int{"empty": 0, "small": 1, "whole": pieceSize, "more": pieceSize + 1, "many": 3 * pieceSize} {
		text := strings.Repeat("x", size)
		must(t, r.LogArtifact(ctx, name, strings.NewReader(text)), r.LogArtifact(ctx, name+" too", strings.NewReader(text)))
		if got, err := s.ReadArtifact(ctx, r.ID, name); err != nil || string(got) != text {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		a, err := s.OpenArtifact(ctx, r.ID, name)
		must(t, err)
		if n, err := io.Copy(io.Discard, a); err != nil || n != int64(size) || a.Size() != n {
			t.Errorf("%s: %d of %d bytes, %v", name, n, size, err)
		}
		a.Close()
	}
	if digests, _ := kept(t, s); len(digests) != 5 {
		t.Errorf("%q", digests)
	}
	whole(t, s)
	execute(t, s, "DELETE FROM content WHERE octet_length(data) = 0")
	execute(t, s, "UPDATE content SET data = 'y' WHERE octet_length(data) = 1 AND piece = 0")
	execute(t, s, "INSERT INTO content VALUES ('ab', 0, 'nobody''s')")
	if findings := check(t, s); len(findings) != 5 {
		t.Errorf("%v", findings)
	}
	if _, err := s.ReadArtifact(ctx, r.ID, "small"); !errors.Is(err, errDamaged) {
		t.Error(err)
	}
	must(t, r.Finish(ctx, nil))
	if _, err := s.Check(ctx, true); err != nil {
		t.Error(err)
	}
	if freed, err := s.GC(ctx); err != nil || freed.Files != 1 {
		t.Errorf("%+v %v", freed, err)
	}
	whole(t, s)
}

// A writer waits for a server that goes away, says so, and has recorded everything once when it is back.
func TestPostgresRestart(t *testing.T) {
	server := postgrestest.Start(t)
	s := open(t, server.URL("postgres"))
	told := make(chan string, 1000)
	ctx := OnWait(t.Context(), func(what string) { told <- what })
	r := start(t, s, NewRun{})
	done := make(chan error)
	const n = 100
	watcher := open(t, server.URL("postgres"))
	watched := make(chan error)
	go func() { // another process follows it to its end
		for cursor := int64(0); ; {
			runs, next, err := watcher.Watch(t.Context(), cursor)
			if err != nil || runs[0].Status == Finished {
				watched <- err
				return
			}
			cursor = next
		}
	}()
	go func() {
		for i := range int64(n) {
			if err := errors.Join(r.Log(ctx, i, map[string]float64{"m": float64(i)}), r.Note(ctx, strconv.FormatInt(i, 10)),
				r.LogPicture(ctx, i, "p", grey(uint8(i))), r.LogArtifact(ctx, "a", strings.NewReader(strconv.FormatInt(i, 10)))); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for range 3 {
		server.Restart(t)
	}
	must(t, <-done, r.Finish(ctx, nil), <-watched)
	i := info(t, s, r.ID)
	if i.Metrics["m"].LastStep != n-1 || len(i.Notes) != n {
		t.Errorf("%+v, %d notes", i.Metrics, len(i.Notes))
	}
	whole(t, s)
	if what := <-told; !strings.HasPrefix(what, "waiting for "+s.Name()+": ") || strings.Contains(what, "\n") {
		t.Errorf("%q", what)
	}
}

// Whoever watches is told, not only when it looks again.
func TestPostgresTells(t *testing.T) {
	given := postgrestest.New(t)
	s, other := open(t, given), open(t, given)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	news := s.db.changes(ctx)
	<-news // it listens
	news = s.db.changes(ctx)
	start(t, other, NewRun{})
	select {
	case <-news:
	case <-ctx.Done():
		t.Error("not told")
	}
}

// A URL is shown without what is secret in it, and otherwise as it is.
func TestWithoutPassword(t *testing.T) {
	for given, want := range map[string]string{
		"hrlab.db": "hrlab.db", "postgres://lab@h/d?artifacts=/a%20b&host=/s": "postgres://lab@h/d?artifacts=/a%20b&host=/s",
		"postgres://lab:secret@h:1/d": "postgres://lab@h:1/d", "postgresql://h/d?password=secret&sslmode=require": "postgresql://h/d?sslmode=require",
		"postgres://lab:secret@h/d?sslpassword=secret": "postgres://lab@h/d", "postgres://lab:secret@[": "postgres://",
	} {
		if got := WithoutPassword(given); got != want || strings.HasSuffix(want, "/d") && !HasPassword(given) {
			t.Errorf("%s: %s, want %s", given, got, want)
		}
	}
}

// A transaction that a crash of the server took away is not taken for another's, which may have its number then.
func TestPostgresLostCommit(t *testing.T) {
	server := postgrestest.Start(t)
	s, other := open(t, server.URL("postgres")), open(t, server.URL("postgres"))
	r := start(t, other, NewRun{})
	for range 5 {
		lost, err := s.db.begin(t.Context())
		must(t, err)
		server.Restart(t)
		must(t, r.Note(t.Context(), "the next transaction after the crash"))
		if err := s.db.commit(t.Context(), lost); !isGone(err) {
			t.Errorf("the commit of a lost transaction: %v", err)
		}
	}
	// One that was committed, whose answer was lost.
	done, err := s.db.begin(t.Context())
	must(t, err, done.Commit())
	server.Restart(t)
	if was, err := s.db.(*postgres).committed(t.Context(), done); !was || err != nil {
		t.Errorf("a committed one: %v %v", was, err)
	}
}

// A server whose disk is full says so in one line. What was recorded stays, nothing of the last write does, and when there is room
// again the same run goes on.
func TestPostgresFullDisk(t *testing.T) {
	disk, err := os.MkdirTemp("", "hrlab-disk-") //nolint:usetesting // t.TempDir is this user's alone
	must(t, err)
	t.Cleanup(func() { must(t, os.Remove(disk)) })
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=160m,mode=1777", "tmpfs", disk).CombinedOutput(); err != nil {
		t.Skipf("may not mount a small disk: %s", out)
	}
	t.Cleanup(func() {
		if out, err := exec.CommandContext(context.Background(), "umount", "--lazy", disk).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	before := os.TempDir()
	t.Setenv("TMPDIR", disk)
	server := postgrestest.Start(t, "min_wal_size = 32MB", "max_wal_size = 48MB")
	t.Setenv("TMPDIR", before)
	s, ctx := open(t, server.URL("postgres")), t.Context()
	r := start(t, s, NewRun{})
	must(t, r.Log(ctx, 0, map[string]float64{"m": 1}), r.LogArtifact(ctx, "a", strings.NewReader("x")))

	balloon := filepath.Join(disk, "balloon")
	file, err := os.Create(balloon)
	must(t, err)
	if _, err := io.Copy(file, zeros{}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	must(t, file.Close())
	data := make([]byte, 24<<20)
	_, err = crand.Read(data)
	must(t, err)
	err = r.LogArtifact(ctx, "b", bytes.NewReader(data))
	if err == nil || err.Error() != s.Name()+": the server's disk is full; nothing of the last write was kept" {
		t.Errorf("a full disk: %v", err)
	}
	must(t, os.Remove(balloon))
	must(t, r.LogArtifact(ctx, "b", bytes.NewReader(data)), r.Log(ctx, 1, map[string]float64{"m": 2}), r.Finish(ctx, nil))
	if i := info(t, s, r.ID); i.Metrics["m"].LastStep != 1 || i.Status != Finished {
		t.Errorf("%+v", i)
	}
	whole(t, s)
}

// zeros is a file without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// What a transaction executes later fails with the next query or with the commit. Nothing of the transaction stays then, and the
// connection does for others.
func TestPostgresLater(t *testing.T) {
	s, ctx := open(t, postgrestest.New(t)), t.Context()
	r := start(t, s, NewRun{})
	for _, query := range []bool{false, true} {
		err := s.write(ctx, func(w tx) error {
			must(t, w.all([]any{r.ID, 0, "undone"}, sqlAddNote), w.all([]any{r.ID + 1, "key", "value"}, "INSERT INTO tag (run, key, value) VALUES ($1, $2, $3)"))
			if query {
				var n int
				return w.value([]any{&n}, sqlChange)
			}
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), "SQLSTATE 23503") {
			t.Errorf("%v", err)
		}
		must(t, r.Note(ctx, "kept"))
	}
	if notes := info(t, s, r.ID).Notes; len(notes) != 2 || notes[0].Text != "kept" || notes[1].Text != "kept" {
		t.Errorf("%+v", notes)
	}
}
