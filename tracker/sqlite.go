package tracker

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/pressly/goose/v3"
)

// sqlite is the database of a store: one file. Only this file, place.go, which finds it, frozen.go, which
// reads one that cannot be written, and migration/, which makes its tables, know that it is SQLite. A second kind of database needs the same methods, and an interface is made when there
// is one. On a server such as PostgreSQL they would be:
//
//   - begin: a transaction that ends with its context; it waits for other writers at UPDATE change
//   - view: a transaction that is REPEATABLE READ and READ ONLY
//   - bind: nothing to do, since the server numbers parameters as sql.go does
//   - lock: an advisory lock, which is released when the connection ends
//   - migrate: tables with the server's types
//   - artifacts: a directory that is configured apart from the database
//   - integrity, compact, size, copyTo: nothing to do, since a server has its own tools for these
//   - explain: the server's errors
//   - beats: the server's now() could stamp and judge them; beat.go says why they are judged by the one who looks
type sqlite struct {
	name    string  // as it was given: messages name it
	path    string  // of the file itself: absolute, links followed
	writer  *sql.DB // one connection: SQLite has one writer at a time
	reader  *sql.DB
	frozen  error  // why the database cannot be written; nil where it can
	private string // then the folder of the copy that is read instead
}

// What only SQLite understands.
const (
	sqliteTables    = `SELECT count(*), COALESCE(sum(name = 'goose_db_version'), 0) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`
	sqliteIntegrity = `PRAGMA integrity_check`
	sqliteForeign   = `PRAGMA foreign_key_check`
	sqliteBackup    = `VACUUM INTO ?1`
	sqliteVacuum    = `VACUUM`
	sqliteTruncate  = `PRAGMA wal_checkpoint(TRUNCATE)`
	sqliteBusy      = `PRAGMA busy_timeout = %d` // ms
)

//go:embed migration/*.sql
var migrations embed.FS

// schema is the version that the newest migration makes.
const schema = 4

// busyTimeout is how long a statement waits for the writers of other processes, unless waitAtMost changes it.
const busyTimeout = time.Minute

// open opens the file. One process at a time creates it, switches it to a write-ahead log (WAL) and migrates it: if two
// switch a new file at once, one of them fails however long it would wait.
func (d *sqlite) open(ctx context.Context) (err error) {
	if d.path, err = resolve(d.name); err != nil {
		return err
	}
	if err := checkFile(d.path); err != nil {
		return err
	}
	if d.path, err = ownName(d.path); err != nil {
		return err
	}
	if d.frozen = d.unwritable(); d.frozen != nil {
		return d.openPrivate(ctx)
	}
	unlock, err := d.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := create(d.path); err != nil {
		return err
	}
	d.mend()
	return d.connect(ctx, d.path)
}

// create makes the empty file of a new database. SQLite would leave out the group's permission to write, whatever umask
// says. The files that it makes beside it later have the permissions of this one.
func create(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	return file.Close()
}

// connect opens the connections to the file and brings its schema to the newest version.
func (d *sqlite) connect(ctx context.Context, file string) (err error) {
	if d.writer, err = sql.Open("sqlite3", dsn(file, "&_journal_mode=WAL&_txlock=immediate")); err != nil {
		return err
	}
	d.writer.SetMaxOpenConns(1)
	if d.reader, err = sql.Open("sqlite3", dsn(file, "&_query_only=1")); err != nil {
		return err
	}
	readers := max(4, runtime.NumCPU())
	d.reader.SetMaxOpenConns(readers)
	d.reader.SetMaxIdleConns(readers)
	return d.migrate(ctx)
}

// openCopy opens, for reading, a copy of the database in a file that has not got its name yet.
func (d *sqlite) openCopy(file string) (err error) {
	d.reader, err = sql.Open("sqlite3", dsn(file, "&mode=ro"))
	return err
}

func (d *sqlite) close() error {
	var err error
	for _, db := range []*sql.DB{d.reader, d.writer} {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}
	if d.private != "" {
		err = errors.Join(err, os.RemoveAll(d.private))
	}
	return err
}

// dsn is what the driver takes to open the file at path. more are further settings, each after an &. They are part of
// the name so that every connection of the pool has them.
func dsn(path, more string) string {
	return fmt.Sprintf("file:%s?_busy_timeout=%d&_foreign_keys=1&_synchronous=FULL&_stmt_cache_size=64%s",
		(&url.URL{Path: path}).EscapedPath(), busyTimeout.Milliseconds(), more)
}

// migrate brings the schema to the newest version.
func (d *sqlite) migrate(ctx context.Context) error {
	var tables, ours int64
	if err := d.writer.QueryRowContext(ctx, sqliteTables).Scan(&tables, &ours); err != nil {
		return err
	}
	if tables > 0 && ours == 0 {
		return errors.New("a database of another program: name another file")
	}
	if ours > 0 {
		version, err := schemaOf(ctx, d.writer)
		if err != nil || version == schema {
			return err
		}
	}
	files, err := fs.Sub(migrations, "migration")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, d.writer, files)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// schemaOf is the version of the schema. It is an error if a newer hrlab has made it.
func schemaOf(ctx context.Context, q querier) (n int64, err error) {
	if err := value(ctx, q, []any{&n}, sqlVersion); err != nil {
		return 0, err
	}
	if n > schema {
		return n, fmt.Errorf("made by a newer hrlab (schema %d, this one knows %d): update hrlab", n, schema)
	}
	return n, nil
}

// waitAtMost sets how long the connection that writes waits for the writers of other processes.
func (d *sqlite) waitAtMost(ctx context.Context, t time.Duration) error {
	_, err := d.writer.ExecContext(ctx, fmt.Sprintf(sqliteBusy, t.Milliseconds()))
	return err
}

// lock takes the lock under which tables are made, alone.
func (d *sqlite) lock(ctx context.Context) (unlock func(), err error) {
	return lock(ctx, d.path+".lock", true)
}

// bind numbers parameters as SQLite's driver wants them: of $2 … $1 it would number the first one 1.
func bind(sql string) string { return strings.ReplaceAll(sql, "$", "?") }

// begin begins a transaction that writes. It waits for other writers as long as ctx lasts. SQLite itself cannot be
// interrupted while it waits, so that a goroutine does the waiting.
func (d *sqlite) begin(ctx context.Context) (*sql.Tx, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	type result struct {
		t   *sql.Tx
		err error
	}
	begun := make(chan result)
	go func() {
		t, err := d.writer.BeginTx(context.WithoutCancel(ctx), nil)
		select {
		case begun <- result{t, err}:
		case <-ctx.Done():
			if err == nil {
				_ = t.Rollback() // nothing was written
			}
		}
	}()
	select {
	case b := <-begun:
		return b.t, b.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// view begins a transaction that sees the database as it is at one moment. No writer waits for it.
func (d *sqlite) view(ctx context.Context) (*sql.Tx, error) { return d.reader.BeginTx(ctx, nil) }

// artifacts is the directory of artifacts.
func (d *sqlite) artifacts() directory {
	files := directory{path: d.path + ".artifacts", frozen: d.frozen != nil}
	if given, err := filepath.Abs(d.name); err == nil && given != d.path { // earlier versions followed no links
		files.beside = given + ".artifacts"
	}
	return files
}

// size is the bytes of the database and its write-ahead log.
func (d *sqlite) size() (bytes int64) {
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(d.path + suffix); err == nil {
			bytes += info.Size()
		}
	}
	return bytes
}

// compact gives the space of what was removed back to the system.
func (d *sqlite) compact(ctx context.Context) error {
	for _, statement := range []string{sqliteVacuum, sqliteTruncate} {
		if _, err := d.writer.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// integrity checks the file itself: its pages and its foreign keys.
func (d *sqlite) integrity(ctx context.Context) (findings []Finding, err error) {
	for _, statement := range []string{sqliteIntegrity, sqliteForeign} {
		found, err := d.complaints(ctx, statement)
		if err != nil {
			return findings, err
		}
		findings = append(findings, found...)
	}
	return findings, nil
}

// complaints are the rows of a statement that has none, or "ok", where all is well.
func (d *sqlite) complaints(ctx context.Context, statement string) (findings []Finding, err error) {
	result, err := d.reader.QueryContext(ctx, statement)
	if err != nil {
		return nil, err
	}
	defer result.Close() //nolint:errcheck // Err says what went wrong
	columns, err := result.Columns()
	if err != nil {
		return nil, err
	}
	for result.Next() {
		values, dest := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			dest[i] = &values[i]
		}
		if err := result.Scan(dest...); err != nil {
			return nil, err
		}
		if text := strings.Join(strings.Fields(strings.Trim(fmt.Sprint(values...), "[]")), " "); text != "ok" {
			findings = append(findings, Finding{What: statement + ": " + text})
		}
	}
	return findings, result.Err()
}

// copyFiles are the files of a copy at path. SQLite would take any that is there already for a part of the copy.
func copyFiles(path string) []string { return []string{path, path + "-wal", path + "-journal"} }

// copyTo copies the database, as it is at one moment, to a new file. own says whether an error is that of this database
// or that of the copy.
func (d *sqlite) copyTo(ctx context.Context, file string) (own bool, err error) {
	if err := create(file); err != nil {
		return false, err
	}
	_, err = d.writer.ExecContext(ctx, sqliteBackup, file)
	e, ok := errors.AsType[sqlite3.Error](err)
	return ok && (e.Code == sqlite3.ErrCorrupt || e.Code == sqlite3.ErrBusy), err
}

// explain turns an error of SQLite or of the system into one line that names the file.
func (d *sqlite) explain(err error) error {
	if strings.HasPrefix(err.Error(), d.name+": ") {
		return err
	}
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		if pathErr.Path != filepath.Dir(d.path) && pathErr.Path != d.path+".lock" && pathErr.Path != d.path {
			return fmt.Errorf("%s: %w", pathErr.Path, pathErr.Err)
		}
		return fmt.Errorf("%s: %w", d.name, pathErr.Err)
	}
	if e, ok := errors.AsType[sqlite3.Error](err); ok {
		switch e.Code {
		case sqlite3.ErrFull:
			return fmt.Errorf("%s: the disk is full; nothing of the last write was kept: %w", d.name, err)
		case sqlite3.ErrReadonly:
			return fmt.Errorf("%s: read-only: %w", d.name, err)
		case sqlite3.ErrNotADB:
			return fmt.Errorf("%s: not a database: %w", d.name, err)
		case sqlite3.ErrCorrupt:
			return fmt.Errorf("%s: damaged; go on with a backup, or with what sqlite3's .recover saves: %w", d.name, err)
		case sqlite3.ErrBusy:
			return fmt.Errorf("%s: another process keeps it locked: %w", d.name, err)
		case sqlite3.ErrIoErr:
			return fmt.Errorf("%s: cannot be read or written, is the disk full?: %w", d.name, err)
		}
	}
	return fmt.Errorf("%s: %w", d.name, err)
}
