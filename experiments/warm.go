package experiments

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/jpeg"
	_ "image/png" // outputs are PNG
	"iter"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"hrlab/hrstyle"
	"hrlab/tracker"

	"github.com/gofrs/flock"
	"github.com/riverqueue/river"
)

// Warm is a worker process that others start and use: it keeps the device open, VGG19's weights on it and graphs
// compiled, from one short process to the next. There is one a database at most. DATABASE.worker says who it is, locked
// as long as it lives; DATABASE.worker.log has what it says.
type Warm struct {
	// Command starts the worker, which calls Announce: hrlab worker --while PID.
	Command func() *exec.Cmd
	// Options are those that it was, or is to be, started with: a worker with others is replaced.
	Options hrstyle.Options

	died  chan error // of a worker started here; nil where none was
	was   bool       // ready once
	lives int        // workers started here
}

// maxLives is how many workers one process starts before it gives up: a fit that brings its worker down would do so again.
const maxLives = 3

// announcement is what the file DATABASE.worker has.
type announcement struct {
	PID     int
	Options hrstyle.Options
	Label   string // of VGG19's weights
	Digest  string
}

func workerFile(store *tracker.Store) string { return store.Path() + ".worker" }

// ErrWorker says that another warm worker is at the database.
var ErrWorker = errors.New("another warm worker is at this database")

// Announce makes this process the warm worker of a database. open opens the engine, once it is clear that there is no
// other. Call release at the end.
func Announce(store *tracker.Store, options hrstyle.Options, open func() (*hrstyle.Engine, error)) (engine *hrstyle.Engine, release func(), err error) {
	lock := flock.New(workerFile(store), flock.SetFlag(os.O_CREATE|os.O_RDWR))
	// One that only looks has the lock for a moment.
	const patience, pause = 2 * time.Second, 5 * time.Millisecond
	waiting, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := lock.TryLockContext(waiting, pause); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = ErrWorker
		}
		return nil, nil, fmt.Errorf("%s: %w", store.Path(), err)
	}
	write := func(text []byte) error { // over the text of the one before: the lock is on this very file
		return errors.Join(os.Truncate(lock.Path(), 0), os.WriteFile(lock.Path(), text, 0o666))
	}
	release = func() { _ = errors.Join(write(nil), lock.Unlock()) }
	if err = write(nil); err == nil {
		engine, err = open()
	}
	if err == nil {
		var text []byte
		text, err = json.Marshal(announcement{os.Getpid(), options, engine.VGG.Label, engine.VGG.Digest})
		err = errors.Join(err, write(text))
	}
	if err != nil {
		release()
	}
	return engine, release, err
}

// look says whether there is a warm worker, and who it is if it is ready.
func look(store *tracker.Store) (a announcement, alive bool, err error) {
	lock := flock.New(workerFile(store), flock.SetFlag(os.O_CREATE|os.O_RDWR))
	defer lock.Close() //nolint:errcheck // it unlocks what was locked to look
	free, err := lock.TryRLock()
	if free || err != nil {
		return a, false, err
	}
	text, err := os.ReadFile(lock.Path())
	if err == nil && len(text) > 0 {
		_ = json.Unmarshal(text, &a) // while it is being written it cannot be read: not ready
	}
	return a, true, err
}

// ready waits for a warm worker, and starts one if need be. It returns the weights that the worker has, without their
// values.
func (w *Warm) ready(ctx context.Context, store *tracker.Store) (*hrstyle.VGG, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for told := 0; ; {
		a, alive, err := look(store)
		switch {
		case err != nil:
			return nil, err
		case a.PID != 0 && a.Options == w.Options:
			w.was = true
			return &hrstyle.VGG{Label: a.Label, Digest: a.Digest}, nil
		case a.PID != 0 && a.PID != told: // it ends with what it has, which the next one goes on with
			told = a.PID
			_ = syscall.Kill(a.PID, syscall.SIGTERM)
		case !alive && w.died == nil:
			if err := w.start(store); err != nil {
				return nil, err
			}
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case err := <-w.died:
			w.died = nil
			if _, alive, _ := look(store); !alive && err != nil && (!w.was || w.lives == maxLives) {
				return nil, fmt.Errorf("the worker ended: %w", err)
			}
		case <-tick.C:
		}
	}
}

// start starts a worker, in a session of its own: what interrupts this process is not meant for it.
func (w *Warm) start(store *tracker.Store) error {
	log, err := os.Create(workerFile(store) + ".log")
	if err != nil {
		return err
	}
	defer log.Close()
	command := w.Command()
	command.Stdout, command.Stderr, command.SysProcAttr = log, log, &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return fmt.Errorf("the worker: %w", err)
	}
	died := make(chan error, 1)
	w.died = died
	w.lives++
	go func() {
		err := command.Wait()
		if err != nil {
			said, _ := os.ReadFile(log.Name())
			lines := strings.Split(string(bytes.TrimSpace(said)), "\n")
			err = fmt.Errorf("%w: %s", err, strings.TrimPrefix(lines[len(lines)-1], "hrlab: "))
		}
		died <- err
	}()
	return nil
}

// Fit fits pair with config as a run of the experiment, and yields its steps as they are recorded. A fit that was
// finished before is not done again: its steps are those on record. One that was interrupted goes on. The error is that
// of [hrstyle.Engine.Fit]; when ctx is done the run is stopped, and has its picture.
//
// Steps that this process did not make have neither generator nor checkpoint, and but for the last their pictures are
// thumbnails: see [hrstyle.Recorded].
func (l Lab) Fit(ctx context.Context, experiment string, pair hrstyle.Pair, config hrstyle.Config) iter.Seq2[hrstyle.Step, error] {
	return func(yield func(hrstyle.Step, error) bool) {
		fit, err := l.recorded(ctx, experiment, pair, config)
		if err != nil {
			yield(hrstyle.Step{}, err)
			return
		}
		fit(yield)
	}
}

// recorded starts or finds the run of a fit.
func (l Lab) recorded(ctx context.Context, experiment string, pair hrstyle.Pair, config hrstyle.Config) (iter.Seq2[hrstyle.Step, error], error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if l.Engine == nil {
		h, err := l.hand(ctx, experiment, pair, List(config), 0)
		if err != nil {
			return nil, err
		}
		return h.steps(ctx), nil
	}
	var p Progress
	run, start, err := l.begin(ctx, About{Experiment: experiment}, pairInputs(pair, l.Engine.VGG), pair, config, 0, &p)
	switch {
	case err != nil && run != nil:
		return nil, errors.Join(err, run.Finish(ctx, err))
	case err != nil:
		return nil, err
	case run == nil:
		return (&handed{lab: l, ids: []int64{p.Run}}).steps(ctx), nil
	case start != nil:
		return l.Record(ctx, run, pair, l.Engine.Resume(ctx, pair, start)), nil
	}
	return l.Record(ctx, run, pair, l.Engine.Fit(ctx, pair, config)), nil
}

// handed are trials in the hands of workers, or of whoever has them.
type handed struct {
	lab      Lab
	queue    *Queue // nil where there is nothing to cancel
	ids      []int64
	cursor   int64
	patience time.Duration // for the next look
}

// hand hands trials to the warm worker.
func (l Lab) hand(ctx context.Context, experiment string, pair hrstyle.Pair, trials []Trial, patience int) (*handed, error) {
	if l.Warm == nil {
		return nil, errors.New("a lab without engine and without warm worker cannot fit")
	}
	vgg, err := l.Warm.ready(ctx, l.Tracker)
	if err != nil {
		return nil, err
	}
	h := &handed{lab: l}
	if h.queue, err = OpenQueue(ctx, l.Tracker); err != nil {
		return nil, err
	}
	h.ids, err = h.queue.Enqueue(ctx, experiment, vgg, pair, trials, patience)
	return h, err
}

// over says whether a run has ended.
func over(info tracker.Info) bool {
	return info.Status == tracker.Finished || info.Status == tracker.Failed || info.Status == tracker.Stopped || !info.Deleted.IsZero()
}

// failure is why a run that is over did not finish.
func failure(info tracker.Info) error {
	switch info.Status {
	case tracker.Stopped:
		return fmt.Errorf("run %d was stopped: %w", info.ID, context.Canceled)
	case tracker.Failed:
		return fmt.Errorf("run %d: %s", info.ID, info.Error)
	}
	if !info.Deleted.IsZero() {
		return fmt.Errorf("run %d was deleted", info.ID)
	}
	return nil
}

// changed waits until one of the runs has changed, and sees to it that there is a worker.
func (h *handed) changed(ctx context.Context) ([]tracker.Info, error) {
	for {
		look, cancel := context.WithTimeout(ctx, h.patience)
		all, cursor, err := h.lab.Tracker.Watch(look, h.cursor)
		cancel()
		h.cursor = cursor
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return nil, err
		}
		if h.patience = time.Second; cursor == 0 { // the first look reads all runs
			h.patience = time.Minute
		}
		if h.queue != nil && h.lab.Warm != nil {
			if _, err := h.lab.Warm.ready(ctx, h.lab.Tracker); err != nil {
				return nil, err
			}
		}
		all = slices.DeleteFunc(all, func(i tracker.Info) bool { return !slices.Contains(h.ids, i.ID) })
		if len(all) > 0 {
			return all, nil
		}
	}
}

// stop cancels what is not over, and waits a moment for the run that a worker is at: who stops it wants to see its last
// picture, but not to wait for a long step.
func (h *handed) stop(ctx context.Context) error {
	if h.queue == nil {
		return nil
	}
	const patience = 800 * time.Millisecond
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	open := func() ([]tracker.Info, error) {
		runs, err := h.lab.infos(ctx, h.ids)
		return slices.DeleteFunc(runs, over), err
	}
	left, err := open()
	if err == nil {
		_, err = h.queue.Cancel(ctx, left)
	}
	for err == nil && slices.ContainsFunc(left, func(i tracker.Info) bool { return i.Status == tracker.Running }) {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(20 * time.Millisecond):
		}
		left, err = open()
	}
	return err
}

// steps yields the steps of the one run as they come.
func (h *handed) steps(ctx context.Context) iter.Seq2[hrstyle.Step, error] {
	return func(yield func(hrstyle.Step, error) bool) {
		var last hrstyle.Step
		var stop error
		for {
			changed, err := h.changed(ctx)
			if err != nil {
				stop = errors.Join(err, h.stop(ctx))
				changed, err = h.lab.infos(context.WithoutCancel(ctx), h.ids)
			}
			if err != nil {
				yield(last, err)
				return
			}
			info := changed[0]
			ended := over(info) || stop != nil
			steps, err := h.lab.stepsAfter(context.WithoutCancel(ctx), info, last, ended)
			for _, s := range steps {
				last = s
				if !yield(s, nil) {
					_ = h.stop(ctx) // the loop has other worries
					return
				}
			}
			if err = errors.Join(err, stop); err == nil && ended {
				err = failure(info)
			}
			if err != nil {
				yield(last, err)
				return
			}
			if ended {
				return
			}
		}
	}
}

// Recorded are the steps of a run that have a picture, as they are on record.
func (l Lab) Recorded(ctx context.Context, run tracker.Info) ([]hrstyle.Step, error) {
	return l.stepsAfter(ctx, run, hrstyle.Step{}, true)
}

// stepsAfter are the steps on record after last, whose metrics and pictures are both there. The last step of a run that
// is over has the picture at its size.
func (l Lab) stepsAfter(ctx context.Context, info tracker.Info, last hrstyle.Step, over bool) (steps []hrstyle.Step, err error) {
	series, err := l.Tracker.Series(ctx, []int64{info.ID}, []string{"content", "seconds", "style", "total"}, 0)
	if err != nil {
		return nil, err
	}
	values := map[int64]map[string]float64{}
	for _, s := range series {
		for i, n := range s.Steps {
			if values[n] == nil {
				values[n] = map[string]float64{}
			}
			values[n][s.Metric] = s.Values[i]
		}
	}
	pictures, err := l.Tracker.Pictures(ctx, info.ID)
	if err != nil {
		return nil, err
	}
	pictures = slices.DeleteFunc(pictures, func(p tracker.Picture) bool {
		return p.Name != Output || last.Ok() && p.Step <= int64(last.N) || len(values[p.Step]) < 4
	})
	for i, p := range pictures {
		v := values[p.Step]
		data, err := l.Tracker.Thumbnail(ctx, p.Digest)
		if err != nil {
			return nil, err
		}
		img, err := jpeg.Decode(bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("run %d, picture of step %d: %w", info.ID, p.Step, err)
		}
		if over && i == len(pictures)-1 {
			output, err := fromArtifact(ctx, l.Tracker, info.ID, Output, hrstyle.LoadPicture)
			switch {
			case err == nil:
				img = output.Image
			case !errors.Is(err, tracker.ErrNotFound):
				return nil, err
			}
		}
		steps = append(steps, hrstyle.Recorded(int(p.Step), v["total"], v["content"], v["style"], time.Duration(v["seconds"]*float64(time.Second)), img))
	}
	return steps, nil
}

// sweepWarm is Sweep by the warm worker.
func (l Lab) sweepWarm(ctx context.Context, experiment string, pair hrstyle.Pair, trials []Trial, patience int, progress func(Progress)) ([]tracker.Info, error) {
	h, err := l.hand(ctx, experiment, pair, trials, patience)
	if err != nil {
		return nil, err
	}
	runs, err := h.follow(ctx, trials, progress)
	if err != nil && !errors.Is(err, ErrTrials) {
		err = errors.Join(err, h.stop(ctx))
	}
	return runs, err
}

// Follow shows how queued trials get on, whoever is at them, until all are over; ids are their runs, as Enqueue returns
// them. Runs and error are those of [Lab.Sweep]. When ctx is done the trials stay queued.
func (q *Queue) Follow(ctx context.Context, ids []int64, trials []Trial, progress func(Progress)) ([]tracker.Info, error) {
	return (&handed{lab: Lab{Tracker: q.store}, queue: q, ids: ids}).follow(ctx, trials, progress)
}

func (h *handed) follow(ctx context.Context, trials []Trial, progress func(Progress)) ([]tracker.Info, error) {
	open := map[int64]*Progress{}
	for i, id := range h.ids {
		open[id] = &Progress{Trial: i + 1, Trials: len(trials), Run: id, Config: trials[i].Config}
	}
	began := time.Now()
	var failed []error
	for len(open) > 0 {
		changed, err := h.changed(ctx)
		if err != nil {
			return nil, err
		}
		for _, info := range changed {
			p := open[info.ID]
			if p == nil {
				continue
			}
			p.Ended = over(info)
			if info.Status == tracker.Finished && info.Ended.Before(began) {
				p.Skipped = "finished before"
			} else {
				steps, err := h.lab.stepsAfter(ctx, info, p.Step, p.Ended)
				if err != nil {
					return nil, err
				}
				if len(steps) > 0 {
					p.Step = steps[len(steps)-1]
					shown := *p
					shown.Ended = false
					progress(shown)
				}
			}
			if p.Ended {
				if p.Err = failure(info); p.Err != nil {
					failed = append(failed, fmt.Errorf("trial %d: %s", p.Trial, p.Err)) //nolint:errorlint // cancelled is not what this sweep is
				}
				progress(*p)
				delete(open, info.ID)
			}
		}
	}
	runs, err := h.lab.infos(ctx, h.ids)
	if len(failed) > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d %w: %w", len(failed), len(trials), ErrTrials, failed[0]))
	}
	return runs, err
}

// Enqueue hands the trials of a pair to the warm worker and does not wait for them. It returns their runs.
func (l Lab) Enqueue(ctx context.Context, experiment string, pair hrstyle.Pair, trials []Trial) ([]int64, error) {
	h, err := l.hand(ctx, experiment, pair, trials, 0)
	if err != nil {
		return nil, err
	}
	return h.ids, nil
}

// sqlCancelled counts a job if it is to be cancelled.
const sqlCancelled = `SELECT count(*) FROM river_job WHERE id = ?1 AND json_extract(metadata, '$.cancel_attempted_at') IS NOT NULL`

// cancellable is ctx until a job is to be cancelled: River itself looks every two seconds, which is long for someone who
// has pressed a button.
func (w *worker) cancellable(ctx context.Context, r *river.Job[job]) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			n := 0
			if err := w.lab.Tracker.DB().QueryRowContext(ctx, sqlCancelled, r.ID).Scan(&n); err == nil && n > 0 {
				cancel()
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	}()
	return ctx, cancel
}
