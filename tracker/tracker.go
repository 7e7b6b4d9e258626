// Package tracker records runs and loses nothing: parameters, tags, notes, metrics and pictures by step, artifacts, and
// where and with what a run was made. It knows no models.
//
//	store, err := tracker.Open(ctx, "hrlab.db")
//	defer store.Close()
//	run, err := store.Start(ctx, tracker.NewRun{Experiment: "boat", Params: config})
//	err = run.Log(ctx, step, map[string]float64{"content": 12.5, "style": 310})
//	err = run.Finish(ctx, nil)
//
// What a method of [Run] has recorded when it returns nil is on the disk, whatever happens to the process or the
// machine then. Any number of processes may write and read one database at once.
//
// Everything is in one SQLite file, but for artifacts: those lie beside it in NAME.artifacts under their sha256.
// NAME.lock guards creation and migration. A database made by a newer version is refused.
//
// # Status
//
// A run is queued ([Store.Enqueue], [Store.Requeue]), running, finished, stopped (by [context.Canceled] or
// [Store.CancelQueued]), failed, or lost: its process is gone. A process of this machine is looked up by its id and its start, counted from the machine's; one of another machine
// counts as gone when it has not beaten for 8 seconds, as the process that looks has seen: no clock that is wrong, or set,
// on any of them makes a difference. Where the time of a last beat is odd, whoever lists runs may have to look on so long.
// Whoever lists runs finds this out and records it. [Store.Resume] goes on with a run that
// has ended; from then on the former writer, should it come back, gets [ErrTaken].
//
// # Metrics
//
// Steps may come in any order; of two values of one step the later counts. NaN and infinities are values. Last,
// smallest and largest value of every metric are kept beside the run, so listing never reads curves.
//
// # Filters
//
// One line says which runs [Store.Runs] lists:
//
//	params.content_weight > 10 and metrics.style.last < 300 and tags.pair = "boat" and status != failed
//
// Fields are id, name, experiment, status, created, started, ended, params.NAME, tags.NAME and metrics.NAME with .last
// (or nothing), .min or .max; odd names are quoted: params."a b". Operators are = != < <= > >= and ~ (contains; letters
// of ASCII in either case), joined by and, or, not and parentheses. Values are numbers, words such as boat.jpg, or text
// in quotes of either kind, where a backslash takes what follows as it is; times are 2006-01-02 or 2006-01-02T15:04:05.
// A comparison with something that a run does not have, or that is NaN, is false. [Query.Sort] lists fields by comma;
// one with - before it sorts downwards; runs without the field, or with a value that is not finite, come last.
//
// # Text
//
// Text is stored as valid UTF-8 without NUL; other bytes become U+FFFD.
package tracker

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Store is an open database of runs. Its methods may be called from many goroutines.
type Store struct {
	name        string  // as it was given
	path        string  // of the file itself
	beside      string  // where earlier versions, which followed no links, left artifacts; empty where it is no link
	writer      *sql.DB // one connection: SQLite has one writer at a time
	reader      *sql.DB
	self        owner
	clock       clock
	sights      sights
	environment func() map[string]string // of this process, found out once
	gpu         gpu
	close       context.CancelFunc // stops the beats
	closing     context.Context
	beats       sync.WaitGroup
}

var (
	// ErrTaken says that another process writes the run now, or that the run has ended.
	ErrTaken = errors.New("taken by another process, or ended")
	// ErrLeft is what a worker ends a run with that is another's now: it is queued again.
	ErrLeft = errors.New("left to the next worker")
	// ErrNotFound says that there is no such run, picture or artifact.
	ErrNotFound = errors.New("not found")
)

// Status is what became of a run.
type Status string

// The states of a run.
const (
	Queued   Status = "queued"
	Running  Status = "running"
	Finished Status = "finished"
	Failed   Status = "failed"
	Stopped  Status = "stopped"
	Lost     Status = "lost"
)

var statuses = []Status{Queued, Running, Finished, Failed, Stopped, Lost}

// Path is the file of the database at url: a path, or sqlite:PATH.
func Path(url string) (string, error) {
	scheme, path, ok := strings.Cut(url, ":")
	switch {
	case !ok || strings.ContainsAny(scheme, `/\.`):
		path = url
	case scheme != "sqlite":
		return "", fmt.Errorf("%s: unknown kind of database %q; allowed: a path, sqlite:PATH", url, scheme)
	default:
		path = strings.TrimPrefix(path, "//")
	}
	if path == "" || path == ":memory:" {
		return "", fmt.Errorf("database %q: allowed: a path, sqlite:PATH", url)
	}
	return path, nil
}

// Open opens the database at url, a path or sqlite:PATH, and makes or upgrades it where needed. Links are followed first:
// all that belongs to the database lies beside the file itself. A link to nothing makes the file that it names.
func Open(ctx context.Context, url string) (*Store, error) {
	name, err := Path(url)
	if err != nil {
		return nil, err
	}
	s := &Store{name: name, self: thisProcess(), clock: system, environment: sync.OnceValue(environment)}
	if err = s.open(ctx); err != nil {
		return nil, errors.Join(s.plain(err), s.closeDatabase())
	}
	s.closing, s.close = context.WithCancel(context.WithoutCancel(ctx))
	return s, nil
}

// Close closes the database. Runs that were not finished count as lost when this process has ended.
func (s *Store) Close() error {
	s.close()
	s.beats.Wait()
	return s.closeDatabase()
}

// Path is the file of the database: absolute, links followed.
func (s *Store) Path() string { return s.path }

// DB is the connection that writes, for those who keep tables of their own beside the runs: a transaction of it is what
// [Store.Enqueue] takes. It is one connection: a transaction left open holds up everything. What Enqueue records of this
// process is found out here, for it takes a while.
func (s *Store) DB() *sql.DB {
	s.environment()
	return s.writer
}

// Locked runs f while nobody else does so, and while no process makes or upgrades this database: for those who make
// tables of their own in it, or who start a run only where there is none like it.
func (s *Store) Locked(ctx context.Context, f func() error) error {
	unlock, err := lock(ctx, s.path+".lock", true)
	if err != nil {
		return s.plain(err)
	}
	defer unlock()
	return f()
}

// tx is a transaction that writes.
type tx struct {
	ctx context.Context
	*sql.Tx
}

// write runs f in a transaction. It is not interrupted once begun: what it does is short, and a caller that is being
// stopped still wants its last step recorded.
func (s *Store) write(ctx context.Context, f func(t tx) error) error {
	t, err := s.begin(ctx)
	if err != nil {
		return s.plain(err)
	}
	ctx = context.WithoutCancel(ctx)
	if err := f(tx{ctx, t}); err != nil {
		return s.plain(errors.Join(err, t.Rollback()))
	}
	return s.plain(t.Commit())
}

// begin waits for other writers, as long as ctx lasts. SQLite cannot be interrupted while it waits, so that a goroutine
// waits on.
func (s *Store) begin(ctx context.Context) (*sql.Tx, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	type result struct {
		t   *sql.Tx
		err error
	}
	begun := make(chan result)
	go func() {
		t, err := s.writer.BeginTx(context.WithoutCancel(ctx), nil)
		select {
		case begun <- result{t, err}:
		case <-ctx.Done():
			if err == nil {
				_ = t.Rollback() // nothing was written
			}
		}
	}()
	select {
	case b := <-begun:
		return b.t, b.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// exec executes a statement and returns the number of rows it changed.
func (t tx) exec(sql string, args ...any) (int64, error) {
	result, err := t.ExecContext(t.ctx, bind(sql), args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// all executes statements that have no parameters but args.
func (t tx) all(args []any, statements ...string) error {
	for _, statement := range statements {
		if _, err := t.exec(statement, args...); err != nil {
			return err
		}
	}
	return nil
}

// value reads a row into dest.
func (t tx) value(dest []any, sql string, args ...any) error {
	return t.QueryRowContext(t.ctx, bind(sql), args...).Scan(dest...)
}

// querier is a connection or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// each reads the rows of a query.
func each(ctx context.Context, q querier, query string, args []any, row func(scan func(dest ...any) error) error) error {
	result, err := q.QueryContext(ctx, bind(query), args...)
	if err != nil {
		return err
	}
	defer result.Close() //nolint:errcheck // Err says what went wrong
	for result.Next() {
		if err := row(result.Scan); err != nil {
			return err
		}
	}
	return result.Err()
}

// clean makes text valid UTF-8 without NUL, which every database stores.
func clean(s string) string {
	const replacement = "\uFFFD"
	return strings.ReplaceAll(strings.ToValidUTF8(s, replacement), "\x00", replacement)
}

// micros is a time as the database has it.
func micros(t time.Time) int64 { return t.UnixMicro() }

// instant is a time of the database; NULL is the zero time.
func instant(t sql.NullInt64) time.Time {
	if !t.Valid {
		return time.Time{}
	}
	return time.UnixMicro(t.Int64).UTC()
}
