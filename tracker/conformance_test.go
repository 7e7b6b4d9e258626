package tracker

import (
	"context"
	"image"
	"path/filepath"
	"strconv"
	"testing"

	"hrlab/tracker/postgrestest"
)

// suite are the tests that a store passes whatever its database. What only SQLite has is tested elsewhere: names of its
// file (place_test.go), faults of disks and rows (fault_test.go), kills (process_test.go), backups (backup_test.go),
// and its plans, pragmas and upgrades (scale_test.go); what only a server has in postgres_test.go.
type suite struct {
	empty  func(t testing.TB) (url string) // makes a database, of which many stores may be opened
	server bool
}

// exercise runs all of the suite.
func (db suite) exercise(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"Run", db.run},
		{"States", db.states},
		{"Tags", db.tags},
		{"Environment", db.environment},
		{"Pictures", db.pictures},
		{"OddStrings", db.oddStrings},
		{"IDs", db.ids},
		{"QueueAndFence", db.queueAndFence},
		{"CancelQueued", db.cancelQueued},
		{"CancelRunning", db.cancelRunning},
		{"History", db.history},
		{"Workers", db.workers},
		{"Names", db.names},
		{"Locked", db.locked},
		{"WaitingEnds", db.waitingEnds},
		{"EnvironmentBeforeTransaction", db.environmentBeforeTransaction},
		{"BeatsEnd", db.beatsEnd},
		{"StepsInAnyOrder", db.stepsInAnyOrder},
		{"OddMetricNames", db.oddMetricNames},
		{"SetParams", db.setParams},
		{"SeriesIsDownsampled", db.seriesIsDownsampled},
		{"SeriesInOrder", db.seriesInOrder},
		{"WatchWriters", db.watchWriters},
		{"DiffAndWatch", db.diffAndWatch},
		{"Pages", db.pages},
		{"PointsAfter", db.pointsAfter},
		{"Experiments", db.experiments},
		{"Filter", db.filter},
		{"Sort", db.sort},
		{"ManyRuns", db.manyRuns},
		{"ManySteps", db.manySteps},
		{"ReplacedArtifacts", db.replacedArtifacts},
		{"Keep", db.keep},
		{"EnqueueAll", db.enqueueAll},
		{"KeepWhileFreeing", db.keepWhileFreeing},
		{"DeleteRestoreGC", db.deleteRestoreGC},
		{"GCWhileWriting", db.gcWhileWriting},
		{"CheckRepairs", db.checkRepairs},
		{"CheckRunless", db.checkRunless},
		{"CheckWhileWriting", db.checkWhileWriting},
		{"ClockSet", db.clockSet},
		{"WrongClockElsewhere", db.wrongClockElsewhere},
		{"ClockSetOldRows", db.clockSetOldRows},
		{"ClockSetMeanwhile", db.clockSetMeanwhile},
		{"TimeNamespace", db.timeNamespace},
		{"Samples", db.samples},
		{"OpenAtOnce", db.openAtOnce},
		{"LogAtOnce", db.logAtOnce},
		{"Import", db.imports},
		{"ImportsOnce", db.importsOnce},
		{"ExportsOnce", db.exportsOnce},
		{"ImportDoesNotBeat", db.importDoesNotBeat},
		{"Choices", db.choices},
		{"ExportCSV", db.exportCSV},
		{"TensorBoard", db.tensorBoard},
		{"Batch", db.batch},
		{"Remote", db.remote},
		{"AddExperiment", db.addExperiment},
	} {
		t.Run(test.name, test.run)
	}
}

func TestSQLite(t *testing.T) { suite{newFile, false}.exercise(t) }

func TestPostgreSQL(t *testing.T) { suite{postgrestest.New, true}.exercise(t) }

// newFile is the name of a new SQLite database.
func newFile(t testing.TB) string { return filepath.Join(t.TempDir(), "hrlab.db") }

// withDirectory is a new database whose artifacts are in a directory.
func (db suite) withDirectory(t testing.TB) *Store {
	t.Helper()
	url := db.empty(t)
	if db.server {
		url += "&artifacts=" + filepath.Join(t.TempDir(), "artifacts")
	}
	return open(t, url)
}

func (db suite) fresh(t testing.TB) *Store {
	t.Helper()
	return open(t, db.empty(t))
}

// fresh is a new SQLite database.
func fresh(t testing.TB) *Store {
	t.Helper()
	return open(t, newFile(t))
}

// execute changes what the tracker's own methods do not.
func execute(t testing.TB, s *Store, statement string, args ...any) {
	t.Helper()
	_, err := s.db.writes().ExecContext(context.Background(), s.db.writes().bind(statement), args...)
	must(t, err)
}

// open opens a new database, or the one at path.
func open(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func start(t testing.TB, s *Store, n NewRun) *Run {
	t.Helper()
	r, err := s.Start(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// must fails the test on the first error.
func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func info(t testing.TB, s *Store, id int64) Info {
	t.Helper()
	i, err := s.Run(t.Context(), strconv.FormatInt(id, 10))
	must(t, err)
	return i
}

// whole says that check finds nothing.
func whole(t testing.TB, s *Store) {
	t.Helper()
	if findings, err := s.Check(t.Context(), false); err != nil || len(findings) > 0 {
		t.Errorf("check: %v %v", findings, err)
	}
}

func check(t *testing.T, s *Store) []Finding {
	t.Helper()
	findings, err := s.Check(t.Context(), false)
	must(t, err)
	return findings
}

func grey(v uint8) image.Image {
	img := image.NewGray(image.Rect(0, 0, 400, 100))
	for i := range img.Pix {
		img.Pix[i] = v
	}
	return img
}
