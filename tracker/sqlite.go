package tracker

import (
	"context"
	"database/sql"
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

// sqlite is a database in one file. Only this file, place.go, which finds it, and frozen.go, which reads one that cannot
// be written, know that it is SQLite.
type sqlite struct {
	given  string  // its name: messages have it
	path   string  // of the file itself: absolute, links followed
	writer *sql.DB // one connection: SQLite has one writer at a time
	reader *sql.DB
	frozen error  // why the database cannot be written; nil where it can
	copied string // then the folder of the copy that is read instead
}

func (d *sqlite) name() string    { return d.given }
func (d *sqlite) writes() pool    { return pool{d.writer, '?', d.again} } // of $2 … $1 SQLite would number the first one 1
func (d *sqlite) reads() pool     { return pool{d.reader, '?', d.again} }
func (d *sqlite) readOnly() error { return d.frozen }
func (d *sqlite) private() bool   { return d.copied != "" }

// now is the time of day here: SQLite has no clock but that of the process that asks.
func (*sqlite) now(c clock) (t time.Time, shared bool) { return c.now(), false }

// changes is closed after a while: SQLite tells nobody.
func (*sqlite) changes(context.Context) <-chan struct{} {
	const look = 100 * time.Millisecond
	told := make(chan struct{})
	time.AfterFunc(look, func() { close(told) })
	return told
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

// busyTimeout is how long a statement waits for the writers of other processes, unless waitAtMost changes it.
const busyTimeout = time.Minute

// open opens the file. One process at a time creates it, switches it to a write-ahead log (WAL) and migrates it: if two
// switch a new file at once, one of them fails however long it would wait.
func (d *sqlite) open(ctx context.Context) (err error) {
	if d.path, err = resolve(d.given); err != nil {
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
	if d.copied != "" {
		err = errors.Join(err, os.RemoveAll(d.copied))
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
		if newest, err := isNewest(ctx, d.writes()); newest || err != nil {
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

// waitAtMost sets how long the connection that writes waits for the writers of other processes.
func (d *sqlite) waitAtMost(ctx context.Context, t time.Duration) error {
	_, err := d.writer.ExecContext(ctx, fmt.Sprintf(sqliteBusy, t.Milliseconds()))
	return err
}

func (d *sqlite) lock(ctx context.Context) (unlock func(), err error) {
	return lock(ctx, d.path+".lock", true)
}

func (d *sqlite) begin(ctx context.Context) (transaction, error) {
	t, err := begin(ctx, d.writer)
	return transaction{Tx: t}, err
}

func (*sqlite) commit(_ context.Context, t transaction) error { return t.Commit() }
func (*sqlite) again(_ context.Context, f func() error) error { return f() }
func (*sqlite) sync(context.Context) error                    { return nil }
func (*sqlite) upSince() time.Time                            { return time.Time{} }

func (d *sqlite) view(ctx context.Context) (*sql.Tx, error) { return d.reader.BeginTx(ctx, nil) }

// artifacts is the directory of artifacts.
func (d *sqlite) artifacts(*Store) files { return d.directory() }

func (d *sqlite) directory() directory {
	files := directory{path: d.path + ".artifacts", frozen: d.frozen != nil}
	if given, err := filepath.Abs(d.given); err == nil && given != d.path { // earlier versions followed no links
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
	if strings.HasPrefix(err.Error(), d.given+": ") {
		return err
	}
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		if pathErr.Path != filepath.Dir(d.path) && pathErr.Path != d.path+".lock" && pathErr.Path != d.path {
			return fmt.Errorf("%s: %w", pathErr.Path, pathErr.Err)
		}
		return fmt.Errorf("%s: %w", d.given, pathErr.Err)
	}
	if e, ok := errors.AsType[sqlite3.Error](err); ok {
		switch e.Code {
		case sqlite3.ErrFull:
			return fmt.Errorf("%s: the disk is full; nothing of the last write was kept: %w", d.given, err)
		case sqlite3.ErrReadonly:
			return fmt.Errorf("%s: read-only: %w", d.given, err)
		case sqlite3.ErrNotADB:
			return fmt.Errorf("%s: not a database: %w", d.given, err)
		case sqlite3.ErrCorrupt:
			return fmt.Errorf("%s: damaged; go on with a backup, or with what sqlite3's .recover saves: %w", d.given, err)
		case sqlite3.ErrBusy:
			return fmt.Errorf("%s: another process keeps it locked: %w", d.given, err)
		case sqlite3.ErrIoErr:
			return fmt.Errorf("%s: cannot be read or written, is the disk full?: %w", d.given, err)
		}
	}
	return fmt.Errorf("%s: %w", d.given, err)
}
