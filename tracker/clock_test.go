package tracker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// hand moves the hands of a clock.
type hand struct {
	ahead  time.Duration // of the time of day
	steady time.Duration
	slept  int
	asleep func() // is called while somebody sleeps
}

// setClock is a clock whose steady hand moves for those alone who sleep by it.
func setClock() (clock, *hand) {
	h := &hand{asleep: func() {}}
	return clock{
		now:    func() time.Time { return time.Now().Add(h.ahead) },
		steady: func() time.Duration { return h.steady },
		sleep: func(ctx context.Context, d time.Duration) error {
			h.steady += d
			h.slept++
			h.asleep()
			return ctx.Err()
		},
	}, h
}

// writer starts a process that has a run and does nothing but beat, and returns the run and what kills it.
func writer(t *testing.T, c *exec.Cmd) (run int64, kill func()) {
	t.Helper()
	out, err := c.StdoutPipe()
	c.Stderr = os.Stderr
	must(t, err, c.Start())
	kill = func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	run, err = strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	must(t, err)
	return run, kill
}

// idle is a process that has a run, with a clock that is so far ahead.
func idle(t *testing.T, path, host string, ahead time.Duration) (run int64, kill func()) {
	t.Helper()
	c := child(t.Context(), "idle", path)
	c.Env = append(c.Env, "HRLAB_TEST_HOST="+host, fmt.Sprint("HRLAB_TEST_AHEAD=", ahead))
	return writer(t, c)
}

// beaten waits until a run has beaten again.
func beaten(t *testing.T, s *Store, run int64) {
	t.Helper()
	at := func() (beat int64) {
		must(t, value(t.Context(), s.db.reads(), []any{&beat}, "SELECT beat FROM run WHERE id = $1", run))
		return beat
	}
	for before := at(); at() == before; {
		time.Sleep(10 * time.Millisecond)
	}
}

var shifts = []time.Duration{0, 30 * time.Second, -30 * time.Second, 5 * time.Hour, -5 * time.Hour, 40000 * time.Hour, -40000 * time.Hour}

// Whoever sets the clock of this machine, forwards or backwards, before or between two looks: a run whose process lives
// is running and cannot be taken, one whose process is gone is lost at once.
func (db suite) clockSet(t *testing.T) {
	url := db.empty(t)
	s := open(t, url)
	c, hand := setClock()
	s.clock = c
	run, kill := idle(t, url, "", 0)
	wrong, killWrong := idle(t, url, "", -7*time.Hour)
	for _, ahead := range shifts {
		hand.ahead = ahead
		for _, id := range []int64{run, wrong} {
			if i := info(t, s, id); i.Status != Running {
				t.Errorf("%v ahead: %s", ahead, i.Status)
			}
			if _, err := s.Resume(t.Context(), id, nil); !errors.Is(err, ErrTaken) {
				t.Errorf("%v ahead: %v", ahead, err)
			}
		}
	}
	kill()
	killWrong()
	for _, id := range []int64{run, wrong} {
		if i := info(t, s, id); i.Status != Lost {
			t.Error(i.Status)
		}
	}
	if hand.slept > 0 {
		t.Errorf("it was looked at %d times", hand.slept)
	}
}

// Of a process that cannot be looked up its beats tell, whatever clocks say: one that beats is running, one that has
// not beaten while somebody looked on is lost.
func (db suite) wrongClockElsewhere(t *testing.T) {
	for _, behind := range []time.Duration{0, 3 * time.Hour, -3 * time.Hour} { // the clock of the other machine
		t.Run(fmt.Sprint(behind), func(t *testing.T) {
			t.Parallel()
			url := db.empty(t)
			observer := func(ahead time.Duration) (*Store, *hand) { // one that has seen nothing yet
				s := open(t, url)
				c, hand := setClock()
				hand.ahead = ahead
				s.clock = c
				return s, hand
			}
			s, hand := observer(0)
			run, kill := idle(t, url, "elsewhere", behind)
			hand.asleep = func() { beaten(t, s, run) }
			for _, ahead := range shifts[:5] {
				other, look := observer(ahead)
				look.asleep = func() { beaten(t, other, run) }
				for range 2 {
					if i := info(t, other, run); i.Status != Running {
						t.Errorf("%v ahead: %s", ahead, i.Status)
					}
				}
				if want := (ahead-behind).Abs() > beatTimeout && !db.server; want && look.slept != 1 || db.server && look.slept > 0 {
					t.Errorf("%v ahead: looked on %d times", ahead, look.slept)
				}
				look.ahead = -ahead // set between two looks
				if i := info(t, other, run); i.Status != Running {
					t.Errorf("%v ahead, then behind: %s", ahead, i.Status)
				}
				if _, err := other.Resume(t.Context(), run, nil); !errors.Is(err, ErrTaken) {
					t.Errorf("%v ahead: %v", ahead, err)
				}
			}
			if i := info(t, s, run); i.Status != Running {
				t.Error(i.Status)
			}
			kill()
			switch {
			case behind == 0: // one who saw it alive sees its beats stand still
				hand.asleep = func() {}
				_ = info(t, s, run)
				hand.steady += beatTimeout / 2
				_ = info(t, s, run)
				hand.steady += beatTimeout / 2
				_ = info(t, s, run)
				hand.steady += time.Second
				if i := info(t, s, run); i.Status != Lost {
					t.Error(i.Status)
				}
			case db.server: // one who has seen nothing has the server's time
				execute(t, s, "UPDATE run SET beat = beat - 61000000")
				other, _ := observer(0)
				if i := info(t, other, run); i.Status != Lost {
					t.Error(i.Status)
				}
			default: // one who has seen nothing looks on
				other, look := observer(0)
				if i := info(t, other, run); i.Status != Lost {
					t.Error(i.Status)
				}
				if want := int(beatTimeout / (200 * time.Millisecond)); look.slept < want || look.slept > want+2 {
					t.Errorf("looked on %d times, want %d", look.slept, want)
				}
			}
			next, err := s.Resume(t.Context(), run, nil)
			must(t, err, next.Finish(t.Context(), nil))
		})
	}
}

// Rows of earlier versions have the time of day when the process began.
func (db suite) clockSetOldRows(t *testing.T) {
	url := db.empty(t)
	s := open(t, url)
	c, hand := setClock()
	s.clock = c
	run, kill := idle(t, url, "", 0)
	set := func(by time.Duration) {
		t.Helper()
		var pid int64
		must(t, value(t.Context(), s.db.reads(), []any{&pid}, "SELECT pid FROM run WHERE id = $1", run))
		start, err := created(pid)
		must(t, err)
		execute(t, s, "UPDATE run SET process_start = $1 WHERE id = $2", start+by.Milliseconds(), run)
	}
	hand.asleep = func() { beaten(t, s, run) }
	for _, by := range []time.Duration{0, time.Second, -time.Hour, time.Hour} { // the clock was set meanwhile
		set(by)
		for _, ahead := range shifts {
			hand.ahead = ahead
			if i := info(t, s, run); i.Status != Running {
				t.Errorf("begun %v ago, %v ahead: %s", by, ahead, i.Status)
			}
		}
	}
	kill()
	if i := info(t, s, run); i.Status != Lost {
		t.Error(i.Status)
	}
}

// A clock that is set while a run is written changes neither how long it took nor its order.
func (db suite) clockSetMeanwhile(t *testing.T) {
	for _, by := range shifts {
		s, ctx := db.fresh(t), t.Context()
		c, hand := setClock()
		s.clock = c
		r := start(t, s, NewRun{})
		hand.ahead = by
		must(t, r.Note(ctx, "n"), r.LogArtifact(ctx, "a", strings.NewReader("x")), r.Finish(ctx, nil))
		i := info(t, s, r.ID)
		artifacts, err := s.Artifacts(ctx, r.ID)
		must(t, err)
		for what, at := range map[string]time.Time{"note": i.Notes[0].Time, "artifact": artifacts[0].Time, "end": i.Ended} {
			if took := at.Sub(i.Started); took < 0 || took > time.Hour/2 {
				t.Errorf("set by %v: the %s is %v after the start", by, what, took)
			}
		}
	}
}

// A process in a time namespace, whose clocks since boot are others, is the same process.
func (db suite) timeNamespace(t *testing.T) {
	if out, err := exec.Command("unshare", "--kill-child", "--time", "--boottime", "100000", "--monotonic", "100000", "true").CombinedOutput(); err != nil {
		t.Skipf("no time namespaces here: %v %s", err, out)
	}
	url := db.empty(t)
	s := open(t, url)
	c := child(t.Context(), "idle", url)
	inside := exec.CommandContext(t.Context(), "unshare", append([]string{"--kill-child", "--time", "--boottime", "100000", "--monotonic", "100000"}, c.Args...)...)
	inside.Env = c.Env
	run, kill := writer(t, inside)
	if i := info(t, s, run); i.Status != Running {
		t.Error(i.Status)
	}
	kill()
	for info(t, s, run).Status != Lost { // unshare was killed, and then its child ends
		time.Sleep(10 * time.Millisecond)
	}
}

// The owner of a run is gone when its process is, or another has its id. What cannot be known is not said.
func TestOwner(t *testing.T) {
	self := thisProcess()
	expect := func(what string, o owner, want fate) {
		t.Helper()
		if got := o.fate(self); got != want {
			t.Errorf("%s: fate %d, want %d", what, got, want)
		}
	}
	expect("this process", self, alive)
	reused := self
	reused.start -= 60
	expect("one that had this id before", reused, gone)
	ended := exec.Command("sleep", "1000")
	must(t, ended.Start())
	dead := self
	dead.pid = int64(ended.Process.Pid)
	var err error
	dead.start, err = started(dead.pid)
	must(t, err)
	expect("a process that runs", dead, alive)
	// A row of an earlier version has milliseconds since 1970.
	old := dead
	old.start, err = created(old.pid)
	must(t, err)
	if old.start < earliest || dead.start > earliest/1000 {
		t.Errorf("starts %d and %d", old.start, dead.start)
	}
	expect("one that runs, of an earlier version", old, alive)
	shifted := old
	shifted.start -= time.Hour.Milliseconds()
	expect("one that runs, of an earlier version, and the clock was set or the id is another's", shifted, unknown)
	must(t, ended.Process.Kill())
	for dead.fate(self) != gone { // nobody has waited for it: it becomes a zombie
		if t.Context().Err() != nil {
			t.Fatal("a zombie is taken for the owner")
		}
	}
	expect("a zombie, of an earlier version", old, gone)
	_ = ended.Wait()
	expect("one that has ended", dead, gone)
	expect("one that has ended, of an earlier version", old, gone)
	expect("one of another host", owner{"another host", 1, 1}, unknown)
}
