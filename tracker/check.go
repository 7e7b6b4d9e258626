package tracker

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"strings"
)

// Finding is something that is not in order, and what was done about it.
type Finding struct {
	What     string
	Repair   string // empty if nothing was done
	Missing  bool   // something that was recorded is missing or damaged
	Leftover bool   // an interrupted writer has left it: nothing is lost, and [Store.GC] removes it
}

func (f Finding) String() string {
	if f.Repair == "" {
		return f.What
	}
	return f.What + ": " + f.Repair
}

// Check reads the whole database and every artifact, and returns what is not in order. Summaries that do not fit their
// values it computes anew; what is left of a run that is gone it removes. What is missing or damaged it only names, for a
// disk may not be mounted, or a directory may have been moved. With dropMissing it also replaces the artifacts that are
// missing or damaged by notes on their runs, and computes the summaries of values that are missing without them. Other
// processes can go on writing meanwhile.
func (s *Store) Check(ctx context.Context, dropMissing bool) (findings []Finding, err error) {
	findings, err = s.db.integrity(ctx)
	if err != nil {
		return findings, s.plain(err)
	}
	if len(findings) > 0 { // rows of a damaged file are not to be trusted
		return findings, nil
	}
	if err := s.findLost(ctx, true); err != nil {
		return nil, err
	}
	for _, check := range []func(context.Context, bool) ([]Finding, error){s.checkRunless, s.checkSummaries, s.checkArtifacts} {
		found, err := check(ctx, dropMissing)
		if findings = append(findings, found...); err != nil {
			return findings, err
		}
	}
	return findings, nil
}

// checkRunless removes the parameters and values of runs that are gone: not all of them have a reference to their run.
func (s *Store) checkRunless(ctx context.Context, _ bool) (findings []Finding, err error) {
	gone, err := column(ctx, s.db.reads(), sqlRunless, nil)
	if err != nil || len(gone) == 0 {
		return nil, s.plain(err)
	}
	err = s.write(ctx, func(t tx) error {
		for _, run := range gone {
			if err := t.all([]any{run}, sqlPurgeMetrics, sqlPurgeParams); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, run := range gone {
		findings = append(findings, Finding{What: fmt.Sprintf("run %d is gone, but not its parameters and values", run), Repair: "removed"})
	}
	return findings, nil
}

// metricOf is a metric of a run.
type metricOf struct{ run, name int64 }

// checkSummaries compares the summaries with the values of their metrics, as both are at one moment. It computes those
// anew that are wrong, but where values are missing only with dropMissing.
func (s *Store) checkSummaries(ctx context.Context, dropMissing bool) (findings []Finding, err error) {
	want, have := map[metricOf]*summary{}, map[metricOf]summary{}
	view, err := s.view(ctx)
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
			findings = append(findings, Finding{What: fmt.Sprintf("run %d: the summary of metric %d is not that of its values", k.run, k.name), Repair: "computed again"})
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
		f := Finding{What: fmt.Sprintf("run %d: %d of %d values of metric %d are missing", k.run, h.count-m.count, h.count, k.name), Missing: true}
		if dropMissing {
			f.Repair = "its summary is now that of the others"
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
		if err != nil && !errors.Is(err, ErrNotFound) { // the run was removed meanwhile
			return findings, err
		}
	}
	return findings, nil
}

// equal says whether two summaries agree. The steps of the smallest and largest value may differ: several may have it.
func (m summary) equal(o summary) bool {
	same := func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }
	return m.count == o.count && m.LastStep == o.LastStep && same(m.Last, o.Last) && same(m.Min, o.Min) && same(m.Max, o.Max)
}

// checkArtifacts compares files and rows. It looks twice: first while others write, for reading all files takes long,
// and then, if something seems wrong, alone, at what was not sound. Only then it repairs.
func (s *Store) checkArtifacts(ctx context.Context, dropMissing bool) (findings []Finding, err error) {
	sound := map[string]bool{} // digests of the files that are as they should be
	for _, alone := range []bool{false, true} {
		if findings, err = s.artifactTroubles(ctx, alone, alone && dropMissing, sound); err != nil || len(findings) == 0 {
			return findings, err
		}
	}
	return findings, nil
}

// artifactTroubles finds rows without their files, and files without rows. With drop it replaces such rows by notes.
func (s *Store) artifactTroubles(ctx context.Context, alone, drop bool, sound map[string]bool) (findings []Finding, err error) {
	unlock, err := s.files.lock(ctx, alone)
	if err != nil {
		return nil, s.plain(err)
	}
	defer unlock()
	var q querier = s.db.reads()
	if alone { // rows and contents as they are at one moment
		view, err := s.view(ctx)
		if err != nil {
			return nil, s.plain(err)
		}
		defer view.Rollback() //nolint:errcheck // nothing was written
		q = view
	}
	type missing struct {
		run                int64
		name, digest, note string
	}
	var all []missing
	named := map[string]bool{}
	err = s.eachArtifact(ctx, q, func(run int64, a Artifact) error {
		named[a.Digest] = true
		path, what := s.files.find(a.Digest), "is damaged"
		if sound[a.Digest] {
			return nil
		}
		digest, err := "", error(nil)
		file, err := s.files.open(ctx, q, a.Digest)
		if err == nil {
			digest, err = digestOf(file)
		}
		switch {
		case digest == a.Digest:
			sound[digest] = true
			return nil
		case errors.Is(err, fs.ErrNotExist):
			what = "is missing"
		case err != nil: // it cannot be read, and may be as it should be
			findings = append(findings, Finding{What: a.trouble(run, err).Error(), Missing: true})
			return nil
		}
		note := fmt.Sprintf("artifact %q (%d bytes, sha256 %s) %s", a.Name, a.Size, a.Digest, what)
		all = append(all, missing{run, a.Name, a.Digest, note})
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
			return t.all([]any{m.run, micros(s.now()), clean(m.note)}, sqlAddNote)
		})
		if err == nil {
			err = s.files.setAside(ctx, m.digest)
		}
		if err != nil {
			break
		}
	}
	if err != nil {
		return findings, s.plain(err)
	}
	err = s.files.each(ctx, func(path string, size int64) error {
		if digest := filepath.Base(path); !named[digest] && ours(path) && !strings.HasSuffix(path, damaged) {
			findings = append(findings, Finding{What: fmt.Sprintf("%s: %d bytes that belong to no run, which gc removes", path, size), Leftover: true})
		}
		return nil
	})
	return findings, s.plain(err)
}
