package pages

import (
	"bytes"
	"context"
	_ "embed" // the page
	"errors"
	"fmt"
	"html/template"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"hrlab/experiments"
	"hrlab/hrstyle"
	"hrlab/picture"
	"hrlab/report"
	"hrlab/tracker"
	"hrlab/tracker/web"
)

//go:embed fits.html
var fitsPage string

//go:embed fits.js
var fitsScript []byte

//go:embed full.js
var fullScript []byte

var fitsTemplate = template.Must(template.New("fits").Funcs(web.Funcs).Parse(fitsPage))

// fitter starts fits and ends them, and makes their pictures at full size.
type fitter struct {
	store    *tracker.Store
	vgg      string // the weights that fits use, as hrstyle.OpenVGG names them
	pictures *experiments.Pictures
	web      *web.Server

	mu    sync.Mutex
	queue *experiments.Queue // opened when it is needed: that makes its tables
}

func fits(store *tracker.Store, vgg string, pictures *experiments.Pictures) web.Extension {
	f := &fitter{store: store, vgg: vgg, pictures: pictures}
	return web.Extension{Name: "fits", Title: "Fits", Handler: f.handler, Run: f.ofRun}
}

func (f *fitter) handler(s *web.Server) http.Handler {
	f.web = s
	mux := http.NewServeMux()
	for pattern, h := range map[string]func(w http.ResponseWriter, r *http.Request) error{
		"GET /fits/{$}":    f.page,
		"POST /fits/{$}":   f.start,
		"POST /fits/again": f.again,
		"POST /fits/stop":  f.stop,
		"POST /fits/retry": f.retry,
		"POST /fits/full":  f.full,
		"/": func(_ http.ResponseWriter, r *http.Request) error {
			return fmt.Errorf("%s: %w", r.URL.Path, tracker.ErrNotFound)
		},
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxUpload)
			if err := h(w, r); err != nil {
				s.Fail(w, r, err)
			}
		})
	}
	mux.HandleFunc("GET /fits/fits.js", func(w http.ResponseWriter, r *http.Request) { web.Asset(w, r, "fits.js", fitsScript) })
	mux.HandleFunc("GET /fits/full.js", func(w http.ResponseWriter, r *http.Request) { web.Asset(w, r, "full.js", fullScript) })
	return mux
}

// maxUpload is how many bytes the two pictures of a form may have.
const maxUpload = 128 << 20

// maxTrials is how many fits one form may start.
const maxTrials = 100

func (f *fitter) open(ctx context.Context) (*experiments.Queue, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.queue == nil {
		queue, err := experiments.OpenQueue(ctx, f.store)
		if err != nil {
			return nil, err
		}
		f.queue = queue
	}
	return f.queue, nil
}

// ofRun is what the page of a run has: how far the fit is, what can be done about it, and how to make it again.
func (f *fitter) ofRun(_ context.Context, info tracker.Info) (template.HTML, error) {
	run := report.Run{Info: info}
	var b bytes.Buffer
	err := fitsTemplate.ExecuteTemplate(&b, "run", map[string]any{
		"Run": info, "Map": report.IsMap(info), "Command": run.Command(), "FullSize": run.FullSize(), "Name": run.FullSizeName(), "Left": left(info), "Steps": info.Params["steps"].Text, "Step": info.Metrics["seconds"].LastStep,
		"ContentWeight": run.Param("content_weight"), "StyleWeight": run.Param("style_weight"), "Size": run.Param("size"), "ReadOnly": f.store.ReadOnly() != nil,
	})
	return template.HTML(b.String()), err //nolint:gosec // by a template
}

// left is the time until a running fit is done, as quick as so far; empty where that is not known.
func left(info tracker.Info) string {
	seconds, steps := info.Metrics["seconds"], info.Params["steps"].Number
	if info.Status != tracker.Running || seconds.LastStep < 1 || float64(seconds.LastStep) >= steps {
		return ""
	}
	each := seconds.Last / float64(seconds.LastStep)
	return time.Duration(each * (steps - float64(seconds.LastStep)) * float64(time.Second)).Round(time.Second).String()
}

// page has the form for a new pair, and the queue.
func (f *fitter) page(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	cursor, err := f.store.Cursor(ctx)
	if err != nil {
		return err
	}
	queue, err := f.open(ctx)
	if err != nil {
		return err
	}
	_, paused, err := queue.State(ctx)
	if err != nil {
		return err
	}
	open, err := queue.Open(ctx)
	if err != nil {
		return err
	}
	runs, err := f.store.RunsByID(ctx, slices.Sorted(maps.Keys(open)))
	if err != nil {
		return err
	}
	type trial struct {
		tracker.Info
		Left string
		Step int64
	}
	var trials []trial
	for _, info := range runs {
		trials = append(trials, trial{info, left(info), info.Metrics["seconds"].LastStep})
	}
	workers, err := queue.Workers(ctx)
	if err != nil {
		return err
	}
	unfit, err := queue.Unfit(ctx)
	if err != nil {
		return err
	}
	f.web.Show(w, r, web.Page{
		Title: "Fits", Experiment: r.FormValue("experiment"), Template: fitsTemplate, Scripts: []string{"/fits/fits.js"},
		Data: map[string]any{"Cursor": cursor, "Paused": paused, "Trials": trials, "Workers": len(workers), "Unfit": unfit, "Experiment": r.FormValue("experiment"), "ReadOnly": f.store.ReadOnly() != nil, "Extensions": strings.Join(picture.Extensions(), ",")},
	})
	return nil
}

// start queues the trials of a form with two pictures.
func (f *fitter) start(w http.ResponseWriter, r *http.Request) error {
	const inMemory = 1 << 20 // the rest is in temporary files
	if err := r.ParseMultipartForm(inMemory); err != nil {
		return asked(err)
	}
	defer r.MultipartForm.RemoveAll() //nolint:errcheck // the system removes them some time
	dir, err := os.MkdirTemp("", "hrlab-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // likewise
	var paths, names []string
	for _, field := range []string{"content", "style"} {
		file, header, err := r.FormFile(field)
		if err != nil {
			return web.Bad(fmt.Errorf("the %s picture is missing", field))
		}
		path := filepath.Join(dir, field)
		if err := keep(path, file); err != nil {
			return err
		}
		paths, names = append(paths, path), append(names, filepath.Base(header.Filename))
	}
	pair, err := hrstyle.LoadPair(paths[0], paths[1])
	if err != nil {
		text := err.Error()
		for i, path := range paths {
			text = strings.ReplaceAll(text, path, names[i])
		}
		return web.Bad(errors.New(text))
	}
	pair.Content.Name, pair.Style.Name = names[0], names[1]
	return f.enqueue(w, r, pair, hrstyle.Default, strings.TrimSpace(r.FormValue("experiment")))
}

// keep writes an uploaded file.
func keep(path string, file multipart.File) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, file)
	return errors.Join(err, out.Close(), file.Close())
}

// asked marks an error in reading a form as the request's, where it is not about its size.
func asked(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return err
	}
	return web.Bad(err)
}

// again queues the pair of a run with other settings, in the run's experiment.
func (f *fitter) again(w http.ResponseWriter, r *http.Request) error {
	id, err := f.named(r)
	if err != nil {
		return err
	}
	info, err := f.store.Run(r.Context(), strconv.FormatInt(id, 10))
	if err != nil {
		return err
	}
	pair, config, err := experiments.Again(r.Context(), f.store, id)
	if err != nil {
		return web.Bad(err)
	}
	return f.enqueue(w, r, pair, config, info.Experiment)
}

// enqueue queues the trials that a form asks for: content_weight and style_weight may have several values, as the flags of hrlab
// sweep; size and steps have one.
func (f *fitter) enqueue(w http.ResponseWriter, r *http.Request, pair hrstyle.Pair, config hrstyle.Config, experiment string) error {
	if experiment == "" {
		experiment = "page"
	}
	for name, to := range map[string]*int{"size": &config.Size, "steps": &config.Steps} {
		if text := strings.TrimSpace(r.FormValue(name)); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil {
				return web.Bad(fmt.Errorf("%s: %q; allowed: a number", name, text))
			}
			*to = n
		}
	}
	var axes []experiments.Axis
	n := 1
	for _, a := range []struct {
		name string
		axis func(...float64) experiments.Axis
	}{{"content_weight", experiments.ContentWeight}, {"style_weight", experiments.StyleWeight}} {
		if text := strings.TrimSpace(r.FormValue(a.name)); text != "" {
			values, err := experiments.ParseValues(a.name, text)
			if err != nil {
				return web.Bad(err)
			}
			axis := a.axis(values...)
			axes = append(axes, axis)
			if n *= axis.Len(); n > maxTrials {
				return web.Bad(fmt.Errorf("%d fits or more; allowed: %d", n, maxTrials))
			}
		}
	}
	trials := experiments.Grid(config, axes...)
	if err := experiments.Validate(trials); err != nil {
		return web.Bad(err)
	}
	vgg, err := hrstyle.OpenVGG(f.vgg)
	if err != nil { // not the database's fault: the line says what to do
		return web.Bad(err)
	}
	queue, err := f.open(r.Context())
	if err != nil {
		return err
	}
	ids, err := queue.Enqueue(r.Context(), experiment, vgg, pair, trials, 0)
	if err != nil {
		return err
	}
	to := "/runs?" + url.Values{"experiment": {experiment}}.Encode()
	if len(ids) == 1 {
		to = fmt.Sprintf("/runs/%d", ids[0])
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// named is the run that a form names.
func (f *fitter) named(r *http.Request) (int64, error) {
	const enough = 1 << 16 // bytes of a form without pictures
	r.Body = http.MaxBytesReader(nil, r.Body, enough)
	if err := r.ParseForm(); err != nil {
		return 0, asked(err)
	}
	id, err := strconv.ParseInt(r.PostForm.Get("run"), 10, 64)
	if err != nil {
		return 0, web.Bad(fmt.Errorf("run: %q; allowed: the id of a run", r.PostForm.Get("run")))
	}
	return id, nil
}

// stop stops a queued, lost or running fit of the queue.
func (f *fitter) stop(w http.ResponseWriter, r *http.Request) error {
	return f.act(w, r, (*experiments.Queue).Cancel, "has ended, or was not started from the queue: Ctrl-C ends it where it runs")
}

// retry queues a fit again.
func (f *fitter) retry(w http.ResponseWriter, r *http.Request) error {
	return f.act(w, r, (*experiments.Queue).Retry, "is not to be retried, or was not started from the queue: hrlab fit --resume goes on with it")
}

func (f *fitter) act(w http.ResponseWriter, r *http.Request, do func(q *experiments.Queue, ctx context.Context, runs []tracker.Info) (int, error), why string) error {
	id, err := f.named(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	info, err := f.store.Run(ctx, strconv.FormatInt(id, 10))
	if err != nil {
		return err
	}
	queue, err := f.open(ctx)
	if err != nil {
		return err
	}
	n, err := do(queue, ctx, []tracker.Info{info})
	if err == nil && n == 0 {
		err = web.Bad(fmt.Errorf("run %d %s", id, why))
	}
	if err == nil {
		http.Redirect(w, r, fmt.Sprintf("/runs/%d", id), http.StatusSeeOther)
	}
	return err
}

// full sends the picture of a run at full size, to be saved. It is a POST, so that no page of another site can have it made.
func (f *fitter) full(w http.ResponseWriter, r *http.Request) error {
	id, err := f.named(r)
	if err != nil {
		return err
	}
	info, err := f.store.Run(r.Context(), strconv.FormatInt(id, 10))
	if err != nil {
		return err
	}
	name, ratio := (&report.Run{Info: info}).FullSizeName(), 0.0
	if text := r.PostForm.Get("ratio"); text != "" {
		if ratio, err = strconv.ParseFloat(text, 64); err != nil {
			return web.Bad(fmt.Errorf("ratio: %q; allowed: a number", text))
		}
		name = fmt.Sprintf("ratio_%g.png", ratio)
	}
	const patience = 5 * time.Minute
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Time{}) // it takes as long as it takes; a recorder in a test has no deadlines
	data, err := f.pictures.PNG(r.Context(), id, ratio)
	_ = control.SetWriteDeadline(time.Now().Add(patience))
	switch {
	case errors.Is(err, tracker.ErrNotFound):
		return err
	case err != nil:
		return web.Bad(err)
	}
	w.Header().Set("Content-Type", "image/png")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	_, _ = w.Write(data) // nobody waits for what cannot be written
	return nil
}
