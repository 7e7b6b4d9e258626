package tracker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// IncompleteError says what a backup or an export lacks. Everything else is in it.
type IncompleteError struct {
	Missing []error // each names a run, and what of it is missing or damaged
}

func (e *IncompleteError) Error() string { return errors.Join(e.Missing...).Error() }

// incomplete is an IncompleteError, or nil if nothing is missing.
func incomplete(missing []error) error {
	if len(missing) == 0 {
		return nil
	}
	return &IncompleteError{missing}
}

// Backup copies the database, as it is at one moment, to a new file at path, and the artifacts to path.artifacts. Other
// processes can go on writing meanwhile. If artifacts are missing or damaged it copies all others, and returns an
// [IncompleteError]. After any other error there is no file at path, and the backup can be tried again.
//
// A server has its own tools for backups: there it is an error.
func (s *Store) Backup(ctx context.Context, path string) (err error) {
	own, ok := s.db.(*sqlite)
	if !ok {
		return s.plain(errors.New("a server's database: pg_dump backs it up, and hrlab runs copy copies runs to a file"))
	}
	for _, file := range copyFiles(path) {
		if _, err := os.Lstat(file); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s: is there already; name another file", file)
		}
	}
	unlock, err := s.files.lock(ctx, false) // no file is removed meanwhile
	if err != nil {
		return s.plain(err)
	}
	defer unlock()
	// The file gets its name when it is complete. Artifacts that a killed backup has left are written again.
	part, copied, to := path+".part", &sqlite{given: path, path: path}, directory{path: path + ".artifacts"}
	target := &Store{db: copied, files: to}
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return target.plain(err)
	}
	_, there := os.Lstat(to.path)
	named := false
	defer func() {
		_, partial := errors.AsType[*IncompleteError](err)
		failed := err != nil && !partial
		if failed && named {
			_ = os.Remove(path)
		}
		if failed && there != nil {
			_ = os.RemoveAll(to.path)
		}
		_ = os.Remove(part)
	}()
	if ours, err := own.copyTo(ctx, part); ours {
		return s.plain(err)
	} else if err != nil {
		return target.plain(err)
	}
	// The artifacts are those of the copy: the database may have changed since.
	if err := copied.openCopy(part); err != nil {
		return err
	}
	defer target.db.close() //nolint:errcheck // it was read
	var missing []error
	done := map[string]error{} // by digest
	err = target.eachArtifact(ctx, target.db.reads(), func(run int64, a Artifact) error {
		trouble, ok := done[a.Digest]
		if !ok {
			var err error
			if trouble, err = s.copyArtifact(own.directory(), target, to, a.Digest); err != nil {
				return err
			}
			done[a.Digest] = trouble
		}
		if trouble != nil {
			missing = append(missing, a.trouble(run, trouble))
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	if err := errors.Join(target.db.close(), syncFile(part)); err != nil {
		return target.plain(err)
	}
	if err := os.Rename(part, path); err != nil {
		return target.plain(err)
	}
	named = true
	if err := syncDirectory(filepath.Dir(path)); err != nil {
		return target.plain(err)
	}
	return incomplete(missing)
}

// copyArtifact copies the file of an artifact to another store. trouble says what is wrong with the file here, err what
// is wrong there.
func (s *Store) copyArtifact(from directory, target *Store, to directory, digest string) (trouble, err error) {
	path := from.find(digest)
	is, trouble := fileDigest(path)
	if trouble == nil && is != digest {
		trouble = fmt.Errorf("%s: %w", path, errDamaged)
	}
	if trouble != nil {
		return trouble, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, s.plain(err)
	}
	defer file.Close()
	if err = os.MkdirAll(to.path, 0o777); err == nil {
		_, err = to.write(file)
	}
	return nil, target.plain(err)
}
