package experiments

import (
	"slices"
	"strings"
	"testing"

	"hrlab/hrstyle"
	"hrlab/tracker"
)

// A trial whose workers are lost again and again at the same checkpoint fails, and says why; a new checkpoint in between, or Retry,
// gives it as many more.
func (db suite) losses(t *testing.T) {
	lab := db.lab(t)
	q := openQueue(t, lab)
	config := quick()
	config.Steps = 6
	id := enqueue(t, lab, q, testPair, Trial{Config: config})[0]
	work := func() (starts []int) {
		_ = lab.Work(t.Context(), true, func(p Progress) {
			if !p.Ended && !p.Step.Ok() { // it was taken
				starts = append(starts, p.Step.N)
			}
			if p.Step.Ok() && !p.Ended {
				die(t, lab.Tracker, id)
			}
		})
		return starts
	}
	for range 2 { // the second time after Retry
		starts := work()
		info := infos(t, lab.Tracker, []int64{id})[0]
		if info.Status != tracker.Failed || !strings.Contains(info.Error, "3 workers were lost one after the other at the checkpoint of step ") || isOpen(t, q, id) {
			t.Errorf("%s: %s", info.Status, info.Error)
		}
		if same := starts[len(starts)-maxLosses+1:]; len(slices.Compact(same)) != 1 {
			t.Errorf("taken at steps %v", starts)
		}
		if n, err := q.Retry(t.Context(), []tracker.Info{info}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := lab.Work(t.Context(), true, func(Progress) {}); err != nil {
		t.Error(err)
	}
	if info := infos(t, lab.Tracker, []int64{id})[0]; info.Status != tracker.Finished {
		t.Errorf("%s: %s", info.Status, info.Error)
	}
}

// A short sweep that is queued after a long one does not wait for its end, even where there is but one worker; and a worker does not
// change between pictures more often than that takes.
func (db suite) shares(t *testing.T) {
	lab := db.lab(t)
	q := openQueue(t, lab)
	other := testPair
	other.Content.Name = "other.png" // which names the experiment
	config := quick()
	trials := func(n int) (list []Trial) {
		for i := range n {
			config.Seed = int64(i)
			list = append(list, Trial{Config: config})
		}
		return list
	}
	long := enqueue(t, lab, q, testPair, trials(4*inARow)...)
	var short []int64
	var order []byte
	err := lab.Work(t.Context(), true, func(p Progress) {
		if short == nil {
			short = enqueue(t, lab, q, other, trials(2)...)
		}
		if p.Ended && slices.Contains(long, p.Run) {
			order = append(order, 'l')
		} else if p.Ended {
			order = append(order, 's')
		}
	})
	if want := strings.Repeat("l", inARow) + "ss" + strings.Repeat("l", 3*inARow); err != nil || string(order) != want {
		t.Errorf("trials of the long and the short sweep: %s, want %s (%v)", order, want, err)
	}
}

// Where another process is at a sweep, a worker takes that which nobody is at, and within a sweep the pictures that it has placed.
func TestShare(t *testing.T) {
	w := &worker{turns: map[int64]int{}}
	pick := func(running ...int) int64 {
		var sweeps []sweep
		for i, n := range running {
			sweeps = append(sweeps, sweep{int64(i), n})
		}
		w.share(sweeps)
		w.took(sweeps[0].id, waiting{})
		return sweeps[0].id
	}
	for i, c := range []struct {
		running []int
		want    int64
	}{{[]int{1, 0}, 1}, {[]int{0, 0}, 1}, {[]int{1, 2}, 0}, {[]int{0, 0, 0}, 0}, {[]int{0, 0, 0}, 0}, {[]int{0, 0, 0}, 0}, {[]int{0, 0, 0}, 2}} {
		if got := pick(c.running...); got != c.want {
			t.Errorf("%d: of %v it took %d, want %d", i, c.running, got, c.want)
		}
	}
	a, b := waiting{id: 1}, waiting{id: 2, job: job{Config: hrstyle.Config{Size: 64}}}
	w.need = b.need()
	list := []waiting{a, b, a, b}
	if w.near(list); list[0].id != 2 || list[1].id != 2 || list[2].id != 1 {
		t.Error(list)
	}
}
