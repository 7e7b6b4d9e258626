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

// Artifact is a file that belongs to a run: one that it has made, or that it reads.
type Artifact struct {
	Name   string    `json:"name"`
	Digest string    `json:"digest"` // sha256
	Size   int64     `json:"size"`   // bytes
	Time   time.Time `json:"time"`
}

// LogArtifact records the content as an artifact. It replaces the run's artifact of the same name.
func (r *Run) LogArtifact(ctx context.Context, name string, content io.Reader) error {
	return r.addArtifact(ctx, Artifact{Name: name}, content)
}

// addArtifact records the content as a. If a has a digest, the content must have it too.
func (r *Run) addArtifact(ctx context.Context, a Artifact, content io.Reader) error {
	if a.Time.IsZero() {
		a.Time = r.now()
	}
	return r.store.keep(ctx, []io.Reader{content}, func(k *keeping) error {
		file := k.files[0]
		if a.Digest != "" && a.Digest != file.Digest {
			return fmt.Errorf("artifact %q: its sha256 is %s, not %s", a.Name, file.Digest, a.Digest)
		}
		return r.write(ctx, func(t tx) error {
			file.kept = false // of another try
			return file.addTo(t, r.ID, a.Name, a.Time)
		})
	})
}

// shareArtifact makes a file that is there already, with the digest of a, an artifact of the run.
func (r *Run) shareArtifact(ctx context.Context, a Artifact) error {
	return r.store.keep(ctx, nil, func(k *keeping) error {
		size, err := r.store.files.size(ctx, r.store.db.reads(), a.Digest)
		if err != nil {
			return a.trouble(r.ID, err)
		}
		file := &File{Digest: a.Digest, Size: size, of: k}
		return r.write(ctx, func(t tx) error {
			file.kept = false // of another try
			return file.addTo(t, r.ID, a.Name, a.Time)
		})
	})
}

// Keep creates runs that have artifacts before a worker takes them, and that may share the files of these. It writes
// each of the contents to a file, and when they are on the disk it runs f in a transaction of [Store.DB]. The files come in
// the order of contents. There [Store.Enqueue] and [Store.EnqueueAll] create the runs with them, and [File.AddTo] makes them artifacts of others.
//
// If a content cannot be read or written, if f returns an error, or if the transaction cannot be committed, Keep leaves
// neither runs nor files behind. If the process is killed there are no runs, and [Store.GC] removes the files. f must
// be quick, and must use nothing of the store but what takes the transaction: it would wait for itself.
func (s *Store) Keep(ctx context.Context, contents []io.Reader, f func(t *sql.Tx, files []*File) error) error {
	return s.keep(ctx, contents, func(k *keeping) error {
		return s.Transaction(ctx, func(t *sql.Tx) error { return f(t, k.files) })
	})
}

// AddTo makes the file an artifact of runs, within the transaction of [Store.Keep]. Runs that have an artifact of this name
// already keep it, and those that are over, or do not exist, get none.
func (f *File) AddTo(ctx context.Context, t *sql.Tx, runs []int64, name string) error {
	s := f.of.store
	w := s.within(ctx, t)
	err := w.nextChange()
	if err == nil {
		err = f.keep(w)
	}
	if err != nil {
		return s.plain(err)
	}
	added, err := w.ofRuns(sqlShareArtifact, []any{clean(name), f.Digest, f.Size, micros(s.now())}, runs)
	if err == nil {
		_, err = w.ofRuns(sqlTouchAll, nil, added)
	}
	return s.plain(err)
}

// addTo inserts or replaces the row of an artifact.
func (f *File) addTo(t tx, run int64, name string, at time.Time) error {
	replaced, err := t.artifactDigest(run, name)
	if err != nil {
		return err
	}
	if replaced != "" {
		f.of.replaced = append(f.of.replaced, replaced)
	}
	if err := f.keep(t); err != nil {
		return err
	}
	return t.insert(sqlAddArtifacts, [][]any{f.row(run, name, micros(at))})
}

// keep keeps the content, once in a transaction.
func (f *File) keep(t tx) error {
	if f.kept {
		return nil
	}
	err := f.of.store.files.keep(t, f)
	f.kept = err == nil
	return err
}

// row is the row of an artifact.
func (f *File) row(run int64, name string, at int64) []any {
	return []any{run, clean(name), f.Digest, f.Size, at}
}

// File is the content of artifacts: see [Store.Keep].
type File struct {
	Digest string // sha256
	Size   int64  // bytes

	of      *keeping
	content *os.File // where it is not kept yet, but read: see contents
	kept    bool     // in this transaction
}

// keeping is what one call of keep has done.
type keeping struct {
	store    *Store
	files    []*File  // that it has written
	replaced []string // digests of the artifacts that they replace
}

// keep writes the contents to files and, when they are on the disk, calls record, which inserts the rows that name
// them. No file is removed by anybody meanwhile. Then it removes those that no run names.
func (s *Store) keep(ctx context.Context, contents []io.Reader, record func(k *keeping) error) error {
	if err := s.ReadOnly(); err != nil {
		return err
	}
	k := &keeping{store: s}
	defer func() {
		digests := k.replaced
		for _, file := range k.files {
			digests = append(digests, file.Digest)
			if file.content != nil {
				file.content.Close()
			}
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
		file, err := s.files.write(content)
		if err != nil {
			return s.plain(err)
		}
		file.of = k
		k.files = append(k.files, file)
	}
	return record(k)
}

// dropArtifact removes the row of an artifact, and returns its digest. Both is nothing if the run does not have it.
func (t tx) dropArtifact(run int64, name string) (digest string, err error) {
	digest, err = t.artifactDigest(run, name)
	if err == nil {
		err = t.all([]any{run, clean(name)}, sqlRemoveArtifact)
	}
	return digest, err
}

// artifactDigest is the digest of a run's artifact, or empty if the run does not have it.
func (t tx) artifactDigest(run int64, name string) (digest string, err error) {
	err = each(t.ctx, t, sqlArtifactDigest, []any{run, clean(name)}, func(scan func(...any) error) error { return scan(&digest) })
	return digest, err
}

// Artifacts lists the artifacts of a run, in the order of their names.
func (s *Store) Artifacts(ctx context.Context, run int64) ([]Artifact, error) {
	artifacts, err := artifactsOf(ctx, s.db.reads(), run)
	return artifacts, s.plain(err)
}

func artifactsOf(ctx context.Context, q querier, run int64) (artifacts []Artifact, err error) {
	err = each(ctx, q, sqlArtifacts, []any{run}, func(scan func(...any) error) error {
		var a Artifact
		var at sql.NullInt64
		err := scan(&a.Name, &a.Digest, &a.Size, &at)
		a.Time = instant(at)
		artifacts = append(artifacts, a)
		return err
	})
	return artifacts, err
}

// ArtifactReader reads the content of an artifact, wherever that is kept. It is also an [io.ReaderAt] and an
// [io.Seeker], knows its Size in bytes, and must be closed.
type ArtifactReader struct {
	*io.SectionReader
	file *os.File
}

// Close releases what the reader holds.
func (r *ArtifactReader) Close() error { return r.file.Close() }

// OpenArtifact opens an artifact for reading. The content is not compared with the digest, as [Store.ReadArtifact]
// does.
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

// ReadArtifact reads an artifact. It is an error if the content is no longer what was recorded.
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
		return a, nil, a.trouble(run, fmt.Errorf("%s: %w", s.files.find(a.Digest), errDamaged))
	}
	return a, data, nil
}

func (s *Store) openArtifact(ctx context.Context, run int64, name string) (a Artifact, file *os.File, err error) {
	unlock, err := s.files.lock(ctx, false) // the file that the row names stays until it is open
	if err != nil {
		return a, nil, s.plain(err)
	}
	defer unlock()
	view, err := s.view(ctx)
	if err != nil {
		return a, nil, s.plain(err)
	}
	defer view.Rollback() //nolint:errcheck // nothing was written
	artifacts, err := artifactsOf(ctx, view, run)
	if err != nil {
		return a, nil, s.plain(err)
	}
	for _, a := range artifacts {
		if a.Name == clean(name) {
			if file, err = s.files.open(ctx, view, a.Digest); err != nil {
				err = a.trouble(run, err)
			}
			return a, file, err
		}
	}
	return a, nil, fmt.Errorf("run %d has no artifact %q: %w", run, name, ErrNotFound)
}

var errDamaged = errors.New("damaged: its content is not what was recorded")

// trouble adds to err the run and the artifact that it is about.
func (a Artifact) trouble(run int64, err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		err = fmt.Errorf("%s: %w", pathErr.Path, pathErr.Err)
	}
	return fmt.Errorf("run %d: artifact %q: %w", run, a.Name, err)
}

// eachArtifact calls f for every artifact of every run that there is at one moment.
func (s *Store) eachArtifact(ctx context.Context, q querier, f func(run int64, a Artifact) error) error {
	var runs []int64
	var artifacts []Artifact
	err := each(ctx, q, sqlAllArtifacts, nil, func(scan func(...any) error) error {
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

// freeArtifacts removes those of the files that no run names any more. It reports no error, for the rows are right
// already: a file that stays, because a backup is being made or the process is killed, is removed by [Store.GC].
func (s *Store) freeArtifacts(ctx context.Context, digests ...string) {
	digests = s.unnamed(ctx, digests)
	if len(digests) == 0 {
		return
	}
	const longest = time.Second // to wait for the lock
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	unlock, err := s.files.lock(ctx, true)
	if err != nil {
		return
	}
	defer unlock()
	for _, digest := range s.unnamed(ctx, digests) { // a run may have got one meanwhile
		_ = s.files.remove(ctx, s.files.of(digest))
	}
}

// unnamed are those of the digests that no artifact of any run has.
func (s *Store) unnamed(ctx context.Context, digests []string) (none []string) {
	for _, digest := range digests {
		named := 0
		if err := value(ctx, s.db.reads(), []any{&named}, sqlArtifactNamed, digest); err == nil && named == 0 {
			none = append(none, digest)
		}
	}
	return none
}
