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
	"syscall"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/pressly/goose/v3"
)

// What only SQLite understands.
const (
	sqliteTables    = `SELECT count(*), COALESCE(sum(name = 'goose_db_version'), 0) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`
	sqliteIntegrity = `PRAGMA integrity_check`
	sqliteForeign   = `PRAGMA foreign_key_check`
	sqliteBackup    = `VACUUM INTO ?1`
	sqliteVacuum    = `VACUUM`
	sqliteTruncate  = `PRAGMA wal_checkpoint(TRUNCATE)`
)

//go:embed migration/*.sql
var migrations embed.FS

// schema is the version that the newest migration makes.
const schema = 2

// patience is how long a writer waits for those of other processes.
const patience = time.Minute

// open opens the file. Creation, the change to WAL and migration are done by one process at a time: two that switch a
// new file to WAL at once fail however long they would wait.
func (s *Store) open(ctx context.Context) (err error) {
	if s.path, err = resolve(s.name); err != nil {
		return err
	}
	if err := checkFile(s.path); err != nil {
		return err
	}
	if s.path, err = ownName(s.path); err != nil {
		return err
	}
	if given, err := filepath.Abs(s.name); err == nil && given != s.path {
		s.beside = given + ".artifacts"
	}
	unlock, err := lock(ctx, s.path+".lock", true)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return errors.New("its directory is read-only; a database needs files beside it, even where it is only listed")
	} else if err != nil {
		return err
	}
	defer unlock()
	if s.writer, err = sql.Open("sqlite3", dsn(s.path, "&_journal_mode=WAL&_txlock=immediate")); err != nil {
		return err
	}
	s.writer.SetMaxOpenConns(1)
	if s.reader, err = sql.Open("sqlite3", dsn(s.path, "&_query_only=1")); err != nil {
		return err
	}
	readers := max(4, runtime.NumCPU())
	s.reader.SetMaxOpenConns(readers)
	s.reader.SetMaxIdleConns(readers)
	return s.migrate(ctx)
}

// dsn opens the file at path; more are settings, each with & before it. Every connection of a pool has them.
func dsn(path, more string) string {
	return fmt.Sprintf("file:%s?_busy_timeout=%d&_foreign_keys=1&_synchronous=FULL&_stmt_cache_size=64%s",
		(&url.URL{Path: path}).EscapedPath(), patience.Milliseconds(), more)
}

// migrate brings the schema to the newest version.
func (s *Store) migrate(ctx context.Context) error {
	var tables, ours int64
	if err := s.writer.QueryRowContext(ctx, sqliteTables).Scan(&tables, &ours); err != nil {
		return err
	}
	if tables > 0 && ours == 0 {
		return errors.New("a database of another program: name another file")
	}
	if ours > 0 {
		var version int64
		if err := s.writer.QueryRowContext(ctx, sqlVersion).Scan(&version); err != nil {
			return err
		}
		if version == schema {
			return nil
		}
		if version > schema {
			return fmt.Errorf("made by a newer hrlab (schema %d, this one knows %d): update hrlab", version, schema)
		}
	}
	files, err := fs.Sub(migrations, "migration")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, s.writer, files)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// bind numbers parameters as SQLite wants them.
func bind(sql string) string { return strings.ReplaceAll(sql, "$", "?") }

// databaseSize is the bytes of the database and its write-ahead log.
func (s *Store) databaseSize() (bytes int64) {
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(s.path + suffix); err == nil {
			bytes += info.Size()
		}
	}
	return bytes
}

func (s *Store) closeDatabase() error {
	var err error
	for _, db := range []*sql.DB{s.reader, s.writer} {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}
	return err
}

// plain names the file and says in one line what SQLite or the system complains of.
func (s *Store) plain(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, ErrTaken) || errors.Is(err, ErrNotFound) {
		return err
	}
	if strings.HasPrefix(err.Error(), s.name+": ") {
		return err
	}
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		if pathErr.Path != filepath.Dir(s.path) && pathErr.Path != s.path+".lock" && pathErr.Path != s.path {
			return fmt.Errorf("%s: %w", pathErr.Path, pathErr.Err)
		}
		return fmt.Errorf("%s: %w", s.name, pathErr.Err)
	}
	if e, ok := errors.AsType[sqlite3.Error](err); ok {
		switch e.Code {
		case sqlite3.ErrFull:
			return fmt.Errorf("%s: the disk is full; nothing of the last write was kept: %w", s.name, err)
		case sqlite3.ErrReadonly:
			return fmt.Errorf("%s: read-only: %w", s.name, err)
		case sqlite3.ErrNotADB:
			return fmt.Errorf("%s: not a database: %w", s.name, err)
		case sqlite3.ErrCorrupt:
			return fmt.Errorf("%s: damaged; go on with a backup, or with what sqlite3's .recover saves: %w", s.name, err)
		case sqlite3.ErrBusy:
			return fmt.Errorf("%s: another process has been writing for %v: %w", s.name, patience, err)
		case sqlite3.ErrIoErr:
			return fmt.Errorf("%s: cannot be read or written, is the disk full?: %w", s.name, err)
		}
	}
	return fmt.Errorf("%s: %w", s.name, err)
}
