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
	"sync"
)

// Store is an open database of runs. Its methods may be called from many goroutines.
type Store struct {
	db          *sqlite
	files       directory // of artifacts
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
	// ErrGivenBack is what [Run.Finish] takes from a worker that gives a run back: it is queued again, for another worker.
	ErrGivenBack = errors.New("given back to the queue")
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

// Open opens the database at url, a path or sqlite:PATH, and makes or upgrades it where needed. Links are followed first:
// all that belongs to the database lies beside the file itself. A link to nothing makes the file that it names.
func Open(ctx context.Context, url string) (*Store, error) {
	name, err := Path(url)
	if err != nil {
		return nil, err
	}
	s := &Store{db: &sqlite{name: name}, self: thisProcess(), clock: system, environment: sync.OnceValue(environment)}
	if err = s.db.open(ctx); err != nil {
		return nil, errors.Join(s.plain(err), s.db.close())
	}
	s.files = s.db.artifacts()
	s.closing, s.close = context.WithCancel(context.WithoutCancel(ctx))
	return s, nil
}

// Close closes the database. Runs that were not finished count as lost when this process has ended.
func (s *Store) Close() error {
	s.close()
	s.beats.Wait()
	return s.db.close()
}

// Path is the file of the database: absolute, links followed.
func (s *Store) Path() string { return s.db.path }

// DB is the connection that writes, for those who keep tables of their own beside the runs: a transaction of it is what
// [Store.Enqueue] takes. It is one connection: a transaction left open holds up everything. What Enqueue records of this
// process is found out here, for it takes a while.
func (s *Store) DB() *sql.DB {
	s.environment()
	return s.db.writer
}

// Locked runs f while nobody else does so, and while no process makes or upgrades this database: for those who make
// tables of their own in it, or who start a run only where there is none like it.
func (s *Store) Locked(ctx context.Context, f func() error) error {
	unlock, err := s.db.lock(ctx)
	if err != nil {
		return s.plain(err)
	}
	defer unlock()
	return f()
}
