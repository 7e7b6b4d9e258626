package tracker

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Artifact is a file that a run has made.
type Artifact struct {
	Name   string    `json:"name"`
	Digest string    `json:"digest"` // sha256
	Size   int64     `json:"size"`
	Time   time.Time `json:"time"`
}

// LogArtifact keeps what content holds under name, in place of what the run had there.
func (r *Run) LogArtifact(ctx context.Context, name string, content io.Reader) error {
	return r.addArtifact(ctx, Artifact{Name: name}, content)
}

// addArtifact keeps content as a, whose digest it must have if that is not empty.
func (r *Run) addArtifact(ctx context.Context, a Artifact, content io.Reader) error {
	if a.Time.IsZero() {
		a.Time = r.now()
	}
	var before, now string
	err := r.store.keep(ctx, content, func(digest string, size int64) error {
		if now = digest; a.Digest != "" && a.Digest != digest {
			return fmt.Errorf("artifact %q: its sha256 is %s, not %s", a.Name, digest, a.Digest)
		}
		return r.write(ctx, func(t tx) (err error) {
			if before, err = t.artifactDigest(r.ID, a.Name); err != nil {
				return err
			}
			return t.all([]any{r.ID, clean(a.Name), digest, size, micros(a.Time)}, sqlAddArtifact)
		})
	})
	if err != nil {
		r.store.freeArtifact(context.WithoutCancel(ctx), now)
	} else if before != now {
		r.store.freeArtifact(ctx, before)
	}
	return err
}

// DropArtifact forgets an artifact of the run, if it has it.
func (r *Run) DropArtifact(ctx context.Context, name string) error {
	var before string
	err := r.write(ctx, func(t tx) (err error) {
		before, err = t.dropArtifact(r.ID, name)
		return err
	})
	if err == nil {
		r.store.freeArtifact(ctx, before)
	}
	return err
}

// dropArtifact removes the row of an artifact, if the run has it, and returns its digest.
func (t tx) dropArtifact(run int64, name string) (digest string, err error) {
	digest, err = t.artifactDigest(run, name)
	if err == nil {
		err = t.all([]any{run, clean(name)}, sqlRemoveArtifact)
	}
	return digest, err
}

// artifactDigest is the digest of the artifact that a run has under name, or empty.
func (t tx) artifactDigest(run int64, name string) (digest string, err error) {
	err = each(t.ctx, t, sqlArtifactDigest, []any{run, clean(name)}, func(scan func(...any) error) error { return scan(&digest) })
	return digest, err
}

// Artifacts lists the artifacts of a run by name.
func (s *Store) Artifacts(ctx context.Context, run int64) (artifacts []Artifact, err error) {
	err = each(ctx, s.reader, sqlArtifacts, []any{run}, func(scan func(...any) error) error {
		var a Artifact
		var at sql.NullInt64
		err := scan(&a.Name, &a.Digest, &a.Size, &at)
		a.Time = instant(at)
		artifacts = append(artifacts, a)
		return err
	})
	return artifacts, s.plain(err)
}

// OpenArtifact opens an artifact for reading. Its content is not compared with its digest: see [Store.ReadArtifact].
func (s *Store) OpenArtifact(ctx context.Context, run int64, name string) (*os.File, error) {
	_, file, err := s.openArtifact(ctx, run, name)
	return file, err
}

// ReadArtifact reads an artifact whose content is what was kept.
func (s *Store) ReadArtifact(ctx context.Context, run int64, name string) ([]byte, error) {
	_, data, err := s.readArtifact(ctx, run, name)
	return data, err
}

func (s *Store) readArtifact(ctx context.Context, run int64, name string) (a Artifact, data []byte, err error) {
	a, file, err := s.openArtifact(ctx, run, name)
	if err != nil {
		return a, nil, err
	}
	defer file.Close()
	if data, err = io.ReadAll(file); err != nil {
		return a, nil, a.trouble(run, err)
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != a.Digest {
		return a, nil, a.trouble(run, fmt.Errorf("%s: %w", file.Name(), errDamaged))
	}
	return a, data, nil
}

func (s *Store) openArtifact(ctx context.Context, run int64, name string) (a Artifact, file *os.File, err error) {
	unlock, err := s.lockArtifacts(ctx, false) // the file that the row names stays until it is open
	if err != nil {
		return a, nil, s.plain(err)
	}
	defer unlock()
	artifacts, err := s.Artifacts(ctx, run)
	if err != nil {
		return a, nil, err
	}
	for _, a := range artifacts {
		if a.Name == clean(name) {
			if file, err = os.Open(s.artifactFile(a.Digest)); err != nil {
				err = a.trouble(run, err)
			}
			return a, file, err
		}
	}
	return a, nil, fmt.Errorf("run %d has no artifact %q: %w", run, name, ErrNotFound)
}

var errDamaged = errors.New("damaged: its content is not what was kept")

// trouble names the run and the artifact that err is about.
func (a Artifact) trouble(run int64, err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		err = fmt.Errorf("%s: %w", pathErr.Path, pathErr.Err)
	}
	return fmt.Errorf("run %d: artifact %q: %w", run, a.Name, err)
}

// keep writes content to the file of its digest, on the disk before record names it.
func (s *Store) keep(ctx context.Context, content io.Reader, record func(digest string, size int64) error) error {
	if err := s.makeArtifacts(); err != nil {
		return s.plain(err)
	}
	unlock, err := s.lockArtifacts(ctx, false)
	if err != nil {
		return s.plain(err)
	}
	defer unlock()
	digest, size, err := s.writeArtifact(content)
	if err != nil {
		return s.plain(err)
	}
	return record(digest, size)
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

// eachArtifact calls f for every artifact of every run, which the database names at one moment.
func (s *Store) eachArtifact(ctx context.Context, f func(run int64, a Artifact) error) error {
	var runs []int64
	var artifacts []Artifact
	err := each(ctx, s.reader, sqlAllArtifacts, nil, func(scan func(...any) error) error {
		var run int64
		var a Artifact
		err := scan(&run, &a.Name, &a.Digest, &a.Size)
		runs, artifacts = append(runs, run), append(artifacts, a)
		return err
	})
	if err != nil {
		return s.plain(err)
	}
	for i, run := range runs {
		if err := f(run, artifacts[i]); err != nil {
			return err
		}
	}
	return nil
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
		if err != nil {
			return err
		}
		return f(path, info.Size())
	})
}

// freeArtifact removes a file that no run names any more. What is recorded is recorded, so that nothing goes wrong here:
// a file that stays, because a backup is being made or the process is killed, is for [Store.GC].
func (s *Store) freeArtifact(ctx context.Context, digest string) {
	if digest == "" {
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
	named := 0
	if err := s.reader.QueryRowContext(ctx, bind(sqlArtifactNamed), digest).Scan(&named); err == nil && named == 0 {
		_ = os.Remove(s.artifactPath(digest))
	}
}
