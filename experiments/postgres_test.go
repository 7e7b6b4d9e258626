package experiments

import (
	"os/exec"
	"strings"
	"testing"

	"hrlab/hrstyle"
	"hrlab/tracker"
	"hrlab/tracker/postgrestest"
)

// By docs/roles.sql a writer queues and takes trials, and a reader looks at the queue and at runs, whatever of the tables was there.
func TestRoles(t *testing.T) {
	url := postgrestest.New(t)
	as := func(role string) string { return strings.Replace(url, "postgres@", role+"@", 1) }
	psql := func(args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), "psql", append([]string{"-q", url}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	psql("-c", "CREATE ROLE lab LOGIN")
	t.Cleanup(func() {
		cleanup := exec.Command("psql", "-q", url, "-c", "DROP OWNED BY hrlab_writer, hrlab_reader CASCADE", "-c", "DROP OWNED BY lab CASCADE", "-c", "DROP ROLE lab, gpu1, guest, hrlab_writer, hrlab_reader")
		if out, err := cleanup.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	psql("-v", "owner=lab", "-f", "../docs/roles.sql")
	if _, err := OpenQueue(t.Context(), openStore(t, as("lab"))); err != nil { // makes the tables
		t.Fatal(err)
	}
	psql("-v", "owner=lab", "-f", "../docs/roles.sql") // again does no harm
	psql("-c", "CREATE ROLE gpu1 LOGIN IN ROLE hrlab_writer", "-c", "CREATE ROLE guest LOGIN IN ROLE hrlab_reader")

	writer, err := OpenQueue(t.Context(), openStore(t, as("gpu1")))
	if err != nil {
		t.Fatal(err)
	}
	ids, err := writer.Enqueue(t.Context(), "e", &hrstyle.VGG{Label: "none", Digest: "none"}, testPair, manyTrials(2), 0)
	if err != nil {
		t.Fatal(err)
	}
	run, err := writer.store.Take(t.Context(), ids[0], nil)
	if err == nil {
		err = run.Finish(t.Context(), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	reader, err := OpenQueue(t.Context(), openStore(t, as("guest")))
	if err != nil {
		t.Fatal(err)
	}
	if trials, _, err := reader.State(t.Context()); err != nil || trials[tracker.Queued] != 1 || trials[tracker.Finished] != 1 {
		t.Errorf("%v %v", trials, err)
	}
	if _, err := LoadPair(t.Context(), reader.store, ids[1]); err != nil {
		t.Error(err)
	}
	if err := reader.Pause(t.Context()); err == nil || !strings.HasSuffix(err.Error(), "read-only: role guest may only read") {
		t.Error(err)
	}
}

// What goes wrong with the tables of the queue is told with the name of the database, in the tracker's words.
func TestQueueErrors(t *testing.T) {
	url := postgrestest.New(t)
	store := openStore(t, url)
	do(t, store, "CREATE ROLE nobody LOGIN")
	defer func() { do(t, store, "DROP OWNED BY nobody"); do(t, store, "DROP ROLE nobody") }()
	do(t, store, "GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO nobody")
	s := openStore(t, strings.Replace(url, "postgres@", "nobody@", 1))
	if _, err := OpenQueue(t.Context(), s); err == nil || !strings.HasPrefix(err.Error(), s.Name()+": permission denied for schema public") {
		t.Error(err)
	}

	q := openQueue(t, Lab{Tracker: store})
	do(t, q.store, "ALTER TABLE river_job RENAME TO elsewhere")
	do(t, q.store, "ALTER TABLE river_queue RENAME TO river_elsewhere")
	_, asked := q.Unfit(t.Context())
	_, counted := q.jobs.paused(t.Context())
	for _, err := range []error{asked, counted, q.jobs.forget(t.Context(), 0)} {
		if err == nil || !strings.HasPrefix(err.Error(), q.store.Name()+": relation ") {
			t.Error(err)
		}
	}
}
