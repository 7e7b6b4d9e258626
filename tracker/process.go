package tracker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
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

// owner is the process that writes a run.
type owner struct {
	host string // with its boot and the namespace of its process ids: machines and containers may share a name
	pid  int64
	// start tells the process from others that have its id before or after it: on Linux hundredths of a second since
	// the machine began, elsewhere, and in rows of earlier versions, milliseconds since 1970.
	start int64
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

// fate is what one process knows of another.
type fate int

const (
	unknown fate = iota
	alive
	gone
)

// fate says whether o has ended, as seen from self. A process that can be looked up is alive however late its beats are:
// it may be halted, or wait for the database.
func (o owner) fate(self owner) fate {
	if o.host != self.host {
		return unknown
	}
	start, err := started(o.pid)
	switch {
	case errors.Is(err, fs.ErrNotExist) && exists(o.pid): // it is hidden from this user
		return unknown
	case err != nil:
		return gone
	case start-1 <= o.start && o.start <= start+1: // for rounding
		return alive
	case o.start > 0 && o.start < earliest:
		return gone
	}
	const jitter = 5000 // a time of day is reckoned from that of the machine's beginning, which moves when the clock is set
	if start, err := created(o.pid); err == nil && start-jitter < o.start && o.start < start+jitter {
		return alive
	}
	return unknown // the clock was set, or another process has the id
}

// earliest is the start from which on it is milliseconds since 1970: of the year 2001. A machine does not run as long in
// hundredths of a second.
const earliest = 1e12

// started is the start of a process; one that has ended and waits to be noticed is none.
func started(pid int64) (int64, error) {
	if runtime.GOOS != "linux" {
		return created(pid)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// proc_pid_stat(5): the state is field 3, the start field 22; the name before them may hold anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return 0, os.ErrProcessDone
	}
	start, err := strconv.ParseInt(fields[19], 10, 64)
	return start - bootShift(), err
}

// bootShift is what a time namespace adds to times since the machine's beginning, in hundredths of a second.
var bootShift = sync.OnceValue(func() int64 {
	text, _ := os.ReadFile("/proc/self/timens_offsets") // empty on older systems, which have no such namespaces
	var seconds, nanoseconds int64
	if _, offset, ok := strings.Cut(string(text), "boottime"); ok {
		_, _ = fmt.Sscan(offset, &seconds, &nanoseconds)
	}
	return seconds*100 + nanoseconds/1e7
})

// created is the time of day when a process began, in milliseconds since 1970.
func created(pid int64) (int64, error) {
	p, err := process.NewProcess(int32(pid)) //nolint:gosec // a process id
	if err != nil {
		return 0, err
	}
	if state, err := p.Status(); err == nil && slices.Contains(state, process.Zombie) {
		return 0, os.ErrProcessDone
	}
	return p.CreateTime()
}

// exists says whether there is a process of this id, which others' may hide from /proc.
func exists(pid int64) bool {
	p, err := os.FindProcess(int(pid))
	if err != nil {
		return false
	}
	err = p.Signal(syscall.Signal(0))
	return err == nil || errors.Is(err, fs.ErrPermission)
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

// Sample is the load of a run's process, and of the GPU that it may use first, at a time.
type Sample struct {
	Time   time.Time `json:"time"`
	CPU    float64   `json:"cpu"`           // percent of one core since the sample before
	Memory int64     `json:"memory"`        // bytes resident
	GPU    *GPULoad  `json:"gpu,omitempty"` // nil: no NVIDIA GPU
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
