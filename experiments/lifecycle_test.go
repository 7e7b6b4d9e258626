package experiments

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"hrlab/hrstyle"
	"hrlab/tracker"
)

// walker is a trial on its way. Its walks call seen in the state that an arrow begins at and in the one that it leads to.
type walker struct {
	t     *testing.T
	lab   Lab
	queue *Queue
	seen  func()
	id    int64 // of its run; 0 where there is none
}

// enqueue makes a queued trial.
func (w *walker) enqueue(config hrstyle.Config) {
	w.id = enqueue(w.t, w.lab, w.queue, testPair, Trial{Config: config})[0]
}

// work has a worker do what is in the queue, to its end or until at, called at every step, stops it.
func (w *walker) work(at func(stop func())) {
	w.t.Helper()
	ctx, stop := context.WithCancel(w.t.Context())
	defer stop()
	err := w.lab.Work(ctx, true, func(p Progress) {
		if p.Step.Ok() && !p.Ended {
			at(stop)
		}
	})
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, ErrTrials) {
		w.t.Fatal(err)
	}
}

// sweep fits and records, to its end or until at, called at every step, stops it.
func (w *walker) sweep(config hrstyle.Config, at func(stop func())) {
	w.t.Helper()
	ctx, stop := context.WithCancel(w.t.Context())
	defer stop()
	_, err := w.lab.Sweep(ctx, testPair.Content.Name, testPair, List(config), 0, func(p Progress) {
		if w.id = p.Run; p.Step.Ok() && !p.Ended {
			at(stop)
		}
	})
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, ErrTrials) {
		w.t.Fatal(err)
	}
}

// fails is a fit that diverges.
func fails() hrstyle.Config {
	c := quick()
	c.LearningRate = 1e30
	return c
}

func (w *walker) info() []tracker.Info { return infos(w.t, w.lab.Tracker, []int64{w.id}) }

func (w *walker) cancel() {
	if n, err := w.queue.Cancel(w.t.Context(), w.info()); n != 1 || err != nil {
		w.t.Error(n, err)
	}
}

func (w *walker) retry() {
	if n, err := w.queue.Retry(w.t.Context(), w.info()); n != 1 || err != nil {
		w.t.Error(n, err)
	}
}

func (w *walker) mend() {
	if _, err := w.queue.mend(w.t.Context()); err != nil {
		w.t.Error(err)
	}
}

// lost is a trial whose process is gone, as what that process has of its run.
func (w *walker) lost() *tracker.Run {
	w.enqueue(quick())
	run, err := w.lab.Tracker.Take(w.t.Context(), w.id, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	die(w.t, w.lab.Tracker, w.id)
	return run
}

func (w *walker) sql(statement string) { do(w.t, w.lab.Tracker, statement) }

// once calls f the first time.
func once(f func()) func(stop func()) {
	only := sync.OnceFunc(f)
	return func(func()) { only() }
}

// then calls f the first time, and stops.
func then(f func()) func(stop func()) {
	only := sync.OnceFunc(f)
	return func(stop func()) { only(); stop() }
}

func nothing(func()) {}

// runWalks are walks along the arrows of the run.
var runWalks = map[string]func(w *walker){
	"[*] --> queued: sweep --queue, or a notebook": func(w *walker) { w.seen(); w.enqueue(quick()); w.seen() },
	"[*] --> running: fit or sweep":                func(w *walker) { w.seen(); w.sweep(quick(), once(w.seen)) },
	"queued --> running: a worker or a sweep takes it": func(w *walker) {
		w.enqueue(quick())
		w.seen()
		w.work(once(w.seen))
	},
	"queued --> stopped: queue cancel": func(w *walker) { w.enqueue(quick()); w.seen(); w.cancel(); w.seen() },
	"queued --> failed: a worker finds too little on record to fit it": func(w *walker) {
		w.enqueue(quick())
		w.sql("DELETE FROM river_job")
		w.sql("UPDATE param SET text = 'large', number = NULL WHERE key = 'size'")
		w.seen()
		w.work(nothing)
		w.seen()
	},
	"running --> finished: the fit comes to its end": func(w *walker) { w.sweep(quick(), once(w.seen)); w.seen() },
	"running --> failed: the fit fails":              func(w *walker) { w.sweep(fails(), once(w.seen)); w.seen() },
	"running --> stopped: Ctrl-C in fit or sweep":    func(w *walker) { w.sweep(quick(), then(w.seen)); w.seen() },
	"running --> stopped: queue cancel, and then its process ends it or is gone": func(w *walker) {
		config := quick()
		config.Steps = 100_000
		w.enqueue(config)
		w.work(once(func() { w.seen(); w.cancel() }))
		w.seen()
	},
	"running --> running: queue retry, or the same sweep --queue, after a queue cancel": func(w *walker) {
		w.enqueue(quick())
		run, err := w.lab.Tracker.Take(w.t.Context(), w.id, nil)
		if err != nil {
			w.t.Fatal(err)
		}
		w.cancel()
		w.seen()
		w.retry()
		w.seen()
		if err := run.Finish(w.t.Context(), nil); err != nil {
			w.t.Error(err)
		}
	},
	"running --> queued: Ctrl-C in its worker": func(w *walker) {
		w.enqueue(quick())
		w.work(then(w.seen))
		w.seen()
	},
	"running --> lost: its process is gone": func(w *walker) {
		w.enqueue(quick())
		if _, err := w.lab.Tracker.Take(w.t.Context(), w.id, nil); err != nil {
			w.t.Fatal(err)
		}
		w.seen()
		die(w.t, w.lab.Tracker, w.id)
		w.seen()
	},
	"lost --> running: a worker, a sweep or fit --resume takes it": func(w *walker) { w.lost(); w.seen(); w.work(once(w.seen)) },
	"lost --> running: its process was only silent": func(w *walker) {
		run := w.lost()
		w.seen()
		w.sql("UPDATE run SET token = ~token, pid = " + strconv.Itoa(os.Getpid())) // it is back
		if err := run.Note(w.t.Context(), "awake"); err != nil {
			w.t.Fatal(err)
		}
		w.seen()
	},
	"lost --> queued: queue retry, or the same sweep --queue": func(w *walker) { w.lost(); w.seen(); w.retry(); w.seen() },
	"lost --> stopped: queue cancel":                          func(w *walker) { w.lost(); w.seen(); w.cancel(); w.seen() },
	"failed --> queued: queue retry, or the same sweep --queue": func(w *walker) {
		w.enqueue(fails())
		w.work(nothing)
		w.seen()
		w.retry()
		w.seen()
	},
	"failed --> running: the same sweep, or fit --resume": func(w *walker) {
		w.sweep(fails(), nothing)
		w.seen()
		w.sweep(fails(), once(w.seen))
	},
	"stopped --> queued: queue retry, or the same sweep --queue": func(w *walker) {
		w.enqueue(quick())
		w.cancel()
		w.seen()
		w.enqueue(quick())
		w.seen()
	},
	"stopped --> running: the same sweep, or fit --resume": func(w *walker) {
		w.sweep(quick(), then(func() {}))
		w.seen()
		w.sweep(quick(), once(w.seen))
	},
	"finished --> running: fit --resume with more steps": func(w *walker) {
		w.sweep(quick(), nothing)
		w.seen()
		longer := quick()
		longer.Steps++
		run, err := w.lab.Resume(w.t.Context(), w.id, longer)
		if err != nil {
			w.t.Fatal(err)
		}
		w.seen()
		if err := run.Finish(w.t.Context(), nil); err != nil {
			w.t.Error(err)
		}
	},
}

// jobWalks are walks along the arrows of the job.
var jobWalks = map[string]func(w *walker){
	"[*] --> open: sweep --queue, or a notebook": func(w *walker) { w.seen(); w.enqueue(quick()); w.seen() },
	"[*] --> open: a worker finds a queued run without a job": func(w *walker) {
		w.enqueue(quick())
		w.sql("DELETE FROM river_job")
		w.seen()
		w.mend()
		w.seen()
	},
	"open --> closed: the worker, when the run has ended": func(w *walker) {
		w.enqueue(quick())
		w.seen()
		ctx, stop := context.WithCancel(w.t.Context())
		defer stop()
		err := w.lab.Work(ctx, true, func(p Progress) { // stopped at the end of the run: another look would close the job too
			if p.Ended {
				stop()
			}
		})
		if !errors.Is(err, context.Canceled) {
			w.t.Error(err)
		}
		w.seen()
	},
	"open --> closed: queue cancel": func(w *walker) { w.enqueue(quick()); w.seen(); w.cancel(); w.seen() },
	"open --> closed: a worker finds that the run has ended": func(w *walker) {
		w.enqueue(quick())
		run, err := w.lab.Tracker.Take(w.t.Context(), w.id, nil)
		if err == nil {
			err = run.Finish(w.t.Context(), nil) // and its worker dies
		}
		if err != nil {
			w.t.Fatal(err)
		}
		w.seen()
		w.mend()
		w.seen()
	},
	"closed --> open: queue retry": func(w *walker) { w.enqueue(quick()); w.cancel(); w.seen(); w.retry(); w.seen() },
	"closed --> open: a worker finds that the run is queued": func(w *walker) {
		w.enqueue(quick())
		w.sql("UPDATE river_job SET state = 'completed', finalized_at = '2020-01-01 00:00:00.000'")
		w.seen()
		w.mend()
		w.seen()
	},
	"closed --> [*]: a worker, a day after the run has finished": func(w *walker) {
		w.enqueue(quick())
		w.work(nothing)
		w.sql("UPDATE river_job SET finalized_at = '2020-01-01 00:00:00.000'")
		w.seen()
		w.work(nothing)
		w.seen()
	},
	"closed --> [*]: a worker finds that gc has removed the run": func(w *walker) {
		w.enqueue(quick())
		w.cancel()
		w.seen()
		if err := w.lab.Tracker.Delete(w.t.Context(), w.id); err != nil {
			w.t.Fatal(err)
		}
		if _, err := w.lab.Tracker.GC(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
		w.work(nothing)
		w.seen()
	},
}

// Every arrow of docs/lifecycle.md is walked, and there is no walk without its arrow.
func (db suite) lifecycle(t *testing.T) {
	page, err := os.ReadFile("../docs/lifecycle.md")
	if err != nil {
		t.Fatal(err)
	}
	diagrams := regexp.MustCompile("(?s)```mermaid\nstateDiagram-v2\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(diagrams) != 2 {
		t.Fatalf("%d diagrams", len(diagrams))
	}
	ofRun := func(w *walker) string {
		if w.id == 0 {
			return "[*]"
		}
		return string(w.info()[0].Status)
	}
	ofJob := func(w *walker) string {
		switch n, err := w.queue.jobs.count(w.t.Context(), "SELECT count(*) FROM river_job"); {
		case err != nil:
			w.t.Fatal(err)
		case n == 0:
			return "[*]"
		case isOpen(w.t, w.queue, w.id):
			return "open"
		}
		return "closed"
	}
	for i, walks := range []map[string]func(w *walker){runWalks, jobWalks} {
		state := []func(w *walker) string{ofRun, ofJob}[i]
		var arrows []string
		for line := range strings.Lines(diagrams[i][1]) {
			arrows = append(arrows, strings.TrimSpace(line))
		}
		slices.Sort(arrows)
		if walked := slices.Sorted(maps.Keys(walks)); !slices.Equal(walked, arrows) {
			t.Errorf("the page has %q\nbut walks there are for %q", arrows, walked)
		}
		for arrow, walk := range walks {
			t.Run(arrow, func(t *testing.T) {
				w := &walker{t: t, lab: db.lab(t)}
				w.queue = openQueue(t, w.lab)
				var states []string
				w.seen = func() { states = append(states, state(w)) }
				walk(w)
				if way, _, _ := strings.Cut(arrow, ":"); strings.Join(states, " --> ") != way {
					t.Errorf("went %s", fmt.Sprint(states))
				}
			})
		}
	}
}
