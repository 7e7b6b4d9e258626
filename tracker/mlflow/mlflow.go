// Package mlflow lets programs that use MLflow's client record their runs in the tracker, and read them:
//
//	MLFLOW_TRACKING_URI=http://127.0.0.1:8765 python train.py
//
// [Handler] has the endpoints of MLflow's REST API (https://mlflow.org/docs/latest/rest-api.html) for experiments, runs,
// metrics, parameters, tags and artifacts. What the tracker cannot hold is refused with MLflow's error JSON.
//
// # Runs
//
// A run's id is the tracker's. The process that has the handler is the run's writer until the client ends the run. If the
// process is gone before, the run is lost until the client sends something again. Values of a run that has ended are
// refused, as long as the client does not set its status to RUNNING (mlflow.start_run(run_id=…) does); tags are not. A run
// of experiment "default", which MLflow calls 0, needs no experiment.
//
// # What differs
//
//   - A metric has one value at a step, the last one sent; it has no time of its own, so that of the run's begin is
//     returned. Steps are 0 or more.
//   - A parameter that is sent again is replaced. A number is a number in the tracker's filters, too.
//   - Times are those of this machine; start_time and end_time of the client are not used.
//   - A picture of log_image(image, key=…, step=…) also becomes a picture of the run in the tracker.
//   - Filters of searches know of LIKE only texts without %, and of ILIKE only '%text%'; in both _ stands for itself.
//   - Models, traces, datasets, and tags of experiments are not kept.
package mlflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"hrlab/tracker"
)

// maxBody is the largest request in bytes, other than the content of an artifact. MLflow's client sends at most 1 MB.
const maxBody = 16 << 20

// server is the handler's state.
type server struct {
	store *tracker.Store

	mu       sync.Mutex
	runs     map[int64]*tracker.Run // that this process writes
	resuming sync.Mutex             // one at a time, so that two requests do not both resume a run
	decoding sync.Mutex             // one picture at a time, for each may take a lot of memory
}

// Handler answers the requests of MLflow's clients to /api/2.0/mlflow/ and /api/2.0/mlflow-artifacts/. Who may ask is for
// the server to check that it is mounted in. The runs that it began and that have not ended count as lost once the store
// is closed and the process has ended.
func Handler(store *tracker.Store) http.Handler {
	s := &server{store: store, runs: map[int64]*tracker.Run{}}
	mux := http.NewServeMux()
	const api, files = "/api/2.0/mlflow/", "/api/2.0/mlflow-artifacts/artifacts"
	for pattern, f := range map[string]http.HandlerFunc{
		"POST " + api + "experiments/create":     answer(s.createExperiment),
		"GET " + api + "experiments/get":         answer(s.getExperiment),
		"GET " + api + "experiments/get-by-name": answer(s.getExperiment),
		"POST " + api + "experiments/search":     answer(s.searchExperiments),
		"GET " + api + "experiments/search":      answer(s.searchExperiments),
		"POST " + api + "runs/create":            answer(s.createRun),
		"GET " + api + "runs/get":                answer(s.getRun),
		"POST " + api + "runs/update":            answer(s.updateRun),
		"POST " + api + "runs/delete":            answer(s.deleteRun),
		"POST " + api + "runs/restore":           answer(s.restoreRun),
		"POST " + api + "runs/search":            answer(s.searchRuns),
		"POST " + api + "runs/log-batch":         answer(s.logBatch),
		"POST " + api + "runs/log-metric":        answer(s.logMetric),
		"POST " + api + "runs/log-parameter":     answer(s.logParam),
		"POST " + api + "runs/set-tag":           answer(s.setTag),
		"POST " + api + "runs/delete-tag":        answer(s.deleteTag),
		"GET " + api + "metrics/get-history":     answer(s.metricHistory),
		"GET " + api + "artifacts/list":          answer(s.listArtifacts),
		"POST " + api + "logged-models/search":   answer(func(context.Context, none) (any, error) { return none{}, nil }), // the client looks for models whenever it lists artifacts
		"GET " + files:                           answer(s.listFiles),
		"GET " + files + "/{run}/{name...}":      s.download,
		"PUT " + files + "/{run}/{name...}":      s.upload,
		"/": func(w http.ResponseWriter, r *http.Request) {
			refuse(w, &failure{http.StatusNotFound, "ENDPOINT_NOT_FOUND", r.Method + " " + r.URL.Path + " is not offered: the tracker keeps runs with metrics, parameters, tags and artifacts"})
		},
	} {
		if err := store.ReadOnly(); err != nil && !strings.HasPrefix(pattern, "GET ") && !strings.HasSuffix(pattern, "/search") && pattern != "/" {
			f = func(w http.ResponseWriter, _ *http.Request) {
				refuse(w, &failure{http.StatusForbidden, "PERMISSION_DENIED", err.Error()})
			}
		}
		mux.HandleFunc(pattern, f)
	}
	return mux
}

// failure is an error as MLflow's clients read it.
type failure struct {
	status  int    // of HTTP
	Code    string `json:"error_code"`
	Message string `json:"message"`
}

func (f *failure) Error() string { return f.Message }

// invalid is the error of a request that cannot be understood, or asks for what the tracker cannot hold.
func invalid(format string, args ...any) error {
	return &failure{http.StatusBadRequest, "INVALID_PARAMETER_VALUE", fmt.Sprintf(format, args...)}
}

// missing is the error of a request for what is not there.
func missing(format string, args ...any) error {
	return &failure{http.StatusNotFound, "RESOURCE_DOES_NOT_EXIST", fmt.Sprintf(format, args...)}
}

// refuse writes an error.
func refuse(w http.ResponseWriter, err error) {
	f, ok := errors.AsType[*failure](err)
	if !ok {
		f = &failure{http.StatusInternalServerError, "INTERNAL_ERROR", err.Error()}
		switch tooLarge, large := errors.AsType[*http.MaxBytesError](err); {
		case large:
			f.status, f.Code, f.Message = http.StatusRequestEntityTooLarge, "INVALID_PARAMETER_VALUE", fmt.Sprintf("the request is too large; allowed: %d bytes", tooLarge.Limit)
		case errors.Is(err, tracker.ErrNotFound):
			f.status, f.Code = http.StatusNotFound, "RESOURCE_DOES_NOT_EXIST"
		case errors.Is(err, tracker.ErrTaken): // not INVALID_STATE: its status is 500, for which the client tries again and again
			f.status, f.Code = http.StatusConflict, "RESOURCE_CONFLICT"
		}
	}
	send(w, f.status, f)
}

// Refuse answers a request, which is not to be answered for the reason that line gives, as MLflow's clients read it.
func Refuse(w http.ResponseWriter, status int, line string) {
	code := "INTERNAL_ERROR"
	switch status {
	case http.StatusUnauthorized:
		code = "UNAUTHENTICATED"
	case http.StatusForbidden:
		code = "PERMISSION_DENIED"
	case http.StatusServiceUnavailable:
		code = "TEMPORARILY_UNAVAILABLE"
	}
	refuse(w, &failure{status, code, line})
}

// send writes v as JSON.
func send(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone
}

// answer is the handler of an endpoint whose request is JSON, or for GET the fields of a query, and whose response is JSON.
func answer[In any](f func(ctx context.Context, in In) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in In
		var err error
		if r.Method == http.MethodGet {
			err = fromQuery(r, &in)
		} else {
			err = json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&in)
		}
		if _, large := errors.AsType[*http.MaxBytesError](err); err != nil && !large {
			err = invalid("the request is not understood: %v", err)
		}
		var out any
		if err == nil {
			out, err = f(r.Context(), in)
		}
		if err != nil {
			refuse(w, err)
			return
		}
		send(w, http.StatusOK, out)
	}
}

// fromQuery reads the fields of a query: those of a JSON object, all of which are texts or texts of integers.
func fromQuery(r *http.Request, in any) error {
	fields := map[string]string{}
	for name := range r.URL.Query() {
		fields[name] = r.URL.Query().Get(name)
	}
	text, err := json.Marshal(fields)
	if err == nil {
		err = json.Unmarshal(text, in)
	}
	return err
}

// integer is a number without decimals, which in the JSON of protocol buffers may also be a text.
type integer int64

// UnmarshalJSON reads a number or a text.
func (i *integer) UnmarshalJSON(data []byte) error {
	text := strings.Trim(string(data), `"`)
	if text == "null" {
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return fmt.Errorf("%.100s is no whole number", data)
	}
	*i = integer(n)
	return nil
}

// none is the response of endpoints that only do something.
type none struct{}
