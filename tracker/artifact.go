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
	return r.store.keep(ctx, []io.Reader{content}, func(k *keeping) error {
		file := k.files[0]
		if a.Digest != "" && a.Digest != file.Digest {
			return fmt.Errorf("artifact %q: its sha256 is %s, not %s", a.Name, file.Digest, a.Digest)
		}
		return r.write(ctx, func(t tx) error { return file.addTo(t, r.ID, a.Name, a.Time) })
	})
}

// Keep gives runs artifacts before a worker has them, as many runs as like the same ones. It writes contents to files, and when these are on
// the disk it runs f in a transaction of [Store.DB], where [Store.Enqueue] makes runs and [File.AddTo] gives them the files,
// which are in the order of contents. Where a content cannot be read or written, f returns an error, or the transaction
// cannot be committed, nothing is left of all this; where the process is killed, files that no run names, which [Store.GC]
// frees. f must be quick, and use nothing of the store but what takes the transaction.
func (s *Store) Keep(ctx context.Context, contents []io.Reader, f func(t *sql.Tx, files []*File) error) error {
	s.environment() // which Enqueue would find out while others wait
	return s.keep(ctx, contents, func(k *keeping) error {
		return s.write(ctx, func(t tx) error { return f(t.Tx, k.files) })
	})
}

// AddTo makes the file the artifact of a run under name, in place of what the run had there, within the transaction of
// [Store.Keep]. The run is one that waits for a worker or is at one: queued, lost or running. Any other gets [ErrTaken].
func (f *File) AddTo(ctx context.Context, t *sql.Tx, run int64, name string) error {
	w, s := tx{ctx, t}, f.of.store
	if err := w.all(nil, sqlNextChange); err != nil {
		return s.plain(err)
	}
	if n, err := w.exec(sqlTouchOpen, run); err != nil {
		return s.plain(err)
	} else if n == 0 {
		return fmt.Errorf("run %d: %w", run, ErrTaken)
	}
	return s.plain(f.addTo(w, run, name, s.clock.now()))
}

// addTo makes the file an artifact of a run.
func (f *File) addTo(t tx, run int64, name string, at time.Time) error {
	replaced, err := t.artifactDigest(run, name)
	if err != nil {
		return err
	}
	if replaced != "" {
		f.of.replaced = append(f.of.replaced, replaced)
	}
	return t.all([]any{run, clean(name), f.Digest, f.Size, micros(at)}, sqlAddArtifact)
}

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
		if err := s.files.make(); err != nil {
			return s.plain(err)
		}
	}
	unlock, err := s.files.lock(ctx, false)
	if err != nil {
		return s.plain(err)
	}
	defer unlock()
	for _, content := range contents {
		digest, size, err := s.files.write(content)
		if err != nil {
			return s.plain(err)
		}
		k.files = append(k.files, &File{digest, size, k})
	}
	return record(k)
}

// DropArtifact forgets an artifact of the run, if it has it.
func (r *Run) DropArtifact(ctx context.Context, name string) error {
	var before string
	err := r.write(ctx, func(t tx) (err error) {
		before, err = t.dropArtifact(r.ID, name)
		return err
	})
	if err == nil && before != "" {
		r.store.freeArtifacts(ctx, before)
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
	err = each(ctx, s.db.reader, sqlArtifacts, []any{run}, func(scan func(...any) error) error {
		var a Artifact
		var at sql.NullInt64
		err := scan(&a.Name, &a.Digest, &a.Size, &at)
		a.Time = instant(at)
		artifacts = append(artifacts, a)
		return err
	})
	return artifacts, s.plain(err)
}

// ArtifactReader reads an artifact, of which there need not be a file on this machine. It is also an [io.ReaderAt] and an
// [io.Seeker], and must be closed.
type ArtifactReader struct {
	*io.SectionReader
	file *os.File
}

// Close ends the reading.
func (r *ArtifactReader) Close() error { return r.file.Close() }

// OpenArtifact opens an artifact for reading. Its content is not compared with its digest: see [Store.ReadArtifact].
func (s *Store) OpenArtifact(ctx context.Context, run int64, name string) (*ArtifactReader, error) {
	a, file, err := s.openArtifact(ctx, run, name)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(a.trouble(run, err), file.Close())
	}
	return &ArtifactReader{io.NewSectionReader(file, 0, info.Size()), file}, nil
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
	unlock, err := s.files.lock(ctx, false) // the file that the row names stays until it is open
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
			if file, err = os.Open(s.files.find(a.Digest)); err != nil {
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

// eachArtifact calls f for every artifact of every run, which the database names at one moment.
func (s *Store) eachArtifact(ctx context.Context, f func(run int64, a Artifact) error) error {
	var runs []int64
	var artifacts []Artifact
	err := each(ctx, s.db.reader, sqlAllArtifacts, nil, func(scan func(...any) error) error {
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
	unlock, err := s.files.lock(ctx, true)
	if err != nil {
		return
	}
	defer unlock()
	for _, digest := range s.unnamed(ctx, digests) { // somebody may have recorded one meanwhile
		_ = os.Remove(s.files.of(digest))
	}
}

// unnamed are those of digests that no run names.
func (s *Store) unnamed(ctx context.Context, digests []string) (none []string) {
	for _, digest := range digests {
		named := 0
		if err := value(ctx, s.db.reader, []any{&named}, sqlArtifactNamed, digest); err == nil && named == 0 {
			none = append(none, digest)
		}
	}
	return none
}
