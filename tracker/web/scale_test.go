package web

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"hrlab/tracker"
)

// many is a database of 10,000 runs of 100 steps of one metric, with 6 parameters and 4 measures.
var many = sync.OnceValues(func() (*tracker.Store, error) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "hrlab-")
	if err != nil {
		return nil, err
	}
	store, err := tracker.Open(ctx, filepath.Join(dir, "hrlab.db"))
	for i := 0; i < 10_000 && err == nil; i++ {
		err = func() error {
			run, err := store.Start(ctx, tracker.NewRun{
				Experiment: fmt.Sprint("e", i%20), Name: fmt.Sprint("run ", i), Tags: map[string]string{"pair": strconv.Itoa(i % 7)},
				Params: map[string]any{"content_weight": i % 101, "style_weight": i % 11, "size": 128, "steps": 100, "seed": i, "gram": "mean"},
			})
			if err != nil {
				return err
			}
			var points []tracker.Point
			for step := range int64(100) {
				points = append(points, tracker.Point{Metric: "total", Step: step, Value: float64((i * int(step)) % 997)})
			}
			for _, name := range []string{"ssim", "content_kept", "style_match", "seconds"} {
				points = append(points, tracker.Point{Metric: name, Step: 99, Value: float64(i%977) / 977})
			}
			if err := run.LogBatch(ctx, points); err != nil {
				return err
			}
			return run.Finish(ctx, nil)
		}()
	}
	return store, err
})

// Pages of a database of 10,000 runs. The peer is MLflow's page of runs, see tracker/testdata/mlflow_peer.py.
func BenchmarkPages(b *testing.B) {
	store, err := many()
	if err != nil {
		b.Fatal(err)
	}
	s := New(store, Options{Columns: []string{"created", "params.content_weight", "params.style_weight", "metrics.style_match", "metrics.total"}, Measures: []string{"content_kept", "style_match"}})
	var chosen []string
	for i := range maxCompared {
		chosen = append(chosen, strconv.Itoa(100+i*100))
	}
	compare := "/compare?run=" + strings.Join(chosen, ",")
	for name, target := range map[string]string{
		"Experiments": "/", "Runs": "/runs", "Filter": "/runs?where=params.content_weight+%3E+50+and+metrics.style_match+%3E+0.5", "Sort": "/runs?sort=-metrics.style_match",
		"Next": "/runs?sort=-metrics.style_match&after=5000", "Run": "/runs/500", "Compare50": compare, "Curves50": "/api/series?points=200&" + compare[len("/compare?"):],
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				r := httptest.NewRequest(http.MethodGet, target, nil)
				r.Host = "localhost"
				w := httptest.NewRecorder()
				s.ServeHTTP(w, r)
				if w.Code != http.StatusOK {
					b.Fatal(w.Code, w.Body)
				}
				b.ReportMetric(float64(w.Body.Len())/1e3, "kB")
			}
		})
	}
}
