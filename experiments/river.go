package experiments

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"hrlab/hrstyle"
	"hrlab/tracker"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"
)

// job is what a worker is told of a trial. What the trial reads are artifacts of its run.
type job struct {
	RunID  int64          `json:"run" river:"unique"`
	Config hrstyle.Config `json:"config"` // without Init
	// Inputs are digests, as of the run: of the pictures, of VGG19's weights, and of the initial generator if there is one.
	Inputs   map[string]string `json:"inputs"`
	Patience int               `json:"patience"`
	Device   string            `json:"device,omitempty"` // a kind, where only that will do

	// Absolute paths, of a run that an earlier version has queued: it has no such artifacts.
	Content string `json:"content,omitempty"`
	Style   string `json:"style,omitempty"`
	Init    string `json:"init,omitempty"`
}

// Kind is River's name for these jobs.
func (job) Kind() string { return "trial" }

// queueName is River's name for the one queue.
const queueName = "trials"

// jobs are the jobs of trials: River's tables, which riverqueue.com documents, in the tracker's database. A job's run is in
// its arguments; it is closed when it has a time of finalization.
type jobs struct {
	store  *tracker.Store
	db     querier // the connection that writes
	client *river.Client[*sql.Tx]
}

// openJobs makes River's tables where they are missing.
func openJobs(ctx context.Context, store *tracker.Store) (j jobs, err error) {
	j.store, j.db = store, bound{store, store.DB()}
	var driver riverdriver.Driver[*sql.Tx] = riversqlite.New(store.DB())
	if store.Server() {
		driver = riverdatabasesql.New(store.DB())
	}
	quiet := slog.New(slog.DiscardHandler)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: quiet})
	if err != nil {
		return j, err
	}
	migrate := func() error {
		_, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
		return err
	}
	switch {
	case store.ReadOnly() == nil:
		err = store.Locked(ctx, migrate) // two that migrate at once fail
	case !store.Server():
		err = migrate() // in the private copy
	}
	if err != nil {
		return j, store.Explain(err)
	}
	j.client, err = river.NewClient(driver, &river.Config{Logger: quiet})
	return j, err
}

// Statements on River's tables and, to know which trials are over, on the tracker's, in the SQL that SQLite and PostgreSQL share;
// what is in braces is in a dialect. Lists of ids are JSON.
const (
	sqlRegister = `INSERT INTO river_queue (name, updated_at) VALUES ($1, CURRENT_TIMESTAMP) ON CONFLICT (name) DO NOTHING`
	sqlPaused   = `SELECT count(*) FROM river_queue WHERE name = $1 AND paused_at IS NOT NULL`

	sqlIsOpen = `queue = 'trials' AND state IN ('available', 'pending', 'retryable', 'running', 'scheduled')` // River has an index of these
	sqlTrials = `FROM river_job j JOIN run r ON r.id = CAST(j.args ->> 'run' AS BIGINT) WHERE ` + sqlIsOpen + ` AND r.deleted IS NULL`
	sqlCounts = `SELECT count(*), r.status FROM run r WHERE r.deleted IS NULL AND (r.status = 'queued'
		OR r.id IN (SELECT CAST(args ->> 'run' AS BIGINT) FROM river_job WHERE kind = 'trial')) GROUP BY r.status`
	sqlOpen = `SELECT r.id, r.status ` + sqlTrials + ` AND r.status IN ('queued', 'running', 'lost')`
	// Experiments with runs that wait, and how many processes are at each. Jobs are not looked at, which takes long where there are many:
	// a run that waits has one, or gets it (see mend).
	sqlSweeps = `SELECT r.experiment, count(CASE WHEN r.status = 'running' THEN 1 END) FROM run r WHERE r.deleted IS NULL AND r.status IN ('queued', 'running', 'lost')
		GROUP BY r.experiment HAVING count(CASE WHEN r.status <> 'running' THEN 1 END) > 0 ORDER BY min(r.id)`
	// IS TRUE has a server go through the jobs in their order, by River's index, until it has enough of them, and read the runs once.
	sqlWaiting = `SELECT j.id, CAST(j.args ->> 'run' AS BIGINT), (SELECT status FROM run WHERE id = CAST(j.args ->> 'run' AS BIGINT)), {json j.args}
		FROM river_job j WHERE queue = 'trials' AND state = 'available' AND
		EXISTS (SELECT 1 FROM run r WHERE r.id = CAST(j.args ->> 'run' AS BIGINT) AND r.experiment = $1 AND r.deleted IS NULL AND r.status IN ('queued', 'lost')) IS TRUE
		ORDER BY j.priority, j.scheduled_at, j.id LIMIT $2 OFFSET $3`
	// Earlier versions had River bring jobs into these states.
	sqlSetAvailable = `UPDATE river_job SET state = 'available' WHERE kind = 'trial' AND state IN ('pending', 'retryable', 'running', 'scheduled')`
	sqlLosses       = `SELECT COALESCE(metadata ->> 'losses', '') FROM river_job WHERE id = $1`
	sqlSetLosses    = `UPDATE river_job SET metadata = {metadata with losses $2} WHERE id = $1`
	// What workers said of trials that they left to others: reasons by worker, in the job's metadata.
	sqlUnfit = `SELECT t.run, u.key, u.value FROM (SELECT r.id AS run, j.metadata AS metadata ` + sqlTrials + ` AND r.status IN ('queued', 'lost')) t,
		{unfit of t.metadata} u ORDER BY t.run, u.key`
	sqlSetUnfit = `UPDATE river_job SET metadata = {metadata with unfit $2 $3} WHERE id IN ({ids $1})`

	sqlOfQueue = `SELECT id FROM ({ids $1}) AS list WHERE id IN (SELECT CAST(args ->> 'run' AS BIGINT) FROM river_job WHERE kind = 'trial')
		OR id IN (SELECT id FROM run WHERE status = 'queued')`
	// Of every run the newest job.
	sqlReopen = `UPDATE river_job SET state = 'available', finalized_at = NULL, scheduled_at = $2,
		metadata = {metadata as new}
		WHERE id IN (SELECT max(id) FROM river_job WHERE kind = 'trial' AND CAST(args ->> 'run' AS BIGINT) IN ({ids $1})
		GROUP BY CAST(args ->> 'run' AS BIGINT)) RETURNING CAST(args ->> 'run' AS BIGINT)`

	// Queued runs without an open job, and whether an earlier version cancelled the last one; NULL where there is none.
	sqlStray = `SELECT r.id, (SELECT j.metadata ->> 'cancel_attempted_at' IS NOT NULL FROM river_job j
			WHERE j.kind = 'trial' AND CAST(j.args ->> 'run' AS BIGINT) = r.id ORDER BY j.id DESC LIMIT 1)
		FROM run r WHERE r.status = 'queued' AND r.deleted IS NULL
		AND r.id NOT IN (SELECT CAST(args ->> 'run' AS BIGINT) FROM river_job WHERE ` + sqlIsOpen + `)`
	// Open jobs whose run is over or gone.
	sqlIsOver    = sqlIsOpen + ` AND CAST(args ->> 'run' AS BIGINT) NOT IN (SELECT id FROM run WHERE status IN ('queued', 'running', 'lost'))`
	sqlOver      = `SELECT count(*) FROM river_job WHERE ` + sqlIsOver
	sqlCloseOver = `UPDATE river_job SET finalized_at = $1, state = 'cancelled' WHERE ` + sqlIsOver +
		` AND CAST(args ->> 'run' AS BIGINT) IN (SELECT id FROM run WHERE status <> 'finished')`
	sqlCloseRest = `UPDATE river_job SET finalized_at = $1, state = 'completed' WHERE ` + sqlIsOver
	// Open jobs, if their run has ended in one of two ways.
	sqlCloseFinished = `UPDATE river_job SET finalized_at = $2, state = 'completed' WHERE id IN ({ids $1}) AND finalized_at IS NULL
		AND EXISTS (SELECT 1 FROM run WHERE id = CAST(args ->> 'run' AS BIGINT) AND status = 'finished')`
	sqlCloseEnded = `UPDATE river_job SET finalized_at = $2, state = 'cancelled' WHERE id IN ({ids $1}) AND finalized_at IS NULL
		AND EXISTS (SELECT 1 FROM run WHERE id = CAST(args ->> 'run' AS BIGINT) AND status IN ('failed', 'stopped'))`
	// Jobs that nobody asks for any more.
	sqlForget = `DELETE FROM river_job WHERE kind = 'trial' AND (state = 'completed' AND finalized_at < $1
		OR finalized_at IS NOT NULL AND CAST(args ->> 'run' AS BIGINT) NOT IN (SELECT id FROM run))`

	sqlGone    = `SELECT id FROM ({ids $1}) AS list WHERE id NOT IN (SELECT id FROM run)`
	sqlWaits   = `SELECT status FROM run WHERE id = $1 AND deleted IS NULL AND status IN ('queued', 'lost')`
	sqlRunning = `SELECT count(*) FROM run WHERE status = 'running' AND id IN ({ids $1})`
)

// Dialects of these statements, by whether the database is on a server.
var dialects = map[bool]*strings.Replacer{
	false: strings.NewReplacer("$", "?", "{ids $1}", "SELECT value AS id FROM json_each(?1)",
		"{json args}", "json(args)", "{json j.args}", "json(j.args)", "{unfit of t.metadata}", "json_each(json(t.metadata), '$.unfit')",
		"{metadata with unfit $2 $3}", "jsonb_patch(metadata, json_object('unfit', json_object(?2, ?3)))",
		"{metadata as new}", "jsonb_remove(metadata, '$.cancel_attempted_at', '$.unfit', '$.losses')",
		"{metadata with losses $2}", "jsonb_patch(metadata, json_object('losses', ?2))"),
	true: strings.NewReplacer("{ids $1}", "SELECT CAST(value AS BIGINT) AS id FROM json_array_elements_text(CAST($1 AS JSON))",
		"{json args}", "CAST(args AS TEXT)", "{json j.args}", "CAST(j.args AS TEXT)", "{unfit of t.metadata}", "jsonb_each_text(t.metadata -> 'unfit')",
		"{metadata with unfit $2 $3}", "metadata || jsonb_build_object('unfit', COALESCE(metadata -> 'unfit', '{}') || jsonb_build_object(CAST($2 AS TEXT), CAST($3 AS TEXT)))",
		"{metadata as new}", "metadata - 'cancel_attempted_at' - 'unfit' - 'losses'",
		"{metadata with losses $2}", "metadata || jsonb_build_object('losses', CAST($2 AS TEXT))"),
}

// bind puts a statement in the dialect of a store's database.
func bind(store *tracker.Store, statement string) string {
	return dialects[store.Server()].Replace(statement)
}

// querier is the connection that writes, or a transaction of it.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// bound takes statements in no dialect. Its queries wait for a server that went away, but for those within a transaction.
type bound struct {
	store *tracker.Store
	querier
}

func (b bound) QueryContext(ctx context.Context, query string, args ...any) (rows *sql.Rows, err error) {
	err = b.await(ctx, func() (err error) {
		rows, err = b.querier.QueryContext(ctx, bind(b.store, query), args...)
		return err
	})
	return rows, b.store.Explain(err)
}

func (b bound) await(ctx context.Context, f func() error) error {
	if _, within := b.querier.(*sql.Tx); within {
		return f()
	}
	return b.store.Await(ctx, f)
}

func (b bound) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	result, err := b.querier.ExecContext(ctx, bind(b.store, query), args...)
	return result, b.store.Explain(err)
}

// in is a transaction that takes statements in no dialect.
func (j jobs) in(tx *sql.Tx) querier { return bound{j.store, tx} }

// each reads the rows of a query; row must be quick.
func each(ctx context.Context, db querier, query string, args []any, row func(scan func(dest ...any) error) error) error {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // Err says what went wrong
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// column reads a query's one column of ids.
func column(ctx context.Context, db querier, query string, args ...any) (ids []int64, err error) {
	err = each(ctx, db, query, args, func(scan func(...any) error) error {
		var id int64
		err := scan(&id)
		ids = append(ids, id)
		return err
	})
	return ids, err
}

// byStatus reads a query's two columns, an id or a number and a status.
func byStatus(ctx context.Context, db querier, query string, row func(n int64, status tracker.Status)) error {
	return each(ctx, db, query, nil, func(scan func(...any) error) error {
		var n int64
		var status tracker.Status
		err := scan(&n, &status)
		row(n, status)
		return err
	})
}

// list is ids as statements take them.
func list(ids []int64) string {
	text, err := json.Marshal(append([]int64{}, ids...))
	if err != nil {
		panic(err) // numbers have a text
	}
	return string(text)
}

// stamp is a time as River writes it to SQLite; PostgreSQL needs the zone.
func (j jobs) stamp(t time.Time) string {
	layout := "2006-01-02 15:04:05.000"
	if j.store.Server() {
		layout += "Z07:00"
	}
	return t.UTC().Format(layout)
}

// count reads a query's one number.
func (j jobs) count(ctx context.Context, query string, args ...any) (n int, err error) {
	err = each(ctx, j.db, query, args, func(scan func(...any) error) error { return scan(&n) })
	return n, err
}

// pause keeps workers from taking jobs, and resume ends that.
func (j jobs) pause(ctx context.Context) error {
	if err := j.register(ctx); err != nil {
		return err
	}
	return j.client.QueuePause(ctx, queueName, nil)
}

func (j jobs) resume(ctx context.Context) error {
	if err := j.register(ctx); err != nil {
		return err
	}
	return j.client.QueueResume(ctx, queueName, nil)
}

// register makes the queue known to River: an unknown one cannot be paused.
func (j jobs) register(ctx context.Context) error {
	_, err := j.db.ExecContext(ctx, sqlRegister, queueName)
	return err
}

func (j jobs) paused(ctx context.Context) (bool, error) {
	n, err := j.count(ctx, sqlPaused, queueName)
	return n > 0, err
}

// insert makes jobs, of those runs that have no open one.
func (j jobs) insert(ctx context.Context, tx *sql.Tx, list []job) error {
	unique := river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled,
	}}
	seen := map[int64]bool{}
	var params []river.InsertManyParams
	for _, one := range list {
		if !seen[one.RunID] { // two trials may be the same
			params = append(params, river.InsertManyParams{Args: one, InsertOpts: &river.InsertOpts{Queue: queueName, UniqueOpts: unique}})
		}
		seen[one.RunID] = true
	}
	const atOnce = 1000
	for i := 0; i < len(params); i += atOnce {
		if _, err := j.client.InsertManyTx(ctx, tx, params[i:min(i+atOnce, len(params))]); err != nil {
			return err
		}
	}
	return nil
}

// states counts the trials of each status.
func (j jobs) states(ctx context.Context) (trials map[tracker.Status]int, err error) {
	trials = map[tracker.Status]int{}
	err = byStatus(ctx, j.db, sqlCounts, func(n int64, status tracker.Status) { trials[status] = int(n) })
	return trials, err
}

// open are the runs of open jobs, with their status.
func (j jobs) open(ctx context.Context, db querier) (open map[int64]tracker.Status, err error) {
	open = map[int64]tracker.Status{}
	err = byStatus(ctx, db, sqlOpen, func(id int64, status tracker.Status) { open[id] = status })
	return open, err
}

// waiting is a trial that waits for a worker.
type waiting struct {
	id, run int64
	status  tracker.Status // queued or lost
	job     job
	broken  error // why the job cannot be read
}

// sweep is an experiment that has trials which wait for a worker.
type sweep struct {
	id      int64
	running int // trials that a process is at
}

// sweeps are the experiments that have trials which wait, in the order in which they were queued.
func (j jobs) sweeps(ctx context.Context) (sweeps []sweep, err error) {
	err = each(ctx, j.db, sqlSweeps, nil, func(scan func(...any) error) error {
		var s sweep
		err := scan(&s.id, &s.running)
		sweeps = append(sweeps, s)
		return err
	})
	return sweeps, err
}

// lostAgain notes that a trial's worker was lost after the checkpoint of a step, and returns how many were lost there one after
// the other. Only the worker that has the trial calls it.
func (j jobs) lostAgain(ctx context.Context, id int64, step int) (times int, err error) {
	var text string
	if err := each(ctx, j.db, sqlLosses, []any{id}, func(scan func(...any) error) error { return scan(&text) }); err != nil {
		return 0, err
	}
	const form = "%d at step %d"
	before := 0
	if _, err := fmt.Sscanf(text, form, &times, &before); err != nil || before != step {
		times = 0
	}
	times++
	_, err = j.db.ExecContext(ctx, sqlSetLosses, id, fmt.Sprintf(form, times, step))
	return times, err
}

// waiting are trials of an experiment that wait for a worker, in their order.
func (j jobs) waiting(ctx context.Context, experiment int64, limit, offset int) (trials []waiting, err error) {
	err = each(ctx, j.db, sqlWaiting, []any{experiment, limit, offset}, func(scan func(...any) error) error {
		var t waiting
		var args []byte
		if err := scan(&t.id, &t.run, &t.status, &args); err != nil {
			return err
		}
		if err := json.Unmarshal(args, &t.job); err != nil {
			t.broken = fmt.Errorf("the trial cannot be read: %w", err)
		}
		trials = append(trials, t)
		return nil
	})
	return trials, err
}

// waits is the status of a run that still waits for a worker, and empty for another.
func (j jobs) waits(ctx context.Context, run int64) (status tracker.Status, err error) {
	err = each(ctx, j.db, sqlWaits, []any{run}, func(scan func(...any) error) error { return scan(&status) })
	return status, err
}

// Unfit is a trial that waits and that a worker has left to others.
type Unfit struct {
	Run    int64
	Worker string // its process and machine
	Why    string // it could not do the trial
}

// unfit are the trials that wait and that workers have left to others, by run.
func (j jobs) unfit(ctx context.Context) (unfit []Unfit, err error) {
	err = each(ctx, j.db, sqlUnfit, nil, func(scan func(...any) error) error {
		var u Unfit
		err := scan(&u.Run, &u.Worker, &u.Why)
		unfit = append(unfit, u)
		return err
	})
	return unfit, err
}

// setUnfit notes why a worker leaves jobs to others.
func (j jobs) setUnfit(ctx context.Context, ids []int64, worker, why string) error {
	_, err := j.db.ExecContext(ctx, sqlSetUnfit, list(ids), worker, why)
	return err
}

// ofQueue are those of runs that are, or were, in the queue.
func (j jobs) ofQueue(ctx context.Context, tx *sql.Tx, runs []int64) ([]int64, error) {
	return column(ctx, j.in(tx), sqlOfQueue, list(runs))
}

// reopen opens the newest job of each of runs that has one, and returns these runs.
func (j jobs) reopen(ctx context.Context, tx *sql.Tx, runs []int64) ([]int64, error) {
	return column(ctx, j.in(tx), sqlReopen, list(runs), j.stamp(time.Now()))
}

// stray are queued runs that have no open job, by what became of the last one: closed, cancelled, or there was none.
func (j jobs) stray(ctx context.Context) (closed, cancelled, bare []int64, err error) {
	err = each(ctx, j.db, sqlStray, nil, func(scan func(...any) error) error {
		var id int64
		var wasCancelled sql.NullBool
		err := scan(&id, &wasCancelled)
		switch {
		case !wasCancelled.Valid:
			bare = append(bare, id)
		case wasCancelled.Bool:
			cancelled = append(cancelled, id)
		default:
			closed = append(closed, id)
		}
		return err
	})
	return closed, cancelled, bare, err
}

// close closes those jobs whose run has ended.
func (j jobs) close(ctx context.Context, ids []int64) error {
	for _, statement := range []string{sqlCloseFinished, sqlCloseEnded} {
		if _, err := j.db.ExecContext(ctx, statement, list(ids), j.stamp(time.Now())); err != nil {
			return err
		}
	}
	return nil
}

// closeOver closes open jobs whose run is over or gone. It writes only where there are some.
func (j jobs) closeOver(ctx context.Context) error {
	n, err := j.count(ctx, sqlOver)
	if err != nil || n == 0 {
		return err
	}
	return j.store.Transaction(ctx, func(tx *sql.Tx) error { return j.closeOverIn(ctx, tx) })
}

// closeOverIn is closeOver within a transaction.
func (j jobs) closeOverIn(ctx context.Context, tx *sql.Tx) error {
	for _, statement := range []string{sqlCloseOver, sqlCloseRest} {
		if _, err := j.in(tx).ExecContext(ctx, statement, j.stamp(time.Now())); err != nil {
			return err
		}
	}
	return nil
}

// forget deletes the jobs of finished trials that were closed so long ago, and closed ones whose run is gone. It has open ones of earlier
// versions found by waiting.
func (j jobs) forget(ctx context.Context, age time.Duration) error {
	_, err := j.db.ExecContext(ctx, sqlForget, j.stamp(time.Now().Add(-age)))
	if err == nil {
		_, err = j.db.ExecContext(ctx, sqlSetAvailable)
	}
	return err
}

// goneRuns are those of runs that are not there any more: deleted, and freed.
func goneRuns(ctx context.Context, store *tracker.Store, runs []int64) ([]int64, error) {
	return column(ctx, bound{store, store.DB()}, sqlGone, list(runs))
}

// running counts those of runs that a process is at.
func (j jobs) running(ctx context.Context, runs []int64) (int, error) {
	return j.count(ctx, sqlRunning, list(runs))
}
