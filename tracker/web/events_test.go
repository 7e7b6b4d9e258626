package web

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"hrlab/tracker"
)

// eventReader reads server-sent events.
type eventReader struct{ lines *bufio.Scanner }

func newEvents(r io.Reader) eventReader {
	lines := bufio.NewScanner(r)
	const longest = 1 << 24
	lines.Buffer(nil, longest)
	return eventReader{lines}
}

// next is the next event.
func (e eventReader) next(t testing.TB) (id, kind, data string) {
	t.Helper()
	for e.lines.Scan() {
		name, value, _ := strings.Cut(e.lines.Text(), ": ")
		switch name {
		case "id":
			id = value
		case "event":
			kind = value
		case "data":
			data = value
		case "":
			if kind != "" {
				return id, kind, data
			}
		}
	}
	t.Fatal("the stream ended: ", e.lines.Err())
	return
}

// 200 that watch a run all get everything that it logs.
func TestManyWatch(t *testing.T) {
	store, ctx := fresh(t), t.Context()
	run, err := store.Start(ctx, tracker.NewRun{})
	must(t, err)
	since, err := store.Cursor(ctx)
	must(t, err)
	server := httptest.NewServer(New(store, Options{}))
	defer server.Close()
	defer server.CloseClientConnections()
	const watchers, steps = 200, 40
	var listening, done sync.WaitGroup
	got := make([]map[string]bool, watchers)
	for i := range watchers {
		listening.Add(1)
		done.Go(func() {
			answer, err := http.Get(fmt.Sprintf("%s/events?run=%d&since=%d", server.URL, run.ID, since))
			listening.Done()
			if err != nil {
				t.Error(err)
				return
			}
			defer answer.Body.Close() //nolint:errcheck // it was read
			got[i] = map[string]bool{}
			lines := newEvents(answer.Body).lines
			for lines.Scan() {
				data, ok := strings.CutPrefix(lines.Text(), "data: ")
				if !ok {
					continue
				}
				var runs []news
				if err := json.Unmarshal([]byte(data), &runs); err != nil {
					t.Error(err)
				}
				for _, n := range runs {
					for _, p := range n.Points["m"] {
						got[i][fmt.Sprint(p[0])] = true
					}
					if n.Status == tracker.Finished {
						return
					}
				}
			}
			t.Errorf("watcher %d: the stream ended", i)
		})
	}
	listening.Wait()
	for step := range int64(steps) {
		must(t, run.Log(ctx, step, map[string]float64{"m": 1}))
		time.Sleep(10 * time.Millisecond)
	}
	must(t, run.Finish(ctx, nil))
	done.Wait()
	for i, g := range got {
		if len(g) != steps {
			t.Fatalf("watcher %d got %d steps of %d", i, len(g), steps)
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d MB, of server and watchers", m.Sys>>20)
}
