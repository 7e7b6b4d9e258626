package tracker

import (
	"bytes"
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

	"github.com/shirou/gopsutil/v4/process"
)

// owner is the process that writes a run.
type owner struct {
	// host is the machine's name, with the id of its boot and the namespace of its process ids: other machines and
	// containers may have the same name.
	host string
	pid  int64
	// start is when the process was started, since another process may get the same id later. On Linux it is in
	// hundredths of a second since the machine was started; on other systems, and in rows of earlier versions, in
	// milliseconds since 1970.
	start int64
}

// String names the process and its machine.
func (o owner) String() string {
	return fmt.Sprintf("process %d on %s", o.pid, o.machine())
}

// machine is the machine's name.
func (o owner) machine() string {
	name, _, _ := strings.Cut(o.host, " ")
	return name
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

// fate is what one process knows of another one.
type fate int

const (
	unknown fate = iota
	alive
	gone
)

// fate says whether o has ended, as far as self can know. A process that can be looked up is alive however late its
// beats are: it may be stopped by a signal, or wait for the database.
func (o owner) fate(self owner) fate {
	if o.host != self.host {
		return unknown
	}
	start, err := started(o.pid)
	switch {
	case errors.Is(err, fs.ErrNotExist) && exists(o.pid): // /proc hides it from this user
		return unknown
	case err != nil:
		return gone
	case start-1 <= o.start && o.start <= start+1: // both are rounded
		return alive
	case o.start > 0 && o.start < earliest:
		return gone
	}
	const jitter = 5000 // milliseconds: the time of day is computed from that of the machine's start, which moves with the clock
	if start, err := created(o.pid); err == nil && start-jitter < o.start && o.start < start+jitter {
		return alive
	}
	return unknown // the clock was set, or another process has the id
}

// earliest is the smallest owner.start that is in milliseconds since 1970: it is in the year 2001. No machine has been
// running for so many hundredths of a second.
const earliest = 1e12

// started is when a process was started, as in owner.start. A zombie counts as ended.
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

// bootShift is what a time namespace adds to the time since the machine was started, in hundredths of a second.
var bootShift = sync.OnceValue(func() int64 {
	text, _ := os.ReadFile("/proc/self/timens_offsets") // empty on older systems, which have no such namespaces
	var seconds, nanoseconds int64
	if _, offset, ok := strings.Cut(string(text), "boottime"); ok {
		_, _ = fmt.Sscan(offset, &seconds, &nanoseconds)
	}
	return seconds*100 + nanoseconds/1e7
})

// created is the time of day when a process was started, in milliseconds since 1970.
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

// exists says whether there is a process of this id. It need not be visible in /proc.
func exists(pid int64) bool {
	p, err := os.FindProcess(int(pid))
	if err != nil {
		return false
	}
	err = p.Signal(syscall.Signal(0))
	return err == nil || errors.Is(err, fs.ErrPermission)
}
