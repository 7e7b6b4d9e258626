package tracker

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// What is recorded is read again as it was.
func (db suite) run(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	r := start(t, s, NewRun{
		Experiment: "e", Name: "n",
		Params: map[string]any{"w": 0.1, "deep": map[string]any{"a": 7, "b": "x"}, "list": []int{1, 2}, "yes": true},
		Tags:   map[string]string{"pair": "boat"}, Inputs: map[string]string{"content": "abc"}, Environment: map[string]string{"device": "d"},
	})
	must(t, r.Log(ctx, 0, map[string]float64{"total": 5, "nan": math.NaN()}), r.Log(ctx, 10, map[string]float64{"total": 3, "nan": math.Inf(1)}),
		r.Log(ctx, 20, map[string]float64{"total": 4, "nan": math.Inf(-1)}), r.Tag(ctx, "good", "yes"), r.Note(ctx, "a remark"),
		r.LogPicture(ctx, 10, "output", grey(3)), r.LogArtifact(ctx, "file", strings.NewReader("content")))
	i := info(t, s, r.ID)
	if i.Status != Running || i.Experiment != "e" || i.Name != "n" || i.Started.IsZero() || !strings.Contains(i.Command, "test") {
		t.Errorf("%+v", i)
	}
	if i.Params["w"].Number != 0.1 || i.Params["deep.a"].Text != "7" || i.Params["deep.b"].Text != "x" || i.Params["list"].Text != "[1,2]" || i.Params["yes"].Text != "true" {
		t.Errorf("%+v", i.Params)
	}
	if i.Tags["good"] != "yes" || i.Tags["pair"] != "boat" || len(i.Notes) != 1 || i.Notes[0].Text != "a remark" {
		t.Errorf("%v %v", i.Tags, i.Notes)
	}
	if m := i.Metrics["total"]; m != (Metric{4, 3, 5, 20, 10, 0}) {
		t.Errorf("total: %+v", m)
	}
	if m := i.Metrics["nan"]; !math.IsInf(m.Last, -1) || !math.IsInf(m.Min, -1) || !math.IsInf(m.Max, 1) {
		t.Errorf("nan: %+v", m)
	}
	series, err := s.Series(ctx, []int64{r.ID}, nil, 0)
	if err != nil || len(series) != 2 || !math.IsNaN(series[0].Values[0]) || !math.IsInf(series[0].Values[1], 1) || !slices.Equal(series[1].Values, []float64{5, 3, 4}) {
		t.Errorf("%+v %v", series, err)
	}
	env, err := s.Environment(ctx, r.ID)
	if err != nil || env["device"] != "d" || env["input.content"] != "abc" || env["go"] == "" {
		t.Errorf("%v %v", env, err)
	}
	pictures, err := s.Pictures(ctx, r.ID)
	if err != nil || len(pictures) != 1 || pictures[0].Width != 400 {
		t.Fatal(pictures, err)
	}
	thumbnail, err := s.Thumbnail(ctx, pictures[0].Digest)
	must(t, err)
	if c, _, err := image.DecodeConfig(strings.NewReader(string(thumbnail))); err != nil || c.Width != thumbnailSize || c.Height != 80 {
		t.Errorf("thumbnail %dx%d, %v", c.Width, c.Height, err)
	}
	f, err := s.OpenArtifact(ctx, r.ID, "file")
	must(t, err)
	if text, _ := io.ReadAll(f); string(text) != "content" {
		t.Errorf("%q", text)
	}
	f.Close()
	must(t, r.Finish(ctx, nil))
	if i := info(t, s, r.ID); i.Status != Finished || i.Ended.IsZero() {
		t.Errorf("%+v", i)
	}
	if err := r.Log(ctx, 30, map[string]float64{"total": 1}); !errors.Is(err, ErrTaken) {
		t.Errorf("log after the end: %v", err)
	}
	whole(t, s)
}

// Ids are not used again, not even after a purge.
func (db suite) ids(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	a := start(t, s, NewRun{})
	must(t, a.Finish(ctx, nil), s.Delete(ctx, a.ID))
	if _, err := s.GC(ctx); err != nil {
		t.Fatal(err)
	}
	if b := start(t, s, NewRun{}); b.ID <= a.ID {
		t.Errorf("run %d after run %d", b.ID, a.ID)
	}
	if _, err := s.Run(ctx, "1"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// Names and texts of any bytes and length are kept, but for what no database keeps.
func (db suite) oddStrings(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	long := strings.Repeat("ä\n", 500_000)
	for _, c := range []struct{ in, want string }{
		{`quotes ' " ; -- \`, `quotes ' " ; -- \`}, {"nul\x00byte", "nul\uFFFDbyte"}, {"bad \xff utf", "bad \uFFFD utf"}, {long, long}, {"%_", "%_"}, {"", ""},
	} {
		name, want := c.in, c.want
		if db.server { // names are in indexes
			name, want = name[:min(len(name), 2001)], want[:min(len(want), 2001)]
		}
		r := start(t, s, NewRun{Name: name, Experiment: name, Params: map[string]string{"k" + name: c.in}, Tags: map[string]string{"k" + name: c.in}})
		must(t, r.Log(ctx, 1, map[string]float64{"m" + name: 1}), r.Note(ctx, c.in), r.LogPicture(ctx, 0, name, grey(1)), r.LogArtifact(ctx, name, strings.NewReader("x")))
		i := info(t, s, r.ID)
		if i.Name != want || i.Params["k"+want].Text != c.want || i.Tags["k"+want] != c.want || i.Notes[0].Text != c.want || i.Metrics["m"+want].Last != 1 {
			t.Errorf("%.40q: %.200v", c.in, i)
		}
		found, err := s.Runs(ctx, Query{Experiment: name})
		if c.in != "" && (err != nil || len(found) != 1) {
			t.Errorf("%.40q: %d of the experiment, %v", c.in, len(found), err)
		}
		must(t, r.Finish(ctx, errors.New(c.in)))
	}
	whole(t, s)
}

// Parameters may be set later.
func (db suite) setParams(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	r := start(t, s, NewRun{Params: map[string]any{"steps": 10, "gram": "mean"}})
	must(t, r.SetParams(ctx, map[string]any{"steps": 20}))
	if p := info(t, s, r.ID).Params; p["steps"].Number != 20 || p["gram"].Text != "mean" {
		t.Errorf("%v", p)
	}
	if err := r.SetParams(ctx, math.NaN()); err == nil || !strings.HasPrefix(err.Error(), "parameters: ") {
		t.Error(err)
	}
}

// A queued run is made in a transaction and taken by one of many; who lost a run to another cannot write it.
func (db suite) queueAndFence(t *testing.T) {
	url, ctx := db.empty(t), t.Context()
	s, second := open(t, url), open(t, url)
	tx, err := s.DB().BeginTx(ctx, nil)
	must(t, err)
	if _, err := s.Enqueue(ctx, tx, NewRun{Name: "undone"}); err != nil {
		t.Fatal(err)
	}
	must(t, tx.Rollback())
	tx, err = s.DB().BeginTx(ctx, nil)
	must(t, err)
	id, err := s.Enqueue(ctx, tx, NewRun{Name: "q"})
	must(t, err, tx.Commit())
	if list, _ := s.Runs(ctx, Query{Where: "status = queued"}); len(list) != 1 || list[0].ID != id {
		t.Errorf("%v", list)
	}
	results := make(chan error, 8)
	runs := make(chan *Run, 8)
	for i := range 8 {
		go func() {
			r, err := []*Store{s, second}[i%2].Take(ctx, id, nil)
			if err == nil {
				runs <- r
			}
			results <- err
		}()
	}
	won := 0
	for range 8 {
		if err := <-results; err == nil {
			won++
		} else if !errors.Is(err, ErrTaken) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Fatalf("%d took the run", won)
	}
	old := <-runs
	// Its process seems gone: another goes on with the run.
	old.stop()
	s.clock, _ = setClock()
	execute(t, s, "UPDATE run SET beat = 0, host = 'elsewhere'")
	if i := info(t, s, id); i.Status != Lost {
		t.Fatalf("%s", i.Status)
	}
	next, err := s.Resume(ctx, id, nil)
	must(t, err, next.Log(ctx, 1, map[string]float64{"m": 2}))
	for what, err := range map[string]error{
		"log": old.Log(ctx, 1, map[string]float64{"m": 1}), "picture": old.LogPicture(ctx, 1, "p", grey(1)), "tag": old.Tag(ctx, "a", "b"),
		"artifact": old.LogArtifact(ctx, "a", strings.NewReader("x")), "finish": old.Finish(ctx, nil),
	} {
		if !errors.Is(err, ErrTaken) {
			t.Errorf("%s by the former writer: %v", what, err)
		}
	}
	must(t, next.Finish(ctx, context.Canceled))
	if i := info(t, s, id); i.Status != Stopped || i.Metrics["m"].Last != 2 {
		t.Errorf("%+v", i)
	}
}

// Runs are cancelled in one transaction: queued and lost ones are stopped, the writer of a running one is told. A lost one's
// writer that comes back is refused.
func (db suite) cancelQueued(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	tx, err := s.DB().BeginTx(ctx, nil)
	must(t, err)
	queued, err := s.Enqueue(ctx, tx, NewRun{})
	must(t, err, tx.Commit())
	lost, running, finished := start(t, s, NewRun{}), start(t, s, NewRun{}), start(t, s, NewRun{})
	must(t, finished.Finish(ctx, nil))
	execute(t, s, "UPDATE run SET status = 'lost', ended = 7 WHERE id = $1", lost.ID)
	all := []int64{finished.ID, lost.ID, running.ID, queued, 999}
	for _, commit := range []bool{false, true} {
		tx, err := s.DB().BeginTx(ctx, nil)
		must(t, err)
		if cancelled, err := s.Cancel(ctx, tx, all); err != nil || !slices.Equal(cancelled, []int64{queued, lost.ID, running.ID}) {
			t.Errorf("%v %v", cancelled, err)
		}
		if commit {
			must(t, tx.Commit())
		} else {
			must(t, tx.Rollback())
		}
	}
	for id, want := range map[int64]Status{queued: Stopped, lost.ID: Stopped, running.ID: Running, finished.ID: Finished} {
		if i := info(t, s, id); i.Status != want || (i.Ended.IsZero() != (want == Running)) {
			t.Errorf("run %d is %s, ended %v", id, i.Status, i.Ended)
		}
	}
	if err := lost.Log(ctx, 1, map[string]float64{"m": 1}); !errors.Is(err, ErrTaken) {
		t.Error(err)
	}
	if told, err := running.Cancelled(ctx); !told || err != nil {
		t.Error(told, err)
	}
}

// A running run that was cancelled is stopped by whatever comes first, its end or that its process is gone. It is queued, or
// lost, where it was queued again before.
func (db suite) cancelRunning(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	within := func(f func(ctx context.Context, tx *sql.Tx, ids []int64) ([]int64, error), id int64, want int) {
		t.Helper()
		must(t, s.Keep(ctx, nil, func(tx *sql.Tx, _ []*File) error {
			changed, err := f(ctx, tx, []int64{id})
			if len(changed) != want {
				t.Errorf("%d runs changed, want %d", len(changed), want)
			}
			return err
		}))
	}
	for _, c := range []struct {
		end       string
		cancelled Status
		retried   Status
	}{{"given back", Stopped, Queued}, {"gone", Stopped, Lost}, {"finished", Finished, Finished}, {"stopped", Stopped, Stopped}} {
		for _, retry := range []bool{false, true} {
			r := start(t, s, NewRun{})
			within(s.Cancel, r.ID, 1)
			within(s.Cancel, r.ID, 0)
			want := c.cancelled
			if retry {
				within(s.Requeue, r.ID, 1)
				want = c.retried
			}
			if told, err := r.Cancelled(ctx); told == retry || err != nil {
				t.Error(told, err)
			}
			switch c.end {
			case "given back":
				must(t, r.Finish(ctx, ErrGivenBack))
			case "gone":
				execute(t, s, "UPDATE run SET pid = 999999999 WHERE id = $1", r.ID)
			case "finished":
				must(t, r.Finish(ctx, nil))
			case "stopped":
				must(t, r.Finish(ctx, context.Canceled))
			}
			if i := info(t, s, r.ID); i.Status != want || i.Ended.IsZero() != (want == Queued) {
				t.Errorf("%s, queued again %t: it is %s, ended %v", c.end, retry, i.Status, i.Ended)
			}
			if told, err := r.Cancelled(ctx); told || err != nil {
				t.Error(told, err)
			}
		}
	}
}

// What happens to a run is noted: who took it, that its process was lost, that it was cancelled, queued again and given back.
func (db suite) history(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	id := in(t, s, Queued)
	within := func(f func(ctx context.Context, tx *sql.Tx, ids []int64) ([]int64, error)) {
		t.Helper()
		must(t, s.Keep(ctx, nil, func(tx *sql.Tx, _ []*File) error { _, err := f(ctx, tx, []int64{id}); return err }))
	}
	_, err := s.Take(ctx, id, nil)
	must(t, err)
	execute(t, s, "UPDATE run SET host = $1, pid = 999999999", s.self.host)
	r, err := s.Take(ctx, id, nil)
	must(t, err, r.Finish(ctx, ErrGivenBack))
	within(s.Cancel)
	within(s.Requeue)
	_, err = s.Take(ctx, id, nil)
	must(t, err)
	within(s.Cancel)
	execute(t, s, "UPDATE run SET host = $1, pid = 999999999", s.self.host)
	if status := info(t, s, id).Status; status != Stopped {
		t.Errorf("cancelled, and its process is gone: %s", status)
	}
	var got []string
	for _, n := range info(t, s, id).Notes {
		got = append(got, n.Text)
	}
	self, gone := s.self.String(), "last sign of process 999999999 on "+s.self.machine()+", lost since"
	want := []string{
		"taken by " + self, gone, "taken by " + self, "given back by " + self, "cancelled", "queued again",
		"taken by " + self, "cancelled", gone,
	}
	if !slices.Equal(got, want) {
		t.Errorf("noted %q, want %q", got, want)
	}
}

// Workers are seen while they wait and while they write a run, silent where their last beat is old, and not when they are gone.
func (db suite) workers(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	self := func(run int64) Worker { return Worker{Host: s.self.machine(), PID: s.self.pid, Run: run} }
	check := func(want ...Worker) {
		t.Helper()
		got, err := s.Workers(ctx)
		must(t, err)
		for i := range got {
			got[i].Beat = time.Time{}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	r := start(t, s, NewRun{})
	check(self(r.ID)) // takes none, but writes one
	leave, err := s.Attend(ctx)
	must(t, err)
	check(self(r.ID))
	must(t, r.Finish(ctx, nil))
	check(self(0))
	add := func(host string, pid int64, age time.Duration) {
		execute(t, s, sqlAddWorker, host, pid, 1, micros(time.Now().Add(-age)))
	}
	add("zelda boot", 7, time.Minute)
	add("zelda boot", 8, 0)
	add("zelda boot", 9, 25*time.Hour) // forgotten
	add(s.self.host, 999999999, 0)     // gone
	execute(t, s, "UPDATE worker SET beat = $1 WHERE pid = $2", micros(time.Now().Add(-time.Minute)), s.self.pid)
	halted := self(0)
	halted.Silent = true
	check(halted, Worker{Host: "zelda", PID: 7, Silent: true}, Worker{Host: "zelda", PID: 8})
	leave()
	leave, err = s.Attend(ctx)
	must(t, err)
	defer leave()
	var n int
	must(t, value(ctx, s.db.reads(), []any{&n}, "SELECT count(*) FROM worker"))
	if n != 3 {
		t.Errorf("%d workers on record", n)
	}
}

// Who waits for another process to end its transaction can be told to stop, and has written nothing then.
func (db suite) waitingEnds(t *testing.T) {
	url := db.empty(t)
	s, other := open(t, url), open(t, url)
	r := start(t, s, NewRun{})
	held, err := other.db.begin(t.Context())
	must(t, err, other.within(t.Context(), held.Tx).nextChange())
	waited := context.DeadlineExceeded
	for what, f := range map[string]func(ctx context.Context) error{
		"log":      func(ctx context.Context) error { return r.Log(ctx, 1, map[string]float64{"m": 1}) },
		"start":    func(ctx context.Context) error { _, err := s.Start(ctx, NewRun{}); return err },
		"delete":   func(ctx context.Context) error { return s.Delete(ctx, r.ID) },
		"artifact": func(ctx context.Context) error { return r.LogArtifact(ctx, "a", strings.NewReader("x")) },
		"import": func(ctx context.Context) error {
			_, _, err := s.Import(ctx, strings.NewReader(`{"run":{"id":1}}`))
			return err
		},
		"gc": func(ctx context.Context) error { _, err := s.GC(ctx); return err },
		"keep": func(ctx context.Context) error {
			return s.Keep(ctx, []io.Reader{strings.NewReader("nobody's")}, func(*sql.Tx, []*File) error { return nil })
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if err := f(ctx); !errors.Is(err, waited) { // not that the database was busy for a minute
			t.Errorf("%s: %v", what, err)
		}
		cancel()
	}
	must(t, held.Rollback())
	must(t, r.Log(t.Context(), 2, map[string]float64{"m": 2}))
	if m := info(t, s, r.ID).Metrics["m"]; m.LastStep != 2 || m.MinStep != 2 {
		t.Errorf("%+v", m)
	}
	if runs, err := s.Runs(t.Context(), Query{Deleted: true}); err != nil || len(runs) != 1 {
		t.Errorf("%d runs %v", len(runs), err)
	}
	whole(t, s)
}

// What the environment is, git above all, is found out before a transaction that another process may wait for.
func (db suite) environmentBeforeTransaction(t *testing.T) {
	bin := t.TempDir()
	must(t, os.WriteFile(filepath.Join(bin, "git"), []byte("#!/bin/sh\necho asked >>"+bin+"/asked\n"), 0o777)) //nolint:gosec // a program
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	s := db.fresh(t)
	must(t, s.Transaction(t.Context(), func(held *sql.Tx) error {
		if _, err := os.Stat(bin + "/asked"); err != nil {
			t.Fatal("git was not asked: ", err)
		}
		_, err := s.Enqueue(t.Context(), held, NewRun{})
		return err
	}))
	if asked, err := os.ReadFile(bin + "/asked"); err != nil || string(asked) != "asked\n" {
		t.Errorf("%q %v", asked, err)
	}
}

// Beats end with the run, when it is another's, and when it is not there any more.
func (db suite) beatsEnd(t *testing.T) {
	for _, statement := range []string{"UPDATE run SET token = 1", "UPDATE run SET status = 'stopped'", "DELETE FROM run"} {
		t.Run(statement, func(t *testing.T) {
			t.Parallel()
			s := db.fresh(t)
			start(t, s, NewRun{})
			execute(t, s, statement)
			s.beats.Wait()
		})
	}
	s := db.fresh(t)
	must(t, start(t, s, NewRun{}).Finish(t.Context(), nil))
	s.beats.Wait()
}

// Samples tell the load of the process, and of the GPU where nvidia-smi knows one.
func (db suite) samples(t *testing.T) {
	bin := t.TempDir()                                                                                                                                                 // no NVIDIA GPU is needed to see what is made of nvidia-smi's lines
	must(t, os.WriteFile(filepath.Join(bin, "nvidia-smi"), []byte("#!/bin/sh\necho \"$*\" >"+bin+"/asked\necho '[N/A], 3'\necho '37, 2048'\nexec sleep 60\n"), 0o777)) //nolint:gosec // a program
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("CUDA_VISIBLE_DEVICES", "3,4")
	s := db.fresh(t)
	r := start(t, s, NewRun{})
	var samples []Sample
	for i := 0; len(samples) == 0 || samples[len(samples)-1].GPU == nil; i++ {
		if i == 300 {
			t.Fatalf("no sample with a GPU after half a minute: %v", samples)
		}
		for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); { // some load
		}
		var err error
		samples, err = s.Samples(t.Context(), r.ID)
		must(t, err)
	}
	for _, a := range samples {
		if a.CPU < 1 || a.Memory < 1<<20 {
			t.Errorf("%+v", a)
		}
	}
	if g := samples[len(samples)-1].GPU; *g != (GPULoad{37, 2 << 30}) {
		t.Errorf("%+v", *g)
	}
	if asked, err := os.ReadFile(bin + "/asked"); err != nil || !strings.Contains(string(asked), "--query-gpu=utilization.gpu,memory.used ") || !strings.Contains(string(asked), " --id=3 ") {
		t.Errorf("%s %v", asked, err)
	}
}

// in makes a run of a status.
func in(t *testing.T, s *Store, status Status) int64 {
	t.Helper()
	if status == Queued {
		var id int64
		must(t, s.Keep(t.Context(), nil, func(tx *sql.Tx, _ []*File) (err error) {
			id, err = s.Enqueue(t.Context(), tx, NewRun{})
			return err
		}))
		return id
	}
	r := start(t, s, NewRun{})
	switch status {
	case Finished:
		must(t, r.Finish(t.Context(), nil))
	case Failed:
		must(t, r.Finish(t.Context(), errors.New("boom")))
	case Stopped:
		must(t, r.Finish(t.Context(), fmt.Errorf("no time: %w", context.Canceled)))
	case Lost:
		execute(t, s, "UPDATE run SET status = 'lost', ended = beat WHERE id = $1", r.ID)
	}
	return r.ID
}

// What may be done with a run of each status, and what becomes of it.
func (db suite) states(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	took := func(_ *Run, err error) error { return err }
	within := func(f func(tx *sql.Tx) error) error {
		return s.Keep(ctx, nil, func(tx *sql.Tx, _ []*File) error { return f(tx) })
	}
	for _, c := range []struct {
		what string
		do   func(id int64) error
		want map[Status]Status // those that are left out refuse it
	}{
		{"take", func(id int64) error { return took(s.Take(ctx, id, nil)) }, map[Status]Status{Queued: Running, Lost: Running}},
		{"resume", func(id int64) error { return took(s.Resume(ctx, id, nil)) }, map[Status]Status{Finished: Running, Failed: Running, Stopped: Running, Lost: Running}},
		{"requeue", func(id int64) error {
			return within(func(tx *sql.Tx) error { _, err := s.Requeue(ctx, tx, []int64{id}); return err })
		}, map[Status]Status{Queued: Queued, Running: Running, Finished: Finished, Failed: Queued, Stopped: Queued, Lost: Queued}},
		{"cancel", func(id int64) error {
			return within(func(tx *sql.Tx) error { _, err := s.Cancel(ctx, tx, []int64{id}); return err })
		}, map[Status]Status{Queued: Stopped, Running: Running, Finished: Finished, Failed: Failed, Stopped: Stopped, Lost: Stopped}},
	} {
		for _, from := range statuses {
			id := in(t, s, from)
			before := info(t, s, id)
			err := c.do(id)
			want, allowed := c.want[from]
			if !allowed {
				want = from
			}
			after := info(t, s, id)
			if allowed && err != nil || !allowed && !errors.Is(err, ErrTaken) || before.Status != from || after.Status != want {
				t.Errorf("%s of a run that is %s: %s, %v; want %s", c.what, before.Status, after.Status, err, want)
			}
			if over := want != Queued && want != Running; over == after.Ended.IsZero() || (after.Error == "boom") != (want == Failed) {
				t.Errorf("%s of a run that was %s: ended %v, error %q", c.what, from, after.Ended, after.Error)
			}
			must(t, s.Delete(ctx, id))
			if err := took(s.Take(ctx, id, nil)); err == nil || !strings.HasSuffix(err.Error(), fmt.Sprintf("run %d is deleted: restore it first", id)) {
				t.Error(err)
			}
		}
	}
	if err := took(s.Take(ctx, 999, nil)); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	r, err := s.Take(ctx, in(t, s, Queued), nil) // one who gives it back leaves it queued, as it was
	must(t, err, r.Finish(ctx, ErrGivenBack))
	if i := info(t, s, r.ID); i.Status != Queued || !i.Ended.IsZero() || i.Error != "" {
		t.Errorf("%+v", i)
	}
	whole(t, s)
}

// Tags and notes are anybody's, while another writes the run.
func (db suite) tags(t *testing.T) {
	url, ctx := db.empty(t), t.Context()
	s, other := open(t, url), open(t, url)
	r := start(t, s, NewRun{Tags: map[string]string{"a": "1", "b": "2"}})
	_, cursor, err := s.Watch(ctx, 0)
	must(t, err, other.Tag(ctx, r.ID, "a", "3"), other.Untag(ctx, r.ID, "b"), other.Untag(ctx, r.ID, "never"), other.Note(ctx, r.ID, "first"), r.Note(ctx, "second"), r.Tag(ctx, "c", "4"))
	if changed, _, err := other.Watch(ctx, cursor); err != nil || len(changed) != 1 {
		t.Errorf("%v %v", changed, err)
	}
	i := info(t, s, r.ID)
	if len(i.Tags) != 2 || i.Tags["a"] != "3" || i.Tags["c"] != "4" || len(i.Notes) != 2 || i.Notes[0].Text != "first" || i.Notes[1].Text != "second" {
		t.Errorf("%v %v", i.Tags, i.Notes)
	}
	for what, err := range map[string]error{"tag": s.Tag(ctx, 99, "a", "b"), "untag": s.Untag(ctx, 99, "a"), "note": s.Note(ctx, 99, "n"), "delete": s.Delete(ctx, 99), "restore": s.Restore(ctx, 99)} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Who goes on with a run makes it in an environment of its own; what the run reads stays.
func (db suite) environment(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	a := start(t, s, NewRun{Inputs: map[string]string{"content": "abc"}, Environment: map[string]string{"device": "one", "seat": "left"}})
	b := start(t, s, NewRun{Inputs: map[string]string{"content": "abc"}, Environment: map[string]string{"device": "one", "seat": "left"}}) // shares it
	must(t, a.Finish(ctx, nil), b.Finish(ctx, nil))
	_, err := s.Resume(ctx, a.ID, map[string]string{"device": "two"})
	must(t, err)
	_, err = s.Resume(ctx, b.ID, nil)
	must(t, err)
	for id, want := range map[int64][3]string{a.ID: {"abc", "two", ""}, b.ID: {"abc", "one", "left"}} {
		env, err := s.Environment(ctx, id)
		if got := [3]string{env["input.content"], env["device"], env["seat"]}; err != nil || got != want || env["go"] == "" {
			t.Errorf("run %d: %q %v", id, got, err)
		}
	}
	if env, err := s.Environment(ctx, 99); err != nil || len(env) > 0 {
		t.Errorf("%v %v", env, err)
	}
}

// One process at a time is under the lock.
func (db suite) locked(t *testing.T) {
	url := db.empty(t)
	s, other := open(t, url), open(t, url)
	whatever := errors.New("whatever")
	err := s.Locked(t.Context(), func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := other.Locked(ctx, func() error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("two are under the lock: %v", err)
		}
		return whatever
	})
	if !errors.Is(err, whatever) {
		t.Error(err)
	}
	must(t, other.Locked(t.Context(), func() error { return nil }))
}

// A batch is recorded as a whole or not at all.
func (db suite) batch(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	r := start(t, s, NewRun{})
	thumbnail, err := NewThumbnail(1, "p", grey(1))
	b := Batch{[]Point{{"a", 0, 1}, {"a", 1, 2}}, []Thumbnail{thumbnail}, map[string]string{"p": "x"}, map[string]string{"k": "v"}}
	must(t, err, r.Record(ctx, b))
	if n := b.Bytes(); n < len(thumbnail.jpeg) || n > len(thumbnail.jpeg)+1000 {
		t.Errorf("%d bytes with a thumbnail of %d", n, len(thumbnail.jpeg))
	}
	if i := info(t, s, r.ID); i.Metrics["a"].Last != 2 || i.Params["p"].Text != "x" || i.Tags["k"] != "v" {
		t.Errorf("%+v", i)
	}
	allow := refuse(t, s, "INSERT ON tag")
	b.Points[1].Value, b.Params = 3, map[string]string{"p": "y", "q": "z"}
	b.Pictures[0].step = 2
	if err := r.Record(ctx, b); err == nil {
		t.Error("recorded")
	}
	if i := info(t, s, r.ID); i.Metrics["a"].Last != 2 || len(i.Params) != 1 || i.Params["p"].Text != "x" {
		t.Errorf("%+v", i)
	}
	if pictures, err := s.Pictures(ctx, r.ID); err != nil || len(pictures) != 1 || pictures[0].Step != 1 {
		t.Errorf("%+v %v", pictures, err)
	}
	allow()
	must(t, r.Log(ctx, 2, map[string]float64{"a": 5}))
	if m := info(t, s, r.ID).Metrics["a"]; m != (Metric{5, 1, 5, 2, 0, 2}) {
		t.Errorf("%+v", m)
	}
}

// What another program computes has neither command nor environment nor load of this process.
func (db suite) remote(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	r := start(t, s, NewRun{Remote: true, Environment: map[string]string{"device": "d"}})
	env, err := s.Environment(ctx, r.ID)
	must(t, err)
	if i := info(t, s, r.ID); i.Command != "" || len(env) != 1 || !r.remote {
		t.Errorf("%q %v %v", i.Command, env, r.remote)
	}
	must(t, r.Finish(ctx, nil))
	again, err := s.Resume(ctx, r.ID, nil)
	must(t, err)
	if other := start(t, s, NewRun{}); !again.remote || other.remote {
		t.Error(again.remote, other.remote)
	}
}

// An experiment may be there before its runs.
func (db suite) addExperiment(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	id, made, err := s.AddExperiment(ctx, "e\x00")
	must(t, err)
	again, madeAgain, err := s.AddExperiment(ctx, "e\x00")
	must(t, err)
	names, err := s.ExperimentNames(ctx)
	must(t, err)
	if id != again || !made || madeAgain || len(names) != 1 || names[id] != "e\uFFFD" {
		t.Error(id, again, made, madeAgain, names)
	}
}
