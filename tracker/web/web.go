// Package web shows a tracker's runs in a browser: pages and JSON, live while runs are written. It knows nothing of what the
// runs compute; whoever does adds pages of its own as an [Extension].
//
//	server := web.New(store, web.Options{})
//	err := server.Serve(ctx, listener)
//
// Pages are at / (experiments), /runs, /runs/ID and /compare?run=1&run=2, and have their whole state in the address. The same
// is below /api/ as JSON, and /events tells what changes.
//
// # Who may ask
//
// A request must name, as its host, an address (of the kind 127.0.0.1), localhost or one of Options.Hosts: a foreign name that was
// made to lead here (DNS rebinding) is refused. What changes something must come from a page of this server, or from no page.
// With Options.TokenHash every request must have the token, as bearer or as the cookie that /login sets.
package web

import (
	"context"
	"embed"
	"html/template"
	"io/fs"
	"net"
	"net/http"
	"os"
	"time"

	"hrlab/tracker"
)

// Options are what a server shows beside the tracker's own pages, and to whom. The zero Options show the tracker alone.
type Options struct {
	Extensions []Extension
	Protocols  map[string]Protocol // by the prefix of their paths
	Hosts      []string            // names that requests may be for, beside localhost and addresses
	TokenHash  string              // the sha256, in hexadecimal digits, of the token that every request must have; empty: none
	Columns    []string            // what the table of runs has where the address does not say: fields of the filter
	Unlisted   []string            // the names of tags that the table of runs leaves out, since nobody reads them
	Measures   []string            // the metrics that Best takes
	Picture    string              // the name of the picture that stands for a run; empty: its latest one
	// Best are the runs, of those of an experiment, that stand for it, the best first. It may be nil: then, and after them, the
	// newest do.
	Best func(runs []tracker.Measured) []tracker.Measured
}

// Protocol is one that programs speak. It is behind the same checks as pages.
type Protocol struct {
	http.Handler
	// Refuse answers a request that did not pass these checks with a status of HTTP and a line that says why.
	Refuse func(w http.ResponseWriter, status int, line string)
}

// Extension adds pages.
type Extension struct {
	// Name is that of its pages' folder: they are below /NAME/.
	Name string
	// Title is its entry in the navigation, which leads to /NAME/, with ?experiment=EXPERIMENT where the page that shows it
	// is about one. Empty: it has no entry.
	Title string
	// Handler makes what answers every request below /NAME/. Paths are whole.
	Handler func(s *Server) http.Handler
	// Run is what the extension adds to the page of a run. It may be nil.
	Run func(ctx context.Context, run tracker.Info) (template.HTML, error)
}

// Server answers requests for the pages of a tracker.
type Server struct {
	store   *tracker.Store
	options Options
	handler http.Handler
	hub     *hub
	file    os.FileInfo // of the database, when the server began
}

// New makes a server of a store, which must stay open while it serves.
func New(store *tracker.Store, o Options) *Server {
	s := &Server{store: store, options: o, hub: newHub(store)}
	s.file, _ = os.Stat(store.Path()) // where it is gone already every page says so
	mux := http.NewServeMux()
	for pattern, h := range map[string]func(w http.ResponseWriter, r *http.Request) error{
		"GET /{$}":                        s.experimentsPage,
		"GET /runs":                       s.runsPage,
		"POST /runs":                      s.change,
		"GET /runs/{run}":                 s.runPage,
		"GET /runs/{run}/files/{name...}": s.artifact,
		"GET /compare":                    s.comparePage,
		"GET /thumbs/{digest}":            s.thumbnail,
		"GET /events":                     s.events,
		"GET /api/experiments":            s.apiExperiments,
		"GET /api/runs":                   s.apiRuns,
		"GET /api/runs/{run}":             s.apiRun,
		"GET /api/series":                 s.apiSeries,
		"GET /api/pictures":               s.apiPictures,
		"/":                               s.nowhere,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			const enough = 1 << 20 // bytes of a form
			r.Body = http.MaxBytesReader(w, r.Body, enough)
			if err := h(w, r); err != nil {
				s.Fail(w, r, err)
			}
		})
	}
	mux.Handle("GET /assets/", s.assets())
	for _, e := range o.Extensions {
		mux.Handle("/"+e.Name+"/", e.Handler(s))
	}
	for prefix, h := range o.Protocols {
		mux.Handle(prefix, h)
	}
	s.handler = compressed(s.guard(mux))
	return s
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Store is the tracker's.
func (s *Server) Store() *tracker.Store { return s.store }

// Serve answers the requests that come to listener, until ctx ends.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 5 * time.Minute, WriteTimeout: 5 * time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10,
		BaseContext:    func(net.Listener) context.Context { return ctx }, // streams end with it
	}
	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		const patience = 2 * time.Second
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		ended <- server.Shutdown(last)
	})
	err := server.Serve(listener)
	if stop() {
		return err
	}
	return <-ended
}

//go:embed html/*.html
var pages embed.FS

//go:embed assets/*.js assets/*.css all:assets/dist
var assetFiles embed.FS

// hasCharts says whether the library that draws curves was there when the program was built.
var hasCharts = func() bool {
	_, err := fs.Stat(assetFiles, "assets/dist/uPlot.esm.js")
	return err == nil
}()
