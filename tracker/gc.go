package tracker

import (
	"context"
	"path/filepath"
)

// Delete hides a run, until [Store.Restore] shows it again or [Store.GC] removes it.
func (s *Store) Delete(ctx context.Context, run int64) error {
	return s.change(ctx, run, func(t tx) error { return t.all([]any{run, micros(s.now())}, sqlDelete) })
}

// Restore shows a deleted run again.
func (s *Store) Restore(ctx context.Context, run int64) error {
	return s.change(ctx, run, func(t tx) error { return t.all([]any{run}, sqlRestore) })
}

// Freed is what [Store.GC] has removed.
type Freed struct {
	Runs  int   // deleted runs
	Files int   // files of artifacts that no run has any more, and what interrupted writers have left
	Bytes int64 // that are free on the disk now
}

// GC removes deleted runs, unless they are being written, and everything that no run has any more. It gives the space
// back to the system.
func (s *Store) GC(ctx context.Context) (freed Freed, err error) {
	if err := s.findLost(ctx, true); err != nil {
		return freed, err
	}
	before := s.db.size()
	err = s.write(ctx, func(t tx) error {
		ids, err := column(t.ctx, t, sqlPurgeable, nil)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := t.purge(id); err != nil {
				return err
			}
		}
		freed.Runs = len(ids)
		return t.all(nil, sqlPurgeThumbnails, sqlPurgeNames, sqlPurgeEnvironments, sqlPurgeExperiments)
	})
	if err != nil {
		return Freed{}, err
	}
	if s.files.exists() { // one that is created from now on has nothing to remove
		err = s.freeFiles(ctx, &freed)
	}
	if err == nil {
		err = s.db.compact(ctx)
	}
	freed.Bytes += max(0, before-s.db.size())
	return freed, s.plain(err)
}

// freeFiles removes the files of artifacts that no run has.
func (s *Store) freeFiles(ctx context.Context, freed *Freed) error {
	unlock, err := s.files.lock(ctx, true)
	if err != nil {
		return err
	}
	defer unlock()
	named := map[string]bool{}
	if err := s.eachArtifact(ctx, s.db.reads(), func(_ int64, a Artifact) error { named[a.Digest] = true; return nil }); err != nil {
		return err
	}
	return s.files.each(ctx, func(path string, size int64) error {
		if named[filepath.Base(path)] || !ours(path) {
			return nil
		}
		freed.Files++
		freed.Bytes += size
		return s.files.remove(ctx, path)
	})
}

// purge removes a run and everything it has, but for files.
func (t tx) purge(run int64) error {
	return t.all([]any{run}, sqlPurgeMetrics, sqlPurgeParams, sqlPurgeRun)
}
