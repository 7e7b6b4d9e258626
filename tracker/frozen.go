package tracker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A database that cannot be written is read in a private copy. SQLite itself would need files beside it, or would have to
// trust that nobody changes the file meanwhile (immutable=1). In the copy everything works as usual: a write-ahead log
// that nobody has closed is replayed, an older schema is migrated, and lost runs are found.

// unwritable says why this process cannot write the database, or nil if it can.
func (d *sqlite) unwritable() error {
	if err := access(filepath.Dir(d.path), true); err != nil {
		return fmt.Errorf("in its directory, %s, nothing can be written: %w", filepath.Dir(d.path), err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := access(d.path+suffix, true); err != nil {
			return fmt.Errorf("%s cannot be written: %w%s", d.path+suffix, err, whose(d.path+suffix))
		}
	}
	for _, path := range d.locks() {
		if err := access(path, false); err != nil {
			return fmt.Errorf("the lock %s cannot be opened: %w%s; earlier versions made it for its owner alone, who mends it by opening the database, or by: chmod g+rw %s", path, err, whose(path), path)
		}
	}
	return nil
}

// locks are the files that are locked.
func (d *sqlite) locks() []string { return []string{d.path + ".lock", d.directory().lockFile()} }

// access says why a file cannot be read, or written. A file that is not there can. The file is not opened: closing it would
// release the locks that SQLite has on it in this process.
func access(path string, write bool) error {
	mode := uint32(4)
	if write {
		mode = 2
	}
	if err := syscall.Access(path, mode); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return err
	}
	return nil
}

// whose says who owns a file, and its permissions; empty where that cannot be found out.
func whose(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	owner := strconv.FormatUint(uint64(stat.Uid), 10)
	if u, err := user.LookupId(owner); err == nil {
		owner = u.Username
	}
	return fmt.Sprintf(" (owner %s, mode %04o)", owner, info.Mode().Perm())
}

// mend gives locks that earlier versions made for their owner alone the permissions of the database. Only the owner can;
// whoever cannot open them is told by unwritable.
func (d *sqlite) mend() {
	info, err := os.Stat(d.path)
	if err != nil {
		return
	}
	locks := d.locks()
	beside, _ := os.ReadDir(filepath.Dir(d.path))
	for _, entry := range beside {
		if strings.HasPrefix(entry.Name(), filepath.Base(d.path)+".worker-") {
			locks = append(locks, filepath.Join(filepath.Dir(d.path), entry.Name()))
		}
	}
	for _, path := range locks {
		if lock, err := os.Lstat(path); err == nil && lock.Mode().IsRegular() && lock.Mode().Perm() == 0o600 && info.Mode().Perm() != 0o600 {
			_ = os.Chmod(path, info.Mode().Perm()&0o666)
		}
	}
}

// openPrivate opens a copy of the database in a temporary folder of this process.
func (d *sqlite) openPrivate(ctx context.Context) (err error) {
	if _, err := os.Stat(d.path); err != nil { // it cannot be made
		return d.frozen
	}
	if d.copied, err = os.MkdirTemp("", "hrlab-"); err != nil {
		return err
	}
	file := filepath.Join(d.copied, "hrlab.db")
	if err := d.snapshot(ctx, file); err != nil {
		return err
	}
	return d.connect(ctx, file)
}

// snapshot copies the database, with its write-ahead log or journal, to a new file, as all of it is at one moment although
// others may be writing.
//
// Writers append to the log, and move what it has to the file itself, while it is copied. The log is copied last, so that it
// has all that was moved meanwhile. That fails only if the log was begun anew, which its head tells: then everything is
// copied again.
func (d *sqlite) snapshot(ctx context.Context, to string) error {
	const tries, pause = 100, 20 * time.Millisecond
	for range tries {
		before, err := d.version()
		if err != nil {
			return err
		}
		for _, suffix := range []string{"", "-journal", "-wal"} {
			if err := copyFile(d.path+suffix, to+suffix); err != nil && (suffix == "" || !errors.Is(err, fs.ErrNotExist)) {
				return err
			}
		}
		after, err := d.version()
		if err != nil || after == before {
			return err
		}
		for _, suffix := range []string{"", "-journal", "-wal"} {
			_ = os.Remove(to + suffix)
		}
		if err := system.sleep(ctx, pause); err != nil {
			return err
		}
	}
	return errors.New("it is read-only here, and somebody writes it so often that it cannot be copied for reading: try again")
}

// version is the same before and after copying if the copy is right.
type version struct {
	file, journal string // size and time of the last change
	log           string // the head of the write-ahead log, which changes whenever it is begun anew
}

func (d *sqlite) version() (v version, err error) {
	changed := func(path string) (string, error) {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil
		} else if err != nil {
			return "", err
		}
		return fmt.Sprint(info.Size(), info.ModTime().UnixNano()), nil
	}
	if v.log, err = head(d.path + "-wal"); err != nil {
		return v, err
	}
	if v.log == "" { // nothing but the time tells whether somebody has written
		if v.file, err = changed(d.path); err != nil {
			return v, err
		}
	}
	v.journal, err = changed(d.path + "-journal")
	return v, err
}

// head is what a write-ahead log begins with (https://sqlite.org/fileformat2.html#the_write_ahead_log); empty where there is
// none.
func head(path string) (string, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, 32))
	return string(text), err
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
