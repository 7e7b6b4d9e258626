package experiments

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"net"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hrlab/hrstyle"
	"hrlab/report"
	"hrlab/tracker"
	"hrlab/tracker/postgrestest"
)

// said is what was told.
type said struct {
	mu   sync.Mutex
	text string
}

func (s *said) tell(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text += what + "\n"
}

// wait waits until something was told.
func (s *said) wait(t *testing.T, what string) {
	t.Helper()
	for {
		s.mu.Lock()
		found := strings.Contains(s.text, what)
		s.mu.Unlock()
		if found {
			return
		}
		time.Sleep(10 * time.Millisecond)
		if t.Context().Err() != nil {
			t.Fatalf("%q was not told", what)
		}
	}
}

// awayFit is a fit that is recorded on a server, a step at a time.
type awayFit struct {
	t    *testing.T
	lab  Lab
	run  *tracker.Run
	said said
	next func() (hrstyle.Step, error, bool)
	end  context.CancelFunc
}

const awaySteps = 30

func newAwayFit(t *testing.T, url string) *awayFit {
	t.Helper()
	if testing.Short() {
		t.Skip("fits pictures")
	}
	engine, err := pureGo()
	if err != nil {
		t.Fatal(err)
	}
	f := &awayFit{t: t, lab: Lab{Engine: engine, Tracker: openStore(t, url)}}
	var ctx context.Context
	ctx, f.end = context.WithCancel(tracker.OnWait(t.Context(), f.said.tell))
	config := testConfig()
	config.Steps = awaySteps
	if f.run, err = f.lab.Start(ctx, About{Experiment: "e"}, testPair, Trial{Config: config}); err != nil {
		t.Fatal(err)
	}
	var stop func()
	f.next, stop = iter.Pull2(f.lab.Record(ctx, f.run, engine.Fit(ctx, testPair, config)))
	t.Cleanup(func() { stop(); f.end() })
	return f
}

// to fits until a step.
func (f *awayFit) to(n int) {
	f.t.Helper()
	for {
		step, err, more := f.next()
		if err != nil || !more {
			f.t.Fatalf("step %d: %v", step.N, err)
		}
		if step.N == n {
			return
		}
	}
}

// recorded are the losses on record up to the last, whose step the checkpoint must have.
func (f *awayFit) recorded(status tracker.Status) (losses []float64) {
	f.t.Helper()
	info := infos(f.t, f.lab.Tracker, []int64{f.run.ID})[0]
	if info.Status != status {
		f.t.Errorf("%s: %s", info.Status, info.Error)
	}
	series, err := f.lab.Tracker.Series(f.t.Context(), []int64{f.run.ID}, []string{"total"}, 0)
	if err != nil || len(series) != 1 {
		f.t.Fatal(series, err)
	}
	for i, n := range series[0].Steps {
		if int(n) != i {
			f.t.Fatalf("steps %v", series[0].Steps)
		}
	}
	steps, err := Recorded(f.t.Context(), f.lab.Tracker, info)
	start, err2 := LoadCheckpoint(f.t.Context(), f.lab.Tracker, f.run.ID)
	if err := errors.Join(err, err2); err != nil || len(steps) != len(series[0].Steps) || start.Step != len(steps)-1 {
		f.t.Errorf("%d losses, %d pictures, the checkpoint of step %d: %v", len(series[0].Steps), len(steps), start.Step, err)
	}
	return series[0].Values
}

// While the server is away a fit goes on. When it is back everything is on record, as of a quiet run.
func TestServerAway(t *testing.T) {
	server := postgrestest.Start(t)
	quiet := newAwayFit(t, filepath.Join(t.TempDir(), "hrlab.db"))
	quiet.to(awaySteps)
	if _, err, more := quiet.next(); err != nil || more {
		t.Fatal(err)
	}
	want := quiet.recorded(tracker.Finished)

	f := newAwayFit(t, server.URL("postgres"))
	f.to(5)
	server.Without(t, func() { f.to(25) })
	f.to(awaySteps)
	if _, err, _ := f.next(); err != nil {
		t.Error(err)
	}
	if got := f.recorded(tracker.Finished); !reflect.DeepEqual(got, want) {
		t.Errorf("%v\nwant\n%v", got, want)
	}
	if name := f.lab.Tracker.Name(); !strings.HasPrefix(f.said.text, "waiting for "+name+": ") || !strings.Contains(f.said.text, "; the fit goes on\n") || !strings.HasSuffix(f.said.text, "\n\n") {
		t.Errorf("told %q", f.said.text)
	}

	// Who stops it meanwhile waits for the server, too.
	f = newAwayFit(t, server.URL("postgres"))
	f.to(5)
	stopped := make(chan error)
	server.Without(t, func() {
		f.to(12)
		f.end()
		go func() {
			_, err, _ := f.next()
			_, _, _ = f.next() // there is none
			stopped <- err
		}()
		f.said.wait(t, "reports of the fit are in memory")
	})
	if err := <-stopped; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if got := f.recorded(tracker.Stopped); len(got) < 13 || !reflect.DeepEqual(got, want[:len(got)]) {
		t.Errorf("%v\nwant the first of\n%v", got, want)
	}

	// What cannot be recorded afterwards fails the run, which goes on before it.
	f = newAwayFit(t, server.URL("postgres"))
	f.to(5)
	do(t, f.lab.Tracker, "ALTER TABLE metric ADD CONSTRAINT fault CHECK (step <> 10) NOT VALID")
	server.Without(t, func() { f.to(20) })
	var err error
	for more := true; more && err == nil; {
		_, err, more = f.next()
	}
	info := infos(t, f.lab.Tracker, []int64{f.run.ID})[0]
	if err == nil || info.Status != tracker.Failed || !strings.Contains(info.Error, "later reports were not recorded") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v: %s, %s", err, info.Status, info.Error)
	}
	if start, err := LoadCheckpoint(t.Context(), f.lab.Tracker, f.run.ID); err != nil || start.Step >= 10 {
		t.Errorf("a checkpoint of step %d: %v", start.Step, err)
	}
}

// What is kept in memory has a limit, at which the fit waits.
func TestServerAwayLong(t *testing.T) {
	server := postgrestest.Start(t)
	store := openStore(t, server.URL("postgres"))
	run, err := store.Start(t.Context(), tracker.NewRun{})
	if err != nil {
		t.Fatal(err)
	}
	var told said
	b := newBacklog(tracker.OnWait(t.Context(), told.tell), true)
	const size, n = 4 << 20, 20
	kept := make(chan int, n)
	full := 0
	server.Without(t, func() {
		go func() {
			for i := range n {
				data := bytes.Repeat([]byte{byte(i)}, size)
				if err := b.add(size, func(ctx context.Context) error { return run.LogArtifact(ctx, strconv.Itoa(i), bytes.NewReader(data)) }); err != nil {
					t.Error(err)
				}
				kept <- i
			}
			close(kept)
		}()
		told.wait(t, "; the fit waits too, with 64 MiB of reports in memory")
		full = len(kept)
	})
	for range kept {
	}
	if err := errors.Join(b.drain(), run.Finish(t.Context(), nil)); err != nil || full != backlogLimit/size-1 {
		t.Errorf("%d were kept before it waited: %v", full, err)
	}
	if all, err := store.Artifacts(t.Context(), run.ID); err != nil || len(all) != n {
		t.Errorf("%d are on record: %v", len(all), err)
	}
}

// A worker that is cut off, and whose run another takes meanwhile, writes nothing of what it has kept, and ends its fit.
func TestCutOffAndTaken(t *testing.T) {
	server := postgrestest.Start(t)
	url := server.URL("postgres")
	_, folder, _ := strings.Cut(url, "host=")
	folder, _, _ = strings.Cut(folder, "&")
	far := t.TempDir()
	const socket = ".s.PGSQL.5432"
	cable := &cable{near: filepath.Join(folder, socket), far: filepath.Join(far, socket)}
	cable.plug(t)
	defer cable.pull(t)
	f := newAwayFit(t, strings.ReplaceAll(url, folder, far))
	f.to(5)
	cable.pull(t)
	f.to(15)
	other := openStore(t, url)
	die(t, other, f.run.ID)
	taken, err := other.Take(t.Context(), f.run.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	cable.plug(t)
	for more := true; more && err == nil; {
		_, err, more = f.next()
	}
	if !errors.Is(err, tracker.ErrTaken) {
		t.Error(err)
	}
	if last := infos(t, other, []int64{f.run.ID})[0].Metrics["total"].LastStep; last != 5 {
		t.Errorf("the last step on record is %d", last)
	}
	if err := taken.Finish(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if list, err := other.Artifacts(t.Context(), f.run.ID); err != nil || len(list) != 1 || list[0].Name != report.Checkpoint {
		t.Errorf("%+v %v", list, err)
	}
}

// cable leads from a socket to another one.
type cable struct {
	near, far string
	plugged   net.Listener
	mu        sync.Mutex
	ends      []net.Conn
}

func (c *cable) plug(t *testing.T) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", c.far)
	if err != nil {
		t.Fatal(err)
	}
	c.plugged = l
	go func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := new(net.Dialer).DialContext(t.Context(), "unix", c.near)
			if err != nil {
				_ = a.Close()
				continue
			}
			c.mu.Lock()
			c.ends = append(c.ends, a, b)
			c.mu.Unlock()
			for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
				go func() { _, _ = io.Copy(pair[0], pair[1]); _ = pair[0].Close() }()
			}
		}
	}()
}

func (c *cable) pull(t *testing.T) {
	t.Helper()
	_ = c.plugged.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, end := range c.ends {
		_ = end.Close()
	}
	c.ends = nil
}
