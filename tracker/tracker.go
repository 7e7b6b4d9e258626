// Package tracker records runs: parameters, tags, notes, metrics and pictures by step, artifacts (files), and the
// environment that a run was made in. It knows nothing of what the runs compute.
//
//	store, err := tracker.Open(ctx, "hrlab.db")
//	defer store.Close()
//	run, err := store.Start(ctx, tracker.NewRun{Experiment: "boat", Params: config})
//	err = run.Log(ctx, step, map[string]float64{"content": 12.5, "style": 310})
//	err = run.Finish(ctx, nil)
//
// When a method of [Run] returns nil, what it recorded is on the disk: neither a killed process nor a power cut loses
// it. Any number of processes may write and read one database at once.
//
// A database is a file or on a server. In a file everything is in one SQLite file, but for artifacts. Those are files of their own in the directory NAME.artifacts
// beside it, named by the sha256 of their content. NAME.lock is locked while the database is created or upgraded. A
// database that a newer version has made is refused. All files have the permissions that umask leaves, and the group that
// their folder gives them, so that a group can share a database.
//
// On a PostgreSQL server several machines share a database. Artifacts are in it too, or, where the URL says so, in a directory
// that all machines see. Names are at most 2,000 bytes long there. Beats and all times are the server's. What a run writes waits
// up to two minutes for a server that is gone.
//
// # Status
//
// A run is
//   - queued: it waits for a worker ([Store.Enqueue], [Store.Requeue]),
//   - running: a process writes it ([Store.Start], [Store.Take], [Store.Resume]),
//   - finished, stopped or failed: [Run.Finish] has ended it, without an error, with [context.Canceled], or with another
//     error; [Store.Cancel] also stops a run that waits,
//   - lost: it was running, and its process is gone.
//
// Whoever lists runs finds out which are lost, and records it. A process on the same machine is looked up by its id and
// the time when it started. Any other writes a beat every two seconds, and counts as gone when the process that lists
// has seen none for 6 seconds; clocks that are wrong, or set meanwhile, make no difference. Listing takes those 6
// seconds where the time of a run's last beat alone does not tell. [Store.Resume] goes on with a run that has ended.
// Its former writer, should it come back, gets [ErrTaken].
//
// # Metrics
//
// A metric has one value at a step. Steps may come in any order, and a value that comes later replaces an earlier one
// of the same step. NaN and infinities are values. The last, smallest and largest value of every metric are kept with
// the run, so that listing runs never reads curves.
//
// # Filters
//
// One line says which runs [Store.Runs] lists:
//
//	params.content_weight > 10 and metrics.style.last < 300 and tags.pair = "boat" and status != failed
//
// Fields are id, name, experiment, status, created, started, ended, params.NAME, tags.NAME and metrics.NAME. A metric's
// field may end in .last (the default), .min or .max. Names with other characters are quoted: params."a b".
//
// Operators are = != < <= > >= and ~ (contains, where the letters A to Z are the same in either case). Comparisons are
// joined by and, or, not and parentheses. One with something that a run does not have, or that is NaN, is false.
//
// Values are numbers, words such as boat.jpg, or text in quotes of either kind, in which a backslash stands before a
// character that is meant literally. Times are 2006-01-02 or 2006-01-02T15:04:05.
//
// [Query.Sort] is a list of such fields, comma-separated; one with - before it sorts in descending order. Runs without
// the field, or with a value that is not finite, come last either way.
//
// # Text
//
// Text is stored as valid UTF-8 without NUL bytes; whatever is neither becomes U+FFFD.
package tracker

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Store is an open database of runs. Its methods may be called by several goroutines at once.
type Store struct {
	url          string
	db           database
	files        files // of artifacts
	self         owner
	clock        clock
	observations observations
	environment  func() map[string]string // of this process, found out once
	gpu          gpu
	close        context.CancelFunc // stops the beats
	closing      context.Context
	beats        sync.WaitGroup
}

var (
	// ErrTaken means that this process may not write the run: another process does, or the run has ended.
	ErrTaken = errors.New("taken by another process, or ended")
	// ErrGivenBack is what [Run.Finish] takes from a worker that gives a run back: it is queued again, for another
	// worker; one that was cancelled is stopped.
	ErrGivenBack = errors.New("given back to the queue")
	// ErrNotFound means that there is no such run, picture or artifact.
	ErrNotFound = errors.New("not found")
)

// Status is the state of a run: see the package comment.
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

// Open opens the database at url, which is a path, sqlite:PATH or postgres://USER@HOST/DATABASE. It creates or upgrades
// the tables where needed. Symbolic links are followed first, so that everything that belongs to the database lies beside
// the file itself.
//
// Of a server the database must be there. The URL may have the settings that
// https://www.postgresql.org/docs/current/libpq-connect.html names, and artifacts, a directory that all machines see.
//
// A database that cannot be written is opened for reading, as it is at that moment: see [Store.ReadOnly].
func Open(ctx context.Context, url string) (*Store, error) {
	s := &Store{url: url, self: thisProcess(), clock: system, environment: sync.OnceValue(environment)}
	if IsServer(url) {
		server, err := newPostgres(url)
		if err != nil {
			return nil, err
		}
		s.db = server
	} else {
		path, err := Path(url)
		if err != nil {
			return nil, err
		}
		s.db = &sqlite{given: path}
	}
	if err := s.db.open(ctx); err != nil {
		return nil, errors.Join(s.plain(err), s.db.close())
	}
	s.files = s.db.artifacts(s)
	s.closing, s.close = context.WithCancel(OnWait(context.WithoutCancel(ctx), func(string) {})) // who calls something tells
	return s, nil
}

// Close closes the database. Runs of this process that were not finished count as lost once it has ended.
func (s *Store) Close() error {
	s.close()
	s.beats.Wait()
	return s.db.close()
}

// Name is the database as messages call it: the file's path, or the server's URL without password and settings.
func (s *Store) Name() string { return s.db.name() }

// URL is what [Open] takes to open the database again, from any directory. It may have a password in it.
func (s *Store) URL() string {
	if path := s.Path(); path != "" {
		return path
	}
	return s.url
}

// Readable says whether this program still can read the database: a newer one may have upgraded it since it was opened.
func (s *Store) Readable(ctx context.Context) error {
	_, err := isNewest(ctx, s.db.reads())
	return s.plain(err)
}

// WaitAtMost sets how long whatever writes a file waits for other processes that write: a minute at first. On a server it changes
// nothing.
func (s *Store) WaitAtMost(ctx context.Context, d time.Duration) error {
	if file, ok := s.db.(*sqlite); ok && file.frozen == nil { // nobody else writes a copy
		return s.plain(file.waitAtMost(ctx, d))
	}
	return nil
}

// Path is the absolute path of the database's file, with symbolic links followed. It is empty where the database is on a
// server.
func (s *Store) Path() string {
	if d, ok := s.db.(*sqlite); ok {
		return d.path
	}
	return ""
}

// ReadOnly is nil if the database can be written. Otherwise it says in one line why not, as every method does that would
// write. Such a store reads a private copy of the file, in a temporary folder, and the artifacts where they are; on a server
// it reads the database itself.
func (s *Store) ReadOnly() error {
	why := s.db.readOnly()
	if why == nil {
		return nil
	}
	return s.plain(fmt.Errorf("read-only: %w", why))
}

// DB has the connections that write, for packages that keep tables of their own in the same database; see [Store.Server].
// There may be one: while a transaction is open nothing else of this process is written.
func (s *Store) DB() *sql.DB { return s.db.writes().DB }

// Await calls f, and again where the server went away meanwhile, for up to two minutes. [OnWait] is told. f must have changed nothing
// then.
func (s *Store) Await(ctx context.Context, f func() error) error { return s.db.again(ctx, f) }

// Explain says in one line what an error of [Store.DB] means, with the database that it is of.
func (s *Store) Explain(err error) error { return s.plain(err) }

// Server says whether the database is PostgreSQL's. Otherwise it is SQLite's.
func (s *Store) Server() bool { return s.Path() == "" }

// Transaction runs f in a transaction that writes, in which [Store.Enqueue] and others can take part. No other process
// writes meanwhile. f must be quick, and must use nothing of the store but what takes the transaction: it would wait for
// itself.
func (s *Store) Transaction(ctx context.Context, f func(t *sql.Tx) error) error {
	s.environment() // takes a while, and Enqueue needs it within the transaction
	return s.write(ctx, func(t tx) error { return f(t.Tx) })
}

// Locked runs f under a lock that one process holds at a time. Creating and upgrading the database takes it too. It is
// for making further tables in the database, and for starting a run only if there is none like it.
func (s *Store) Locked(ctx context.Context, f func() error) error {
	if err := s.ReadOnly(); err != nil {
		return err
	}
	unlock, err := s.db.lock(ctx)
	if err != nil {
		return s.plain(err)
	}
	defer unlock()
	return f()
}
