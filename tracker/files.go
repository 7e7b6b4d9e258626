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
)

// File is a content in the directory of artifacts: see [Store.Keep].
type File struct {
	Digest string // sha256
	Size   int64  // bytes

	of *keeping
}

// keeping is a call of keep: what it has written, and the digests of what runs had in the places of that.
type keeping struct {
	store    *Store
	files    []*File
	replaced []string
}

// keep writes contents to files, which are on the disk when record is called to make rows that name them. While it does so
// nobody frees files. Those that no run names in the end are removed.
func (s *Store) keep(ctx context.Context, contents []io.Reader, record func(k *keeping) error) error {
	k := &keeping{store: s}
	defer func() {
		digests := k.replaced
		for _, file := range k.files {
			digests = append(digests, file.Digest)
		}
		s.freeArtifacts(context.WithoutCancel(ctx), digests...)
	}()
	if len(contents) > 0 {
		if err := s.makeArtifacts(); err != nil {
			return s.plain(err)
		}
	}
	unlock, err := s.lockArtifacts(ctx, false)
	if err != nil {
		return s.plain(err)
	}
	defer unlock()
	for _, content := range contents {
		digest, size, err := s.writeArtifact(content)
		if err != nil {
			return s.plain(err)
		}
		k.files = append(k.files, &File{digest, size, k})
	}
	return record(k)
}

func (s *Store) writeArtifact(content io.Reader) (digest string, size int64, err error) {
	defer func() {
		if failed, ok := errors.AsType[*fs.PathError](err); ok && strings.HasPrefix(filepath.Base(failed.Path), temporary) {
			failed.Path = s.artifacts() // one cause is one text, whatever the temporary name
		}
	}()
	file, err := os.CreateTemp(s.artifacts(), temporary+"*")
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
	path := s.artifactPath(digest)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return "", 0, err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return "", 0, err
	}
	return digest, size, errors.Join(syncDirectory(filepath.Dir(path)), syncDirectory(s.artifacts()))
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

// artifacts is the directory of artifacts.
func (s *Store) artifacts() string { return s.path + ".artifacts" }

func (s *Store) artifactPath(digest string) string {
	return filepath.Join(s.artifacts(), digest[:2], digest)
}

// artifactFile is where an artifact is, if it is anywhere.
func (s *Store) artifactFile(digest string) string {
	path := s.artifactPath(digest)
	if s.beside == "" {
		return path
	}
	other := filepath.Join(s.beside, digest[:2], digest)
	_, err := os.Stat(path)
	_, otherErr := os.Stat(other)
	if errors.Is(err, fs.ErrNotExist) && otherErr == nil {
		return other
	}
	return path
}

// hasArtifacts says whether there is a directory of artifacts, or a link to one.
func (s *Store) hasArtifacts() bool {
	_, err := os.Lstat(s.artifacts())
	return !errors.Is(err, fs.ErrNotExist)
}

// makeArtifacts makes the directory of artifacts where it is missing. Only who writes does so: one that was moved away is
// put back by its name.
func (s *Store) makeArtifacts() error {
	err := os.Mkdir(s.artifacts(), 0o777)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return err
	}
	return syncDirectory(filepath.Dir(s.artifacts()))
}

// lockArtifacts keeps files from being freed between their writing and the row that names them, or alone, that nobody
// writes any. Without a directory of them there is nothing to lock.
func (s *Store) lockArtifacts(ctx context.Context, alone bool) (unlock func(), err error) {
	if !s.hasArtifacts() {
		return func() {}, nil
	}
	return lock(ctx, filepath.Join(s.artifacts(), ".lock"), alone)
}

// eachFile calls f for every file in the directory of artifacts, which may be a link to another, if it is there.
func (s *Store) eachFile(f func(path string, size int64) error) error {
	if !s.hasArtifacts() {
		return nil
	}
	return filepath.WalkDir(s.artifacts()+"/", func(path string, entry fs.DirEntry, err error) error {
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

// freeArtifacts removes files that no run names any more. What is recorded is recorded, so that nothing goes wrong here: a
// file that stays, because a backup is being made or the process is killed, is for [Store.GC].
func (s *Store) freeArtifacts(ctx context.Context, digests ...string) {
	digests = s.unnamed(ctx, digests)
	if len(digests) == 0 {
		return
	}
	const patience = time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	unlock, err := s.lockArtifacts(ctx, true)
	if err != nil {
		return
	}
	defer unlock()
	for _, digest := range s.unnamed(ctx, digests) { // somebody may have recorded one meanwhile
		_ = os.Remove(s.artifactPath(digest))
	}
}

// unnamed are those of digests that no run names.
func (s *Store) unnamed(ctx context.Context, digests []string) (none []string) {
	for _, digest := range digests {
		named := 0
		if err := s.reader.QueryRowContext(ctx, bind(sqlArtifactNamed), digest).Scan(&named); err == nil && named == 0 {
			none = append(none, digest)
		}
	}
	return none
}
