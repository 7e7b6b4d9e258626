package tracker

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v4/process"
)

const (
	beatEvery = 2 * time.Second
	// A run that has not beaten for so long is lost, where its process cannot be looked up.
	beatTimeout = 8 * time.Second
)

// clock tells the time. Tests set it.
type clock struct {
	now    func() time.Time                                 // of day, which anybody may set at any time
	steady func() time.Duration                             // since some moment; nobody sets it, and it halts while the machine sleeps
	sleep  func(ctx context.Context, d time.Duration) error // until d has passed or ctx is done
}

var began = time.Now()

var system = clock{
	now:    time.Now,
	steady: func() time.Duration { return time.Since(began) },
	sleep: func(ctx context.Context, d time.Duration) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(d):
			return nil
		}
	},
}

// uptime is the time since the machine began, asleep or not, which nobody sets; elsewhere the time since this process
// began.
func uptime() time.Duration {
	text, err := os.ReadFile("/proc/uptime")
	seconds, _, _ := strings.Cut(string(text), " ")
	if d, parseErr := time.ParseDuration(seconds + "s"); err == nil && parseErr == nil {
		return d
	}
	return time.Since(began)
}

// beat tells every few seconds that the run's process lives, and records its load, until the run ends or is another's,
// or the store is closed. It also makes up for a Finish that could not be written.
func (r *Run) beat(ctx context.Context) {
	self, err := process.NewProcessWithContext(ctx, int32(os.Getpid()))
	if err == nil {
		_, err = self.Percent(0) // from now on
	}
	if err != nil {
		self = nil
	}
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := r.now()
		var load *Sample
		if self != nil {
			load = r.store.sample(self, now)
		}
		// A beat that cannot be written is made up by the next; Log reports what stays wrong.
		err := r.write(ctx, func(t tx) error {
			if _, err := t.exec(sqlBeat, r.ID, micros(now)); err != nil || load == nil {
				return err
			}
			return t.addSample(r.ID, *load)
		})
		if errors.Is(err, ErrTaken) || r.finishLate(ctx) {
			return
		}
	}
}

// sights are what this process has seen of runs whose process it cannot look up.
type sights struct {
	mu  sync.Mutex
	run map[int64]sight
}

// sight is the last beat of a run, when it was first seen by the steady clock, and whether another was seen before.
type sight struct {
	beat, token int64
	since       time.Duration
	moved       bool
}

// candidate is a running run that has lost its process, as far as one could see.
type candidate struct{ id, beat, token int64 }

// findLost records which running runs have lost their process. One that is patient looks on where a single look does not
// tell.
func (s *Store) findLost(ctx context.Context, patient bool) error {
	for {
		lost, unsure, err := s.lookForLost(ctx)
		if err != nil {
			return err
		}
		if len(lost) > 0 {
			if err := s.recordLost(ctx, lost); err != nil {
				return err
			}
		}
		if !unsure || !patient {
			return nil
		}
		const pause = 200 * time.Millisecond
		if err := s.clock.sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// lookForLost finds runs that have lost their process. It is unsure while the time of a run's last beat is odd and it has
// not been looked at for long: its process may be gone, or a clock wrong.
func (s *Store) lookForLost(ctx context.Context) (lost []candidate, unsure bool, err error) {
	s.sights.mu.Lock()
	defer s.sights.mu.Unlock()
	now, steady := s.clock.now(), s.clock.steady()
	seen := map[int64]sight{}
	err = each(ctx, s.db.reader, sqlAlive, nil, func(scan func(...any) error) error {
		var c candidate
		var o owner
		if err := scan(&c.id, &o.host, &o.pid, &o.start, &c.beat, &c.token); err != nil {
			return err
		}
		what := o.fate(s.self)
		if what == unknown {
			v, known := s.sights.run[c.id]
			if !known || v.beat != c.beat || v.token != c.token {
				v = sight{c.beat, c.token, steady, known}
			}
			seen[c.id] = v
			if steady-v.since > beatTimeout {
				what = gone
			} else if !v.moved && now.Sub(time.UnixMicro(c.beat)).Abs() > beatTimeout {
				unsure = true
			}
		}
		if what == gone {
			lost = append(lost, c)
		}
		return nil
	})
	s.sights.run = seen
	return lost, unsure, s.plain(err)
}

func (s *Store) recordLost(ctx context.Context, lost []candidate) error {
	return s.write(ctx, func(t tx) error {
		changed := int64(0)
		for _, c := range lost {
			n, err := t.exec(sqlLost, c.id, c.token, c.beat)
			if err != nil {
				return err
			}
			changed += n
		}
		if changed == 0 { // another process was quicker
			return nil
		}
		return t.all(nil, sqlNextChange)
	})
}
