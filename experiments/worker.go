package experiments

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"hrlab/hrstyle"
	"hrlab/picture"
	"hrlab/report"
	"hrlab/tracker"
)

// worker takes trials from the queue and fits them.
type worker struct {
	lab      Lab
	queue    *Queue
	progress func(Progress)

	pair    hrstyle.Pair       // of the last job
	digests [2]string          // of its pictures
	init    *hrstyle.Generator // of the last job; nil where it has none

	turn, row int           // trials taken; those of the last sweep, in a row
	turns     map[int64]int // of a sweep: the turn in which one of it was taken last
	need      string        // of the last job: what is placed and compiled

	misfits       map[string]misfit // why a job cannot be done here, by what it needs
	ended, failed int               // trials that it has brought to an end, and those of them that failed

	noted map[int64]string // jobs left to other workers, and why, as the queue has it
	told  map[string]bool  // what was said
}

// misfit is why a job cannot be done here.
type misfit struct {
	why    error
	memory bool      // memory is short: by how much changes all the time
	at     time.Time // when it was found out
}

var (
	// ErrUnfit says that trials are left in the queue that a worker could not do.
	ErrUnfit = errors.New("left in the queue for other workers")
	// ErrPaused says that trials are left in the queue because it is paused.
	ErrPaused = errors.New("left in the queue, which is paused")
)

var (
	// errGivenBack ends the run of a worker that is told to stop.
	errGivenBack = fmt.Errorf("%w: %w", context.Canceled, tracker.ErrGivenBack)
	// errCancelled ends a run that was cancelled.
	errCancelled = fmt.Errorf("cancelled in the queue: %w", errGivenBack)
)

// maxLosses is after how many lost workers without a new checkpoint in between a trial fails.
const maxLosses = 3

const (
	pollPause    = 200 * time.Millisecond // between looks at an empty queue
	cancelPause  = 100 * time.Millisecond // between looks whether the trial at hand was cancelled
	misfitPause  = 2 * time.Second        // before a trial that did not fit is looked at again
	mendPause    = time.Second
	troublePause = time.Second
	troubles     = 120 // that follow each other before a worker gives up
)

// Work takes trials from the queue until ctx is done, or with drain until there are none. Device, weights and compiled
// graphs stay from one trial to the next. When ctx is done the worker gives its trial back: it is queued again, with a
// checkpoint for the next worker. progress is told of a trial when it is taken, with the step that it goes on from and no
// picture, at every report, and at its end.
//
// A trial that this worker cannot do stays in the queue for others: it is for other weights or another device, the files of
// artifacts are not here, or memory is short. progress is told once for each reason, with Skipped. With drain the error then
// wraps ErrUnfit and names these trials. It wraps ErrPaused where trials are left because the queue is paused, and ErrTrials
// where trials failed that this worker took.
//
// What goes wrong with the database is told with Err and no Run. The worker tries again, and gives up after two minutes.
func (l Lab) Work(ctx context.Context, drain bool, progress func(Progress)) error {
	if l.Engine.VGG == nil {
		return errors.New("a worker needs VGG19's weights")
	}
	w := &worker{lab: l, progress: progress, turns: map[int64]int{}, misfits: map[string]misfit{}, noted: map[int64]string{}, told: map[string]bool{}}
	var err error
	if w.queue, err = OpenQueue(ctx, l.Tracker); err != nil {
		return err
	}
	leave, err := l.Tracker.Attend(ctx)
	if err != nil {
		return err
	}
	defer leave()
	const day = 24 * time.Hour
	if err := w.queue.jobs.forget(ctx, day); err != nil {
		return err
	}
	var mended time.Time
	for trouble := 0; ; {
		var err error
		if drain || time.Since(mended) >= mendPause {
			_, err = w.queue.mend(ctx)
			mended = time.Now()
		}
		found, done, nextErr := w.next(ctx, drain && err == nil)
		err = errors.Join(err, nextErr)
		pause := pollPause
		switch {
		case done && w.failed > 0:
			return errors.Join(err, fmt.Errorf("%d of %d %w", w.failed, w.ended, ErrTrials))
		case done:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			if trouble++; trouble == troubles {
				return err
			}
			w.say(err.Error(), Progress{Err: err})
			pause = troublePause
		case found:
			trouble, pause = 0, 0
		default:
			trouble = 0
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// say tells progress, once for each what.
func (w *worker) say(what string, p Progress) {
	if !w.told[what] {
		w.told[what] = true
		w.progress(p)
	}
}

// next does the first trial that this worker can do. done says, with drain, that no trial is left to wait for.
func (w *worker) next(ctx context.Context, drain bool) (found, done bool, err error) {
	if paused, err := w.queue.jobs.paused(ctx); err != nil {
		return false, false, err
	} else if paused {
		w.say("paused", Progress{Skipped: "the queue is paused: hrlab queue resume ends it"})
		if !drain {
			return false, false, nil
		}
		open, err := w.queue.Open(ctx)
		if err != nil {
			return false, false, err
		}
		left := 0
		for _, status := range open {
			if status != tracker.Running { // which others bring to its end
				left++
			}
		}
		if left > 0 {
			err = fmt.Errorf("%d trials are %w: hrlab queue resume ends that", left, ErrPaused)
		}
		return false, left > 0 || len(open) == 0, err
	}
	var taken []int64 // jobs, which are closed together: short trials would spend their time on it
	defer func() {
		if len(taken) > 0 {
			err = errors.Join(err, w.queue.jobs.close(context.WithoutCancel(ctx), taken))
		}
	}()
	asked := time.Now()
	sweeps, err := w.queue.jobs.sweeps(ctx)
	if err != nil {
		return false, false, err
	}
	w.share(sweeps)
	unfit := map[int64]string{} // by run
	notes := map[string][]int64{}
	for _, s := range sweeps {
		const page = 100
		for offset := 0; ; offset += page {
			list, err := w.queue.jobs.waiting(ctx, s.id, page, offset)
			if err != nil {
				return false, false, err
			}
			full := len(list) == page
			w.near(list)
			for _, t := range list {
				if found { // the list is no longer new
					if t.status, err = w.queue.jobs.waits(ctx, t.run); err != nil {
						return found, false, err
					} else if t.status == "" {
						continue
					}
				}
				why, failure, err := w.fits(ctx, t)
				if err != nil {
					return false, false, err
				}
				if t.broken != nil {
					why, failure = nil, t.broken
				}
				if why == nil {
					took, err := w.do(ctx, t, failure)
					if took || err != nil {
						w.took(s.id, t)
					}
					if took {
						taken = append(taken, t.id)
					}
					if found = found || took; err != nil || took && !w.goesOn(ctx, asked, len(sweeps)) {
						return found, false, err
					}
					continue
				}
				unfit[t.run] = why.Error()
				if w.noted[t.id] != why.Error() {
					notes[why.Error()] = append(notes[why.Error()], t.id)
				}
				w.say(why.Error(), Progress{Run: t.run, Config: t.job.Config, Skipped: "left in the queue for other workers: " + why.Error()})
			}
			if found { // and what follows has moved up
				return true, false, nil
			}
			if !full {
				break
			}
		}
	}
	for why, ids := range notes {
		if err := w.note(ctx, why, ids); err != nil {
			return false, false, err
		}
	}
	if !drain {
		return false, false, nil
	}
	open, err := w.queue.Open(ctx)
	if err != nil {
		return false, false, err
	}
	for id, status := range open {
		if status == tracker.Running || unfit[id] == "" { // it may come back, or has just come
			return false, false, nil
		}
	}
	return false, true, unfitError(unfit)
}

// goesOn says whether the worker takes another one of the trials that it has asked for: short ones would spend their time on asking.
func (w *worker) goesOn(ctx context.Context, asked time.Time, sweeps int) bool {
	if sweeps > 1 || ctx.Err() != nil || time.Since(asked) > pollPause {
		return false
	}
	paused, err := w.queue.jobs.paused(ctx)
	return err == nil && !paused
}

// inARow is how many trials of one sweep a worker takes before it looks at others that have as few workers: changes cost time.
const inARow = 4

// share orders sweeps: first that which the fewest processes are at, so that a long one does not keep a short one waiting. Of
// those with as many, the worker stays with its last one for a while, and then takes the one that it was not at for longest.
func (w *worker) share(sweeps []sweep) {
	turn := func(s sweep) int {
		if at := w.turns[s.id]; at < w.turn || w.row >= inARow {
			return at
		}
		return -1 // the last one, before those that it has never been at
	}
	slices.SortStableFunc(sweeps, func(a, b sweep) int {
		return cmp.Or(cmp.Compare(a.running, b.running), cmp.Compare(turn(a), turn(b)))
	})
}

// near puts those trials first whose pair and size are those of the last one: they are on the device, and compiled.
func (w *worker) near(list []waiting) {
	far := func(t waiting) int {
		if t.need() == w.need {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(list, func(a, b waiting) int { return cmp.Compare(far(a), far(b)) })
}

// took notes which trial the worker took last.
func (w *worker) took(sweep int64, t waiting) {
	if w.turns[sweep] != w.turn || w.turn == 0 {
		w.row = 0
	}
	w.row++
	w.turn++
	w.turns[sweep], w.need = w.turn, t.need()
}

// unfitError names the trials that are left, by reason. It is nil where there are none.
func unfitError(unfit map[int64]string) error {
	runs := map[string][]string{}
	for _, id := range slices.Sorted(maps.Keys(unfit)) {
		runs[unfit[id]] = append(runs[unfit[id]], strconv.FormatInt(id, 10))
	}
	var texts []string
	for _, why := range slices.Sorted(maps.Keys(runs)) {
		list, more := runs[why], ""
		const most = 10
		if len(list) > most {
			list, more = list[:most], fmt.Sprintf(" and %d more", len(list)-most)
		}
		texts = append(texts, fmt.Sprintf("run %s%s: %s", strings.Join(list, ", "), more, why))
	}
	if len(texts) == 0 {
		return nil
	}
	return fmt.Errorf("%d trials are %w: %s", len(unfit), ErrUnfit, strings.Join(texts, "; "))
}

// note notes in the queue why this worker cannot do trials, for those who wait for them.
func (w *worker) note(ctx context.Context, why string, ids []int64) error {
	if err := w.queue.jobs.setUnfit(ctx, ids, thisWorker(os.Getpid()), why); err != nil {
		return err
	}
	for _, id := range ids {
		w.noted[id] = why
	}
	return nil
}

// fits says why this worker cannot do a trial that others may be able to do, and otherwise what would make it fail with
// anybody. It loads what the trial needs. err is one of the database.
func (w *worker) fits(ctx context.Context, t waiting) (why, failure, err error) {
	j, device := t.job, w.lab.Engine.Device.Kind
	if digest, wanted := w.lab.Engine.VGG.Digest, j.Inputs["vgg"]; digest != wanted {
		return fmt.Errorf("for other VGG19 weights (%.12s) than this worker's (%.12s)", wanted, digest), nil, nil
	}
	if j.Device != "" && j.Device != string(device) {
		return fmt.Errorf("for device %s; this worker's is %s", j.Device, device), nil, nil
	}
	need := t.need()
	before, ok := w.misfits[need]
	if ok && time.Since(before.at) < misfitPause {
		return before.why, nil, nil
	}
	delete(w.misfits, need)
	memory := false
	if w.digests != pairDigests(j) || j.Inputs["init"] != "" {
		if _, err := w.lab.Tracker.Artifacts(ctx, t.run); err != nil { // what goes wrong from here on is about files
			return nil, nil, err
		}
	}
	if why, failure = w.load(ctx, t); why == nil && failure == nil {
		why = w.lab.Engine.Fits(w.pair, j.Config)
		memory = why != nil
	}
	if memory && before.memory {
		why = before.why
	}
	if why != nil {
		w.misfits[need] = misfit{why, memory, time.Now()}
	}
	return why, failure, nil
}

// need names what a trial needs: pictures, initial generator and sizes.
func (t waiting) need() string {
	j := t.job
	return strings.Join([]string{j.Content, j.Inputs["content"], j.Style, j.Inputs["style"], j.Init, j.Inputs["init"], fmt.Sprint(j.Config.Size, j.Config.StyleSize, j.Config.Square)}, "\x00")
}

func pairDigests(j job) [2]string { return [2]string{j.Inputs["content"], j.Inputs["style"]} }

// load is fits for the files that a trial reads.
func (w *worker) load(ctx context.Context, t waiting) (why, failure error) {
	inputs := t.job.Inputs
	if wanted := pairDigests(t.job); w.digests != wanted {
		pair, err := LoadPair(ctx, w.lab.Tracker, t.run)
		if errors.Is(err, tracker.ErrNotFound) && t.job.Content != "" {
			pair, err = hrstyle.LoadPair(t.job.Content, t.job.Style)
		}
		if err != nil {
			return t.unread(err), nil
		}
		w.pair, w.digests = pair, [2]string{pair.Content.Digest(), pair.Style.Digest()}
		for i, p := range []picture.Picture{pair.Content, pair.Style} {
			if w.digests[i] != wanted[i] {
				return nil, fmt.Errorf("%s: %w", p.Name, errChanged)
			}
		}
	}
	w.init = nil
	if inputs["init"] != "" {
		init, err := fromArtifact(ctx, w.lab.Tracker, t.run, report.Init, hrstyle.ReadGenerator)
		if errors.Is(err, tracker.ErrNotFound) && t.job.Init != "" {
			init, err = hrstyle.LoadGenerator(t.job.Init)
		}
		if err != nil {
			return t.unread(err), nil
		}
		if init.Digest() != inputs["init"] {
			return nil, fmt.Errorf("%s: %w", cmp.Or(t.job.Init, "the initial generator"), errChanged)
		}
		w.init = init
	}
	return nil, nil
}

// unread is why a file of a trial cannot be read here, in words that are the same for every trial that reads the file.
func (t waiting) unread(err error) error {
	return errors.New(strings.TrimPrefix(err.Error(), fmt.Sprintf("run %d: ", t.run)))
}

// errChanged is why a trial fails whose pictures or initial generator are read and are others than when it was queued: by
// another version of the decoder, or a file of a job that an earlier version made.
var errChanged = errors.New("not what it was when the trial was queued: queue it again")

// do takes a trial and brings it to its end. taken is false where another worker was quicker. failure, if not nil, is why the
// trial fails without a fit. The error is one of the database: the trial is as it was then.
//
// What becomes of a trial that was taken is decided here, by the error that it ended with:
//
//	none                      the run is finished, the job closed
//	this worker is to stop    the run is given back: queued, the job open, for the next worker
//	the trial was cancelled   the run is given back too: the tracker stops it, and the job is closed
//	another has the run       nothing: it is theirs
//	three workers were lost   the run has failed, the job is closed: most likely the trial ends them; Retry asks for more
//	before the fit began      the run is queued, the job open: it says nothing about the trial
//	any other                 the run has failed, the job is closed: another try would fail likewise; Retry asks for one
func (w *worker) do(ctx context.Context, t waiting, failure error) (taken bool, err error) {
	always := context.WithoutCancel(ctx)
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	run, start, err := w.lab.goOn(always, t.run, t.status)
	switch {
	case errors.Is(err, tracker.ErrTaken), errors.Is(err, tracker.ErrNotFound) && run == nil:
		return false, nil
	case err != nil && run != nil:
		return false, errors.Join(err, w.end(ctx, run, errGivenBack))
	case err != nil:
		return false, err
	}
	p := Progress{Run: t.run, Config: t.job.Config}
	if t.status == tracker.Lost {
		step := 0
		if start != nil {
			step = start.Step
		}
		times, err := w.queue.jobs.lostAgain(always, t.id, step)
		switch {
		case err != nil:
			return false, errors.Join(err, w.end(ctx, run, errGivenBack))
		case times >= maxLosses && failure == nil:
			failure = fmt.Errorf("%d workers were lost one after the other at the checkpoint of step %d: hrlab runs show %d names them, hrlab queue retry %d tries again", times, step, t.run, t.run)
		}
	}
	if failure == nil {
		failure = w.fit(ctx, t, run, start, &p)
	} else {
		err = w.end(ctx, run, failure)
	}
	p.Ended, p.Err = true, failure
	if errors.Is(failure, tracker.ErrGivenBack) { // or cancelled
		if now, err := w.lab.Tracker.Run(always, strconv.FormatInt(t.run, 10)); err == nil && now.Status == tracker.Stopped {
			p.Err = stoppedError(now.ID)
		}
	}
	w.progress(p)
	if w.ended++; failure != nil && !errors.Is(failure, context.Canceled) && !errors.Is(failure, tracker.ErrTaken) {
		w.failed++
	}
	return true, err
}

// fit fits a trial that was taken, until ctx is done or the trial is cancelled. A panic fails the trial alone.
func (w *worker) fit(ctx context.Context, t waiting, run *tracker.Run, start *from, p *Progress) (err error) {
	defer func() {
		if r := recover(); r != nil { // most likely the run has ended with it: see Record
			err = fmt.Errorf("panic: %v", r)
			if ended := w.end(ctx, run, err); ended != nil && !errors.Is(ended, tracker.ErrTaken) {
				err = errors.Join(err, ended)
			}
		}
	}()
	fitting, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	defer context.AfterFunc(ctx, func() { end(errGivenBack) })()
	go func() {
		quietly := tracker.OnWait(fitting, func(string) {}) // what is recorded waits too, and tells
		tick := time.NewTicker(cancelPause)
		defer tick.Stop()
		for fitting.Err() == nil {
			if cancelled, err := run.Cancelled(quietly); err == nil && cancelled {
				end(errCancelled)
			}
			select {
			case <-fitting.Done():
			case <-tick.C:
			}
		}
	}()
	if start == nil && w.init != nil {
		start = &from{w.init.Start(t.job.Config), tracker.Metric{Min: math.Inf(1)}}
	}
	if start != nil {
		p.Step.N = start.Step
	}
	w.progress(*p) // the first step may have to wait for the compiler
	err = w.lab.run(fitting, run, start, w.pair, t.job.Config, t.job.Patience, p, w.progress)
	if errors.Is(err, errOpen) {
		err = errors.Join(err, w.end(ctx, run, err))
	}
	return err
}

// end ends a run. While that cannot be recorded it tries again, until ctx is done. Then the run is lost when this process
// ends.
func (w *worker) end(ctx context.Context, run *tracker.Run, reason error) error {
	for {
		err := run.Finish(ctx, reason)
		if err == nil || errors.Is(err, tracker.ErrTaken) || ctx.Err() != nil {
			return err
		}
		w.say(err.Error(), Progress{Err: err})
		select {
		case <-ctx.Done():
		case <-time.After(troublePause):
		}
	}
}
