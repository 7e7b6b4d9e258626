package tracker

import (
	"context"
	"os"
	"slices"
	"time"

	"github.com/shirou/gopsutil/v4/process"
)

const (
	beatEvery = 2 * time.Second
	// A run whose last beat is older than this is lost, wherever its process is.
	beatTimeout = 8 * time.Second
)

// owner is the process that writes a run.
type owner struct {
	host  string // with the namespace of its process ids: containers may share a name
	pid   int64
	start int64 // milliseconds since 1970
}

func thisProcess() owner {
	o := owner{pid: int64(os.Getpid())}
	o.host, _ = os.Hostname()
	if namespace, err := os.Readlink("/proc/self/ns/pid"); err == nil {
		o.host += " " + namespace
	}
	o.start, _ = started(o.pid)
	return o
}

// started is when a process began, in milliseconds since 1970; one that has ended and waits to be noticed is none.
func started(pid int64) (int64, error) {
	p, err := process.NewProcess(int32(pid))
	if err != nil {
		return 0, err
	}
	if state, err := p.Status(); err == nil && slices.Contains(state, process.Zombie) {
		return 0, process.ErrorProcessNotRunning
	}
	return p.CreateTime()
}

// gone says whether o has ended, as seen from self at the time now, and its last beat being at beat.
func (o owner) gone(self owner, beat, now time.Time) bool {
	if now.Sub(beat) > beatTimeout {
		return true
	}
	if o.host != self.host {
		return false
	}
	start, err := started(o.pid)
	const jitter = 5000 // the start is reckoned from the time of boot, which moves when the clock is set
	return err != nil || start > o.start+jitter || start < o.start-jitter
}

// Sample is the load of a run's process and device at a time.
type Sample struct {
	Time   time.Time `json:"time"`
	CPU    float64   `json:"cpu"`    // percent of one core since the sample before
	Memory int64     `json:"memory"` // bytes resident
}

// beat tells every few seconds that the run's process lives, and records its load, until the run or the store ends.
func (r *Run) beat(ctx context.Context) {
	self, err := process.NewProcessWithContext(ctx, int32(os.Getpid()))
	if err != nil {
		self = nil
	}
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			// A beat that cannot be written is made up by the next; Log reports what stays wrong.
			_ = r.write(ctx, func(t tx) error {
				if _, err := t.exec(sqlBeat, r.ID, micros(now)); err != nil || self == nil {
					return err
				}
				percent, err := self.Percent(0)
				if err != nil {
					return nil //nolint:nilerr // a run without this sample is as good
				}
				memory, err := self.MemoryInfo()
				if err != nil {
					return nil //nolint:nilerr // a run without this sample is as good
				}
				_, err = t.exec(sqlAddSample, r.ID, micros(now), percent, int64(memory.RSS), nil, nil)
				return err
			})
		}
	}
}
