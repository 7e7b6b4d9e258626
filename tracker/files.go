package tracker

import (
	"context"
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

// directory is where the files of artifacts are, each under its sha256. It knows no database.
type directory struct {
	path   string
	beside string // where earlier versions left some; empty where there can be none
}

// write keeps content under its digest, and returns when it is on the disk.
func (d directory) write(content io.Reader) (digest string, size int64, err error) {
	defer func() {
		if failed, ok := errors.AsType[*fs.PathError](err); ok && strings.HasPrefix(filepath.Base(failed.Path), temporary) {
			failed.Path = d.path // one cause is one text, whatever the temporary name
		}
	}()
	file, err := os.CreateTemp(d.path, temporary+"*")
	if err != nil {
		return "", 0, err
	}
	defer os.Remove(file.Name()) //nolint:errcheck // it is not there any more if all went well
	defer file.Close()
	hash := sha256.New()
	if size, err = io.Copy(io.MultiWriter(file, hash), content); err != nil {
		return "", 0, err
	}
	digest = hex.EncodeToString(hash.Sum(nil))
	if err := errors.Join(file.Chmod(0o644), file.Sync()); err != nil {
		return "", 0, err
	}
	path := d.of(digest)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return "", 0, err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return "", 0, err
	}
	return digest, size, errors.Join(syncDirectory(filepath.Dir(path)), syncDirectory(d.path))
}

// temporary begins the names of files that are being written.
const temporary = "writing-"

// damaged ends the name of a file whose content has another digest than its name says.
const damaged = ".damaged"

// ours says whether a file in the directory of artifacts has a name that this package gives: others are left alone.
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
	defer file.Close()
	hash := sha256.New()
	if _, err = io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// syncDirectory puts the names in a directory on the disk.
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

// of is where the file of a digest belongs.
func (d directory) of(digest string) string { return filepath.Join(d.path, digest[:2], digest) }

// find is where the file of a digest is, if it is anywhere.
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

// exists says whether there is such a directory, or a link to one.
func (d directory) exists() bool {
	_, err := os.Lstat(d.path)
	return !errors.Is(err, fs.ErrNotExist)
}

// make makes the directory where it is missing. Only who writes does so: one that was moved away is
// put back by its name.
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

// lock keeps files from being freed between their writing and the row that names them, or alone, that nobody
// writes any. Without a directory of them there is nothing to lock.
func (d directory) lock(ctx context.Context, alone bool) (unlock func(), err error) {
	if !d.exists() {
		return func() {}, nil
	}
	return lock(ctx, filepath.Join(d.path, ".lock"), alone)
}

// each calls f for every file in the directory, which may be a link to another, if it is there.
func (d directory) each(f func(path string, size int64) error) error {
	if !d.exists() {
		return nil
	}
	return filepath.WalkDir(d.path+"/", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || entry.Name() == ".lock" {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) { // it has got its name, or was freed
			return nil
		} else if err != nil {
			return err
		}
		return f(path, info.Size())
	})
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
