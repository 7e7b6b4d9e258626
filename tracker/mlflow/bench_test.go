package mlflow

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// BenchmarkClient logs by MLflow's client to this package's handler and, where that is installed, to MLflow's own server
// with its SQLite backend, in the same minute.
func BenchmarkClient(b *testing.B) {
	b.Run("hrlab", func(b *testing.B) {
		server := httptest.NewServer(Handler(open(b)))
		defer server.Close()
		logBatches(b, server.URL)
	})
	b.Run("MLflow", func(b *testing.B) {
		if exec.Command("python3", "-c", "import mlflow.server.fastapi_app").Run() != nil {
			b.Skip("no MLflow beside it: pip install mlflow")
		}
		port, err := net.Listen("tcp", "127.0.0.1:0")
		must(b, err)
		address := port.Addr().String()
		_, number, err := net.SplitHostPort(address)
		must(b, err, port.Close())
		dir := b.TempDir()
		server := exec.CommandContext(b.Context(), "python3", "-m", "mlflow", "server", "--port", number, "--workers", "1", "--backend-store-uri", "sqlite:///"+dir+"/mlflow.db", "--default-artifact-root", dir)
		server.Cancel = func() error { return server.Process.Signal(syscall.SIGTERM) } // which also ends its workers
		must(b, server.Start())
		b.Cleanup(func() { _ = server.Wait() })
		for range 600 { // tenths of a second; its first start makes the tables
			response, err := http.Get("http://" + address + "/health")
			if err == nil {
				must(b, response.Body.Close())
				logBatches(b, "http://"+address)
				return
			}
			time.Sleep(time.Second / 10)
		}
		b.Fatal("MLflow's server does not answer")
	})
}

// logBatches reports what testdata/log_batch.py measures.
func logBatches(b *testing.B, url string) {
	for b.Loop() {
		python := exec.CommandContext(b.Context(), "python3", "testdata/log_batch.py")
		python.Env = append(os.Environ(), "MLFLOW_TRACKING_URI="+url, "MLFLOW_DISABLE_TELEMETRY=true")
		out, err := python.Output()
		var few, many float64
		if _, scanErr := fmt.Sscan(string(out), &few, &many); err != nil || scanErr != nil {
			b.Skipf("no MLflow: pip install mlflow (%v)", err)
		}
		b.ReportMetric(few, "metrics/s-by-5")
		b.ReportMetric(many, "metrics/s-by-1000")
	}
	b.ReportMetric(0, "ns/op")
}
