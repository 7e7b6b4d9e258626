package web

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"

	"hrlab/tracker"
)

func (s *Server) apiExperiments(w http.ResponseWriter, r *http.Request) error {
	list, err := s.store.Experiments(r.Context())
	s.JSON(w, r, list, err)
	return nil
}

// apiRuns lists runs: where, sort, experiment, deleted, limit (50 at first), after.
func (s *Server) apiRuns(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r.URL.Query())
	if err != nil {
		return err
	}
	runs, err := s.store.Runs(r.Context(), q)
	s.JSON(w, r, runs, err)
	return nil
}

// wholeRun is everything of a run but its curves.
type wholeRun struct {
	tracker.Info
	Cursor      int64              `json:"cursor"` // events since then tell what is newer
	Environment map[string]string  `json:"environment"`
	Pictures    []tracker.Picture  `json:"pictures"`
	Artifacts   []tracker.Artifact `json:"artifacts"`
	Samples     []tracker.Sample   `json:"samples"`
}

func (s *Server) apiRun(w http.ResponseWriter, r *http.Request) (err error) {
	ctx := r.Context()
	var run wholeRun
	if run.Cursor, err = s.store.Cursor(ctx); err != nil {
		return err
	}
	if run.Info, err = s.run(r); err != nil {
		return err
	}
	if run.Environment, err = s.store.Environment(ctx, run.ID); err != nil {
		return err
	}
	if run.Pictures, err = s.store.Pictures(ctx, run.ID); err != nil {
		return err
	}
	if run.Artifacts, err = s.store.Artifacts(ctx, run.ID); err != nil {
		return err
	}
	run.Samples, err = s.store.Samples(ctx, run.ID)
	s.JSON(w, r, run, err)
	return nil
}

// jsonSeries is a curve.
type jsonSeries struct {
	Run    int64   `json:"run"`
	Metric string  `json:"metric"`
	Steps  []int64 `json:"steps"`
	Values []brief `json:"values"`
}

// apiSeries has the curves of runs (run, once for each), of all metrics or those named (metric), each of at most points
// values (1000 at first).
func (s *Server) apiSeries(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	list, err := runIDs(q["run"])
	if err != nil {
		return err
	}
	points := 1000
	if text := q.Get("points"); text != "" {
		const most = 100_000
		if points, err = strconv.Atoi(text); err != nil || points < 2 || points > most {
			return Bad(fmt.Errorf("points: %q; allowed: 2 to %d", text, most))
		}
	}
	found, err := s.store.Series(r.Context(), list, q["metric"], points)
	curves := make([]jsonSeries, len(found))
	for i, f := range found {
		curves[i] = jsonSeries{f.Run, f.Metric, f.Steps, briefly(f.Values)}
	}
	s.JSON(w, r, curves, err)
	return nil
}

func briefly(values []float64) []brief {
	list := make([]brief, len(values))
	for i, v := range values {
		list[i] = brief(v)
	}
	return list
}

// brief is a number as JSON with the digits that tell it from other float32s: nobody sees more in a curve, and losses that were
// computed in float32 have no more.
type brief float64

// MarshalJSON writes what [tracker.Float] does, with fewer digits.
func (b brief) MarshalJSON() ([]byte, error) {
	if a := math.Abs(float64(b)); a > math.SmallestNonzeroFloat32 && a < math.MaxFloat32 {
		return json.Marshal(float32(b))
	}
	return tracker.Float(b).MarshalJSON()
}

// apiPictures has the pictures of runs (run, once for each), by run.
func (s *Server) apiPictures(w http.ResponseWriter, r *http.Request) error {
	list, err := runIDs(r.URL.Query()["run"])
	if err != nil {
		return err
	}
	pictures, err := s.store.PicturesOf(r.Context(), list)
	s.JSON(w, r, pictures, err)
	return nil
}
