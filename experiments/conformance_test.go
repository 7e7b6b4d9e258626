package experiments

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"hrlab/hrstyle"
	"hrlab/tracker"
	"hrlab/tracker/postgrestest"
)

// suite are the tests that the queue passes whatever its database. What only SQLite has is tested elsewhere: faults of rows
// and disks (fault_test.go).
type suite struct {
	empty func(t testing.TB) (url string) // makes a database, of which many stores may be opened
}

// exercise runs all of the suite.
func (db suite) exercise(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"Worker", db.worker},
		{"WorkerKilled", db.workerKilled},
		{"Control", db.control},
		{"CancelRunning", db.cancelRunning},
		{"StaleJobs", db.staleJobs},
		{"Files", db.files},
		{"OldJobs", db.oldJobs},
		{"TwoClients", db.twoClients},
		{"States", db.states},
		{"Lifecycle", db.lifecycle},
		{"Order", db.order},
		{"QueuedWhileStopping", db.queuedWhileStopping},
		{"Remembered", db.remembered},
		{"Unfit", db.unfit},
		{"UnfitOfSeveral", db.unfitOfSeveral},
		{"FollowDeleted", db.followDeleted},
		{"FollowRetried", db.followRetried},
		{"Waits", db.waits},
		{"StopWorker", db.stopWorker},
		{"Panics", db.panics},
		{"TakenOver", db.takenOver},
		{"Losses", db.losses},
		{"Shares", db.shares},
		{"ShortTrials", db.shortTrials},
	} {
		t.Run(test.name, test.run)
	}
}

var onSQLite = suite{func(t testing.TB) string { return filepath.Join(t.TempDir(), "hrlab.db") }}

func TestSQLite(t *testing.T) { onSQLite.exercise(t) }

// The files of artifacts are in a directory here: the tracker's own tests keep them in the database, too.
func TestPostgreSQL(t *testing.T) {
	suite{func(t testing.TB) string {
		return postgrestest.New(t) + "&artifacts=" + filepath.Join(t.TempDir(), "artifacts")
	}}.exercise(t)
}

// artifactsOf is the directory of artifacts.
func artifactsOf(store *tracker.Store) string {
	if _, directory, ok := strings.Cut(store.URL(), "&artifacts="); ok {
		return directory
	}
	return store.Path() + ".artifacts"
}

func openStore(t testing.TB, url string) *tracker.Store {
	t.Helper()
	store, err := tracker.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// pureGo is an engine in pure Go with random filters, opened once.
var pureGo = sync.OnceValues(func() (*hrstyle.Engine, error) {
	return hrstyle.Open(context.Background(), hrstyle.Options{Device: "go", VGG: "random"})
})

// lab has an empty database, and the engine of all tests. Fits are too slow for the race detector, which -short is for.
func (db suite) lab(t testing.TB) Lab {
	t.Helper()
	if testing.Short() {
		t.Skip("fits pictures")
	}
	engine, err := pureGo()
	if err != nil {
		t.Fatal(err)
	}
	return Lab{Engine: engine, Tracker: openStore(t, db.empty(t))}
}

// queue has n trials, for weights that no worker has.
func (db suite) queue(t testing.TB, n int) (*Queue, []int64) {
	t.Helper()
	q, err := OpenQueue(t.Context(), openStore(t, db.empty(t)))
	if err != nil {
		t.Fatal(err)
	}
	ids, err := q.Enqueue(t.Context(), "e", &hrstyle.VGG{Label: "none", Digest: "none"}, testPair, manyTrials(n), 0)
	if err != nil || len(ids) != n {
		t.Fatal(ids, err)
	}
	return q, ids
}
