package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"hrlab/tracker"
	"hrlab/tracker/web/slider"
)

// Page is a page within the layout that all have.
type Page struct {
	Title      string
	Experiment string             // that the page is about, or empty
	Template   *template.Template // of what is below the navigation, made with Funcs
	Data       any                // what the template shows
	Scripts    []string           // addresses of ES modules of this server
	Styles     []string           // addresses of style sheets of this server
}

// Funcs are what templates call.
var Funcs = template.FuncMap{
	"number":  number,
	"when":    when,
	"took":    took,
	"thumb":   Thumb,
	"file":    File,
	"slider":  func() template.HTML { return template.HTML(slider.Elements) }, //nolint:gosec // a constant
	"bytes":   size,
	"charts":  func() bool { return hasCharts },
	"ongoing": func(s tracker.Status) bool { return s == tracker.Running || s == tracker.Queued || s == tracker.Lost },
}

// body is the template of a page of this package.
var body = func() func(name string) *template.Template {
	all := sync.OnceValue(func() *template.Template {
		return template.Must(template.New("pages").Funcs(Funcs).ParseFS(pages, "html/*.html"))
	})
	return func(name string) *template.Template { return all().Lookup(name + ".html") }
}()

// Show answers with a page.
func (s *Server) Show(w http.ResponseWriter, r *http.Request, p Page) {
	s.show(w, r, http.StatusOK, p)
}

func (s *Server) show(w http.ResponseWriter, r *http.Request, status int, p Page) {
	var inner, whole bytes.Buffer
	err := p.Template.Execute(&inner, p.Data)
	if err == nil {
		err = body("layout").Execute(&whole, map[string]any{
			"Page": p, "Body": template.HTML(inner.String()), "Extensions": s.options.Extensions, "Path": r.URL.Path, //nolint:gosec // by a template
			"Database": path.Base(s.store.Name()), "ReadOnly": s.store.ReadOnly(),
		})
	}
	if err != nil { // a mistake in a template
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(whole.Bytes()) // nobody waits for what cannot be written
}

type badRequestError struct{ error }

func (e badRequestError) Unwrap() error { return e.error }

// Bad marks an error as the request's: [Server.Fail] answers with 400.
func Bad(err error) error {
	if err == nil {
		return nil
	}
	return badRequestError{err}
}

func notFound(r *http.Request) error { return fmt.Errorf("%s: %w", r.URL.Path, tracker.ErrNotFound) }

func (s *Server) nowhere(_ http.ResponseWriter, r *http.Request) error { return notFound(r) }

// Fail answers with one line on what is wrong: 404 for [tracker.ErrNotFound], 400 for what [Bad] has marked and for
// [tracker.QueryError], 409 for [tracker.ErrTaken], and otherwise 503.
func (s *Server) Fail(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusServiceUnavailable
	var bad badRequestError
	var query *tracker.QueryError
	var large *http.MaxBytesError
	switch {
	case errors.Is(err, tracker.ErrNotFound):
		status = http.StatusNotFound
	case errors.As(err, &large):
		status = http.StatusRequestEntityTooLarge
	case errors.As(err, &bad), errors.As(err, &query):
		status = http.StatusBadRequest
	case errors.Is(err, tracker.ErrTaken):
		status = http.StatusConflict
	}
	s.fail(w, r, status, err)
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, status int, err error) {
	line := strings.Join(strings.Fields(strings.ToValidUTF8(err.Error(), "\uFFFD")), " ")
	for prefix, p := range s.options.Protocols {
		if strings.HasPrefix(r.URL.Path, prefix) {
			p.Refuse(w, status, line)
			return
		}
	}
	if isAPI(r) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": line}) // nobody waits for what cannot be written
		return
	}
	title := http.StatusText(status)
	if status == http.StatusServiceUnavailable {
		title = "The database cannot be used"
	}
	s.show(w, r, status, Page{Title: title, Template: body("fail"), Data: map[string]string{"Title": title, "Line": line}})
}

func isAPI(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/api/") || strings.HasPrefix(r.URL.Path, "/ajax-api/") || r.URL.Path == "/events"
}

// JSON answers with a value as JSON, or with the error.
func (s *Server) JSON(w http.ResponseWriter, r *http.Request, v any, err error) {
	var text []byte
	if err == nil {
		text, err = json.Marshal(v)
	}
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text) // nobody waits for what cannot be written
}

// number is a number with five significant digits.
func number(v float64) string {
	if math.Abs(v) >= 1e5 && math.Abs(v) < 1e15 && v == math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', 5, 64)
}

// when is a time in the local zone as text; empty for the zero time.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

// took is how long a run has taken, so far where it has not ended; empty where it has not begun.
func took(run tracker.Info) string {
	end := run.Ended
	if run.Status == tracker.Running {
		end = time.Now()
	}
	if run.Started.IsZero() || end.Before(run.Started) {
		return ""
	}
	return end.Sub(run.Started).Round(time.Second).String()
}

// size is a number of bytes as text.
func size(n int64) string {
	const kilo = 1000
	v, unit := float64(n), 0
	for ; v >= kilo && unit < 4; unit++ {
		v /= kilo
	}
	return strconv.FormatFloat(v, 'g', 3, 64) + " " + []string{"B", "kB", "MB", "GB", "TB"}[unit]
}
