package safetensors

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if url := os.Getenv("HRLAB_TEST_FETCH"); url != "" { // the process that TestFetchKilled kills
		if err := Fetch(context.Background(), Source{URL: url}, os.Getenv("HRLAB_TEST_PATH"), remoteWanted, ignore); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	stall, firstWait = 2*time.Second, time.Millisecond
	os.Exit(m.Run())
}

func ignore(string, int64, int64) {}

// remoteWanted are the tensors of remoteFile to fetch: not the large one between them.
var remoteWanted = map[string][]int{"a": {300, 100}, "b": {20000}, "z": {7}}

// remoteFile is a file of four tensors, and the values of those wanted.
func remoteFile(t *testing.T) (data []byte, want map[string]Tensor) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "remote")
	tensors := map[string]Tensor{"m": {[]int{50000}, make([]float32, 50000)}}
	for name, shape := range remoteWanted {
		n := 1
		for _, k := range shape {
			n *= k
		}
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(i) + float32(name[0])
		}
		tensors[name] = Tensor{shape, values}
	}
	if err := Write(path, tensors, nil); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	delete(tensors, "m")
	return data, tensors
}

// serve serves data with ranges as a file server does, after what before does with the request, counted from 1; before
// says whether it has answered.
func serve(t *testing.T, data []byte, before func(n int, w http.ResponseWriter, r *http.Request) bool) (url string, bytesSent *atomic.Int64) {
	t.Helper()
	var n, sent atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if before(int(n.Add(1)), w, r) {
			return
		}
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(&counting{w, &sent}, r, "", time.Time{}, bytes.NewReader(data))
	}))
	t.Cleanup(server.Close)
	return server.URL, &sent
}

type counting struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counting) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return c.ResponseWriter.Write(b)
}

// partial answers a request for a range with what change makes of it.
func partial(data []byte, change func(body []byte) []byte) func(w http.ResponseWriter, r *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		var from, to int
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); err != nil {
			panic(err)
		}
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(data)))
		w.Header().Set("Content-Length", strconv.Itoa(to+1-from))
		w.WriteHeader(http.StatusPartialContent)
		w.Write(change(data[from : to+1])) //nolint:errcheck // the client may be gone
	}
}

func checkFetched(t *testing.T, path string, want map[string]Tensor) {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if len(f.entries) != len(want) {
		t.Errorf("fetched %v", f.entries)
	}
	for name, w := range want {
		if got, err := f.Tensor(name); err != nil || !reflect.DeepEqual(got, w) {
			t.Errorf("%s differs (%v)", name, err)
		}
	}
	if _, err := os.Stat(path + ".part"); err == nil {
		t.Error("the partial file is still there")
	}
}

// Servers that misbehave once, or for ever, and what comes of it.
func TestFetch(t *testing.T) {
	data, want := remoteFile(t)
	sum := sha256.Sum256(data)
	once := func(n int, answer func(w http.ResponseWriter, r *http.Request)) func(int, http.ResponseWriter, *http.Request) bool {
		return func(i int, w http.ResponseWriter, r *http.Request) bool {
			if i == n {
				answer(w, r)
			}
			return i == n
		}
	}
	always := func(answer func(w http.ResponseWriter, r *http.Request)) func(int, http.ResponseWriter, *http.Request) bool {
		return func(_ int, w http.ResponseWriter, r *http.Request) bool { answer(w, r); return true }
	}
	status := func(code int, header ...string) func(w http.ResponseWriter, r *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			if len(header) == 2 {
				w.Header().Set(header[0], header[1])
			}
			w.WriteHeader(code)
		}
	}
	whole := func(body []byte) func(w http.ResponseWriter, r *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			w.Write(body) //nolint:errcheck // the client may be gone
		}
	}
	for name, c := range map[string]struct {
		before func(n int, w http.ResponseWriter, r *http.Request) bool
		sha256 string
		err    string // empty: the file is fetched
	}{
		"well-behaved":         {before: func(int, http.ResponseWriter, *http.Request) bool { return false }},
		"503 once":             {before: once(2, status(503))},
		"429 with Retry-After": {before: once(3, status(429, "Retry-After", "1"))},
		"stalls once": {before: once(3, func(w http.ResponseWriter, r *http.Request) {
			partial(data, func(b []byte) []byte { return b[:len(b)/2] })(w, r)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})},
		"never answers, once": {before: once(1, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })},
		"truncates once": {before: once(3, func(w http.ResponseWriter, r *http.Request) {
			partial(data, func(b []byte) []byte { return b[:1000] })(w, r)
		})},
		"200 instead of 206": {before: always(whole(data)), sha256: hex.EncodeToString(sum[:])},
		"200, no sum known":  {before: always(whole(data))},
		"429 for an hour":    {before: always(status(429, "Retry-After", "3600")), err: "answers 429 Too Many Requests; try again later"},
		"500 for ever":       {before: always(status(500)), err: "answers 500 Internal Server Error; try again later"},
		"404":                {before: always(status(404)), err: "answers 404 Not Found"},
		"416":                {before: always(status(416)), err: "has no bytes 0 to 8"},
		"other range": {before: once(3, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-9/100")
			w.WriteHeader(http.StatusPartialContent)
		}), err: "was asked for bytes"},
		"200 with other bytes": {before: always(whole(append(bytes.Clone(data[:len(data)-4]), 0, 0, 0, 0))), sha256: hex.EncodeToString(sum[:]), err: "its sha256 is"},
		"header of 10 GB":      {before: always(whole(append([]byte{0, 0xe4, 0x0b, 0x54, 2, 0, 0, 0}, data[8:]...))), err: "not a safetensors file: a header of 10000000000 bytes"},
		"a PyTorch file":       {before: always(whole(append([]byte("PK\x03\x04"), data...))), err: "download it and name the file"},
		"more than asked for": {before: always(func(w http.ResponseWriter, r *http.Request) {
			var from, to int
			if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); err != nil {
				panic(err)
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(data)))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(append(bytes.Clone(data[from:to+1]), "more"...)) //nolint:errcheck // the client may be gone
		})},
		"another length once": {before: once(3, func(w http.ResponseWriter, r *http.Request) {
			partial(data[:len(data)-100], func(b []byte) []byte { return b })(w, r)
		})},
		"no range in a 206": {before: once(3, status(206)), err: "was asked for bytes"},
		"other bytes in a 206": {before: func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n > 2 {
				partial(data, func(b []byte) []byte { return bytes.Repeat([]byte{0xff}, len(b)) })(w, r)
			}
			return n > 2
		}, err: "every value must be finite"},
		"a page instead": {before: always(whole([]byte("<html>please log in, this is no file of tensors</html>"))), err: "not a safetensors file"},
		"too short":      {before: always(whole(data[:len(data)/2])), err: "truncated"},
		"not a number":   {before: always(whole(append(bytes.Clone(data[:len(data)-4]), 0, 0, 0xc0, 0x7f))), err: "every value must be finite"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // some wait for a server that is silent
			url, _ := serve(t, data, c.before)
			path := filepath.Join(t.TempDir(), "fetched")
			err := Fetch(t.Context(), Source{url, c.sha256}, path, remoteWanted, ignore)
			if c.err == "" {
				if err != nil {
					t.Fatal(err)
				}
				checkFetched(t, path, want)
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.err) || !strings.HasPrefix(err.Error(), url) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v; want %q", err, c.err)
			}
			if _, err := os.Stat(path); err == nil {
				t.Error("something stands at the final name")
			}
		})
	}
}

// Only the bytes of the wanted tensors cross the network, and after a stop only those that are still missing.
func TestFetchGoesOn(t *testing.T) {
	data, want := remoteFile(t)
	stop := true
	url, sent := serve(t, data, func(n int, w http.ResponseWriter, r *http.Request) bool {
		if stop && n == 3 {
			partial(data, func(b []byte) []byte { return b[:len(b)*3/4] })(w, r)
			return true
		}
		if stop && n > 3 {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		return false
	})
	path := filepath.Join(t.TempDir(), "fetched")
	if err := Fetch(t.Context(), Source{URL: url}, path, remoteWanted, ignore); err == nil {
		t.Fatal("a server that fails was no error")
	}
	part, err := os.Stat(path + ".part")
	if err != nil {
		t.Fatal(err)
	}
	stop = false
	sent.Store(0)
	if err := Fetch(t.Context(), Source{URL: url}, path, remoteWanted, ignore); err != nil {
		t.Fatal(err)
	}
	checkFetched(t, path, want)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if header := int64(1000); sent.Load() > info.Size()-part.Size()+header {
		t.Errorf("%d bytes were sent for the missing %d", sent.Load(), info.Size()-part.Size())
	}
}

// A remote file that changes between two tries is fetched anew, not mixed.
func TestFetchChanged(t *testing.T) {
	data, want := remoteFile(t)
	var version atomic.Int64
	version.Store(1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	url, _ := serve(t, data, func(n int, w http.ResponseWriter, r *http.Request) bool {
		if version.Load() == 1 && n == 6 {
			cancel()
		}
		if version.Load() == 1 && n >= 3 {
			w.Header().Set("X", "")
			partial(data, func(b []byte) []byte { return make([]byte, len(b)*3/4) })(w, r) // another file's bytes
			return true
		}
		if version.Load() == 2 {
			w.Header().Set("Last-Modified", "now")
		}
		return false
	})
	path := filepath.Join(t.TempDir(), "fetched")
	if err := Fetch(ctx, Source{URL: url}, path, remoteWanted, ignore); err == nil {
		t.Fatal("no error")
	}
	version.Store(2)
	other := strings.Replace(url, "127.0.0.1", "localhost", 1) // another source: nothing of the first is used
	if err := Fetch(t.Context(), Source{URL: other}, path, remoteWanted, ignore); err != nil {
		t.Fatal(err)
	}
	checkFetched(t, path, want)
}

// Of two at once one fetches and the other waits and says so.
func TestFetchTwice(t *testing.T) {
	data, want := remoteFile(t)
	waiting := make(chan struct{})
	url, sent := serve(t, data, func(n int, _ http.ResponseWriter, _ *http.Request) bool {
		if n == 1 {
			<-waiting
		}
		return false
	})
	path := filepath.Join(t.TempDir(), "fetched")
	var waited atomic.Int64
	done := make(chan error)
	for range 2 {
		go func() {
			done <- Fetch(context.Background(), Source{URL: url}, path, remoteWanted, func(stage string, _, _ int64) {
				if strings.HasPrefix(stage, "wait for another process") && waited.Add(1) == 1 {
					close(waiting)
				}
			})
		}()
	}
	if err := errors.Join(<-done, <-done); err != nil {
		t.Fatal(err)
	}
	checkFetched(t, path, want)
	if waited.Load() != 1 || sent.Load() > int64(len(data)) {
		t.Errorf("%d waited, %d bytes were sent", waited.Load(), sent.Load())
	}
}

// kill -9 after any byte leaves nothing under the final name, and the next call completes it.
func TestFetchKilled(t *testing.T) {
	data, want := remoteFile(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "fetched")
	for round := range 8 {
		var child *exec.Cmd
		left, started := 15_000*min(round, 1)+round, make(chan struct{}) // bytes until the kill
		url, _ := serve(t, data, func(_ int, w http.ResponseWriter, r *http.Request) bool {
			partial(data, func(b []byte) []byte {
				if left -= len(b); left < 0 {
					w.Write(b[:len(b)+left]) //nolint:errcheck // the client is killed now
					w.(http.Flusher).Flush()
					<-started
					_ = child.Process.Kill()
				}
				return b
			})(w, r)
			return true
		})
		child = exec.Command(self)
		child.Env = append(os.Environ(), "HRLAB_TEST_FETCH="+url, "HRLAB_TEST_PATH="+path)
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		close(started)
		if child.Wait() == nil {
			t.Fatalf("round %d: it was to be killed", round)
		}
		if _, err := os.Stat(path); err == nil {
			t.Fatalf("round %d: something stands at the final name", round)
		}
	}
	url, _ := serve(t, data, func(int, http.ResponseWriter, *http.Request) bool { return false })
	if err := Fetch(t.Context(), Source{URL: url}, path, remoteWanted, ignore); err != nil {
		t.Fatal(err)
	}
	checkFetched(t, path, want)
}

// A proxy of the environment is asked for what only it can reach.
func TestFetchProxy(t *testing.T) {
	data, want := remoteFile(t)
	var asked atomic.Int64
	url, _ := serve(t, data, func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Host == "mirror.invalid" {
			asked.Add(1)
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	path := filepath.Join(t.TempDir(), "fetched")
	child := exec.Command(os.Args[0]) // Go reads the environment once a process
	child.Env = append(os.Environ(), "HTTP_PROXY="+url, "NO_PROXY=", "HRLAB_TEST_FETCH=http://mirror.invalid/file", "HRLAB_TEST_PATH="+path)
	if out, err := child.CombinedOutput(); err != nil || asked.Load() == 0 {
		t.Fatalf("%v %s; %d requests", err, out, asked.Load())
	}
	checkFetched(t, path, want)
}
