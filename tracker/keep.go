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
	"slices"
	"strings"
	"time"
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
	return s.change(ctx, run, func(t tx) error { return t.all([]any{run, micros(time.Now()), clean(text)}, sqlAddNote) })
}

// Delete hides a run until [Store.Restore] shows it again or [Store.GC] frees it.
func (s *Store) Delete(ctx context.Context, run int64) error {
	return s.change(ctx, run, func(t tx) error { return t.all([]any{run, micros(time.Now())}, sqlDelete) })
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
	if err := s.findLost(ctx); err != nil {
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
	unlock, err := s.lockArtifacts(ctx, true)
	if err != nil {
		return freed, s.plain(err)
	}
	defer unlock()
	named := map[string]bool{}
	if err := s.eachArtifact(ctx, func(_ int64, a Artifact) error { named[a.Digest] = true; return nil }); err != nil {
		return freed, err
	}
	err = s.eachFile(func(path string, size int64) error {
		if named[filepath.Base(path)] {
			return nil
		}
		freed.Files++
		freed.Bytes += size
		return os.Remove(path)
	})
	for _, statement := range []string{sqliteVacuum, sqliteTruncate} {
		if err == nil {
			_, err = s.writer.ExecContext(ctx, statement)
		}
	}
	freed.Bytes += max(0, before-s.databaseSize())
	return freed, s.plain(err)
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

func (s *Store) eachArtifact(ctx context.Context, f func(run int64, a Artifact) error) error {
	err := each(ctx, s.reader, sqlAllArtifacts, nil, func(scan func(...any) error) error {
		var run int64
		var a Artifact
		if err := scan(&run, &a.Name, &a.Digest, &a.Size); err != nil {
			return err
		}
		return f(run, a)
	})
	return s.plain(err)
}

// eachFile calls f for every file of an artifact, and for what an interrupted writer left.
func (s *Store) eachFile(f func(path string, size int64) error) error {
	return filepath.WalkDir(s.artifacts(), func(path string, entry fs.DirEntry, err error) error {
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

// Finding is something that was not in order, and what was done about it.
type Finding struct {
	What     string
	Repair   string // empty where nothing could be done
	Leftover bool   // of a writer that was interrupted: nothing is wrong or lost
}

func (f Finding) String() string {
	if f.Repair == "" {
		return f.What
	}
	return f.What + ": " + f.Repair
}

// Check looks at the whole database and every artifact, repairs what it can, and says what it found. Other processes go
// on writing meanwhile.
func (s *Store) Check(ctx context.Context) (findings []Finding, err error) {
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
	if err := s.findLost(ctx); err != nil {
		return nil, err
	}
	if findings, err = s.checkSummaries(ctx); err != nil {
		return findings, err
	}
	found, err := s.checkArtifacts(ctx)
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
// has to wait for, and makes anew those that are wrong.
func (s *Store) checkSummaries(ctx context.Context) (findings []Finding, err error) {
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
		if h, ok := have[k]; !ok || !h.equal(*m) {
			wrong = append(wrong, k)
			findings = append(findings, Finding{What: fmt.Sprintf("run %d: the summary of metric %d is not that of its values", k.run, k.name), Repair: "made anew"})
		}
	}
	for k := range have {
		if want[k] == nil {
			wrong = append(wrong, k)
			findings = append(findings, Finding{What: fmt.Sprintf("run %d: a summary of metric %d without values", k.run, k.name), Repair: "removed"})
		}
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

// checkArtifacts compares files and rows. A row whose file is gone or damaged is replaced by a note. Files are read
// while others write some; only where something seems wrong is it looked at again, and mended, while nobody does.
func (s *Store) checkArtifacts(ctx context.Context) (findings []Finding, err error) {
	digests := map[string]string{} // of the files looked at
	for _, alone := range []bool{false, true} {
		rows, files, err := s.artifactTroubles(ctx, alone, digests)
		if err != nil || len(rows)+len(files) == 0 {
			return nil, err
		}
		if alone {
			findings = slices.Concat(rows, files)
		}
	}
	return findings, nil
}

// artifactTroubles finds rows without their files and files without rows, and mends them if it is alone with them.
func (s *Store) artifactTroubles(ctx context.Context, alone bool, digests map[string]string) (rows, files []Finding, err error) {
	unlock, err := s.lockArtifacts(ctx, alone)
	if err != nil {
		return nil, nil, s.plain(err)
	}
	defer unlock()
	type lost struct {
		run        int64
		name, note string
	}
	var all []lost
	named := map[string]bool{}
	err = s.eachArtifact(ctx, func(run int64, a Artifact) error {
		named[a.Digest] = true
		path, what := s.artifactPath(a.Digest), "is damaged"
		if _, seen := digests[a.Digest]; !seen {
			digest, err := fileDigest(path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			digests[a.Digest] = digest
		}
		switch digests[a.Digest] {
		case a.Digest:
			return nil
		case "":
			what = "is missing"
		}
		note := fmt.Sprintf("artifact %s (%d bytes, sha256 %s) %s", a.Name, a.Size, a.Digest, what)
		all = append(all, lost{run, a.Name, note})
		rows = append(rows, Finding{What: fmt.Sprintf("run %d: %s", run, note), Repair: "replaced by a note"})
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	for _, r := range all {
		if !alone {
			break
		}
		err := s.change(ctx, r.run, func(t tx) error {
			if err := t.all([]any{r.run, r.name}, sqlRemoveArtifact); err != nil {
				return err
			}
			return t.all([]any{r.run, micros(time.Now()), r.note}, sqlAddNote)
		})
		if err != nil {
			return nil, nil, err
		}
	}
	err = s.eachFile(func(path string, size int64) error {
		digest := filepath.Base(path)
		mend := os.Remove
		f := Finding{fmt.Sprintf("%s: %d bytes that no run names", path, size), "removed", true}
		switch {
		case digests[digest] != "" && digests[digest] != digest:
			mend = func(path string) error { return os.Rename(path, path+".damaged") }
			f = Finding{What: path + ": its content has another digest", Repair: "renamed to .damaged"}
		case named[digest] || strings.HasSuffix(digest, ".damaged"):
			return nil
		}
		files = append(files, f)
		if alone {
			return mend(path)
		}
		return nil
	})
	return rows, files, s.plain(err)
}

// fileDigest is the sha256 of a file.
func fileDigest(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	_, err = io.Copy(hash, file)
	return hex.EncodeToString(hash.Sum(nil)), err
}

// Backup copies the database, as it is at one moment, to a new file at path, and the artifacts to path.artifacts.
// Other processes go on writing meanwhile.
func (s *Store) Backup(ctx context.Context, path string) (err error) {
	for _, p := range []string{path, path + ".artifacts"} {
		if _, err := os.Lstat(p); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s: is there already; name another file", p)
		}
	}
	unlock, err := s.lockArtifacts(ctx, false) // no file is freed meanwhile
	if err != nil {
		return s.plain(err)
	}
	defer unlock()
	// The file gets its name when it is whole.
	part, target := path+".part", &Store{path: path}
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(target.artifacts()) // which was not there
		}
		_ = os.Remove(part)
	}()
	if _, err := s.writer.ExecContext(ctx, sqliteBackup, part); err != nil {
		return s.plain(err)
	}
	// What the copy names: the database may have gone on since.
	copied, err := sql.Open("sqlite3", dsn(part, "&mode=ro"))
	if err != nil {
		return err
	}
	defer copied.Close() //nolint:errcheck // it was read
	target.reader = copied
	err = target.eachArtifact(ctx, func(_ int64, a Artifact) error {
		if _, err := os.Stat(target.artifactPath(a.Digest)); err == nil {
			return nil
		}
		return target.copyArtifact(s.artifactPath(a.Digest), a.Digest)
	})
	if err != nil {
		return err
	}
	if err := copied.Close(); err != nil {
		return err
	}
	if err := syncFile(part); err != nil {
		return err
	}
	if err := os.Rename(part, path); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

// copyArtifact copies an artifact's file from another store.
func (s *Store) copyArtifact(from, digest string) error {
	file, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: missing; run hrlab runs check", from)
	}
	if err != nil {
		return err
	}
	defer file.Close()
	if err := os.MkdirAll(s.artifacts(), 0o777); err != nil {
		return err
	}
	now, _, err := s.writeArtifact(file)
	if err == nil && now != digest {
		err = fmt.Errorf("%s: damaged; run hrlab runs check", from)
	}
	return err
}

func syncFile(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	return file.Sync()
}
