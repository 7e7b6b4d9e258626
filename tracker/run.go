package tracker

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// NewRun describes a run that is to be made. Every field may be left out.
type NewRun struct {
	Experiment string // "default" where empty
	Name       string // need not be unique
	// Params is a struct or a map that becomes a JSON object. Its numbers are parameters that are numbers; its other
	// values are texts. A value within an inner object has both names, joined by a dot.
	Params any
	Tags   map[string]string
	// Inputs are the digests of what the run reads, by name.
	Inputs map[string]string
	// Environment is added to what the tracker finds out by itself, see [Store.Environment]: the device, for example.
	Environment map[string]string
	// Remote is whether another program computes the run and this process only writes what it is sent. Command,
	// environment and load of this process are not the run's then, and are not recorded.
	Remote bool
	// Files are artifacts that the run begins with, by name, within [Store.Keep].
	Files map[string]*File
}

// Run is a run that this process writes, and no other. Its methods may be called by several goroutines at once.
type Run struct {
	ID int64

	store *Store
	token int64
	stop  context.CancelFunc // of the beats

	remote bool // see NewRun.Remote

	began time.Time     // when this process took the run
	up    time.Duration // what uptime was then

	mu      sync.Mutex
	metrics map[string]*summary

	finishing sync.Mutex
	end       *ending // the end that Finish could not write
	endedLate bool    // a beat has written it
}

// ending is how a run ends.
type ending struct {
	status Status
	text   string
	at     time.Time
	drop   []string
}

// now is the time when this process took the run, and what has passed since: who sets the clock meanwhile changes
// nothing.
func (r *Run) now() time.Time { return r.began.Add(uptime() - r.up) }

// Start creates a run and begins it.
func (s *Store) Start(ctx context.Context, n NewRun) (*Run, error) {
	env := s.environment() // runs git, for which no writer should wait
	return s.beating(s.start(ctx, func(t tx) (int64, error) { return s.enqueueOne(t, n, env, commandLine()) }, Queued))
}

// beating starts the beats of a run that this process has taken, see [Run.beat].
func (s *Store) beating(r *Run, err error) (*Run, error) {
	if err == nil {
		ctx, stop := context.WithCancel(s.closing)
		r.stop = stop
		s.beats.Go(func() { r.beat(ctx) })
	}
	return r, err
}

// Enqueue creates a queued run within a transaction of [Store.DB], so that a job can be made for it in the same one.
func (s *Store) Enqueue(ctx context.Context, t *sql.Tx, n NewRun) (int64, error) {
	id, err := s.enqueueOne(s.within(ctx, t), n, s.environment(), commandLine())
	return id, s.plain(err)
}

// EnqueueAll is [Store.Enqueue] for many runs, far quicker than one by one. It returns their ids, in the order of the runs.
func (s *Store) EnqueueAll(ctx context.Context, t *sql.Tx, runs []NewRun) ([]int64, error) {
	ids, err := s.enqueue(s.within(ctx, t), runs, s.environment(), commandLine())
	return ids, s.plain(err)
}

// Requeue queues those of the runs again that have failed, were stopped or are lost, within a transaction of [Store.DB],
// and takes back that running ones were cancelled. It returns their ids in ascending order. Runs of any other status stay as they are.
func (s *Store) Requeue(ctx context.Context, t *sql.Tx, ids []int64) (queued []int64, err error) {
	return s.changeAll(ctx, t, ids, nil, "queued again", sqlUncancel, sqlRequeue)
}

// Cancel stops those of the runs that are queued or lost, within a transaction of [Store.DB], and tells the writers of
// running ones to stop: see [Run.Cancelled]. It returns their ids in ascending order. Runs of any other status stay as they are.
func (s *Store) Cancel(ctx context.Context, t *sql.Tx, ids []int64) (cancelled []int64, err error) {
	return s.changeAll(ctx, t, ids, []any{micros(s.now())}, "cancelled", sqlCancelRunning, sqlCancelQueued)
}

// changeAll executes the statements, whose parameters are args and then ids, and notes what has happened to the runs that they return.
func (s *Store) changeAll(ctx context.Context, t *sql.Tx, ids []int64, args []any, what string, statements ...string) (changed []int64, err error) {
	if err := s.ReadOnly(); err != nil {
		return nil, err
	}
	w := s.within(ctx, t)
	if err := w.nextChange(); err != nil {
		return nil, s.plain(err)
	}
	for _, statement := range statements {
		more, err := w.ofRuns(statement, args, ids)
		if err != nil {
			return nil, s.plain(err)
		}
		changed = append(changed, more...)
	}
	slices.Sort(changed)
	var notes [][]any
	for _, id := range changed {
		notes = append(notes, []any{id, micros(s.now()), what})
	}
	return changed, s.plain(w.insert(sqlAddNotes, notes))
}

// Cancelled says whether this process was told to stop the run. It then ends it with [ErrGivenBack]: the run is stopped,
// or, where it was queued again meanwhile, queued.
func (r *Run) Cancelled(ctx context.Context) (bool, error) {
	var n int
	err := value(ctx, r.store.db.reads(), []any{&n}, sqlCancelled, r.ID, r.token)
	return n > 0, r.store.plain(err)
}

// Take begins a queued run, or goes on with a lost one. If several processes try, one gets the run and the others
// [ErrTaken]. The run's environment becomes that of this process, with what more adds as in [NewRun.Environment]; it stays where
// more is nil. The run's inputs and its command stay.
func (s *Store) Take(ctx context.Context, id int64, more map[string]string) (*Run, error) {
	return s.resume(ctx, id, more, Queued, Lost)
}

// Resume goes on with a run that has ended or is lost. What was recorded stays; values that are logged again for a step
// replace those that it had. more is that of [Store.Take].
func (s *Store) Resume(ctx context.Context, id int64, more map[string]string) (*Run, error) {
	return s.resume(ctx, id, more, Lost, Stopped, Failed, Finished)
}

func (s *Store) resume(ctx context.Context, id int64, more map[string]string, from ...Status) (*Run, error) {
	var env map[string]string
	if more != nil {
		env = maps.Clone(s.environment())
		maps.Copy(env, more)
	}
	take := func() (*Run, error) {
		return s.start(ctx, func(t tx) (int64, error) {
			if env != nil {
				if err := t.moveEnvironment(id, env); err != nil {
					return 0, err
				}
			}
			return id, t.all([]any{id, micros(s.now()), "taken by " + s.self.String()}, sqlAddNoteTo)
		}, from...)
	}
	r, err := take()
	if errors.Is(err, ErrTaken) { // its process may be gone
		if err := s.findLost(ctx, true); err != nil {
			return nil, err
		}
		var now Status
		if err := value(ctx, s.db.reads(), []any{&now}, sqlStatus, id); err != nil {
			return nil, s.plain(err)
		}
		if now != Running { // others have not to wait for a writer that takes nothing
			r, err = take()
		}
	}
	return s.beating(r, err)
}

// newRun is a run that this process is going to take.
func (s *Store) newRun() *Run {
	return &Run{store: s, token: rand.Int64(), metrics: map[string]*summary{}, stop: func() {}}
}

// take makes this process the writer of r, whose id is known.
func (t tx) take(r *Run) error {
	if err := t.nextChange(); err != nil {
		return err
	}
	self := r.store.self
	r.began, r.up = r.store.now(), uptime()
	return t.all([]any{r.ID, micros(r.now()), self.host, self.pid, self.start, r.token}, sqlTake)
}

// start makes this process the writer of the run that prepare returns, if its status is one of from.
func (s *Store) start(ctx context.Context, prepare func(t tx) (int64, error), from ...Status) (*Run, error) {
	r := s.newRun()
	err := s.write(ctx, func(t tx) (err error) {
		if r.ID, err = prepare(t); err != nil {
			return err
		}
		var status Status
		var deleted bool
		var o owner
		var beat, token int64
		err = t.value([]any{&status, &deleted, &o.host, &o.pid, &o.start, &beat, &token, &r.remote}, sqlState, r.ID)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return fmt.Errorf("run %d: %w", r.ID, ErrNotFound)
		case err != nil:
			return err
		case deleted:
			return fmt.Errorf("run %d is deleted: restore it first", r.ID)
		case status == Running:
			return fmt.Errorf("run %d is running (%s): %w", r.ID, o, ErrTaken)
		case !slices.Contains(from, status):
			return fmt.Errorf("run %d is %s: %w", r.ID, status, ErrTaken)
		}
		if err := t.take(r); err != nil {
			return err
		}
		return each(t.ctx, t, sqlRunSummaries, []any{r.ID}, func(scan func(...any) error) error {
			var name string
			m := &summary{}
			if err := m.scan(scan, &name, &m.id); err != nil {
				return err
			}
			r.metrics[name] = m
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// enqueueOne is enqueue for one run.
func (s *Store) enqueueOne(t tx, n NewRun, env map[string]string, command string) (int64, error) {
	ids, err := s.enqueue(t, []NewRun{n}, env, command)
	if err != nil {
		return 0, err
	}
	return ids[0], nil
}

// enqueue inserts queued runs. Their environment is env and what they add to it.
func (s *Store) enqueue(t tx, runs []NewRun, env map[string]string, command string) (ids []int64, err error) {
	if err := t.nextChange(); err != nil {
		return nil, err
	}
	now := micros(s.now())
	rows := make([][]any, len(runs))
	type kind struct {
		experiment, more, inputs string
		remote                   bool
	}
	known := map[kind][]any{} // what runs of a kind have in common
	for i, n := range runs {
		k := kind{clean(cmp.Or(n.Experiment, "default")), environmentText(n.Environment), environmentText(n.Inputs), n.Remote}
		of, called := env, command
		if n.Remote {
			of, called = nil, ""
		}
		if known[k] == nil {
			all := map[string]string{}
			maps.Copy(all, of)
			maps.Copy(all, n.Environment)
			for name, digest := range n.Inputs {
				all["input."+name] = digest
			}
			if known[k], err = t.ofNewRun(k.experiment, environmentText(all)); err != nil {
				return nil, err
			}
		}
		created := now + int64(i) // an import knows a run by the microsecond in which it was created
		rows[i] = append([]any{clean(n.Name), Queued, created, clean(called)}, known[k]...)
	}
	for statement, args := range inserts(sqlAddRuns, rows) {
		more, err := column(t.ctx, t, statement, args)
		if err != nil {
			return nil, err
		}
		ids = append(ids, more...)
	}
	slices.Sort(ids) // the order in which rows are returned is nobody's promise
	var params, tags, artifacts [][]any
	for i, n := range runs {
		values, err := flatten(n.Params)
		if err != nil {
			return nil, fmt.Errorf("parameters: %w", err)
		}
		params, tags = append(params, paramRows(ids[i], values)...), append(tags, tagRows(ids[i], n.Tags)...)
		for name, file := range n.Files {
			if err := file.keep(t); err != nil {
				return nil, err
			}
			artifacts = append(artifacts, file.row(ids[i], name, now))
		}
	}
	return ids, errors.Join(t.insert(sqlSetParams, params), t.insert(sqlSetTags, tags), t.insert(sqlAddArtifacts, artifacts))
}

// ofNewRun are the number of the change and the ids of an experiment and an environment, which it inserts where they are new.
func (t tx) ofNewRun(experiment, environment string) ([]any, error) {
	var change, experimentID, environmentID int64
	_, err := t.exec(sqlAddExperiment, experiment)
	if err == nil {
		var digest string
		if digest, err = t.addEnvironment(environment); err == nil {
			err = t.value([]any{&change, &experimentID, &environmentID}, sqlOfNewRun, experiment, digest)
		}
	}
	return []any{change, experimentID, environmentID}, err
}

// write runs f in a transaction, if this process is still the run's writer. A server that goes away meanwhile is waited for,
// and then f runs again.
func (r *Run) write(ctx context.Context, f func(t tx) error) error {
	return r.store.db.again(ctx, func() error {
		return r.store.write(ctx, func(t tx) error {
			if err := t.nextChange(); err != nil {
				return err
			}
			if n, err := t.exec(sqlFence, r.ID, r.token); err != nil {
				return err
			} else if n == 0 {
				return fmt.Errorf("run %d: %w", r.ID, ErrTaken)
			}
			return f(t)
		})
	})
}

// Finish ends the run. It is finished if err is nil, stopped if err is [context.Canceled], if err is [ErrGivenBack]
// queued again, or stopped where it was cancelled, and otherwise failed, with the text of err. In the same transaction it removes those of the artifacts
// named by drop that the run has. The end is recorded even when ctx is done, for that is often why a run ends.
//
// If Finish returns an error, of a full disk for example, nothing of this has happened and the run is still running.
// Finish may be called again; until then the beats of this process try to record the end that the last call could not.
func (r *Run) Finish(ctx context.Context, err error, drop ...string) error {
	r.finishing.Lock()
	defer r.finishing.Unlock()
	if r.endedLate {
		return nil
	}
	r.end = &ending{status: Finished, at: r.now(), drop: drop}
	switch {
	case errors.Is(err, ErrGivenBack):
		r.end.status = Queued
	case errors.Is(err, context.Canceled):
		r.end.status = Stopped
	case err != nil:
		r.end.status, r.end.text = Failed, err.Error()
	}
	return r.writeEnd(context.WithoutCancel(ctx))
}

// finishLate records the end that Finish could not, and reports whether it has.
func (r *Run) finishLate(ctx context.Context) bool {
	r.finishing.Lock()
	defer r.finishing.Unlock()
	r.endedLate = r.end != nil && r.writeEnd(ctx) == nil
	return r.endedLate
}

// writeEnd records the end of the run.
func (r *Run) writeEnd(ctx context.Context) error {
	var dropped []string
	err := r.write(ctx, func(t tx) error {
		for _, name := range r.end.drop {
			digest, err := t.dropArtifact(r.ID, name)
			if err != nil {
				return err
			}
			if digest != "" {
				dropped = append(dropped, digest)
			}
		}
		if r.end.status == Queued {
			return errors.Join(
				t.all([]any{r.ID, micros(r.end.at), "given back by " + r.store.self.String()}, sqlAddNote),
				t.all([]any{r.ID, micros(r.end.at)}, sqlGiveBack))
		}
		return t.all([]any{r.ID, r.end.status, micros(r.end.at), clean(r.end.text)}, sqlFinish)
	})
	if err != nil {
		return err
	}
	r.end = nil
	r.stop()
	r.store.freeArtifacts(context.WithoutCancel(ctx), dropped...)
	return nil
}
