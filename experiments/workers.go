package experiments

import (
	"context"
	"time"

	"hrlab/tracker"
)

// Worker is a process that takes trials, or one that is at a trial without being a worker, such as a sweep.
type Worker struct {
	tracker.Worker
	Step, Steps int           // of the trial
	Left        time.Duration // until it is done, as quick as so far; 0 where that is not known
}

// Workers are the processes that take trials, and how far each is with its own.
func (q *Queue) Workers(ctx context.Context) (workers []Worker, err error) {
	all, err := q.store.Workers(ctx)
	if err != nil {
		return nil, err
	}
	open, err := q.Open(ctx)
	if err != nil {
		return nil, err
	}
	for _, one := range all {
		w := Worker{Worker: one}
		if w.Run != 0 {
			if _, ok := open[w.Run]; !ok {
				continue
			}
			runs, err := runsByID(ctx, q.store, []int64{w.Run})
			if err != nil {
				return nil, err
			}
			seconds := runs[0].Metrics["seconds"]
			w.Step, w.Steps = int(seconds.LastStep), int(runs[0].Params["steps"].Number)
			if w.Step > 0 && w.Step < w.Steps {
				w.Left = time.Duration(seconds.Last / float64(w.Step) * float64(w.Steps-w.Step) * float64(time.Second))
			}
		}
		workers = append(workers, w)
	}
	return workers, nil
}
