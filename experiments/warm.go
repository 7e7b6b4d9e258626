package experiments

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
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
	"hrlab/hrstyle/device"
	"hrlab/report"
	"hrlab/tracker"

	"github.com/gofrs/flock"
)

// Warm is a worker process that others start and use: it keeps the device open, VGG19's weights on it and graphs
// compiled, from one short process to the next. A database has at most one for the same options.
// DATABASE.worker-OPTIONS, where OPTIONS stands for them, says who it is, locked as long as it lives;
// DATABASE.worker-OPTIONS.log has what it says.
type Warm struct {
	// Command starts the worker, which calls Announce: hrlab worker --while PID.
	Command func() *exec.Cmd
	// Options are those that it was, or is to be, started with.
	Options hrstyle.Options

	died  chan error // of a worker started here; nil where none was
	was   bool       // ready once
	pid   int        // its process, of the last look
	lives int        // workers started here
}

// maxLives is how many workers one process starts before it gives up: a fit that brings its worker down would do so again.
const maxLives = 3

// announcement is what the worker's file has.
type announcement struct {
	PID    int
	Label  string // of VGG19's weights
	Digest string
}

// workerFile is named by a digest of the options.
func workerFile(store *tracker.Store, options hrstyle.Options) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", []string{cmp.Or(options.Device, "auto"), cmp.Or(options.VGG, "auto")}))
	return store.Path() + ".worker-" + hex.EncodeToString(sum[:4])
}

// ErrWorker says that another warm worker with the same options is at the database.
var ErrWorker = errors.New("another warm worker with these options is at this database")

// Announce makes this process the warm worker of a database with these options. open opens the engine, once it is clear
// that there is no other. Call release at the end.
func Announce(store *tracker.Store, options hrstyle.Options, open func() (*hrstyle.Engine, error)) (engine *hrstyle.Engine, release func(), err error) {
	lock := flock.New(workerFile(store, options), flock.SetFlag(os.O_CREATE|os.O_RDWR))
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
		text, err = json.Marshal(announcement{os.Getpid(), engine.VGG.Label, engine.VGG.Digest})
		err = errors.Join(err, write(text))
	}
	if err != nil {
		release()
	}
	return engine, release, err
}

// look says whether there is a warm worker with these options, and who it is if it is ready.
func look(store *tracker.Store, options hrstyle.Options) (a announcement, alive bool, err error) {
	lock := flock.New(workerFile(store, options), flock.SetFlag(os.O_CREATE|os.O_RDWR))
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

// ready waits for the warm worker, and starts it if need be. It returns the weights that the worker has, without their
// values.
func (w *Warm) ready(ctx context.Context, store *tracker.Store) (*hrstyle.VGG, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		a, alive, err := look(store, w.Options)
		switch {
		case err != nil:
			return nil, err
		case a.PID != 0:
			w.was, w.pid = true, a.PID
			return &hrstyle.VGG{Label: a.Label, Digest: a.Digest}, nil
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
			if _, alive, _ := look(store, w.Options); !alive && err != nil && (!w.was || w.lives == maxLives) {
				return nil, fmt.Errorf("the worker ended: %w", err)
			}
		case <-tick.C:
		}
	}
}

// start starts a worker, in a session of its own: what interrupts this process is not meant for it.
func (w *Warm) start(store *tracker.Store) error {
	log, err := os.Create(workerFile(store, w.Options) + ".log")
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
			last := cmp.Or(strings.TrimPrefix(lines[len(lines)-1], "hrlab: "), "it said nothing in "+log.Name())
			err = fmt.Errorf("%w: %s", err, last)
		}
		died <- err
	}()
	return nil
}

// Fit fits pair with config as a run of the experiment, and yields its steps as they are recorded. A fit that was
// finished before is not done again: its steps are those on record. One that was interrupted goes on, and one that
// another process is at is followed, and goes on here should that end. The error is that of [hrstyle.Engine.Fit]; when ctx
// is done the run is stopped, and has its picture.
//
// Steps that this process did not make have neither generator nor checkpoint, and but for the last their pictures are
// thumbnails: see [hrstyle.Recorded].
func (l Lab) Fit(ctx context.Context, experiment string, pair hrstyle.Pair, config hrstyle.Config) iter.Seq2[hrstyle.Step, error] {
	return func(yield func(hrstyle.Step, error) bool) {
		for last := -1; ; {
			fit, err := l.recorded(ctx, experiment, pair, config)
			if err != nil {
				yield(hrstyle.Step{}, err)
				return
			}
			over := true
			for step, err := range fit {
				if errors.Is(err, errAbandoned) {
					over = false
					break
				}
				if err == nil && step.N <= last { // seen before, from another process
					continue
				}
				if last = max(last, step.N); !yield(step, err) {
					return
				}
			}
			if over {
				return
			}
		}
	}
}

// errAbandoned ends the steps of a run that another process was at and did not bring to its end.
var errAbandoned = errors.New("the process that was at the run is gone")

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
		return newHanded(l, nil, []int64{p.Run}).steps(ctx), nil
	case start != nil:
		return l.Record(ctx, run, l.Engine.Resume(ctx, pair, start.Checkpoint)), nil
	}
	return l.Record(ctx, run, l.Engine.Fit(ctx, pair, config)), nil
}

// handed are trials in the hands of workers, or of whoever has them.
type handed struct {
	lab    Lab
	queue  *Queue // nil where there is nothing to cancel
	ids    []int64
	mine   map[int64]bool // the ids
	cursor int64
	asked  time.Time      // for what Watch does not tell
	waits  map[Unfit]bool // what workers said of trials that they left to others
}

func newHanded(lab Lab, queue *Queue, ids []int64) *handed {
	h := &handed{lab: lab, queue: queue, ids: slices.Clone(ids), mine: map[int64]bool{}}
	for _, id := range ids {
		h.mine[id] = true
	}
	return h
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
	queue, err := OpenQueue(ctx, l.Tracker)
	if err != nil {
		return nil, err
	}
	common := job{Patience: patience}
	if l.Warm.Options.Device != string(device.Auto) {
		common.Device = l.Warm.Options.Device
	}
	ids, err := queue.enqueue(ctx, experiment, vgg, pair, trials, common)
	return newHanded(l, queue, ids), err
}

// over says whether a run has ended.
func over(info tracker.Info) bool {
	return info.Status == tracker.Finished || info.Status == tracker.Failed || info.Status == tracker.Stopped || !info.Deleted.IsZero()
}

// stoppedError is the cancellation of a run.
type stoppedError int64

func (e stoppedError) Error() string { return fmt.Sprintf("run %d was stopped", int64(e)) }

func (stoppedError) Unwrap() error { return context.Canceled }

// failure is why a run that is over did not finish.
func failure(info tracker.Info) error {
	switch info.Status {
	case tracker.Stopped:
		return stoppedError(info.ID)
	case tracker.Failed:
		return fmt.Errorf("run %d: %s", info.ID, info.Error)
	}
	if !info.Deleted.IsZero() {
		return fmt.Errorf("run %d was deleted", info.ID)
	}
	return nil
}

// change is something that has become of the trials.
type change struct {
	runs  []tracker.Info // that have changed
	gone  []int64        // that are not there any more
	unfit []Unfit        // newly left to others by a worker
}

// changed waits until something has become of the runs, and sees to it that there is a worker.
func (h *handed) changed(ctx context.Context) (c change, err error) {
	for {
		if h.queue != nil && h.lab.Warm != nil {
			if _, err := h.lab.Warm.ready(ctx, h.lab.Tracker); err != nil {
				return c, err
			}
		}
		patience := time.Second
		if time.Since(h.asked) >= patience {
			if c.gone, err = column(ctx, h.lab.Tracker.DB(), sqlGone, list(h.ids)); err == nil {
				c.unfit, err = h.unfit(ctx)
			}
			if ctx.Err() != nil {
				return c, context.Cause(ctx)
			}
			if err != nil || len(c.gone)+len(c.unfit) > 0 {
				return c, err
			}
			h.asked = time.Now()
		}
		if h.cursor == 0 { // the first look reads all runs
			patience = time.Minute
		}
		look, cancel := context.WithTimeout(ctx, patience)
		c.runs, h.cursor, err = h.lab.Tracker.Watch(look, h.cursor)
		late := look.Err() != nil
		cancel()
		if ctx.Err() != nil {
			return c, context.Cause(ctx)
		}
		if err != nil && !late {
			return c, err
		}
		c.runs = slices.DeleteFunc(c.runs, func(i tracker.Info) bool { return !h.mine[i.ID] })
		if len(c.runs) > 0 {
			return c, nil
		}
	}
}

// unfit are trials that a worker has left to others since the last look. Where there is a warm worker, it is the one that
// counts.
func (h *handed) unfit(ctx context.Context) (unfit []Unfit, err error) {
	if h.queue == nil {
		return nil, nil
	}
	all, err := h.queue.Unfit(ctx)
	waits := map[Unfit]bool{}
	for _, u := range all {
		if !h.mine[u.Run] || h.lab.Warm != nil && u.Worker != thisWorker(h.lab.Warm.pid) {
			continue
		}
		if waits[u] = true; !h.waits[u] {
			unfit = append(unfit, u)
		}
	}
	h.waits = waits
	return unfit, err
}

// stop cancels what is not over, and waits a moment for the run that a worker is at: who stops it wants to see its last
// picture, but not to wait for a long step.
func (h *handed) stop(ctx context.Context) error {
	if h.queue == nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	if _, err := h.queue.cancel(ctx, h.ids); err != nil {
		return err
	}
	const patience, pause = 800 * time.Millisecond, 20 * time.Millisecond
	for began := time.Now(); time.Since(began) < patience; time.Sleep(pause) {
		if n, err := h.queue.count(ctx, sqlRunning, list(h.ids)); err != nil || n == 0 {
			return err
		}
	}
	return nil
}

// steps yields the steps of the one run as they come.
func (h *handed) steps(ctx context.Context) iter.Seq2[hrstyle.Step, error] {
	return func(yield func(hrstyle.Step, error) bool) {
		var last hrstyle.Step
		var stop error
		fail := func(err error) { yield(last, err) }
		for {
			c, err := h.changed(ctx)
			if err != nil {
				stop = errors.Join(err, h.stop(ctx))
				c.runs, err = h.lab.infos(context.WithoutCancel(ctx), h.ids)
			}
			switch {
			case err != nil:
				fail(err)
				return
			case len(c.gone) > 0:
				fail(errGone(h.ids[0]))
				return
			case len(c.unfit) > 0 && h.lab.Warm != nil: // nobody else is there to do it
				fail(errors.Join(fmt.Errorf("run %d: %s", h.ids[0], c.unfit[0].Why), h.stop(ctx)))
				return
			case len(c.runs) == 0:
				continue
			}
			info := c.runs[0]
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
			if err == nil && !ended && h.queue == nil && info.Status != tracker.Running {
				err = errAbandoned // there may be nobody else to go on with it
			}
			if err != nil {
				fail(err)
				return
			}
			if ended {
				return
			}
		}
	}
}

// errGone is the error of a run that was deleted, and freed.
func errGone(id int64) error { return fmt.Errorf("run %d was deleted", id) }

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
		return p.Name != report.Output || last.Ok() && p.Step <= int64(last.N) || len(values[p.Step]) < 4
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
			output, err := fromArtifact(ctx, l.Tracker, info.ID, report.Output, hrstyle.LoadPicture)
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
// them. Runs and error are those of [Lab.Sweep]; runs that were deleted are not among them. A trial that a worker has left
// to others is reported with Skipped, before its end. When ctx is done the trials stay queued.
func (q *Queue) Follow(ctx context.Context, ids []int64, trials []Trial, progress func(Progress)) ([]tracker.Info, error) {
	return newHanded(Lab{Tracker: q.store}, q, ids).follow(ctx, trials, progress)
}

func (h *handed) follow(ctx context.Context, trials []Trial, progress func(Progress)) ([]tracker.Info, error) {
	open := map[int64]*Progress{}
	for i, id := range h.ids {
		open[id] = &Progress{Trial: i + 1, Trials: len(trials), Run: id, Config: trials[i].Config}
	}
	began := time.Now()
	failed := map[int]error{} // by the trials' places
	end := func(p *Progress, err error) {
		if p.Ended, p.Err = true, err; err != nil {
			failed[p.Trial-1] = errors.New(err.Error()) // cancelled is not what this sweep is
		}
		progress(*p)
		delete(open, p.Run)
	}
	gone, told := map[int64]bool{}, map[Unfit]bool{}
	for len(open) > 0 {
		c, err := h.changed(ctx)
		if err != nil {
			return nil, err
		}
		for _, id := range c.gone {
			if gone[id] = true; open[id] != nil {
				end(open[id], errGone(id))
			}
		}
		for _, u := range c.unfit {
			p := open[u.Run]
			switch {
			case p == nil:
			case h.lab.Warm != nil: // nobody else is there to do it
				if _, err := h.queue.cancel(ctx, []int64{u.Run}); err != nil {
					return nil, err
				}
				end(p, fmt.Errorf("run %d: %s", u.Run, u.Why))
			case !told[Unfit{0, u.Worker, u.Why}]:
				told[Unfit{0, u.Worker, u.Why}] = true
				waits := *p
				waits.Skipped = fmt.Sprintf("waits for another worker than %s: %s", u.Worker, u.Why)
				progress(waits)
			}
		}
		for _, info := range c.runs {
			p := open[info.ID]
			if p == nil {
				continue
			}
			ended := over(info)
			if info.Status == tracker.Finished && info.Ended.Before(began) {
				p.Skipped = "finished before"
			} else {
				steps, err := h.lab.stepsAfter(ctx, info, p.Step, ended)
				switch {
				case err != nil && ended && ctx.Err() == nil: // others may have their files
					end(p, err)
					continue
				case err != nil:
					return nil, err
				}
				if len(steps) > 0 {
					p.Step = steps[len(steps)-1]
					progress(*p)
				}
			}
			if ended {
				end(p, failure(info))
			}
		}
		h.ids = slices.DeleteFunc(h.ids, func(id int64) bool { return gone[id] })
	}
	runs, err := h.lab.infos(ctx, h.ids)
	return runs, errors.Join(err, failures(failed, len(trials)))
}

// Enqueue hands the trials of a pair to the warm worker and does not wait for them. It returns their runs.
func (l Lab) Enqueue(ctx context.Context, experiment string, pair hrstyle.Pair, trials []Trial) ([]int64, error) {
	h, err := l.hand(ctx, experiment, pair, trials, 0)
	if err != nil {
		return nil, err
	}
	return h.ids, nil
}
