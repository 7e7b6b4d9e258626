package tracker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v4/process"
)

// The process of a running run writes a beat, the time, into its row every beatEvery. A process of another machine that
// has written none for beatTimeout is gone, and its run is lost.
//
// The one who looks measures that time by the steady clock of its own process, from the moment when it first saw the
// last beat. So it does not matter what any clock shows, nor that SQLite has no clock but that of the process that
// asks. On a server beats have the server's time, and a run that has not beaten for longSilence is lost at the first look;
// time in which the server was not reached counts as none.
const (
	beatEvery   = 2 * time.Second
	beatTimeout = 6 * time.Second
	longSilence = time.Minute
)

// clock tells the time. Tests set it.
type clock struct {
	now    func() time.Time                                 // the time of day, which anybody may set at any time
	steady func() time.Duration                             // the time since some moment: nobody sets it, and it stops while the machine sleeps
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

// uptime is the time since the machine was started, asleep or not, which nobody sets. On systems other than Linux it is
// the time since this process began.
func uptime() time.Duration {
	text, err := os.ReadFile("/proc/uptime")
	seconds, _, _ := strings.Cut(string(text), " ")
	if d, parseErr := time.ParseDuration(seconds + "s"); err == nil && parseErr == nil {
		return d
	}
	return time.Since(began)
}

// beat records every few seconds that the run's process lives, and its load. It returns when the run ends, when another
// process takes the run, or when the store is closed. It also records an end that Finish could not.
func (r *Run) beat(ctx context.Context) {
	self, err := process.NewProcessWithContext(ctx, int32(os.Getpid()))
	if err == nil {
		_, err = self.Percent(0) // the next call tells the load since this one
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
		if self != nil && !r.remote {
			load = r.store.sample(self, now)
		}
		// If a beat cannot be written, the next will do. Whoever logs something learns what is wrong, and tells.
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

// observations are the beats that this process has seen, of runs whose process it cannot look up, by run.
type observations struct {
	mu  sync.Mutex
	at  time.Duration // of the last look, by the steady clock
	run map[int64]observation
}

// observation is the last beat of a run.
type observation struct {
	beat, token int64
	since       time.Duration // when it was first seen, by the steady clock
	moved       bool          // another one was seen before it
}

// candidate is a running run whose process seems to be gone.
type candidate struct {
	owner
	id, beat, token int64
}

// findLost records which running runs have lost their process. If untilSure it looks again and again, for up to
// beatTimeout, where a single look does not tell.
func (s *Store) findLost(ctx context.Context, untilSure bool) error {
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
		if !unsure || !untilSure {
			return nil
		}
		const pause = 200 * time.Millisecond
		if err := s.clock.sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// lookForLost finds runs that have lost their process. It is unsure about a run if it has seen only one beat of it,
// which is far from the time of day here: either the process is gone, or one of the two clocks is wrong.
func (s *Store) lookForLost(ctx context.Context) (lost []candidate, unsure bool, err error) {
	s.observations.mu.Lock()
	defer s.observations.mu.Unlock()
	if err := s.db.sync(ctx); err != nil {
		return nil, false, s.plain(err)
	}
	steady := s.clock.steady()
	now, shared := s.db.now(s.clock)
	// While nobody reaches a server nobody can beat.
	away := shared && steady-s.observations.at > beatTimeout/2
	s.observations.at = steady
	seen := map[int64]observation{}
	err = each(ctx, s.db.reads(), sqlAlive, nil, func(scan func(...any) error) error {
		var c candidate
		if err := scan(&c.id, &c.host, &c.pid, &c.start, &c.beat, &c.token); err != nil {
			return err
		}
		what := c.fate(s.self)
		if what == unknown {
			v, known := s.observations.run[c.id]
			if !known || v.beat != c.beat || v.token != c.token {
				v = observation{c.beat, c.token, steady, known}
			} else if away {
				v.since = steady
			}
			seen[c.id] = v
			silence := now.Sub(later(time.UnixMicro(c.beat), s.db.upSince()))
			if steady-v.since > beatTimeout || shared && silence > longSilence {
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
	s.observations.run = seen
	return lost, unsure, s.plain(err)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (s *Store) recordLost(ctx context.Context, lost []candidate) error {
	if s.ReadOnly() != nil && !s.db.private() { // others will
		return nil
	}
	return s.transact(ctx, func(t tx) error {
		changed, next := int64(0), 1 // the number that they get is taken in the end, where there are some
		if t.counts() {
			next = 0
		}
		for _, c := range lost {
			n, err := t.exec(sqlLost, c.id, c.token, c.beat, next)
			if err != nil {
				return err
			}
			if n > 0 {
				if err := t.all([]any{c.id, c.beat, fmt.Sprintf("last sign of %s, lost since", c.owner)}, sqlAddNote); err != nil {
					return err
				}
			}
			changed += n
		}
		if changed == 0 { // another process has recorded it, or the run has beaten again
			return nil
		}
		return t.nextChange()
	})
}
