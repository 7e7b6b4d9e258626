package mlflow_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"hrlab/tracker"
	"hrlab/tracker/mlflow"
)

// A client makes a run and logs to it; the tracker has it.
func ExampleHandler() {
	dir, err := os.MkdirTemp("", "")
	must(err)
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	ctx := context.Background()
	store, err := tracker.Open(ctx, filepath.Join(dir, "hrlab.db"))
	must(err)
	server := httptest.NewServer(mlflow.Handler(store))
	defer server.Close()

	for _, request := range [][2]string{
		{"runs/create", `{"experiment_id":"0","run_name":"first"}`},
		{"runs/log-batch", `{"run_id":"1","metrics":[{"key":"loss","value":0.5,"timestamp":0,"step":3}]}`},
		{"runs/update", `{"run_id":"1","status":"FINISHED"}`},
	} {
		response, err := http.Post(server.URL+"/api/2.0/mlflow/"+request[0], "application/json", strings.NewReader(request[1]))
		must(err)
		must(response.Body.Close())
	}
	run, err := store.Run(ctx, "first")
	must(err)
	fmt.Println(run.Experiment, run.Status, run.Metrics["loss"].Last)
	must(store.Close())
	// Output: default finished 0.5
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
