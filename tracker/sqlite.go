package tracker

import (
	"bytes"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"github.com/mattn/go-sqlite3"
	"github.com/pressly/goose/v3"
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

// resolve is the file that a name leads to, through links, relative names and "..": its neighbours (-wal, .lock,
// .artifacts and others') lie beside it, whatever name it is reached by. A link to nothing leads to what it would make,
// as it does for SQLite.
func resolve(name string) (string, error) {
	path := name
	if !filepath.IsAbs(path) {
		here, err := os.Getwd()
		if err != nil {
			return "", err
		}
		path = here + "/" + path // Join would take "link/.." for "."
	}
	for range 40 { // as many links as Linux follows
		dir, file := filepath.Split(path)
		dir, err := filepath.EvalSymlinks(dir)
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, file)
		target, err := os.Readlink(path)
		if err != nil { // no link, or not there
			if was, err := os.Stat(name); err == nil { // links in /proc may name what no directory has any more
				if is, err := os.Stat(path); err != nil || !os.SameFile(was, is) {
					return "", errors.New("no directory has this file: name one that has a name")
				}
			}
			return path, nil
		}
		if path = target; !filepath.IsAbs(path) {
			path = dir + "/" + target
		}
	}
	return "", syscall.ELOOP
}

// ownName is the one name of the database at path by which it is opened: what lies beside another name would be lost, and
// two write-ahead logs damage it. Links that are not followed, and mounts, are seen here as far as the system tells.
func ownName(path string) (string, error) {
	path, err := unmounted(path)
	if err != nil || links(path) < 2 || links(path+".lock") == 1 {
		return path, err
	}
	return "", errors.New("a second name (hard link) of a database, whose files lie beside the first: use that, or a symbolic link to it")
}

// links is the number of names of a file; 0 where it is not there.
func links(path string) uint64 {
	info, err := os.Lstat(path)
	if err != nil {
		return 0
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Nlink) //nolint:unconvert // other systems have other types
	}
	return 1
}

// unmounted is the name of a file within a directory, where it is mounted by itself, as containers do.
func unmounted(path string) (string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return path, nil //nolint:nilerr // a system without
	}
	type mount struct{ device, root, point string }
	var mounts []mount
	own := -1
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 4 { // proc_pid_mountinfo(5)
			if mounts = append(mounts, mount{f[2], unescape.Replace(f[3]), unescape.Replace(f[4])}); mounts[len(mounts)-1].point == path {
				own = len(mounts) - 1
			}
		}
	}
	if own < 0 {
		return path, nil
	}
	file, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	for _, m := range mounts {
		inside, ok := strings.CutPrefix(mounts[own].root, m.root)
		if !ok || inside == "" || m.device != mounts[own].device {
			continue
		}
		other := filepath.Join(m.point, inside)
		if info, err := os.Stat(other); err == nil && os.SameFile(file, info) {
			return other, nil
		}
	}
	return "", errors.New("mounted by itself, so that what lies beside it is out of sight: mount its directory")
}

// checkFile says what is wrong with a file that is no database, in clearer words than SQLite.
func checkFile(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return errors.New("a directory; name a file")
	case !info.Mode().IsRegular():
		return errors.New("not a regular file")
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return errors.New("read-only; a tracker writes, even where it only lists: copy the file, or mend its permissions")
	} else if err != nil {
		return err
	}
	defer file.Close()
	magic := []byte("SQLite format 3\x00")
	head := make([]byte, len(magic))
	if n, err := io.ReadFull(file, head); n > 0 && (err != nil || !bytes.Equal(head, magic)) {
		return errors.New("not a database")
	}
	return nil
}

// lock takes a lock on a file, alone or with others, and returns what frees it.
func lock(ctx context.Context, path string, alone bool) (unlock func(), err error) {
	l := flock.New(path)
	try := l.TryRLockContext
	if alone {
		try = l.TryLockContext
	}
	if _, err := try(ctx, 5*time.Millisecond); err != nil {
		return nil, err
	}
	return func() { _ = l.Unlock() }, nil // closing the file frees it in any case
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
