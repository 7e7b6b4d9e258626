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
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/mattn/go-sqlite3"
)

// change runs f in a transaction that changes an existing run, whoever writes it.
func (s *Store) change(ctx context.Context, run int64, f func(t tx) error) error {
	return s.write(ctx, func(t tx) error {
		if err := t.all(nil, sqlNextChange); err != nil {
			return err
		}
		if n, err := t.exec(sqlTouch, run); err != nil {
			return err
		} else if n == 0 {
			return fmt.Errorf("run %d: %w", run, ErrNotFound)
		}
		return f(t)
	})
}

// Tag sets a tag of any run.
func (s *Store) Tag(ctx context.Context, run int64, key, value string) error {
	return s.change(ctx, run, func(t tx) error { return t.setTags(run, map[string]string{key: value}) })
}

// Untag removes a tag of any run.
func (s *Store) Untag(ctx context.Context, run int64, key string) error {
	return s.change(ctx, run, func(t tx) error { return t.all([]any{run, clean(key)}, sqlRemoveTag) })
}

// Note adds a note to any run.
func (s *Store) Note(ctx context.Context, run int64, text string) error {
	return s.change(ctx, run, func(t tx) error { return t.all([]any{run, micros(s.clock.now()), clean(text)}, sqlAddNote) })
}

// Delete hides a run until [Store.Restore] shows it again or [Store.GC] frees it.
func (s *Store) Delete(ctx context.Context, run int64) error {
	return s.change(ctx, run, func(t tx) error { return t.all([]any{run, micros(s.clock.now())}, sqlDelete) })
}

// Restore shows a deleted run again.
func (s *Store) Restore(ctx context.Context, run int64) error {
	return s.change(ctx, run, func(t tx) error { return t.all([]any{run}, sqlRestore) })
}

// Freed is what [Store.GC] has freed.
type Freed struct {
	Runs  int   // deleted ones that nobody writes any more
	Files int   // artifacts that no run names
	Bytes int64 // of disk
}

// GC frees deleted runs, what no run names any more, and the room they took.
func (s *Store) GC(ctx context.Context) (freed Freed, err error) {
	if err := s.findLost(ctx, true); err != nil {
		return freed, err
	}
	before := s.databaseSize()
	err = s.write(ctx, func(t tx) error {
		var ids []int64
		err := each(t.ctx, t, sqlPurgeable, nil, func(scan func(...any) error) error {
			var id int64
			err := scan(&id)
			ids = append(ids, id)
			return err
		})
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
	if s.hasArtifacts() { // one that is made from now on has nothing to free
		err = s.freeFiles(ctx, &freed)
	}
	for _, statement := range []string{sqliteVacuum, sqliteTruncate} {
		if err == nil {
			_, err = s.writer.ExecContext(ctx, statement)
		}
	}
	freed.Bytes += max(0, before-s.databaseSize())
	return freed, s.plain(err)
}

// freeFiles removes the artifacts that no run names.
func (s *Store) freeFiles(ctx context.Context, freed *Freed) error {
	unlock, err := s.lockArtifacts(ctx, true)
	if err != nil {
		return err
	}
	defer unlock()
	named := map[string]bool{}
	if err := s.eachArtifact(ctx, func(_ int64, a Artifact) error { named[a.Digest] = true; return nil }); err != nil {
		return err
	}
	return s.eachFile(func(path string, size int64) error {
		if named[filepath.Base(path)] || !ours(path) {
			return nil
		}
		freed.Files++
		freed.Bytes += size
		return os.Remove(path)
	})
}

// purge removes a run and all it has.
func (t tx) purge(run int64) error { return t.all([]any{run}, sqlPurgeMetrics, sqlPurgeRun) }

// databaseSize is the bytes of the database and its write-ahead log.
func (s *Store) databaseSize() (bytes int64) {
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(s.path + suffix); err == nil {
			bytes += info.Size()
		}
	}
	return bytes
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

// damaged ends the name of a file whose content has another digest than its name says.
const damaged = ".damaged"

// ours says whether a file in the directory of artifacts has a name that this package gives: others are left alone.
func ours(path string) bool {
	name := filepath.Base(path)
	_, err := hex.DecodeString(strings.TrimSuffix(name, damaged))
	return err == nil || strings.HasPrefix(name, temporary)
}

// Finding is something that was not in order, and what was done about it.
type Finding struct {
	What     string
	Repair   string // empty where nothing was done
	Missing  bool   // something that a row names is not there, or not as it was kept
	Leftover bool   // of a writer that was interrupted, which [Store.GC] frees: nothing is wrong or lost
}

func (f Finding) String() string {
	if f.Repair == "" {
		return f.What
	}
	return f.What + ": " + f.Repair
}

// Check looks at the whole database and every artifact, and says what it found. It makes anew what follows from what is
// there. What is missing or damaged it names and leaves as it is, for it may be that a disk is not mounted or a directory
// was moved; with dropMissing it then replaces what names it by a note. Other processes go on writing meanwhile.
func (s *Store) Check(ctx context.Context, dropMissing bool) (findings []Finding, err error) {
	for _, statement := range []string{sqliteIntegrity, sqliteForeign} {
		found, err := s.complaints(ctx, statement)
		if err != nil {
			return findings, s.plain(err)
		}
		findings = append(findings, found...)
	}
	if len(findings) > 0 { // what lies on top can be trusted no more than what is below
		return findings, nil
	}
	if err := s.findLost(ctx, true); err != nil {
		return nil, err
	}
	if findings, err = s.checkSummaries(ctx, dropMissing); err != nil {
		return findings, err
	}
	found, err := s.checkArtifacts(ctx, dropMissing)
	return append(findings, found...), err
}

// complaints are the rows of a statement that has none, or "ok", where all is well.
func (s *Store) complaints(ctx context.Context, statement string) (findings []Finding, err error) {
	result, err := s.reader.QueryContext(ctx, statement)
	if err != nil {
		return nil, err
	}
	defer result.Close() //nolint:errcheck // Err says what went wrong
	columns, err := result.Columns()
	if err != nil {
		return nil, err
	}
	for result.Next() {
		values, dest := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			dest[i] = &values[i]
		}
		if err := result.Scan(dest...); err != nil {
			return nil, err
		}
		if text := strings.Join(strings.Fields(strings.Trim(fmt.Sprint(values...), "[]")), " "); text != "ok" {
			findings = append(findings, Finding{What: statement + ": " + text})
		}
	}
	return findings, result.Err()
}

// metricOf is a metric of a run.
type metricOf struct{ run, name int64 }

// checkSummaries compares the summaries with the values they are of, in a moment's view of the database that no writer
// has to wait for, and makes anew those that are wrong; where values are missing, only with dropMissing.
func (s *Store) checkSummaries(ctx context.Context, dropMissing bool) (findings []Finding, err error) {
	want, have := map[metricOf]*summary{}, map[metricOf]summary{}
	view, err := s.reader.BeginTx(ctx, nil)
	if err != nil {
		return nil, s.plain(err)
	}
	defer view.Rollback() //nolint:errcheck // nothing was written
	err = each(ctx, view, sqlAllMetrics, nil, func(scan func(...any) error) error {
		var k metricOf
		var step int64
		var value sql.NullFloat64
		err := scan(&k.run, &k.name, &step, &value)
		if want[k] == nil {
			want[k] = &summary{}
		}
		m := want[k]
		m.add(m.count == 0, step, fromNull(value))
		m.count++
		return err
	})
	if err == nil {
		err = each(ctx, view, sqlAllSummaries, nil, func(scan func(...any) error) error {
			var k metricOf
			var m summary
			err := m.scan(scan, &k.run, &k.name)
			have[k] = m
			return err
		})
	}
	if err != nil {
		return nil, s.plain(err)
	}
	var wrong []metricOf
	for k, m := range want {
		if h, ok := have[k]; !ok || !h.equal(*m) && h.count <= m.count {
			wrong = append(wrong, k)
			findings = append(findings, Finding{What: fmt.Sprintf("run %d: the summary of metric %d is not that of its values", k.run, k.name), Repair: "made anew"})
		}
	}
	for k, h := range have {
		m := want[k]
		if m == nil {
			m = &summary{}
		}
		if h.count <= m.count {
			continue
		}
		f := Finding{What: fmt.Sprintf("run %d: of %d values of metric %d %d are missing", k.run, h.count, k.name, h.count-m.count), Missing: true}
		if dropMissing {
			f.Repair = "its summary is that of the others now"
			wrong = append(wrong, k)
		}
		findings = append(findings, f)
	}
	for _, k := range wrong {
		err := s.change(ctx, k.run, func(t tx) error {
			m := &summary{id: k.name}
			if err := m.recount(t.ctx, t, k.run); err != nil {
				return err
			}
			if m.count == 0 {
				return t.all([]any{k.run, k.name}, sqlDropSummary)
			}
			return setSummaries(t, k.run, map[string]*summary{"": m})
		})
		if err != nil && !errors.Is(err, ErrNotFound) { // freed since
			return findings, err
		}
	}
	return findings, nil
}

// equal says whether the summaries say the same; of equal values any may be the smallest or largest.
func (m summary) equal(o summary) bool {
	same := func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }
	return m.count == o.count && m.LastStep == o.LastStep && same(m.Last, o.Last) && same(m.Min, o.Min) && same(m.Max, o.Max)
}

// checkArtifacts compares files and rows. Files are read while others write some; only where something seems wrong is it
// looked at again, and mended if it is to be, while nobody does.
func (s *Store) checkArtifacts(ctx context.Context, dropMissing bool) (findings []Finding, err error) {
	sound := map[string]bool{} // digests of the files that need no second look
	for _, alone := range []bool{false, true} {
		if findings, err = s.artifactTroubles(ctx, alone, alone && dropMissing, sound); err != nil || len(findings) == 0 {
			return findings, err
		}
	}
	return findings, nil
}

// artifactTroubles finds rows without their files and files without rows. drop replaces the rows by notes.
func (s *Store) artifactTroubles(ctx context.Context, alone, drop bool, sound map[string]bool) (findings []Finding, err error) {
	unlock, err := s.lockArtifacts(ctx, alone)
	if err != nil {
		return nil, s.plain(err)
	}
	defer unlock()
	type missing struct {
		run              int64
		name, path, note string
	}
	var all []missing
	named := map[string]bool{}
	err = s.eachArtifact(ctx, func(run int64, a Artifact) error {
		named[a.Digest] = true
		path, what := s.artifactFile(a.Digest), "is damaged"
		if sound[a.Digest] {
			return nil
		}
		digest, err := fileDigest(path)
		switch {
		case digest == a.Digest:
			sound[digest] = true
			return nil
		case errors.Is(err, fs.ErrNotExist):
			what = "is missing"
		case err != nil: // it may be sound
			findings = append(findings, Finding{What: a.trouble(run, err).Error(), Missing: true})
			return nil
		}
		note := fmt.Sprintf("artifact %q (%d bytes, sha256 %s) %s", a.Name, a.Size, a.Digest, what)
		all = append(all, missing{run, a.Name, path, note})
		f := Finding{What: fmt.Sprintf("run %d: %s: %s", run, note, path), Missing: true}
		if drop {
			f.Repair = "replaced by a note"
		}
		findings = append(findings, f)
		return nil
	})
	if err != nil || !drop {
		all = nil
	}
	for _, m := range all {
		err = s.change(ctx, m.run, func(t tx) error {
			if err := t.all([]any{m.run, clean(m.name)}, sqlRemoveArtifact); err != nil {
				return err
			}
			return t.all([]any{m.run, micros(s.clock.now()), clean(m.note)}, sqlAddNote)
		})
		if err == nil { // what is left of a damaged file may be of use
			if err = os.Rename(m.path, m.path+damaged); errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
		}
		if err != nil {
			break
		}
	}
	if err != nil {
		return findings, s.plain(err)
	}
	err = s.eachFile(func(path string, size int64) error {
		if digest := filepath.Base(path); !named[digest] && ours(path) && !strings.HasSuffix(path, damaged) {
			findings = append(findings, Finding{What: fmt.Sprintf("%s: %d bytes that no run names, which gc frees", path, size), Leftover: true})
		}
		return nil
	})
	return findings, s.plain(err)
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

// IncompleteError is what a backup or an export could not have; everything else is in it.
type IncompleteError struct {
	Missing []error // each names a run and what it lacks
}

func (e *IncompleteError) Error() string { return errors.Join(e.Missing...).Error() }

// incomplete is nil where nothing is missing.
func incomplete(missing []error) error {
	if len(missing) == 0 {
		return nil
	}
	return &IncompleteError{missing}
}

// Backup copies the database, as it is at one moment, to a new file at path, and the artifacts to path.artifacts.
// Other processes go on writing meanwhile. Artifacts that are missing or damaged are in an [IncompleteError]. After any
// other error there is no file at path, and the same backup may be made again.
func (s *Store) Backup(ctx context.Context, path string) (err error) {
	for _, file := range []string{path, path + "-wal", path + "-journal"} { // SQLite would take these for parts of the copy
		if _, err := os.Lstat(file); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s: is there already; name another file", file)
		}
	}
	unlock, err := s.lockArtifacts(ctx, false) // no file is freed meanwhile
	if err != nil {
		return s.plain(err)
	}
	defer unlock()
	// The file gets its name when it is whole. Artifacts that a killed backup left have the names of their content.
	part, target := path+".part", &Store{name: path, path: path}
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return target.plain(err)
	}
	_, there := os.Lstat(target.artifacts())
	named := false
	defer func() {
		_, partial := errors.AsType[*IncompleteError](err)
		failed := err != nil && !partial
		if failed && named {
			_ = os.Remove(path)
		}
		if failed && there != nil {
			_ = os.RemoveAll(target.artifacts())
		}
		_ = os.Remove(part)
	}()
	if _, err := s.writer.ExecContext(ctx, sqliteBackup, part); err != nil {
		if e, ok := errors.AsType[sqlite3.Error](err); ok && (e.Code == sqlite3.ErrCorrupt || e.Code == sqlite3.ErrBusy) {
			return s.plain(err)
		}
		return target.plain(err)
	}
	// What the copy names: the database may have gone on since.
	copied, err := sql.Open("sqlite3", dsn(part, "&mode=ro"))
	if err != nil {
		return err
	}
	defer copied.Close() //nolint:errcheck // it was read
	target.reader = copied
	var missing []error
	done := map[string]error{} // by digest
	err = target.eachArtifact(ctx, func(run int64, a Artifact) error {
		trouble, ok := done[a.Digest]
		if !ok {
			var err error
			if trouble, err = s.copyArtifact(target, a.Digest); err != nil {
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
	if err := errors.Join(copied.Close(), syncFile(part)); err != nil {
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

// copyArtifact copies an artifact's file to another store. Trouble is that of the file, an error that of the store.
func (s *Store) copyArtifact(to *Store, digest string) (trouble, err error) {
	path := s.artifactFile(digest)
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
	if err = os.MkdirAll(to.artifacts(), 0o777); err == nil {
		_, _, err = to.writeArtifact(file)
	}
	return nil, to.plain(err)
}

func syncFile(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	return file.Sync()
}
