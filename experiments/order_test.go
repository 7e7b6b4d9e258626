package experiments

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"hrlab/tracker"
)

// Every two of what a person does to a trial and to its worker, one after the other with a gap that is different each time:
// no order leaves a run that nobody will take and that is not shown as ended. The last word counts.
func (db suite) order(t *testing.T) {
	lab := db.lab(t)
	q := openQueue(t, lab)
	var id int64
	info := func() []tracker.Info { return infos(t, lab.Tracker, []int64{id}) }
	start := func() *exec.Cmd {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), "HRLAB_TEST_WORKER="+lab.Tracker.URL())
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	var worker *exec.Cmd
	end := func(signal os.Signal) { _ = worker.Process.Signal(signal) } // it may have ended before
	actions := map[string]func(){
		"cancel": func() {
			if _, err := q.cancel(t.Context(), []int64{id}); err != nil {
				t.Error(err)
			}
		},
		"retry": func() {
			if _, err := q.Retry(t.Context(), info()); err != nil {
				t.Error(err)
			}
		},
		"stop": func() { end(os.Interrupt) },
		"kill": func() { end(os.Kill) },
		"restart": func() {
			end(os.Interrupt)
			_ = worker.Wait()
			worker = start()
		},
	}
	const longest = 300 * time.Millisecond
	seed := int64(0) // of a trial that there was not before
	for first, do := range actions {
		for second, then := range actions {
			gap := rand.N(longest)
			t.Run(fmt.Sprintf("%s, %v, %s", first, gap.Round(time.Millisecond), second), func(t *testing.T) {
				config := testConfig()
				config.Steps = 100_000
				seed++
				config.Seed = seed
				id = enqueue(t, lab, q, testPair, Trial{Config: config})[0]
				worker = start()
				for info()[0].Metrics["total"].LastStep < 1 {
					time.Sleep(10 * time.Millisecond)
				}
				do()
				time.Sleep(gap)
				then()
				cancelled := second == "cancel" || first == "cancel" && second != "retry"
				until := time.Now().Add(time.Minute)
				for now := info()[0].Status; cancelled != (now == tracker.Stopped) && time.Now().Before(until); now = info()[0].Status {
					time.Sleep(10 * time.Millisecond)
				}
				end(os.Interrupt)
				_ = worker.Wait()
				if now := info()[0].Status; cancelled && now != tracker.Stopped || !cancelled && now != tracker.Queued && now != tracker.Lost {
					t.Errorf("it is %s", now)
				}
				sweeps, err := q.jobs.sweeps(t.Context())
				if err != nil || len(sweeps) == 1 == cancelled {
					t.Errorf("waiting: %v, %v", sweeps, err)
				}
				if _, err := q.mend(t.Context()); err != nil || cancelled && isOpen(t, q, id) { // its worker may have died before it closed the job
					t.Errorf("its job is open: %v", err)
				}
				if _, err := q.cancel(t.Context(), []int64{id}); err != nil { // the next one is about another trial
					t.Error(err)
				}
			})
		}
	}
}
