package tracker

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// files keeps the contents of artifacts, each under its digest: in a directory, or in the database (content.go).
type files interface {
	exists() bool
	make() error // before the first is written
	// lock takes a lock that those who write or read share, until a row names the file or the file is open; those who remove
	// hold it alone.
	lock(ctx context.Context, alone bool) (unlock func(), err error)
	// write writes a content, which is kept when a transaction has named it, and keep is part of that. Others see it then.
	write(content io.Reader) (*File, error)
	keep(t tx, f *File) error
	// open opens a content for reading, as q sees it. The error is [fs.ErrNotExist] where it is not there.
	open(ctx context.Context, q querier, digest string) (*os.File, error)
	size(ctx context.Context, q querier, digest string) (int64, error) // in bytes; likewise
	each(ctx context.Context, f func(path string, size int64) error) error
	of(digest string) string   // its path, as each has it
	find(digest string) string // where it is read from
	remove(ctx context.Context, path string) error
	setAside(ctx context.Context, digest string) error // what is damaged
}

// directory holds the files of artifacts. The name of a file is the sha256 of its content, below a folder of the first
// two digits. It knows no database.
type directory struct {
	path   string
	beside string // another directory, where earlier versions may have left files; empty if there is none
	frozen bool   // that of a database that cannot be written
}

// write writes content to the file of its digest, and returns when that is on the disk.
func (d directory) write(content io.Reader) (_ *File, err error) {
	defer func() {
		if failed, ok := errors.AsType[*fs.PathError](err); ok && strings.HasPrefix(filepath.Base(failed.Path), temporary) {
			failed.Path = d.path // so that the same trouble has the same text each time
		}
	}()
	file, err := createTemporary(d.path)
	if err != nil {
		return nil, err
	}
	defer os.Remove(file.Name()) //nolint:errcheck // if all went well it has another name now
	defer file.Close()
	hash := sha256.New()
	size, err := io.Copy(io.MultiWriter(file, hash), content)
	if err != nil {
		return nil, err
	}
	digest := hex.EncodeToString(hash.Sum(nil))
	if err := file.Sync(); err != nil {
		return nil, err
	}
	path := d.of(digest)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return nil, err
	}
	return &File{Digest: digest, Size: size}, errors.Join(syncDirectory(filepath.Dir(path)), syncDirectory(d.path))
}

func (directory) keep(tx, *File) error { return nil } // it is on the disk

func (d directory) open(_ context.Context, _ querier, digest string) (*os.File, error) {
	return os.Open(d.find(digest))
}

func (d directory) size(_ context.Context, _ querier, digest string) (int64, error) {
	info, err := os.Stat(d.find(digest))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (directory) remove(_ context.Context, path string) error { return os.Remove(path) }

// setAside renames what is left of a damaged file: it may still be of use.
func (d directory) setAside(_ context.Context, digest string) error {
	err := os.Rename(d.find(digest), d.find(digest)+damaged)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// createTemporary makes a new file. Its permissions are those that umask leaves; os.CreateTemp would keep it for its
// owner alone.
func createTemporary(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, temporary+rand.Text()), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o666)
}

// temporary is how the names of files begin that are being written.
const temporary = "writing-"

// damaged is how the names of files end that Check has found damaged.
const damaged = ".damaged"

// ours says whether a file has a name that this package gives. Other files in the directory are left alone.
func ours(path string) bool {
	name := filepath.Base(path)
	_, err := hex.DecodeString(strings.TrimSuffix(name, damaged))
	return err == nil || strings.HasPrefix(name, temporary)
}

// fileDigest is the sha256 of a file.
func fileDigest(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	return digestOf(file)
}

// digestOf is the sha256 of an open file, which it closes.
func digestOf(file *os.File) (string, error) {
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// syncDirectory waits until the names in a directory are on the disk.
func syncDirectory(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

func syncFile(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	return file.Sync()
}

// of is the path of the file with a digest.
func (d directory) of(digest string) string { return filepath.Join(d.path, digest[:2], digest) }

// find is the path where the file with a digest is found, or else the one where it belongs.
func (d directory) find(digest string) string {
	path := d.of(digest)
	if d.beside == "" {
		return path
	}
	other := filepath.Join(d.beside, digest[:2], digest)
	_, err := os.Stat(path)
	_, otherErr := os.Stat(other)
	if errors.Is(err, fs.ErrNotExist) && otherErr == nil {
		return other
	}
	return path
}

// exists says whether the directory is there. It may be a link, also to a disk that is not mounted.
func (d directory) exists() bool {
	_, err := os.Lstat(d.path)
	return !errors.Is(err, fs.ErrNotExist)
}

// make creates the directory if it is missing. Only those who write call it: a directory that was moved away can be
// moved back as long as nothing is in its place.
func (d directory) make() error {
	err := os.Mkdir(d.path, 0o777)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return err
	}
	return syncDirectory(filepath.Dir(d.path))
}

// lock takes the lock of the directory. If there is no directory there is nothing to lock.
func (d directory) lock(ctx context.Context, alone bool) (unlock func(), err error) {
	if !d.exists() {
		return func() {}, nil
	}
	unlock, err = lock(ctx, d.lockFile(), alone)
	if err != nil && d.frozen && ctx.Err() == nil { // who cannot write may be unable to lock, too
		return func() {}, nil
	}
	return unlock, err
}

func (d directory) lockFile() string { return filepath.Join(d.path, ".lock") }

// each calls f for every file in the directory, which may itself be a link to another one.
func (d directory) each(_ context.Context, f func(path string, size int64) error) error {
	if !d.exists() {
		return nil
	}
	return filepath.WalkDir(d.path+"/", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || entry.Name() == ".lock" {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) { // it was renamed or removed meanwhile
			return nil
		} else if err != nil {
			return err
		}
		return f(path, info.Size())
	})
}

// telling tells after a second that somebody waits for a lock, until it is got.
func telling(ctx context.Context, of string) (got func()) {
	told := make(chan struct{})
	late := time.AfterFunc(time.Second, func() {
		Tell(ctx, "waiting for another process that has the lock of "+of)
		close(told)
	})
	return func() {
		if !late.Stop() {
			<-told // so that what is told last is that it waits no longer
			Tell(ctx, "")
		}
	}
}

// lock takes a lock on a file, alone or shared with others, and returns what releases it. It waits as long as ctx
// lasts, and tells after a second that it does.
func lock(ctx context.Context, path string, alone bool) (unlock func(), err error) {
	l := flock.New(path, flock.SetPermissions(0o666))
	try := l.TryRLockContext
	if alone {
		try = l.TryLockContext
	}
	got := telling(ctx, filepath.Base(strings.TrimSuffix(path, ".lock")))
	_, err = try(ctx, 5*time.Millisecond)
	got()
	if err != nil {
		return nil, err
	}
	return func() { _ = l.Unlock() }, nil // closing the file releases it in any case
}
