package experiments

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"hrlab/hrstyle"
)

// queueName is River's name for the one queue.
const queueName = "trials"

// job is what a worker is told.
type job struct {
	RunID   int64          `json:"run" river:"unique"`
	Config  hrstyle.Config `json:"config"`
	Init    string         `json:"init,omitempty"` // absolute, as the pictures' paths are
	Content string         `json:"content"`
	Style   string         `json:"style"`
	// Inputs are digests, as of the run: what pictures, weights and initial generator were when the trial was queued.
	Inputs   map[string]string `json:"inputs"`
	Patience int               `json:"patience"`
	Device   string            `json:"device,omitempty"` // a kind, where only that will do
}

// Kind is River's name for these jobs.
func (job) Kind() string { return "trial" }

// waiting is a trial that waits for a worker.
type waiting struct {
	id, run int64
	job     job
	broken  error // why the job cannot be read
}

// Statements on River's table, which riverqueue.com documents, and the tracker's. A job's run is in its arguments; it is
// closed when it has a time of finalization. Lists of ids are JSON.
const (
	sqlRegister = `INSERT INTO river_queue (name) VALUES (?1) ON CONFLICT (name) DO NOTHING`
	sqlPaused   = `SELECT count(*) FROM river_queue WHERE name = ?1 AND paused_at IS NOT NULL`

	sqlIsOpen = `queue = 'trials' AND state IN ('available', 'pending', 'retryable', 'running', 'scheduled')` // River has an index of these
	sqlTrials = `FROM river_job j JOIN run r ON r.id = json_extract(j.args, '$.run') WHERE ` + sqlIsOpen + ` AND r.deleted IS NULL`
	sqlCounts = `SELECT r.status, count(*) FROM run r WHERE r.deleted IS NULL AND (r.status = 'queued'
		OR r.id IN (SELECT json_extract(args, '$.run') FROM river_job WHERE kind = 'trial')) GROUP BY r.status`
	sqlOpen    = `SELECT r.id, r.status ` + sqlTrials + ` AND r.status IN ('queued', 'running', 'lost')`
	sqlWaiting = `SELECT j.id, r.id, json(j.args) ` + sqlTrials + ` AND r.status IN ('queued', 'lost')
		ORDER BY j.priority, j.scheduled_at, j.id LIMIT ?1 OFFSET ?2`
	// What workers said of trials that they left to others: reasons by worker, in the job's metadata.
	sqlUnfit = `SELECT t.run, u.key, u.value FROM (SELECT r.id AS run, j.metadata AS metadata ` + sqlTrials + ` AND r.status IN ('queued', 'lost')) t,
		json_each(json(t.metadata), '$.unfit') u ORDER BY t.run, u.key`
	sqlSetUnfit = `UPDATE river_job SET metadata = jsonb_patch(metadata, json_object('unfit', json_object(?2, ?3))) WHERE id IN (SELECT value FROM json_each(?1))`

	sqlOfQueue = `SELECT value FROM json_each(?1) WHERE value IN (SELECT json_extract(args, '$.run') FROM river_job WHERE kind = 'trial')
		OR value IN (SELECT id FROM run WHERE status = 'queued')`
	sqlClosed = `SELECT count(*) FROM river_job WHERE id = ?1 AND finalized_at IS NOT NULL`
	sqlClose  = `UPDATE river_job SET state = ?2, finalized_at = ?3 WHERE id = ?1 AND finalized_at IS NULL`
	sqlCancel = `UPDATE river_job SET state = 'cancelled', finalized_at = ?2, metadata = jsonb_set(metadata, '$.cancel_attempted_at', ?2)
		WHERE ` + sqlIsOpen + ` AND json_extract(args, '$.run') IN (SELECT value FROM json_each(?1))
		RETURNING json_extract(args, '$.run')`
	// Running runs whose last job was cancelled.
	sqlStopping = `SELECT count(*) FROM run r WHERE r.status = 'running' AND r.id IN (SELECT value FROM json_each(?1))
		AND (SELECT j.finalized_at IS NOT NULL AND json_extract(j.metadata, '$.cancel_attempted_at') IS NOT NULL FROM river_job j
			WHERE j.kind = 'trial' AND json_extract(j.args, '$.run') = r.id ORDER BY j.id DESC LIMIT 1)`
	// Of every run the newest job.
	sqlReopen = `UPDATE river_job SET state = 'available', finalized_at = NULL, scheduled_at = ?2,
		metadata = jsonb_remove(metadata, '$.cancel_attempted_at', '$.unfit')
		WHERE id IN (SELECT max(id) FROM river_job WHERE kind = 'trial' AND json_extract(args, '$.run') IN (SELECT value FROM json_each(?1))
		GROUP BY json_extract(args, '$.run')) RETURNING json_extract(args, '$.run')`

	// Queued runs without an open job, and whether the last one was cancelled; NULL where there is none.
	sqlStray = `SELECT r.id, (SELECT json_extract(j.metadata, '$.cancel_attempted_at') IS NOT NULL FROM river_job j
			WHERE j.kind = 'trial' AND json_extract(j.args, '$.run') = r.id ORDER BY j.id DESC LIMIT 1)
		FROM run r WHERE r.status = 'queued' AND r.deleted IS NULL
		AND r.id NOT IN (SELECT json_extract(args, '$.run') FROM river_job WHERE ` + sqlIsOpen + `)`
	// Open jobs whose run is over or gone.
	sqlIsOver    = sqlIsOpen + ` AND json_extract(args, '$.run') NOT IN (SELECT id FROM run WHERE status IN ('queued', 'running', 'lost'))`
	sqlOver      = `SELECT count(*) FROM river_job WHERE ` + sqlIsOver
	sqlCloseOver = `UPDATE river_job SET finalized_at = ?1, state = CASE WHEN json_extract(args, '$.run') IN (SELECT id FROM run WHERE status <> 'finished')
		THEN 'cancelled' ELSE 'completed' END WHERE ` + sqlIsOver
	// Jobs that nobody asks for any more.
	sqlForget = `DELETE FROM river_job WHERE kind = 'trial' AND (state = 'completed' AND finalized_at < ?1
		OR finalized_at IS NOT NULL AND json_extract(args, '$.run') NOT IN (SELECT id FROM run))`

	sqlGone    = `SELECT value FROM json_each(?1) WHERE value NOT IN (SELECT id FROM run)`
	sqlRunning = `SELECT count(*) FROM run WHERE status = 'running' AND id IN (SELECT value FROM json_each(?1))`
)

// querier is the connection that writes, or a transaction of it.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

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

// list is ids as statements take them.
func list(ids []int64) string {
	text, err := json.Marshal(append([]int64{}, ids...))
	if err != nil {
		panic(err) // numbers have a text
	}
	return string(text)
}

// stamp is a time as River writes it to SQLite.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") }

// count reads a query's one number.
func (q *Queue) count(ctx context.Context, query string, args ...any) (n int, err error) {
	err = q.store.DB().QueryRowContext(ctx, query, args...).Scan(&n)
	return n, err
}

// insert makes jobs, of those runs that have no open one.
func (q *Queue) insert(ctx context.Context, tx *sql.Tx, jobs []job) error {
	unique := river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled,
	}}
	seen := map[int64]bool{}
	var params []river.InsertManyParams
	for _, j := range jobs {
		if !seen[j.RunID] { // two trials may be the same
			params = append(params, river.InsertManyParams{Args: j, InsertOpts: &river.InsertOpts{Queue: queueName, UniqueOpts: unique}})
		}
		seen[j.RunID] = true
	}
	const atOnce = 1000
	for i := 0; i < len(params); i += atOnce {
		if _, err := q.client.InsertManyTx(ctx, tx, params[i:min(i+atOnce, len(params))]); err != nil {
			return err
		}
	}
	return nil
}

// transaction runs f in a transaction of the one connection that writes: f must be quick.
func (q *Queue) transaction(ctx context.Context, f func(tx *sql.Tx) error) error {
	tx, err := q.store.DB().BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func (q *Queue) paused(ctx context.Context) (bool, error) {
	n, err := q.count(ctx, sqlPaused, queueName)
	return n > 0, err
}

// waiting reads trials that wait for a worker, in their order.
func (q *Queue) waiting(ctx context.Context, limit, offset int) (trials []waiting, err error) {
	err = each(ctx, q.store.DB(), sqlWaiting, []any{limit, offset}, func(scan func(...any) error) error {
		var t waiting
		var args []byte
		if err := scan(&t.id, &t.run, &args); err != nil {
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
