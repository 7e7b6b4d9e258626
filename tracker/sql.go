package tracker

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
)

// Every statement on the tracker's tables is here, in the subset that SQLite and PostgreSQL share, with $1, $2 … for
// parameters; what SQLite alone understands is in sqlite.go, and migration/*.sql makes the tables. Those who keep
// tables of their own in the same database (experiments/river.go) may read run's id, status and deleted.
const (
	sqlVersion = `SELECT COALESCE(max(version_id), 0) FROM goose_db_version`

	// A change of a run takes the next number first: see postgresBegin.
	sqlNextChange = `UPDATE change SET n = n + 1`
	sqlChange     = `SELECT n FROM change`
	sqlTouch      = `UPDATE run SET changed = (SELECT n FROM change) WHERE id = $1`
	sqlTouchAll   = `UPDATE run SET changed = (SELECT n FROM change) WHERE id IN (%s) RETURNING id`
	// A writer whose run was called lost, but not taken, goes on.
	sqlFence = `UPDATE run SET changed = (SELECT n FROM change), status = 'running', ended = NULL
		WHERE id = $1 AND token = $2 AND status IN ('running', 'lost')`

	sqlAddExperiment   = `INSERT INTO experiment (name) VALUES ($1) ON CONFLICT (name) DO NOTHING`
	sqlAddEnvironment  = `INSERT INTO environment (digest, json) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING`
	sqlAddRuns         = `INSERT INTO run (name, status, created, command, changed, experiment, environment) VALUES %s RETURNING id`
	sqlOfNewRun        = `SELECT (SELECT n FROM change), (SELECT id FROM experiment WHERE name = $1), (SELECT id FROM environment WHERE digest = $2)`
	sqlMoveEnvironment = `UPDATE run SET environment = (SELECT id FROM environment WHERE digest = $2) WHERE id = $1`
	sqlEnvironment     = `SELECT e.json FROM run r JOIN environment e ON e.id = r.environment WHERE r.id = $1`
	sqlTake            = `UPDATE run SET status = 'running', changed = (SELECT n FROM change), started = COALESCE(started, $2), ended = NULL, error = '', cancelled = NULL,
		beat = $2, host = $3, pid = $4, process_start = $5, token = $6 WHERE id = $1`
	// Of several runs; %s is a list of parameters.
	sqlUncancel = `UPDATE run SET cancelled = NULL, changed = (SELECT n FROM change) WHERE id IN (%s) AND status = 'running' AND cancelled IS NOT NULL RETURNING id`
	sqlRequeue  = `UPDATE run SET status = 'queued', changed = (SELECT n FROM change), ended = NULL, error = ''
		WHERE id IN (%s) AND status IN ('failed', 'stopped', 'lost') RETURNING id`
	sqlCancelQueued = `UPDATE run SET status = 'stopped', changed = (SELECT n FROM change), ended = COALESCE(ended, $1), error = ''
		WHERE id IN (%s) AND status IN ('queued', 'lost') RETURNING id`
	sqlCancelRunning = `UPDATE run SET cancelled = $1, changed = (SELECT n FROM change) WHERE id IN (%s) AND status = 'running' AND cancelled IS NULL RETURNING id`
	sqlCancelled     = `SELECT count(*) FROM run WHERE id = $1 AND token = $2 AND cancelled IS NOT NULL`
	sqlFinish        = `UPDATE run SET status = $2, ended = $3, error = $4, cancelled = NULL WHERE id = $1`
	// A run that was cancelled is not for the next one.
	sqlGiveBack = `UPDATE run SET status = CASE WHEN cancelled IS NULL THEN 'queued' ELSE 'stopped' END,
		ended = CASE WHEN cancelled IS NULL THEN NULL ELSE CAST($2 AS BIGINT) END, error = '', cancelled = NULL WHERE id = $1`
	sqlBeat   = `UPDATE run SET beat = $2 WHERE id = $1`
	sqlStatus = `SELECT status FROM run WHERE id = $1`
	sqlState  = `SELECT status, deleted IS NOT NULL, host, pid, process_start, beat, token, command = '' FROM run WHERE id = $1` // no command: see NewRun.Remote
	sqlAlive  = `SELECT id, host, pid, process_start, beat, token FROM run WHERE status = 'running'`
	sqlLost   = `UPDATE run SET status = CASE WHEN cancelled IS NULL THEN 'lost' ELSE 'stopped' END, cancelled = NULL, ended = beat, changed = (SELECT n FROM change) + $4
		WHERE id = $1 AND token = $2 AND beat = $3 AND status = 'running'`

	sqlAddWorker    = `INSERT INTO worker (host, pid, process_start, beat) VALUES ($1, $2, $3, $4) RETURNING id`
	sqlWorkerBeat   = `UPDATE worker SET beat = $2 WHERE id = $1`
	sqlRemoveWorker = `DELETE FROM worker WHERE id = $1`
	sqlWorkers      = `SELECT w.id, w.host, w.pid, w.process_start, w.beat, COALESCE(r.id, 0) FROM worker w
		LEFT JOIN run r ON r.status = 'running' AND r.host = w.host AND r.pid = w.pid AND r.process_start = w.process_start
		UNION ALL SELECT 0, r.host, r.pid, r.process_start, r.beat, r.id FROM run r WHERE r.status = 'running'
		AND NOT EXISTS (SELECT 1 FROM worker w WHERE r.host = w.host AND r.pid = w.pid AND r.process_start = w.process_start)
		ORDER BY 2, 3, 6`

	sqlImported = `UPDATE run SET status = $2, created = COALESCE($3, created), started = $4, ended = $5, error = $6, deleted = NULL WHERE id = $1`

	sqlSameRun = `SELECT r.id FROM run r JOIN experiment e ON e.id = r.experiment
		WHERE r.name = $1 AND r.created = $2 AND r.command = $3 AND e.name = $4 AND r.id <> $5`

	sqlSetParams = `INSERT INTO param (run, key, text, number) VALUES %s
		ON CONFLICT (run, key) DO UPDATE SET text = excluded.text, number = excluded.number`
	sqlSetTags      = `INSERT INTO tag (run, key, value) VALUES %s ON CONFLICT (run, key) DO UPDATE SET value = excluded.value`
	sqlRemoveTag    = `DELETE FROM tag WHERE run = $1 AND key = $2`
	sqlAddNote      = `INSERT INTO note (run, time, text) VALUES ($1, $2, $3)`
	sqlAddNotes     = `INSERT INTO note (run, time, text) VALUES %s`
	sqlAddNoteTo    = `INSERT INTO note (run, time, text) SELECT id, $2, $3 FROM run WHERE id = $1` // which may not be there
	sqlAddChoice    = `INSERT INTO choice (time, first, second, third, fourth, best) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (first, second, time) DO NOTHING`
	sqlRemoveChoice = `DELETE FROM choice WHERE first = $1 AND second = $2 AND time = $3`
	sqlAddSample    = `INSERT INTO sample (run, time, cpu, memory, gpu, gpu_memory) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (run, time) DO NOTHING`
	sqlSamples      = `SELECT time, cpu, memory, gpu, gpu_memory FROM sample WHERE run = $1 ORDER BY time`

	sqlExperimentsOf = `SELECT count(DISTINCT experiment) FROM run WHERE id IN (%s)`
	sqlChoices       = `SELECT c.time, c.first, c.second, c.third, c.fourth, c.best FROM choice c JOIN run r ON r.id = c.first JOIN experiment e ON e.id = r.experiment`
	sqlChoicesOf     = ` WHERE e.name = $1`
	sqlChoicesFrom   = ` WHERE c.first IN (%s)`
	sqlChoicesOrder  = ` ORDER BY c.time, c.id`

	sqlAddMetricName = `INSERT INTO metric_name (name) VALUES ($1) ON CONFLICT (name) DO NOTHING`
	sqlMetricName    = `SELECT id FROM metric_name WHERE name = $1`
	sqlMetricAt      = `SELECT 1 FROM metric WHERE run = $1 AND name = $2 AND step = $3`
	sqlAddMetrics    = `INSERT INTO metric (run, name, step, value, nan) VALUES %s
		ON CONFLICT (run, name, step) DO UPDATE SET value = excluded.value, nan = excluded.nan`
	sqlSetSummaries = `INSERT INTO summary (run, name, count, last, last_step, min, min_step, max, max_step) VALUES %s
		ON CONFLICT (run, name) DO UPDATE SET count = excluded.count, last = excluded.last, last_step = excluded.last_step,
		min = excluded.min, min_step = excluded.min_step, max = excluded.max, max_step = excluded.max_step`
	sqlRunSummaries = `SELECT m.name, s.name, s.count, s.last, s.last_step, s.min, s.min_step, s.max, s.max_step
		FROM summary s JOIN metric_name m ON m.id = s.name WHERE s.run = $1`
	sqlMetricSteps = `SELECT step, value FROM metric WHERE run = $1 AND name = $2 ORDER BY step`
	sqlPointsAfter = `SELECT n.name, m.step, m.value FROM summary s JOIN metric_name n ON n.id = s.name
		JOIN metric m ON m.run = s.run AND m.name = s.name AND m.step > $2 WHERE s.run = $1 ORDER BY n.name, m.step`
	sqlSeries      = `SELECT s.run, m.id, m.name, s.count, s.last_step FROM summary s JOIN metric_name m ON m.id = s.name WHERE s.run IN (%s)`
	sqlSeriesOf    = ` AND m.name IN (%s)`
	sqlSeriesOrder = ` ORDER BY s.run, m.name`

	sqlHasThumbnail = `SELECT 1 FROM thumbnail WHERE digest = $1`
	sqlAddThumbnail = `INSERT INTO thumbnail (digest, width, height, jpeg) VALUES ($1, $2, $3, $4) ON CONFLICT (digest) DO NOTHING`
	sqlAddPicture   = `INSERT INTO picture (run, name, step, digest) VALUES ($1, $2, $3, $4)
		ON CONFLICT (run, name, step) DO UPDATE SET digest = excluded.digest`
	sqlPictures   = `SELECT p.name, p.step, p.digest, t.width, t.height FROM picture p JOIN thumbnail t ON t.digest = p.digest WHERE p.run = $1 ORDER BY p.step, p.name`
	sqlPicturesOf = `SELECT p.run, p.name, p.step, p.digest, t.width, t.height FROM picture p JOIN thumbnail t ON t.digest = p.digest WHERE p.run IN (%s) ORDER BY p.run, p.step, p.name`
	sqlThumbnail  = `SELECT jpeg FROM thumbnail WHERE digest = $1`

	sqlAddArtifacts = `INSERT INTO artifact (run, name, digest, size, time) VALUES %s
		ON CONFLICT (run, name) DO UPDATE SET digest = excluded.digest, size = excluded.size, time = excluded.time`
	// Of those of several runs that are open and have none of this name; %s is a list of parameters.
	sqlShareArtifact = `INSERT INTO artifact (run, name, digest, size, time) SELECT id, $1, $2, CAST($3 AS BIGINT), CAST($4 AS BIGINT) FROM run
		WHERE id IN (%s) AND status IN ('queued', 'running', 'lost') ON CONFLICT (run, name) DO NOTHING RETURNING run`
	sqlArtifacts      = `SELECT name, digest, size, time FROM artifact WHERE run = $1 ORDER BY name`
	sqlAllArtifacts   = `SELECT run, name, digest, size FROM artifact ORDER BY run, name`
	sqlArtifactDigest = `SELECT digest FROM artifact WHERE run = $1 AND name = $2`
	sqlArtifactNamed  = `SELECT count(*) FROM artifact WHERE digest = $1`
	sqlRemoveArtifact = `DELETE FROM artifact WHERE run = $1 AND name = $2`

	// Runs, with what a filter (filter.go) makes of its fields.
	sqlRuns = `SELECT r.id, r.name, e.name, r.status, r.error, r.command, r.created, r.started, r.ended, r.deleted, r.changed
		FROM run r JOIN experiment e ON e.id = r.experiment WHERE (r.deleted IS NULL OR $1)`
	sqlRunIDs           = `SELECT r.id FROM run r JOIN experiment e ON e.id = r.experiment WHERE (r.deleted IS NULL OR $1)`
	sqlRunsChanged      = ` AND r.changed > $2 ORDER BY +r.id DESC` // by the index of changed: + keeps SQLite from reading all in the order of ids
	sqlRunsOfExperiment = ` AND e.name = $%d`
	sqlRunsWithID       = ` AND r.id = $%d`
	sqlRunsWithIDs      = ` AND r.id IN (%s)`
	sqlRunsWithName     = ` AND r.name = $%d`
	sqlRunsWhere        = ` AND (%s)`
	sqlRunsSort         = ` ORDER BY %sr.id DESC`
	sqlRunsLimit        = ` LIMIT %d`
	sqlMeasured         = `SELECT r.id, e.name%s FROM run r JOIN experiment e ON e.id = r.experiment WHERE r.deleted IS NULL ORDER BY r.id DESC`

	sqlFieldID         = `r.id`
	sqlFieldName       = `r.name`
	sqlFieldExperiment = `e.name`
	sqlFieldStatus     = `r.status`
	sqlFieldCreated    = `r.created`
	sqlFieldStarted    = `r.started`
	sqlFieldEnded      = `r.ended`
	sqlFieldNumber     = `number` // these are columns of the rows below
	sqlFieldText       = `text`
	sqlFieldTag        = `value`
	sqlRowsOfParam     = `param WHERE run = r.id AND key = $%d`
	sqlRowsOfTag       = `tag WHERE run = r.id AND key = $%d`
	sqlRowsOfMetric    = `summary WHERE run = r.id AND name = (SELECT id FROM metric_name WHERE name = $%d)`
	sqlValueOf         = `(SELECT %s FROM %s)`
	sqlCompare         = `%s %s $%d`
	sqlContains        = `LOWER(%s) LIKE LOWER($%d) ESCAPE '\'`
	sqlHolds           = `COALESCE(%s, FALSE)`
	sqlHoldsFor        = `EXISTS (SELECT 1 FROM %s AND %s)` // a server joins these, and looks for the rarest first
	sqlNot             = `NOT (%s)`
	sqlNested          = `(%s)`
	sqlAnd             = ` AND `
	sqlOr              = ` OR `
	sqlUnequal         = `<>`
	sqlDescending      = ` DESC`
	sqlSortText        = `%[1]s IS NULL, %[1]s%[2]s, `
	sqlSortNumber      = `COALESCE(ABS(%[1]s) > 1.7976931348623157e308, TRUE), %[1]s IS NULL, %[1]s%[2]s, ` // what is missing or not finite comes last

	// Of several runs; %s is a list of parameters.
	sqlParamsOf    = `SELECT run, key, text, number FROM param WHERE run IN (%s)`
	sqlTagsOf      = `SELECT run, key, value FROM tag WHERE run IN (%s)`
	sqlNotesOf     = `SELECT run, time, text FROM note WHERE run IN (%s) ORDER BY id`
	sqlSummariesOf = `SELECT s.run, m.name, s.count, s.last, s.last_step, s.min, s.min_step, s.max, s.max_step
		FROM summary s JOIN metric_name m ON m.id = s.name WHERE s.run IN (%s)`

	sqlExperiments = `SELECT e.name, r.status, count(*), min(r.created), max(COALESCE(r.ended, r.started, r.created))
		FROM run r JOIN experiment e ON e.id = r.experiment WHERE r.deleted IS NULL GROUP BY e.name, r.status`

	sqlExperimentNames = `SELECT id, name FROM experiment`
	sqlExperimentID    = `SELECT id FROM experiment WHERE name = $1`

	sqlDelete  = `UPDATE run SET deleted = $2, changed = (SELECT n FROM change) WHERE id = $1 AND deleted IS NULL`
	sqlRestore = `UPDATE run SET deleted = NULL, changed = (SELECT n FROM change) WHERE id = $1`

	// Deleted runs that nobody writes any more.
	sqlPurgeable         = `SELECT id FROM run WHERE deleted IS NOT NULL AND status <> 'running'`
	sqlPurgeMetrics      = `DELETE FROM metric WHERE run = $1`
	sqlPurgeParams       = `DELETE FROM param WHERE run = $1` // a server's have no reference to run, see postgresParams
	sqlPurgeRun          = `DELETE FROM run WHERE id = $1`
	sqlPurgeThumbnails   = `DELETE FROM thumbnail WHERE NOT EXISTS (SELECT 1 FROM picture WHERE picture.digest = thumbnail.digest)`
	sqlPurgeNames        = `DELETE FROM metric_name WHERE NOT EXISTS (SELECT 1 FROM summary WHERE summary.name = metric_name.id)`
	sqlPurgeEnvironments = `DELETE FROM environment WHERE NOT EXISTS (SELECT 1 FROM run WHERE run.environment = environment.id)`
	sqlPurgeExperiments  = `DELETE FROM experiment WHERE NOT EXISTS (SELECT 1 FROM run WHERE run.experiment = experiment.id)`

	sqlRunless = `SELECT run FROM (SELECT DISTINCT run FROM metric UNION SELECT DISTINCT run FROM param) AS named
		WHERE NOT EXISTS (SELECT 1 FROM run AS r WHERE r.id = named.run)`
	sqlAllMetrics   = `SELECT run, name, step, value FROM metric ORDER BY run, name, step`
	sqlAllSummaries = `SELECT run, name, count, last, last_step, min, min_step, max, max_step FROM summary ORDER BY run, name`
	sqlDropSummary  = `DELETE FROM summary WHERE run = $1 AND name = $2`
)

// list is n parameters from $first on: "$3, $4, $5".
func list(first, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "$%d", first+i)
	}
	return b.String()
}

// These insert n rows of one run.
func addMetrics(n int) string   { return inserting(sqlAddMetrics, n, 5, ofRun) }
func addSummaries(n int) string { return inserting(sqlSetSummaries, n, 9, ofRun) }

// inserted holds the statements that inserting made: they take longer to write than to execute.
var inserted sync.Map

// inserting completes a statement that inserts n rows of width values each.
func inserting(format string, n, width int, rows func(n, width int) string) string {
	type key struct {
		format string
		n      int
	}
	if text, ok := inserted.Load(key{format, n}); ok {
		return text.(string)
	}
	text := fmt.Sprintf(format, rows(n, width))
	inserted.Store(key{format, n}, text)
	return text
}

// ofRun is n rows of width values each, the first of which is $1 in all of them: "($1, $2, $3), ($1, $4, $5)".
func ofRun(n, width int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "($1, %s)", list(2+i*(width-1), width-1))
	}
	return b.String()
}

// ofAny is n rows of width values each: "($1, $2), ($3, $4)".
func ofAny(n, width int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "(%s)", list(1+i*width, width))
	}
	return b.String()
}

// inserts are the statements, with their parameters, that insert rows.
func inserts(format string, rows [][]any) iter.Seq2[string, []any] {
	return func(yield func(statement string, args []any) bool) {
		for chunk := range slices.Chunk(rows, maxRows) {
			if !yield(inserting(format, len(chunk), len(chunk[0]), ofAny), slices.Concat(chunk...)) {
				return
			}
		}
	}
}
