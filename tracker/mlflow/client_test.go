package mlflow

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"hrlab/tracker"
)

// open opens a new database.
func open(t testing.TB) *tracker.Store {
	t.Helper()
	store, err := tracker.Open(t.Context(), filepath.Join(t.TempDir(), "hrlab.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// MLflow's own client finds what it has logged. make test installs it.
func TestClient(t *testing.T) {
	python := exec.CommandContext(t.Context(), "python3", "testdata/client.py")
	python.Env = os.Environ()
	if installed := os.Getenv("HRLAB_TEST_MLFLOW"); installed != "" {
		python.Env = append(python.Env, "PYTHONPATH="+installed)
	} else if exec.Command("python3", "-c", "import mlflow, numpy, PIL").Run() != nil {
		t.Skip("no MLflow: make test installs it")
	}
	store := open(t)
	server := httptest.NewServer(Handler(store))
	defer server.Close()
	python.Env = append(python.Env, "MLFLOW_TRACKING_URI="+server.URL, "MLFLOW_HTTP_REQUEST_MAX_RETRIES=0", "MLFLOW_DISABLE_TELEMETRY=true", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT=true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR=false", "PYTHONWARNINGS=ignore", "GIT_PYTHON_REFRESH=quiet")
	python.Stderr = os.Stderr
	out, err := python.Output()
	const golden = "testdata/client.txt"
	want, readErr := os.ReadFile(golden)
	if err != nil || readErr != nil || string(out) != string(want) {
		t.Errorf("%v %v\n%swant\n%s", err, readErr, out, want)
	}
	run, err := store.Run(t.Context(), "first")
	if err != nil {
		t.Fatal(err)
	}
	pictures, err := store.Pictures(t.Context(), run.ID)
	if err != nil || len(pictures) != 1 || pictures[0].Name != "out/put" || pictures[0].Step != 7 || pictures[0].Width != 40 {
		t.Errorf("%+v %v", pictures, err)
	}
	if p := run.Params["last"]; !p.IsNumber || p.Number != 1e-5 || p.Text != "1e-05" {
		t.Errorf("%+v", p)
	}
}
