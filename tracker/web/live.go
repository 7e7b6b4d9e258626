package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"hrlab/tracker"
)

// hub tells those who listen what changes. The database is read once for all of them, and only while somebody listens.
//
// Every event has a number, the tracker's cursor. Whoever names the last one that he has gets those that came after, as long as
// they are kept, and is told to read everything anew where they are not.
type hub struct {
	store *tracker.Store

	mu      sync.Mutex
	changed *sync.Cond  // an event was added, or the hub has stopped
	stop    func()      // nil while the database is not watched
	n       int         // listeners
	idle    *time.Timer // stops it when nobody has come back
	from    int64       // events after this cursor are kept
	events  []event     // the oldest first
	failed  error       // why it has stopped
}

// event is what has changed up to a cursor.
type event struct {
	cursor int64
	runs   []changedRun
}

type changedRun struct {
	id   int64
	json []byte
}

// mark is how far the events tell of a run.
type mark struct {
	step, picture int64 // the last steps
	status        tracker.Status
}

const (
	keptEvents = 256
	linger     = time.Minute            // that events are kept for one whose connection broke
	pace       = 250 * time.Millisecond // between two events
)

func newHub(store *tracker.Store) *hub {
	h := &hub{store: store}
	h.changed = sync.NewCond(&h.mu)
	return h
}

// listen begins to listen to what comes after a cursor; leave ends it.
func (h *hub) listen(ctx context.Context, since int64) (leave func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.idle != nil {
		h.idle.Stop()
	}
	if h.stop == nil || h.failed != nil {
		if err := h.begin(ctx, since); err != nil {
			return nil, err
		}
	}
	h.n++
	return sync.OnceFunc(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.n--; h.n == 0 {
			h.idle = time.AfterFunc(linger, h.rest)
		}
	}), nil
}

// rest stops to watch where nobody listens.
func (h *hub) rest() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n == 0 && h.stop != nil {
		h.stop()
		h.stop = nil
	}
}

// begin starts to watch from a cursor, or from now on where that is long ago. The first event of a run has all that it logged.
func (h *hub) begin(ctx context.Context, since int64) error {
	from, err := h.store.Cursor(ctx)
	if err != nil {
		return err
	}
	const longAgo = 1000 // changes
	if since <= from && since > from-longAgo {
		from = since
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	h.stop, h.from, h.events, h.failed = stop, from, nil, nil
	go h.watch(ctx, from)
	return nil
}

func markOf(run tracker.Info, pictures []tracker.Picture) mark {
	m := mark{-1, -1, run.Status}
	for _, metric := range run.Metrics {
		m.step = max(m.step, metric.LastStep)
	}
	for _, p := range pictures {
		m.picture = max(m.picture, p.Step)
	}
	return m
}

// watch adds an event for what changes, until ctx ends.
func (h *hub) watch(ctx context.Context, cursor int64) {
	known := map[int64]mark{} // how far the events tell of a run
	for {
		runs, next, err := h.store.Watch(ctx, cursor)
		var e event
		if err == nil {
			e, err = h.describe(ctx, runs, next, known)
		}
		h.mu.Lock()
		if ctx.Err() != nil {
			h.mu.Unlock()
			return
		}
		if h.failed = err; err == nil {
			if h.events = append(h.events, e); len(h.events) > keptEvents {
				h.from, h.events = h.events[0].cursor, h.events[1:]
			}
			cursor = next
		}
		h.changed.Broadcast()
		h.mu.Unlock()
		if err != nil {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(pace):
		}
	}
}

// news is what an event tells of a run: the run, its values and pictures that are new.
type news struct {
	tracker.Info
	Points   map[string][][2]any `json:"points"` // by metric: step and value
	Pictures []tracker.Picture   `json:"pictures"`
}

func (h *hub) describe(ctx context.Context, runs []tracker.Info, cursor int64, known map[int64]mark) (event, error) {
	pictures, err := h.store.PicturesOf(ctx, ids(runs))
	if err != nil {
		return event{}, err
	}
	e := event{cursor: cursor}
	for _, run := range runs {
		before, ok := known[run.ID]
		if !ok || before.status != tracker.Running && run.Status == tracker.Running { // a run that goes on may replace what it had
			before = mark{step: -1, picture: -1}
		}
		n := news{Info: run, Points: map[string][][2]any{}}
		points, err := h.store.PointsAfter(ctx, run.ID, before.step)
		if err != nil {
			return event{}, err
		}
		for _, p := range points {
			n.Points[p.Metric] = append(n.Points[p.Metric], [2]any{p.Step, tracker.Float(p.Value)})
		}
		for _, p := range pictures[run.ID] {
			if p.Step > before.picture {
				n.Pictures = append(n.Pictures, p)
			}
		}
		text, err := json.Marshal(n)
		if err != nil {
			return event{}, err
		}
		e.runs = append(e.runs, changedRun{run.ID, text})
		known[run.ID] = markOf(run, pictures[run.ID])
	}
	return e, nil
}

// after waits for events after a cursor. It returns none, and the newest cursor, where those are not kept: everything must be
// read anew.
func (h *hub) after(ctx context.Context, cursor int64) ([]event, int64, error) {
	defer context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.changed.Broadcast()
	})()
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		last := h.from
		if n := len(h.events); n > 0 {
			last = h.events[n-1].cursor
		}
		switch {
		case ctx.Err() != nil:
			return nil, cursor, ctx.Err()
		case cursor < h.from:
			return nil, last, nil
		case cursor < last:
			i := len(h.events)
			for i > 0 && h.events[i-1].cursor > cursor {
				i--
			}
			return append([]event(nil), h.events[i:]...), last, nil
		case h.failed != nil:
			return nil, cursor, h.failed
		}
		h.changed.Wait()
	}
}

// events streams, as server-sent events, what changes: of the runs that are named (run), or of all. It begins after the event
// Last-Event-ID, or the cursor since. "changes" has the runs that have changed, with the values and pictures that are new;
// "reset" says that too much was missed, and everything is to be read anew.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	only := map[int64]bool{}
	if texts := r.URL.Query()["run"]; len(texts) > 0 {
		list, err := runIDs(texts)
		if err != nil {
			return err
		}
		for _, id := range list {
			only[id] = true
		}
	}
	since := r.Header.Get("Last-Event-ID")
	if since == "" {
		since = r.URL.Query().Get("since")
	}
	var cursor int64
	var err error
	if since == "" {
		cursor, err = s.store.Cursor(ctx)
	} else if cursor, err = strconv.ParseInt(since, 10, 64); err != nil {
		err = Bad(fmt.Errorf("since: %q; allowed: the number of an event", since))
	}
	if err != nil {
		return err
	}
	leave, err := s.hub.listen(ctx, cursor)
	if err != nil {
		return err
	}
	defer leave()
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	const comeback = 1000 // ms until a browser connects again
	send := func(text string) error {
		const patience = 30 * time.Second                      // for one who does not read
		_ = control.SetWriteDeadline(time.Now().Add(patience)) // a recorder in a test has none
		if _, err := w.Write([]byte(text)); err != nil {
			return err
		}
		return control.Flush()
	}
	if send(fmt.Sprintf("retry: %d\n\n", comeback)) != nil {
		return nil
	}
	_ = control.SetReadDeadline(time.Time{}) // a recorder in a test has none
	for {
		const silence = 20 * time.Second // then a comment shows whether anybody is there
		waiting, cancel := context.WithTimeout(ctx, silence)
		list, next, err := s.hub.after(waiting, cursor)
		cancel()
		var text string
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && waiting.Err() != nil:
			text = ": still here\n\n"
		case err != nil:
			return nil // the browser comes back, and is told by the page
		case len(list) == 0:
			text = fmt.Sprintf("id: %d\nevent: reset\ndata: {}\n\n", next)
		default:
			text = written(list, only)
		}
		if text != "" && send(text) != nil {
			return nil
		}
		cursor = next
	}
}

// written are events as they are sent, less those that are about other runs.
func written(list []event, only map[int64]bool) string {
	var text []byte
	for _, e := range list {
		began := len(text)
		text = fmt.Appendf(text, "id: %d\nevent: changes\ndata: [", e.cursor)
		n := 0
		for _, run := range e.runs {
			if len(only) > 0 && !only[run.id] {
				continue
			}
			if n++; n > 1 {
				text = append(text, ',')
			}
			text = append(text, run.json...)
		}
		if n == 0 {
			text = text[:began]
			continue
		}
		text = append(text, "]\n\n"...)
	}
	return string(text)
}
