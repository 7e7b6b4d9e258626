package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hrlab/experiments"
	"hrlab/tracker"
	"hrlab/tracker/postgrestest"
)

// machine is a machine with a worker: a process in namespaces of its own, as far as this user may make them.
type machine struct {
	t    testing.TB
	wrap []string // what the worker is started by
	cmd  *exec.Cmd
	said bytes.Buffer
}

func (m *machine) start() {
	m.cmd = exec.Command("hrlab", "worker")
	if len(m.wrap) > 0 {
		m.cmd = exec.Command(m.wrap[0], append(m.wrap[1:], "hrlab", "worker")...)
	}
	m.cmd.Stderr = &m.said
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // for who ends it
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
}

// named is the command that a process is started by on machine i.
func named(i int, unshare ...string) []string {
	return append(unshare, "sh", "-c", fmt.Sprintf(`hostname machine%d; exec "$@"`, i+1), "sh")
}

// names are three machines that only their names tell apart, nil where this user may make none: then a worker sees at once that
// another has died, or is stopped.
func names(t testing.TB) (machines [][]string) {
	t.Helper()
	if exec.CommandContext(t.Context(), "unshare", "--uts", "true").Run() != nil {
		return make([][]string, 3)
	}
	for i := range 3 {
		machines = append(machines, named(i, "unshare", "--uts"))
	}
	return machines
}

const serverAddress = "10.77.0.1"

func cable(i int) string { return fmt.Sprint("hrlab-cable", i) }

// network makes three machines of network namespaces, whose steady clocks are a minute apart, with cables to a server's address. It
// needs root. settings are the server's.
func network(t *testing.T) (machines [][]string, settings []string) {
	t.Helper()
	const bridge = "hrlab-bridge"
	ip := func(line string) { t.Helper(); command(t, "ip", strings.Fields(line)...) }
	ip("link add " + bridge + " type bridge")
	t.Cleanup(func() { ip("link delete " + bridge) })
	ip("addr add " + serverAddress + "/24 dev " + bridge)
	ip("link set " + bridge + " up")
	for i := range 3 {
		name := fmt.Sprint("hrlab-machine", i)
		ip("netns add " + name)
		t.Cleanup(func() { ip("netns delete " + name) })
		ip("link add " + cable(i) + " type veth peer name eth0 netns " + name)
		ip("link set " + cable(i) + " master " + bridge + " up")
		ip(fmt.Sprintf("-n %s addr add 10.77.0.%d/24 dev eth0", name, 10+i))
		ip("-n " + name + " link set eth0 up")
		apart := strconv.Itoa(60 * i)
		machines = append(machines, named(i, "ip", "netns", "exec", name, "unshare", "--uts", "--time", "--boottime", apart, "--monotonic", apart, "--fork"))
	}
	rules := filepath.Join(os.TempDir(), fmt.Sprint("hrlab-rules-", os.Getpid()))
	if err := os.WriteFile(rules, []byte("local all all trust\nhost all all 10.77.0.0/24 trust\n"), 0o644); err != nil { //nolint:gosec // the server is another user
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(rules) })
	return machines, []string{"listen_addresses = '" + serverAddress + "'", "hba_file = '" + rules + "'"}
}

// lab is a queue on a server, with machines that work, and what is done to them.
type lab struct {
	t        testing.TB
	store    *tracker.Store
	queue    *experiments.Queue
	machines []*machine
	hurt     map[int64]int // how often a run's worker was: three times would fail it
}

// hire starts a worker on every machine, until the test ends.
func (l *lab) hire(machines [][]string) {
	for _, wrap := range machines {
		m := &machine{t: l.t, wrap: wrap}
		l.machines = append(l.machines, m)
		m.start()
		l.t.Cleanup(func() {
			_ = syscall.Kill(-m.cmd.Process.Pid, syscall.SIGINT)
			_ = m.cmd.Wait()
			if l.t.Failed() {
				l.t.Log(m.said.String())
			}
		})
	}
}

// busy is a worker that has made progress for a second since it was last looked for, on a run that was not hurt too often.
func (l *lab) busy() (worker experiments.Worker, m *machine) {
	l.t.Helper()
	seen := map[string]time.Time{}
	until(l.t, "a worker with a second of progress", func() bool {
		workers, err := l.queue.Workers(l.t.Context())
		if err != nil { // the server is gone
			return false
		}
		rand.Shuffle(len(workers), func(i, j int) { workers[i], workers[j] = workers[j], workers[i] })
		for _, w := range workers {
			key := fmt.Sprint(w.PID, w.Run)
			if w.Step == 0 || l.hurt[w.Run] > 1 {
				continue
			}
			if seen[key].IsZero() {
				seen[key] = time.Now()
			}
			if time.Since(seen[key]) < time.Second {
				continue
			}
			for _, one := range l.machines {
				if one.cmd.ProcessState == nil && descends(int(w.PID), one.cmd.Process.Pid) {
					worker, m = w, one
					return true
				}
			}
		}
		return false
	})
	l.hurt[worker.Run]++
	return worker, m
}

// descends says whether a process is another one or its child.
func descends(pid, from int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	return pid == from || err == nil && len(fields) > 1 && fields[1] == strconv.Itoa(from)
}

// kill kills a worker, and starts another in its place.
func (l *lab) kill() {
	w, m := l.busy()
	l.signal(w, syscall.SIGKILL)
	_ = m.cmd.Wait()
	l.t.Logf("killed process %d at run %d, step %d", w.PID, w.Run, w.Step)
	m.start()
}

// halt stops a worker until another one has its trial, or has ended it.
func (l *lab) halt() {
	w, _ := l.busy()
	l.signal(w, syscall.SIGSTOP)
	until(l.t, "another worker that takes the trial of one that was stopped", func() bool {
		info, err := l.store.Run(l.t.Context(), strconv.FormatInt(w.Run, 10))
		return err == nil && strings.Count(l.notes(info), "taken by") > l.taken(w, info)
	})
	l.t.Logf("process %d was stopped at run %d, step %d, and goes on", w.PID, w.Run, w.Step)
	l.signal(w, syscall.SIGCONT)
}

// unplug pulls the cable of a machine at work for 20 seconds.
func (l *lab) unplug() {
	w, m := l.busy()
	for i, one := range l.machines {
		if one == m {
			command(l.t, "ip", "link", "set", cable(i), "down")
			time.Sleep(20 * time.Second)
			command(l.t, "ip", "link", "set", cable(i), "up")
		}
	}
	l.t.Logf("the cable of process %d was out for 20 s at run %d, step %d", w.PID, w.Run, w.Step)
}

func (l *lab) signal(w experiments.Worker, s syscall.Signal) {
	if err := syscall.Kill(int(w.PID), s); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) notes(info tracker.Info) string {
	var text strings.Builder
	for _, note := range info.Notes {
		text.WriteString(note.Text + "\n")
	}
	return text.String()
}

// taken counts how often a run was taken up to the last time that w took it.
func (l *lab) taken(w experiments.Worker, info tracker.Info) int {
	before, _, _ := cutLast(l.notes(info), fmt.Sprintf("taken by process %d ", w.PID))
	return strings.Count(before, "taken by") + 1
}

func cutLast(text, separator string) (before, after string, found bool) {
	i := strings.LastIndex(text, separator)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(separator):], true
}

// losses are the curves of all runs, by content weight.
func losses(t *testing.T, store *tracker.Store) map[float64]tracker.Series {
	t.Helper()
	runs, err := store.Runs(t.Context(), tracker.Query{})
	if err != nil {
		t.Fatal(err)
	}
	curves := map[float64]tracker.Series{}
	for _, run := range runs {
		series, err := store.Series(t.Context(), []int64{run.ID}, []string{"total"}, 0)
		if err != nil || len(series) != 1 || run.Status != tracker.Finished {
			t.Errorf("run %d: %s %s (%v)", run.ID, run.Status, run.Error, err)
			continue
		}
		series[0].Run = 0
		curves[run.Params["content_weight"].Number] = series[0]
	}
	if len(runs) != len(curves) {
		t.Errorf("%d runs of %d trials", len(runs), len(curves))
	}
	return curves
}

func open(t testing.TB, url string) *tracker.Store {
	t.Helper()
	store, err := tracker.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// Three workers, each on a machine of its own, are killed at random, one is stopped and comes back when another has its trial, and the
// server crashes: every trial is finished once, with the losses of a quiet run at every step, and no file is left that no run has.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("fits pictures")
	}
	trials, kills, soak := 5, 2, os.Getenv("HRLAB_TEST_SOAK") != ""
	if soak {
		trials, kills = 30, 10
	}
	dir := t.TempDir()
	t.Chdir(dir)
	if err := pictures(dir); err != nil {
		t.Fatal(err)
	}
	machines, settings := names(t), []string(nil)
	if soak {
		machines, settings = network(t)
	}
	server := postgrestest.Start(t, settings...)
	url := server.URL("postgres")
	if soak {
		url = "postgres://postgres@" + serverAddress + ":5432/postgres"
	}
	for name, value := range map[string]string{"HRLAB_DEVICE": "go", "HRLAB_VGG": "random", "HRLAB_DB": url} {
		t.Setenv(name, value)
	}
	sweep := []string{"sweep", "--content", "content.png", "--style", "content.png", "--size", "32", "--steps", "30", "--content-weight", fmt.Sprintf("lin:10:100:%d", trials), "--experiment", "chaos"}
	quiet := filepath.Join(dir, "quiet.db")
	command(t, "hrlab", append(sweep, "--db", quiet)...)
	l := &lab{t: t, store: open(t, url), hurt: map[int64]int{}}
	var err error
	if l.queue, err = experiments.OpenQueue(t.Context(), l.store); err != nil {
		t.Fatal(err)
	}
	follower := exec.CommandContext(t.Context(), "hrlab", append(sweep, "--queue")...)
	var said bytes.Buffer
	follower.Stderr = &said
	if err := follower.Start(); err != nil {
		t.Fatal(err)
	}
	l.hire(machines)
	for i := range kills {
		l.kill()
		if i == kills/3 {
			server.Restart(t)
			t.Log("the server crashed and is back")
		}
		if i == kills/2 && machines[0] != nil { // on one machine a stopped process is known to live
			l.halt()
		}
		if i == kills/2 && soak {
			l.unplug()
			server.Without(t, func() { time.Sleep(time.Minute) })
			t.Log("the server was gone for a minute")
		}
	}
	if err := follower.Wait(); err != nil {
		t.Errorf("sweep --queue: %v: %s", err, said.String())
	}
	got, want := losses(t, l.store), losses(t, open(t, quiet))
	if len(want) != trials || !reflect.DeepEqual(got, want) {
		t.Errorf("losses:\n%v\nwant those of a quiet run:\n%v", got, want)
	}
	if findings, err := l.store.Check(t.Context(), false); err != nil || len(findings) > 0 {
		t.Error(findings, err)
	}
	if freed, err := l.store.GC(t.Context()); err != nil || freed.Files != 0 {
		t.Errorf("files that no run has: %+v, %v", freed, err)
	}
}

// Seconds from the death of a worker until another has its trial, and until that has made a step which the first had not: it makes
// those again that came after the last checkpoint. On one machine, and where the other is on another one.
func BenchmarkKill(b *testing.B) {
	dir := b.TempDir()
	b.Chdir(dir)
	if err := pictures(dir); err != nil {
		b.Fatal(err)
	}
	for name, machines := range map[string][][]string{"OneMachine": make([][]string, 2), "TwoMachines": names(b)[:2]} {
		b.Run(name, func(b *testing.B) {
			url := postgrestest.New(b)
			for name, value := range map[string]string{"HRLAB_DEVICE": "go", "HRLAB_VGG": "random", "HRLAB_DB": url} {
				b.Setenv(name, value)
			}
			l := &lab{t: b, store: open(b, url), hurt: map[int64]int{}}
			var err error
			if l.queue, err = experiments.OpenQueue(b.Context(), l.store); err != nil {
				b.Fatal(err)
			}
			follower := exec.CommandContext(b.Context(), "hrlab", "sweep", "--content", "content.png", "--style", "content.png", "--size", "32", "--steps", "100000", "--content-weight", "1", "--experiment", "kill", "--queue")
			if err := follower.Start(); err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = follower.Process.Kill(); _ = follower.Wait() })
			l.hire(machines)
			step := func() int64 {
				series, err := l.store.Series(b.Context(), []int64{1}, []string{"total"}, 0)
				if err != nil || len(series) == 0 {
					return 0
				}
				return series[0].Steps[len(series[0].Steps)-1]
			}
			taken := func() int {
				info, err := l.store.Run(b.Context(), "1")
				if err != nil {
					return 0
				}
				return strings.Count(l.notes(info), "taken by")
			}
			var took, waited time.Duration
			for b.Loop() {
				clear(l.hurt)
				time.Sleep(11 * time.Second) // until there is another checkpoint: three deaths at one would fail the trial
				w, m := l.busy()
				l.signal(w, syscall.SIGKILL)
				_ = m.cmd.Wait()
				killed, at, before := time.Now(), step(), taken()
				until(b, "another worker", func() bool { return taken() > before })
				took += time.Since(killed)
				until(b, "the next step", func() bool { return step() > at })
				waited += time.Since(killed)
				m.start()
			}
			b.ReportMetric(took.Seconds()/float64(b.N), "s/taken")
			b.ReportMetric(waited.Seconds()/float64(b.N), "s/next-step")
		})
	}
}
