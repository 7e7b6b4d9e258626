package tracker

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/process"
)

const (
	beatEvery = 2 * time.Second
	// A run whose last beat is older than this is lost, where its process cannot be looked up.
	beatTimeout = 8 * time.Second
)

// owner is the process that writes a run.
type owner struct {
	host  string // with its boot and the namespace of its process ids: machines and containers may share a name
	pid   int64
	start int64 // milliseconds since 1970
}

func thisProcess() owner {
	o := owner{pid: int64(os.Getpid())}
	o.host, _ = os.Hostname()
	if boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		o.host += " " + strings.TrimSpace(string(boot))
	}
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

// gone says whether o has ended, as seen from self at the time now, and its last beat being at beat. A process that can
// be looked up is not gone because it is late: it may be halted, or wait for the database.
func (o owner) gone(self owner, beat, now time.Time) bool {
	if o.host != self.host {
		return now.Sub(beat) > beatTimeout
	}
	start, err := started(o.pid)
	const jitter = 5000 // the start is reckoned from the time of boot, which moves when the clock is set
	return err != nil || start > o.start+jitter || start < o.start-jitter
}

// Sample is the load of a run's process, and of the GPU that it may use first, at a time.
type Sample struct {
	Time   time.Time `json:"time"`
	CPU    float64   `json:"cpu"`           // percent of one core since the sample before
	Memory int64     `json:"memory"`        // bytes resident
	GPU    *GPULoad  `json:"gpu,omitempty"` // nil: no NVIDIA GPU
}

// beat tells every few seconds that the run's process lives, and records its load, until the run or the store ends.
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
		case now := <-tick.C:
			var load *Sample
			if self != nil {
				load = r.store.sample(self, now)
			}
			// A beat that cannot be written is made up by the next; Log reports what stays wrong.
			_ = r.write(ctx, func(t tx) error {
				if _, err := t.exec(sqlBeat, r.ID, micros(now)); err != nil || load == nil {
					return err
				}
				return t.addSample(r.ID, *load)
			})
		}
	}
}

// sample is the load of this process and its GPU, or nil where it cannot be found out.
func (s *Store) sample(self *process.Process, now time.Time) *Sample {
	percent, err := self.Percent(0)
	if err != nil {
		return nil
	}
	memory, err := self.MemoryInfo()
	if err != nil {
		return nil
	}
	return &Sample{Time: now, CPU: percent, Memory: int64(memory.RSS), GPU: s.gpu.load(s.closing)} //nolint:gosec // bytes of memory
}

func (t tx) addSample(run int64, s Sample) error {
	var gpu, memory any
	if s.GPU != nil {
		gpu, memory = s.GPU.Percent, s.GPU.Memory
	}
	_, err := t.exec(sqlAddSample, run, micros(s.Time), s.CPU, s.Memory, gpu, memory)
	return err
}
