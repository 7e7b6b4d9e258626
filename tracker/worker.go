package tracker

import (
	"context"
	"time"
)

// Worker is a process that takes queued runs, or one that writes a run.
type Worker struct {
	Host   string
	PID    int64
	Run    int64     // that it writes; 0 where it waits for one
	Beat   time.Time // its last sign of life
	Silent bool      // there was none for a while: it is halted, or its machine cannot be reached
}

// Attend notes, until leave is called or the store is closed, that this process takes queued runs.
func (s *Store) Attend(ctx context.Context) (leave func(), err error) {
	_, left, err := s.workers(ctx)
	if err != nil {
		return nil, err
	}
	var id int64
	err = s.write(ctx, func(t tx) error {
		for _, id := range left {
			if err := t.all([]any{id}, sqlRemoveWorker); err != nil {
				return err
			}
		}
		return t.value([]any{&id}, sqlAddWorker, s.self.host, s.self.pid, s.self.start, micros(s.now()))
	})
	if err != nil {
		return nil, err
	}
	beating, stop := context.WithCancel(s.closing)
	s.beats.Go(func() {
		tick := time.NewTicker(beatEvery)
		defer tick.Stop()
		for {
			select {
			case <-beating.Done():
				return
			case <-tick.C: // if this beat cannot be written, the next will do
				_ = s.write(beating, func(t tx) error { return t.all([]any{id, micros(s.now())}, sqlWorkerBeat) })
			}
		}
	})
	return func() {
		stop()
		_ = s.write(context.WithoutCancel(ctx), func(t tx) error { return t.all([]any{id}, sqlRemoveWorker) }) // it is gone with its process anyway
	}, nil
}

// Workers are the processes that take queued runs, and others that write a run.
func (s *Store) Workers(ctx context.Context) ([]Worker, error) {
	if err := s.findLost(ctx, false); err != nil {
		return nil, err
	}
	workers, _, err := s.workers(ctx)
	return workers, err
}

// workers is Workers, with the rows of those that are gone.
func (s *Store) workers(ctx context.Context) (workers []Worker, left []int64, err error) {
	const day = 24 * time.Hour // so long another machine may be away
	err = each(ctx, s.db.reads(), sqlWorkers, nil, func(scan func(...any) error) error {
		var o owner
		var id, beat, run int64
		if err := scan(&id, &o.host, &o.pid, &o.start, &beat, &run); err != nil {
			return err
		}
		w := Worker{Host: o.machine(), PID: o.pid, Run: run, Beat: time.UnixMicro(beat).UTC()}
		silence := s.now().Sub(w.Beat).Abs()
		w.Silent = silence > beatTimeout
		if fate := o.fate(s.self); fate == gone || fate == unknown && silence > day {
			left = append(left, id)
		} else {
			workers = append(workers, w)
		}
		return nil
	})
	return workers, left, s.plain(err)
}
