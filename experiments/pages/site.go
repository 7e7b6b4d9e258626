package pages

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"hrlab/experiments"
	"hrlab/hrstyle"
	"hrlab/report"
	"hrlab/tracker"
	"hrlab/tracker/web"
)

// looking are the pages that compare the runs of an experiment that were made of one pair of pictures.
func looking() []web.Extension {
	return []web.Extension{
		{Name: "matrix", Title: "Matrix", Handler: func(s *web.Server) http.Handler {
			return site{s}.routes(map[string]handler{"GET /matrix/{$}": site{s}.matrix, "POST /matrix/queue": site{s}.queue})
		}},
		{Name: "better", Title: "Which is better?", Handler: func(s *web.Server) http.Handler {
			return site{s}.routes(map[string]handler{"GET /better/{$}": site{s}.better, "GET /better/order.json": site{s}.order, "POST /better/{$}": site{s}.choose, "POST /better/back": site{s}.takeBack})
		}},
		{Name: "map", Title: "Map", Handler: func(s *web.Server) http.Handler {
			return site{s}.routes(map[string]handler{"GET /map/{$}": site{s}.chart})
		}},
	}
}

//go:embed *.html
var bodies embed.FS

//go:embed *.js *.css
var assets embed.FS

// body is the template of a page; common.html has what several show.
func body(name string) *template.Template {
	return template.Must(template.New(name).Funcs(web.Funcs).Funcs(funcs).ParseFS(bodies, name, "common.html"))
}

type handler func(w http.ResponseWriter, r *http.Request) error

// site is a server with these pages.
type site struct{ *web.Server }

// routes are the pages of an extension, and the scripts and styles.
func (s site) routes(pages map[string]handler) http.Handler {
	mux := http.NewServeMux()
	for pattern, page := range pages {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			const most = 1 << 20 // bytes of a form
			r.Body = http.MaxBytesReader(w, r.Body, most)
			if err := page(w, r); err != nil {
				s.Fail(w, r, err)
			}
		})
	}
	mux.HandleFunc("GET /{page}/{file}", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("file")
		if _, err := fs.Stat(assets, name); err != nil {
			s.Fail(w, r, fmt.Errorf("%s: %w", r.URL.Path, tracker.ErrNotFound))
			return
		}
		http.ServeFileFS(w, r, assets, name)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.Fail(w, r, fmt.Errorf("%s: %w", r.URL.Path, tracker.ErrNotFound))
	})
	return mux
}

// mostRuns is how many runs of a pair a page shows: the newest.
const mostRuns = 200

// subject is what a page is about: the runs of an experiment on one pair of pictures.
type subject struct {
	Experiment  string
	Experiments []string // all, the latest first
	Pair        int      // index of Pairs
	Pairs       []string
	Runs        []tracker.Info
	Cut         bool // there are more runs
	ReadOnly    bool
	Cursor      int64 // what changes later is not in it

	pictures map[int64][]tracker.Picture
}

// fitted are the runs that these pages show: not those of other programs, and not those of all weights.
const fitted = "params.content_weight >= 0 and not params.map_knots > 0"

// subject reads what the request's experiment and pair name. Without an experiment it is the latest with a run to show.
func (s site) subject(r *http.Request) (*subject, error) {
	ctx, query := r.Context(), r.URL.Query()
	about := &subject{Experiment: query.Get("experiment"), ReadOnly: s.Store().ReadOnly() != nil}
	var err error
	if about.Cursor, err = s.Store().Cursor(ctx); err != nil {
		return nil, err
	}
	list, err := s.Store().Experiments(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		about.Experiments = append(about.Experiments, e.Name)
	}
	switch {
	case about.Experiment == "" && len(list) > 0:
		about.Experiment = list[0].Name
		for _, e := range list {
			runs, err := s.Store().Runs(ctx, tracker.Query{Experiment: e.Name, Where: fitted, Limit: 1})
			if err != nil {
				return nil, err
			}
			if len(runs) > 0 {
				about.Experiment = e.Name
				break
			}
		}
	case about.Experiment != "" && !slices.Contains(about.Experiments, about.Experiment):
		return nil, fmt.Errorf("experiment %q: %w", about.Experiment, tracker.ErrNotFound)
	}
	const most = 1000 // of all pairs
	runs := []tracker.Info{}
	if about.Experiment != "" {
		if runs, err = s.Store().Runs(ctx, tracker.Query{Experiment: about.Experiment, Where: fitted, Limit: most}); err != nil {
			return nil, err
		}
	}
	about.Cut = len(runs) == most
	var keys []string
	byPair := map[string][]tracker.Info{} // the newest run first
	for _, run := range runs {
		key := fmt.Sprintf("%s: %s, %s", run.Tags["pair"], run.Params["content"].Text, run.Params["style"].Text)
		if vgg := run.Params["vgg"].Text; strings.HasPrefix(vgg, "random") {
			key += ", " + vgg
		}
		if byPair[key] == nil {
			keys = append(keys, key)
		}
		byPair[key] = append(byPair[key], run)
	}
	if text := query.Get("pair"); text != "" {
		about.Pair, err = strconv.Atoi(text)
		if err != nil || about.Pair < 0 || about.Pair >= max(1, len(keys)) {
			return nil, web.Bad(fmt.Errorf("pair %q; allowed: 0 to %d", text, max(0, len(keys)-1)))
		}
	}
	about.Pairs = keys
	if len(keys) > 0 {
		about.Runs = byPair[keys[about.Pair]]
	}
	if len(about.Runs) > mostRuns {
		about.Runs, about.Cut = about.Runs[:mostRuns], true
	}
	slices.Reverse(about.Runs)
	var ids []int64
	for _, run := range about.Runs {
		ids = append(ids, run.ID)
	}
	if len(ids) > 0 {
		about.pictures, err = s.Store().PicturesOf(ctx, ids)
	}
	return about, err
}

// steps are the pictures of a run that are called name, by step.
func (s *subject) steps(run int64, name string) []tracker.Picture {
	return slices.DeleteFunc(slices.Clone(s.pictures[run]), func(p tracker.Picture) bool { return p.Name != name })
}

// last is the latest output of a run; its digest is empty where there is none.
func (s *subject) last(run int64) (p tracker.Picture) {
	if list := s.steps(run, report.Output); len(list) > 0 {
		p = list[len(list)-1]
	}
	return p
}

// input is the digest of the content or style picture, of the first run that has it; empty where none has.
func (s *subject) input(name string) string {
	for _, run := range s.Runs {
		if list := s.steps(run.ID, name); len(list) > 0 {
			return list[0].Digest
		}
	}
	return ""
}

// Content and Style are the digests of the pictures.
func (s *subject) Content() string { return s.input(report.Content) }

// Style is the other.
func (s *subject) Style() string { return s.input(report.Style) }

// Waiting is how many runs have not ended.
func (s *subject) Waiting() (n int) {
	for _, run := range s.Runs {
		if run.Status == tracker.Queued || run.Status == tracker.Running {
			n++
		}
	}
	return n
}

// field is something that runs are compared by.
type field struct{ Name, Title string }

// settings are the settings that vary, and the two weights.
func (s *subject) settings() (list []field) {
	names := report.Varied(s.Runs)
	for _, name := range []string{"content_weight", "style_weight"} {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, name := range names {
		list = append(list, field{name, words(name)})
	}
	return list
}

// metrics are the measures, and the other metrics that runs have.
func (s *subject) metrics() (list []field) {
	known := map[string]bool{}
	for _, m := range report.Measures() {
		list, known[m.Name] = append(list, field{m.Name, m.Title}), true
	}
	for _, run := range s.Runs {
		for name := range run.Metrics {
			if !known[name] {
				list, known[name] = append(list, field{name, words(name)}), true
			}
		}
	}
	slices.SortFunc(list[len(report.Measures()):], func(a, b field) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func words(name string) string { return strings.ReplaceAll(name, "_", " ") }

// chosen is the value of a parameter of the address if it is one of the list, and else the first of those that are preferred
// and in the list.
func chosen(r *http.Request, name string, list []field, preferred ...string) string {
	for _, want := range append([]string{r.URL.Query().Get(name)}, preferred...) {
		if slices.ContainsFunc(list, func(f field) bool { return f.Name == want }) {
			return want
		}
	}
	return ""
}

// queue queues fits of the form: each is the run from with the settings of the JSON object set.
func (s site) queue(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return web.Bad(err)
	}
	const most = 100
	from, sets := r.PostForm["from"], r.PostForm["set"]
	if len(from) == 0 || len(from) != len(sets) || len(from) > most {
		return web.Bad(fmt.Errorf("%d runs and %d settings; allowed: as many of both, 1 to %d", len(from), len(sets), most))
	}
	to, err := back(r)
	if err != nil {
		return err
	}
	q, err := experiments.OpenQueue(r.Context(), s.Store())
	if err != nil {
		return err
	}
	for i := range from {
		id, err := strconv.ParseInt(from[i], 10, 64)
		if err != nil {
			return web.Bad(fmt.Errorf("run %q is no number", from[i]))
		}
		change, err := setting(sets[i])
		if err != nil {
			return web.Bad(err)
		}
		if _, err := q.Vary(r.Context(), id, change); err != nil {
			if errors.Is(err, tracker.ErrNotFound) || s.Store().ReadOnly() != nil {
				return err
			}
			return web.Bad(err)
		}
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// setting is what changes a configuration by a JSON object of its fields.
func setting(text string) (change func(c *hrstyle.Config), err error) {
	c := hrstyle.Default
	var values, known map[string]json.RawMessage
	all, err := json.Marshal(c)
	if err = errors.Join(err, json.Unmarshal(all, &known), json.Unmarshal([]byte(text), &values), json.Unmarshal([]byte(text), &c)); err != nil {
		return nil, fmt.Errorf("settings %q: %w", text, err)
	}
	for name := range values {
		if _, ok := known[name]; !ok || name == "init" { // a page names no files
			return nil, fmt.Errorf("setting %q; allowed: those of a fit, as runs have them", name)
		}
	}
	return func(c *hrstyle.Config) {
		gain := c.StyleGain
		_ = json.Unmarshal([]byte(text), c) // which worked above
		if _, ok := values["style_gain"]; !ok {
			c.StyleGain = gain // where JSON has none it means 1
		}
	}, nil
}

// back is the page that a form came from.
func back(r *http.Request) (string, error) {
	to := r.PostFormValue("back")
	if u, err := url.Parse(to); err != nil || u.Scheme != "" || u.Host != "" || u.Path != "/matrix/" && u.Path != "/better/" {
		return "", web.Bad(fmt.Errorf("back to %q; allowed: a page of this server", to))
	}
	return to, nil
}

// digits is a number with n significant digits; those before the point are all there, since exponents are hard to compare.
func digits(v float64, n int) string {
	const large = 1e7
	if a := math.Abs(v); a >= math.Pow10(n)-0.5 && a < large {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', n, 64)
}

var funcs = template.FuncMap{
	"words":   words,
	"shades":  func() int { return shades },
	"digits":  func(v float64) string { return digits(v, 3) },
	"weights": label,
	"percent": func(share float64) string { return strconv.Itoa(int(math.Round(100*share))) + " %" },
	"add":     func(a, b int) int { return a + b },
	"pick":    func(list []field, now string) any { return map[string]any{"List": list, "Now": now} },
}
