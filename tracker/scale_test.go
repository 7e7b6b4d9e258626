package tracker

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"hrlab/tracker/postgrestest"
)

var update = flag.Bool("update", false, "write testdata/schema anew, for the schema of today")

// fill makes runs of 100 steps by 3 metrics.
func fill(t testing.TB, s *Store, runs int) {
	t.Helper()
	for i := range runs {
		r := start(t, s, NewRun{Params: map[string]any{"content_weight": i, "style_weight": 1, "steps": 100}})
		points := make([]Point, 0, 300)
		for step := range int64(100) {
			for k, name := range []string{"total", "content", "style"} {
				points = append(points, Point{name, step, float64((i*7+k)%1000) + math.Sin(float64(step))})
			}
		}
		must(t, r.LogBatch(t.Context(), points), r.Finish(t.Context(), nil))
	}
}

// Ten thousand runs are listed and filtered without their curves being looked at.
func (db suite) manyRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	s := db.fresh(t)
	n := 10_000
	if db.server { // each waits for an answer
		n = 1000
	}
	for i := range n {
		r := start(t, s, NewRun{Params: map[string]any{"w": i}})
		must(t, r.LogBatch(t.Context(), []Point{{"m", 0, 1}, {"m", 1, float64(i % 100)}}), r.Finish(t.Context(), nil))
	}
	runs, err := s.Runs(t.Context(), Query{Where: "params.w >= 500 and metrics.m = 7", Sort: "-params.w", Limit: 3})
	if err != nil || len(runs) != 3 || runs[0].Params["w"].Number != float64(n-93) {
		t.Errorf("%v %v", runs, err)
	}
	all, err := s.Runs(t.Context(), Query{})
	if err != nil || len(all) != n {
		t.Errorf("%d runs, %v", len(all), err)
	}
}

// A run of a million steps.
func (db suite) manySteps(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	s := db.fresh(t)
	r := start(t, s, NewRun{})
	n, batch := int64(1_000_000), int64(10_000)
	if db.server {
		n = 100_000
	}
	points := make([]Point, batch)
	for first := int64(0); first < n; first += batch {
		for i := range points {
			step := first + int64(i)
			points[i] = Point{"m", step, math.Sin(float64(step) * math.Pi / float64(n))}
		}
		must(t, r.LogBatch(t.Context(), points))
	}
	series, err := s.Series(t.Context(), []int64{r.ID}, nil, 500)
	if err != nil || len(series[0].Steps) > 500 || series[0].Steps[len(series[0].Steps)-1] != n-1 {
		t.Error(err)
	}
	if m := info(t, s, r.ID).Metrics["m"]; m.LastStep != n-1 || math.Abs(m.Max-1) > 1e-9 {
		t.Errorf("%+v", m)
	}
}

// A value takes less than a hundred bytes.
func TestSize(t *testing.T) {
	s := fresh(t)
	fill(t, s, 100)
	execute(t, s, sqliteTruncate)
	if size := s.db.size(); size > 30_000*100 {
		t.Errorf("%d bytes for 30,000 values", size)
	}
}

// A database of every schema there ever was is upgraded, and nothing of it is lost.
func TestUpgrade(t *testing.T) {
	newest := fmt.Sprintf("testdata/schema/%d.db", schema)
	if *update {
		must(t, os.MkdirAll(filepath.Dir(newest), 0o777), errors.Join(os.RemoveAll(newest)))
		path := filepath.Join(t.TempDir(), "hrlab.db")
		s, err := Open(t.Context(), path)
		must(t, err)
		s.environment = func() map[string]string { return map[string]string{"go": "go1.26"} }
		r := start(t, s, NewRun{Experiment: "e", Name: "old", Params: map[string]any{"w": 3}, Tags: map[string]string{"a": "b"}})
		must(t, r.Log(t.Context(), 5, map[string]float64{"m": 2, "nan": math.NaN()}), r.LogPicture(t.Context(), 5, "output", grey(9)), r.Note(t.Context(), "n"), r.Finish(t.Context(), nil))
		other := start(t, s, NewRun{Experiment: "e", Name: "other"})
		must(t, other.Finish(t.Context(), nil), s.Choose(t.Context(), []int64{r.ID, other.ID}, r.ID))
		execute(t, s, "UPDATE run SET command = 'hrlab fit', host = 'host'")
		execute(t, s, sqliteBackup, newest)
		must(t, s.Close())
	}
	files, err := filepath.Glob("testdata/schema/*.db")
	if err != nil || len(files) != schema {
		t.Fatalf("%d files of %d schemas (go test -run Upgrade -update makes the newest): %v", len(files), schema, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		must(t, err)
		path := filepath.Join(t.TempDir(), "hrlab.db")
		must(t, os.WriteFile(path, data, 0o666))
		s := open(t, path)
		var version int
		must(t, s.db.reads().QueryRowContext(t.Context(), sqlVersion).Scan(&version))
		i, err := s.Run(t.Context(), "old")
		if err != nil || version != schema || i.Params["w"].Number != 3 || i.Metrics["m"].Last != 2 || !math.IsNaN(i.Metrics["nan"].Last) || i.Tags["a"] != "b" || len(i.Notes) != 1 || i.Status != Finished {
			t.Errorf("%s: schema %d, %+v, %v", file, version, i, err)
		}
		if choices, err := s.Choices(t.Context(), "e"); err != nil || filepath.Base(file) >= "4.db" && len(choices) != 1 {
			t.Errorf("%s: %v, %v", file, choices, err)
		}
		whole(t, s)
	}
}

// What is looked for by a column that has an index is found by it, however many runs there are.
func TestPlans(t *testing.T) {
	s := fresh(t)
	fill(t, s, 3)
	for _, c := range []struct{ index, statement string }{
		{"run_changed", sqlRuns + sqlRunsChanged},
		{"run_experiment", sqlRuns + fmt.Sprintf(sqlRunsOfExperiment, 2) + fmt.Sprintf(sqlRunsSort, "")},
		{"run_experiment", sqlPurgeExperiments},
		{"run_environment", sqlPurgeEnvironments},
		{"artifact_digest", sqlArtifactNamed},
		{"summary_name", sqlPurgeNames},
		{"picture_digest", sqlPurgeThumbnails},
		{"run_running", sqlAlive},
		{"run_name", sqlRuns + fmt.Sprintf(sqlRunsWithName, 2)},
	} {
		var plan []string
		args := []any{1, 2}[:strings.Count(c.statement, "$")]
		must(t, each(t.Context(), s.db.reads(), "EXPLAIN QUERY PLAN "+c.statement, args, func(scan func(...any) error) error {
			var id, parent, unused int
			var detail string
			err := scan(&id, &parent, &unused, &detail)
			plan = append(plan, detail)
			return err
		}))
		if text := strings.Join(plan, "; "); !strings.Contains(text, "INDEX "+c.index+" ") && !strings.HasSuffix(text, "INDEX "+c.index) {
			t.Errorf("%s\ndoes not use %s: %s", c.statement, c.index, text)
		}
	}
}

// Pragmas hold on every connection.
func TestPragmas(t *testing.T) {
	s := fresh(t)
	for name, db := range map[string]pool{"writer": s.db.writes(), "reader": s.db.reads()} {
		for range 4 {
			c, err := db.Conn(t.Context())
			must(t, err)
			for pragma, want := range map[string]string{"foreign_keys": "1", "synchronous": "2", "journal_mode": "wal"} {
				var got string
				must(t, c.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got))
				if got != want {
					t.Errorf("%s: %s is %s, want %s", name, pragma, got, want)
				}
			}
			if name == "reader" { // keep it, so that the next is another
				defer c.Close() //nolint:errcheck // the store closes it in any case
			} else {
				must(t, c.Close())
			}
		}
	}
}

func BenchmarkLog5(b *testing.B) {
	for _, c := range []struct {
		name string
		url  func(b *testing.B) string
	}{
		{"SQLite", func(b *testing.B) string { return newFile(b) }},
		{"PostgreSQL", func(b *testing.B) string { return postgrestest.Start(b, "fsync = on").URL("postgres") }},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := open(b, c.url(b))
			r := start(b, s, NewRun{})
			for i := 0; b.Loop(); i++ {
				must(b, r.Log(b.Context(), int64(i), map[string]float64{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}))
			}
			b.ReportMetric(5*float64(b.N)/b.Elapsed().Seconds(), "metrics/s")
		})
	}
}

// The newest 50 of 100,000 runs, and those that match a filter, on a server.
func BenchmarkPostgresList(b *testing.B) {
	s := open(b, postgrestest.New(b))
	start(b, s, NewRun{Params: map[string]any{"w": 1}})
	for _, statement := range []string{
		"INSERT INTO run (experiment, name, status, created, changed) SELECT 1, 'r', 'finished', i, i FROM generate_series(1, 100000) AS i",
		"INSERT INTO metric_name (name) VALUES ('m')",
		"INSERT INTO param (run, key, text, number) SELECT id, 'w', id, id FROM run WHERE name = 'r'",
		"INSERT INTO summary (run, name, count, last, last_step, min, min_step, max, max_step) SELECT id, 1, 1, id % 1000, 1, 0, 1, 1, 1 FROM run WHERE name = 'r'",
		"ANALYZE",
	} {
		execute(b, s, statement)
	}
	for name, q := range map[string]Query{"newest": {Limit: 50}, "filter": {Where: "params.w > 50000 and metrics.m = 7", Limit: 50}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if runs, err := s.Runs(b.Context(), q); err != nil || len(runs) != 50 {
					b.Fatal(len(runs), err)
				}
			}
		})
	}
}

func BenchmarkLogBatch1000(b *testing.B) {
	s := fresh(b)
	r := start(b, s, NewRun{})
	points := make([]Point, 1000)
	step := int64(0)
	for b.Loop() {
		for i := range points {
			points[i] = Point{string(rune('a' + i%5)), step + int64(i/5), float64(i)}
		}
		step += 200
		must(b, r.LogBatch(b.Context(), points))
	}
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "metrics/s")
	execute(b, s, sqliteTruncate)
	b.ReportMetric(float64(s.db.size())/float64(1000*b.N), "bytes/metric")
}

// reportCPU begins to count this process's time on processors, which others on the machine do not lengthen, and returns
// what reports it.
func reportCPU(b *testing.B) func() {
	used := func() time.Duration {
		var u syscall.Rusage
		must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	return func() { b.ReportMetric((used()-before).Seconds()*1000/float64(b.N), "cpu-ms/op") }
}

func BenchmarkTenThousandRuns(b *testing.B) {
	s := fresh(b)
	fill(b, s, 10_000)
	var ids []int64
	for i := range int64(50) {
		ids = append(ids, 100*i+1)
	}
	b.Run("filter", func(b *testing.B) {
		defer reportCPU(b)()
		for b.Loop() {
			runs, err := s.Runs(b.Context(), Query{Where: "params.content_weight > 100 and metrics.style.last < 3 and status = finished"})
			if err != nil || len(runs) == 0 || len(runs) > 500 {
				b.Fatal(len(runs), err)
			}
		}
	})
	b.Run("series of 50", func(b *testing.B) {
		defer reportCPU(b)()
		for b.Loop() {
			if series, err := s.Series(b.Context(), ids, nil, 200); err != nil || len(series) != 150 {
				b.Fatal(len(series), err)
			}
		}
	})
	b.Run("open", func(b *testing.B) {
		defer reportCPU(b)()
		for b.Loop() {
			other, err := Open(b.Context(), s.Path())
			must(b, err, other.Close())
		}
	})
	b.Run("open and first log", func(b *testing.B) {
		var logs []time.Duration
		for b.Loop() {
			other, err := Open(b.Context(), s.Path())
			must(b, err)
			began := time.Now()
			r := start(b, other, NewRun{})
			must(b, r.Log(b.Context(), 0, map[string]float64{"m": 1}))
			logs = append(logs, time.Since(began))
			must(b, r.Finish(b.Context(), nil), other.Close())
		}
		slices.Sort(logs)
		b.ReportMetric(logs[len(logs)/2].Seconds()*1000, "median-start-and-log-ms")
	})
}
