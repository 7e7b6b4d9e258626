package experiments

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"image"
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

// Pictures are what the generators on record make of the content pictures of their runs, for pages and sliders. They are made by
// XLA:CPU, else pure Go, which is opened for the first picture, since the engine of a worker is at a fit and a GPU may be another
// process's.
type Pictures struct {
	store *tracker.Store
	large chan struct{} // holds what makes a picture at full size: one takes gigabytes

	mu     sync.Mutex // an engine does one thing at a time
	engine *hrstyle.Engine
	key    string // of the weight map at hand: its run, and its digest, which is another when the run has gone on
	hand   *hrstyle.Generator
	of     picture.Picture // its content picture, at the fitted size
}

// NewPictures makes those of a database. Close them when done.
func NewPictures(store *tracker.Store) *Pictures {
	return &Pictures{store: store, large: make(chan struct{}, 1)}
}

// Close closes the device.
func (m *Pictures) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.engine != nil {
		m.engine.Close()
		m.engine = nil
	}
}

// JPEG is the picture of a run's weight map at a ratio. A run that has no map, a ratio outside of its range, and a content picture
// that is gone or another by now, are errors; they wrap [tracker.ErrNotFound] where there is no such run or generator.
func (m *Pictures) JPEG(ctx context.Context, run int64, ratio float64) ([]byte, error) {
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
	img, err := m.apply(ctx, g, m.of)
	if err != nil {
		return nil, err
	}
	return picture.JPEG(img, max(img.Rect.Dx(), img.Rect.Dy()), 0)
}

// PNG is the content picture of a run with the run's look, at the picture's own size: the file that hrlab apply --run writes. ratio is
// that of the weights where the run has a weight map. One is made at a time, and others wait. It returns the cause of ctx, after the
// current tile, when that is cancelled. Errors are those of [Pictures.JPEG] and of [Content].
func (m *Pictures) PNG(ctx context.Context, run int64, ratio float64) ([]byte, error) {
	select {
	case m.large <- struct{}{}:
		defer func() { <-m.large }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	g, err := LoadGenerator(ctx, m.store, run)
	if err != nil {
		return nil, err
	}
	comment := fmt.Sprintf("hrlab: generator of run %d", run)
	if g.IsMap() {
		if g, err = g.At(ratio); err != nil {
			return nil, err
		}
		comment += fmt.Sprintf(" at ratio %g", ratio)
	}
	content, err := Content(ctx, m.store, run)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	img, err := m.apply(ctx, g, content)
	m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return picture.Encoding{Comment: comment + "; VGG19: " + g.VGG, Exif: content.Exif()}.Encode(".png", img)
}

// apply applies a generator by an engine of its own.
func (m *Pictures) apply(ctx context.Context, g *hrstyle.Generator, p picture.Picture) (img *image.NRGBA64, err error) {
	if m.engine == nil {
		if m.engine, err = openForPictures(ctx); err != nil {
			return nil, err
		}
	}
	return m.engine.Apply(ctx, g, p, hrstyle.Applying{})
}

// take takes the map of a run at hand.
func (m *Pictures) take(ctx context.Context, run int64) error {
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

// ServeHTTP answers ?run=12&ratio=45 with the picture of a weight map.
func (m *Pictures) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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
	pictures := NewPictures(store)
	mux, path := http.NewServeMux(), "/"+rand.Text()
	mux.Handle("GET "+path, pictures)
	const patience = 10 * time.Second
	server := &http.Server{Handler: mux, ReadHeaderTimeout: patience}
	go func() { _ = server.Serve(listener) }()
	return "http://" + listener.Addr().String() + path, func() { _ = server.Close(); pictures.Close() }, nil
}
