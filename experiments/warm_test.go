package experiments

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"hrlab/hrstyle"
	"hrlab/report"
	"hrlab/tracker"

	"github.com/gofrs/flock"
)

// warmProcess is a warm worker of the tests. It ends with its parent.
func warmProcess(db string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	parent := os.Getppid()
	go func() {
		for os.Getppid() == parent {
			time.Sleep(50 * time.Millisecond)
		}
		cancel()
	}()
	store, err := tracker.Open(ctx, db)
	if err != nil {
		return err
	}
	options := hrstyle.Options{Device: os.Getenv("HRLAB_TEST_WARM_DEVICE"), VGG: os.Getenv("HRLAB_TEST_WARM_VGG")}
	engine, release, err := Announce(store, options, func() (*hrstyle.Engine, error) {
		return hrstyle.Open(ctx, hrstyle.Options{Device: "go", VGG: options.VGG})
	})
	if err != nil {
		return errors.Join(err, store.Close())
	}
	defer release()
	return errors.Join(Lab{Engine: engine, Tracker: store}.Work(ctx, false, func(Progress) {}), store.Close())
}

// warmLab is a lab without engine, and the test pair in files.
func warmLab(t *testing.T, db, vgg string) (WarmLab, hrstyle.Pair) {
	t.Helper()
	return warmLabOn(t, db, "go", vgg)
}

func warmLabOn(t *testing.T, db, device, vgg string) (WarmLab, hrstyle.Pair) {
	t.Helper()
	if testing.Short() {
		t.Skip("fits pictures")
	}
	store, err := tracker.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	warm := &Warm{Options: hrstyle.Options{Device: device, VGG: vgg}, Command: func() *exec.Cmd {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), "HRLAB_TEST_WARM="+db, "HRLAB_TEST_WARM_DEVICE="+device, "HRLAB_TEST_WARM_VGG="+vgg)
		return c
	}}
	t.Cleanup(func() {
		if a, alive, _ := look(store, warm.Options); alive {
			_ = syscall.Kill(a.PID, syscall.SIGKILL)
		}
		_ = store.Close()
	})
	return WarmLab{Tracker: store, Warm: warm}, testPair
}

// A lab without engine gets from a worker what one with an engine makes itself: the same runs, measures and steps. The
// worker stays, is replaced when it dies or is another's, and what is finished is not done twice.
func TestWarm(t *testing.T) {
	db := filepath.Join(t.TempDir(), "hrlab.db")
	lab, pair := warmLab(t, db, "random")
	config := testConfig()
	config.Steps, config.ReportEvery = 4, 1
	trials := Grid(config, ContentWeight(5, 50))
	var skipped, reported int
	count := func(p Progress) {
		if p.Skipped != "" {
			skipped++
		} else if !p.Ended && p.Step.Ok() {
			reported++
		}
	}
	runs, err := lab.Sweep(t.Context(), "warm", pair, trials, 0, count)
	if err != nil {
		t.Fatal(err)
	}
	worker, alive, err := look(lab.Tracker, lab.Warm.Options)
	if err != nil || !alive || worker.PID == 0 || worker.PID == os.Getpid() {
		t.Fatalf("worker %v, alive %t: %v", worker, alive, err)
	}
	here := testLab(t)
	expected, err := here.Sweep(t.Context(), "here", pair, trials, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, run := range runs {
		for _, m := range []string{"content", "style", report.StyleMatch, report.SSIM} {
			if got, want := run.Metrics[m].Last, expected[i].Metrics[m].Last; got != want {
				t.Errorf("trial %d: %s is %v by the worker, %v here", i, m, got, want)
			}
		}
	}
	if len(runs) != 2 || skipped != 0 || reported == 0 {
		t.Errorf("%d runs, %d skipped, %d steps reported", len(runs), skipped, reported)
	}

	again, err := lab.Sweep(t.Context(), "warm", pair, trials, 0, count)
	if err != nil || skipped != 2 || again[1].ID != runs[1].ID {
		t.Errorf("again: %d skipped, %v", skipped, err)
	}

	var steps []int
	config.ContentWeight = 500
	for range 2 { // the second time from the record
		steps = nil
		for step, err := range lab.Fit(t.Context(), "warm", pair, config) {
			if err != nil {
				t.Fatal(err)
			}
			steps = append(steps, step.N)
			if b := step.Picture().Bounds(); b.Dx() != config.Size || step.Total == 0 || step.Describe() == "" {
				t.Errorf("step %d: picture %v, total %v", step.N, b, step.Total)
			}
		}
		if !slices.Equal(steps, []int{0, 1, 2, 3, 4}) {
			t.Errorf("steps %v", steps)
		}
	}
	if now, _, _ := look(lab.Tracker, lab.Warm.Options); now.PID != worker.PID {
		t.Errorf("worker %d became %d", worker.PID, now.PID)
	}

	// A worker that is killed in the middle of a fit is replaced, and the fit goes on.
	config.ContentWeight, config.Steps, config.ReportEvery = 7, 15, 1
	killed := false
	for step, err := range lab.Fit(t.Context(), "warm", pair, config) {
		if err != nil {
			t.Fatal(err)
		}
		if step.N >= 5 && !killed {
			killed = syscall.Kill(worker.PID, syscall.SIGKILL) == nil
		}
	}
	if next, alive, _ := look(lab.Tracker, lab.Warm.Options); !killed || !alive || next.PID == worker.PID {
		t.Errorf("killed %t; then %v, alive %t", killed, next, alive)
	}
	if _, err := lab.Enqueue(t.Context(), "warm", pair, trials); err != nil {
		t.Error(err)
	}

	// One that cannot begin says why.
	other, _ := warmLab(t, db, filepath.Join(t.TempDir(), "none.safetensors"))
	if _, err := other.Sweep(t.Context(), "warm", pair, trials, 0, nil); err == nil || !strings.HasPrefix(err.Error(), "the worker ended: exit status 1: ") || !strings.Contains(err.Error(), "none.safetensors") {
		t.Errorf("a worker without weights: %v", err)
	}

	// The first one goes on.
	before, _, _ := look(lab.Tracker, lab.Warm.Options)
	config.ContentWeight, config.Steps = 9, 2
	if last, err := hrstyle.Last(lab.Fit(t.Context(), "warm", pair, config)); err != nil || last.N != 2 {
		t.Errorf("step %d: %v", last.N, err)
	}
	if now, alive, err := look(lab.Tracker, lab.Warm.Options); err != nil || !alive || now.PID != before.PID {
		t.Errorf("worker %v, alive %t: %v", now, alive, err)
	}
}

// The stop button: the fit ends soon, with its picture, and the run is stopped; the same call goes on with it.
func TestWarmStop(t *testing.T) {
	lab, pair := warmLab(t, filepath.Join(t.TempDir(), "hrlab.db"), "random")
	config := testConfig()
	config.Steps, config.ReportEvery = 2000, 1
	for _, sweep := range []bool{false, true} {
		ctx, stop := context.WithCancel(t.Context())
		var last hrstyle.Step
		var err error
		pressed := false
		see := func(step hrstyle.Step) {
			if step.N >= 3 && !pressed {
				pressed = true
				stop()
			}
		}
		if sweep {
			_, err = lab.Sweep(ctx, "stopped", pair, Grid(config, ContentWeight(5, 50)), 0, func(p Progress) { see(p.Step) })
		} else {
			for step, stepErr := range lab.Fit(ctx, "stopped", pair, config) {
				last, err = step, stepErr
				see(step)
			}
		}
		stop()
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("sweep %t: %v", sweep, err)
		}
		var runs []tracker.Info
		for try := 0; ; try++ { // the worker may be at a step still
			runs, err = lab.Tracker.Runs(t.Context(), tracker.Query{Experiment: "stopped", Sort: "id"})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(runs, func(r tracker.Info) bool { return r.Status != tracker.Stopped }) {
				break
			}
			if try == 6000 { // five minutes at least
				t.Fatalf("sweep %t: %+v", sweep, runs)
			}
			time.Sleep(50 * time.Millisecond)
		}
		if artifact, err := lab.Tracker.OpenArtifact(t.Context(), runs[0].ID, report.Output); err != nil {
			t.Error(err)
		} else {
			_ = artifact.Close()
		}
		if !sweep && (!last.Ok() || last.Picture().Bounds().Dx() != config.Size) {
			t.Errorf("last step %d", last.N)
		}
	}
	short := config
	short.Steps = 1
	if _, err := hrstyle.Last(lab.Fit(t.Context(), "stopped", pair, short)); err != nil {
		t.Error("the worker is of no use after a stop:", err)
	}
}

// Labs with other options have a worker each, at the same time. What the worker of one cannot do is an error there, not
// something to wait for, and the rest of a sweep is done.
func TestWarmTwo(t *testing.T) {
	db := filepath.Join(t.TempDir(), "hrlab.db")
	a, pair := warmLabOn(t, db, "go", "random")
	b, _ := warmLabOn(t, db, "auto", "random")
	config := testConfig()
	config.Steps = 3
	other := config
	other.Seed++
	for step, err := range a.Fit(t.Context(), "two", pair, config) {
		if err != nil {
			t.Fatal(err)
		}
		if step.N == 0 {
			if last, err := hrstyle.Last(b.Fit(t.Context(), "two", pair, other)); err != nil || last.N != 3 {
				t.Errorf("step %d: %v", last.N, err)
			}
		}
	}
	one, alive, err := look(a.Tracker, a.Warm.Options)
	two, aliveToo, err2 := look(b.Tracker, b.Warm.Options)
	if err := errors.Join(err, err2); err != nil || !alive || !aliveToo || one.PID == two.PID {
		t.Errorf("%v %t, %v %t: %v", one, alive, two, aliveToo, err)
	}
	large := config
	large.Size = 8000
	if _, err := hrstyle.Last(a.Fit(t.Context(), "two", pair, large)); err == nil || !strings.Contains(err.Error(), "takes about") {
		t.Errorf("too large: %v", err)
	}
	config.ContentWeight++
	runs, err := a.Sweep(t.Context(), "two", pair, List(large, config), 0, nil)
	if !errors.Is(err, ErrTrials) || !strings.HasPrefix(err.Error(), "1 of 2 trials failed: trial 1: run ") || !strings.Contains(err.Error(), "takes about") {
		t.Error(err)
	}
	if len(runs) != 2 || runs[0].Status != tracker.Stopped || runs[1].Status != tracker.Finished {
		t.Errorf("%+v", runs)
	}
}

// One that looks for the worker does not keep it from beginning; a second worker is refused.
func TestAnnounce(t *testing.T) {
	lab := testLab(t)
	file, err := workerFile(lab.Tracker, hrstyle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	looker := flock.New(file, flock.SetFlag(os.O_CREATE|os.O_RDWR))
	if err := looker.RLock(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = looker.Unlock() }()
	open := func() (*hrstyle.Engine, error) { return lab.Engine, nil }
	_, release, err := Announce(lab.Tracker, hrstyle.Options{}, open)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if _, _, err := Announce(lab.Tracker, hrstyle.Options{}, open); !errors.Is(err, ErrWorker) {
		t.Error(err)
	}
}
