package experiments

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"hrlab/hrstyle"
	"hrlab/hrstyle/device"
	"hrlab/picture"
	"hrlab/report"
	"hrlab/tracker"
)

// MapPictures are what the weight maps on record make of the content pictures that they were fitted to, for sliders: at any ratio
// of the weights, at the fitted size, in the time of one pass through the generator. It opens XLA:CPU, else pure Go, of its own
// for the first picture, since the engine of a worker is at a fit and a GPU may be another process's.
type MapPictures struct {
	store *tracker.Store

	mu     sync.Mutex // an engine does one thing at a time
	engine *hrstyle.Engine
	key    string // of the map at hand: its run, and its digest, which is another when the run has gone on
	hand   *hrstyle.Generator
	of     picture.Picture // its content picture, at the fitted size
}

// NewMapPictures makes those of a database. Close it when done.
func NewMapPictures(store *tracker.Store) *MapPictures { return &MapPictures{store: store} }

// Close closes the device.
func (m *MapPictures) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.engine != nil {
		m.engine.Close()
		m.engine = nil
	}
}

// JPEG is the picture of a run's weight map at a ratio. A run that has no map, a ratio outside of its range, and a content picture
// that is gone or another by now, are errors; they wrap [tracker.ErrNotFound] where there is no such run or generator.
func (m *MapPictures) JPEG(ctx context.Context, run int64, ratio float64) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil { // who asked has moved on meanwhile
		return nil, err
	}
	if err := m.take(ctx, run); err != nil {
		return nil, err
	}
	g, err := m.hand.At(ratio)
	if err != nil {
		return nil, err
	}
	if m.engine == nil {
		if m.engine, err = openForPictures(ctx); err != nil {
			return nil, err
		}
	}
	img, err := m.engine.Apply(ctx, g, m.of, hrstyle.Applying{})
	if err != nil {
		return nil, err
	}
	return picture.JPEG(img, max(img.Rect.Dx(), img.Rect.Dy()), 0)
}

// take takes the map of a run at hand.
func (m *MapPictures) take(ctx context.Context, run int64) error {
	artifacts, err := m.store.Artifacts(ctx, run)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(artifacts, func(a tracker.Artifact) bool { return a.Name == report.Generator })
	if i < 0 {
		return fmt.Errorf("run %d has no weight map: %w", run, tracker.ErrNotFound)
	}
	key := fmt.Sprint(run, " ", artifacts[i].Digest)
	if key == m.key {
		return nil
	}
	g, err := LoadGenerator(ctx, m.store, run)
	if err != nil {
		return err
	}
	pair, err := Fitted(ctx, m.store, run)
	if err != nil {
		return err
	}
	m.key, m.hand, m.of = key, g, pair.Content
	return nil
}

func openForPictures(ctx context.Context) (engine *hrstyle.Engine, err error) {
	for _, kind := range []device.Kind{device.CPU, device.Go} {
		if engine, err = hrstyle.Open(ctx, hrstyle.Options{Device: string(kind), VGG: "none"}); err == nil {
			return engine, nil
		}
	}
	return nil, err
}

// ServeHTTP answers ?run=12&ratio=45 with the picture.
func (m *MapPictures) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	run, err := strconv.ParseInt(query.Get("run"), 10, 64)
	ratio, err2 := strconv.ParseFloat(query.Get("ratio"), 64)
	if err = errors.Join(err, err2); err != nil {
		http.Error(w, fmt.Sprintf("run %q, ratio %q; allowed: two numbers", query.Get("run"), query.Get("ratio")), http.StatusBadRequest)
		return
	}
	data, err := m.JPEG(r.Context(), run, ratio)
	if err != nil {
		status := http.StatusBadRequest
		if errors.Is(err, tracker.ErrNotFound) {
			status = http.StatusNotFound
		}
		http.Error(w, err.Error(), status)
		return
	}
	w.Header().Set("Content-Type", "image/jpeg")
	w.Header().Set("Cache-Control", "no-store") // the run may go on
	_, _ = w.Write(data)                        // nobody waits for what cannot be written
}

// serveMapPictures answers at the address, of this machine alone, until end is called.
func serveMapPictures(store *tracker.Store) (address string, end func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it ends with end
	if err != nil {
		return "", func() {}, err
	}
	pictures := NewMapPictures(store)
	mux, path := http.NewServeMux(), "/"+rand.Text()
	mux.Handle("GET "+path, pictures)
	const patience = 10 * time.Second
	server := &http.Server{Handler: mux, ReadHeaderTimeout: patience}
	go func() { _ = server.Serve(listener) }()
	return "http://" + listener.Addr().String() + path, func() { _ = server.Close(); pictures.Close() }, nil
}
