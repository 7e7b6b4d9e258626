package web

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"image"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hrlab/tracker"
)

func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// fresh is a new database.
func fresh(t testing.TB) *tracker.Store {
	t.Helper()
	store, err := tracker.Open(context.Background(), filepath.Join(t.TempDir(), "hrlab.db"))
	must(t, err)
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// logged makes a run with three steps, pictures and a file.
func logged(t testing.TB, store *tracker.Store, n tracker.NewRun) *tracker.Run {
	t.Helper()
	ctx := context.Background()
	run, err := store.Start(ctx, n)
	must(t, err)
	for step := range int64(3) {
		must(t, run.Log(ctx, step, map[string]float64{"total": float64(10 - step)}), run.LogPicture(ctx, step, "output", image.NewGray(image.Rect(0, 0, 8, 6+int(step)))))
	}
	must(t, run.LogArtifact(ctx, "output", strings.NewReader("\x89PNG\r\n\x1a\nrest")), run.LogArtifact(ctx, "page.html", strings.NewReader("<script>alert(1)</script>")))
	return run
}

// ask sends a request and returns status and body.
func ask(t testing.TB, h http.Handler, method, target string, form url.Values, change ...func(r *http.Request)) (*httptest.ResponseRecorder, string) {
	t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r := httptest.NewRequest(method, target, body)
	r.Host = "127.0.0.1:8765"
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w, w.Body.String()
}

func get(t testing.TB, h http.Handler, target string, status int, contains ...string) string {
	t.Helper()
	answer, text := ask(t, h, http.MethodGet, target, nil)
	if answer.Code != status {
		t.Fatalf("GET %s: %d\n%s", target, answer.Code, text)
	}
	for _, c := range contains {
		if !strings.Contains(text, c) {
			t.Errorf("GET %s: no %q in\n%s", target, c, text)
		}
	}
	return text
}

// Every page shows what there is, and its JSON the same.
func TestPages(t *testing.T) {
	store := fresh(t)
	a := logged(t, store, tracker.NewRun{Experiment: "boat & sea", Name: "first", Params: map[string]any{"w": 3}, Tags: map[string]string{"pair": "x"}})
	b := logged(t, store, tracker.NewRun{Experiment: "boat & sea", Name: "second", Params: map[string]any{"w": 4}})
	must(t, a.Finish(t.Context(), nil), b.Finish(t.Context(), errors.New("out of memory")))
	s := New(store, Options{Columns: []string{"params.w", "metrics.total"}, Picture: "output"})
	get(t, s, "/", 200, "boat &amp; sea", "1 finished", "1 failed", "/runs?experiment=boat%20%26%20sea", "/thumbs/")
	get(t, s, "/runs", 200, "first", "second", `title="params.w"`, ">8<")
	if text := get(t, s, "/runs?where=params.w+%3E+3", 200, "second"); strings.Contains(text, "first<") {
		t.Error("the filter does nothing")
	}
	if text := get(t, s, "/runs?where=params.w+%3E", 200, "filter, column 11", `aria-describedby="where-fault"`); strings.Contains(text, "match the filter") {
		t.Error("it says that no runs match a filter that is none")
	}
	get(t, s, "/runs?sort=nothing", 200, "sort, column 1", `aria-describedby="sort-fault"`)
	get(t, s, "/runs?column=params.q&column=oh+no", 200, "columns, column")
	get(t, s, "/runs?column=name&sort=-name", 200, "name ↓", "sort=name")
	get(t, s, "/runs/1", 200, "Run 1", "page.html", "/runs/1/files/output", "smallest", `"cursor":`)
	get(t, s, "/runs/2", 200, "out of memory")
	get(t, s, "/compare?run=1&run=2", 200, "What differs", "that are the same", `<span class="small">w 3</span>`, `<span class="small">w 4</span>`)
	get(t, s, "/compare?run=1", 400, "allowed: 2 to 50")
	for _, target := range []string{"/runs/77", "/runs/x", "/runs/1/files/none", "/compare?run=1&run=77", "/thumbs/00.jpg", "/nothing", "/assets/none.js", "/assets/%2e%2e/web.go", "/runs/1/files/..%2f..%2fhrlab.db", "/runs/99999999999999999999"} {
		get(t, s, target, 404)
	}
	get(t, s, "/api/experiments", 200, `"finished":1`)
	get(t, s, "/api/runs?limit=1&sort=id", 200, `"first"`)
	get(t, s, "/api/runs/1", 200, `"artifacts":[`, `"cursor":`)
	get(t, s, "/api/runs/77", 404, `{"error":`)
	get(t, s, "/api/runs?where=x", 400, `{"error":"filter`)
	get(t, s, "/api/runs?limit=0", 400)
	get(t, s, "/api/series?run=1&run=2&metric=total", 200, `"values":[10,9,8]`)
	get(t, s, "/api/pictures?run=1,2", 200, `"1":[`)
	for _, name := range []string{"page.css", "page.js", "slider.js", "slider.css", "live.js"} {
		get(t, s, "/assets/"+name, 200)
	}
}

// Text is compressed for those who take it, and is the same; events, which come one by one, are not.
func TestCompressed(t *testing.T) {
	store := fresh(t)
	run := logged(t, store, tracker.NewRun{})
	for step := range int64(500) {
		must(t, run.Log(t.Context(), step, map[string]float64{"total": float64(float32(0.1) * float32(step))}))
	}
	must(t, run.Log(t.Context(), 0, map[string]float64{"one": 1.0 / 3, "large": 1e300, "none": math.NaN(), "small": 1e-300}))
	s := New(store, Options{})
	for _, target := range []string{"/runs", "/api/series?run=1", "/assets/page.css", "/assets/page.js", "/events", "/runs/1/files/output?show"} {
		accept := func(r *http.Request) { r.Header.Set("Accept-Encoding", "gzip") }
		gone := func(r *http.Request) { // events go on until who listens is gone
			ctx, cancel := context.WithCancel(r.Context())
			cancel()
			*r = *r.WithContext(ctx)
		}
		if target != "/events" {
			gone = func(*http.Request) {}
		}
		plain, want := ask(t, s, http.MethodGet, target, nil, gone)
		answer, text := ask(t, s, http.MethodGet, target, nil, accept, gone)
		isText := !strings.HasPrefix(target, "/events") && !strings.Contains(target, "files")
		if got := answer.Header().Get("Content-Encoding") == "gzip"; got != isText || plain.Header().Get("Content-Encoding") != "" {
			t.Errorf("%s: %v", target, answer.Header())
		}
		if isText {
			r, err := gzip.NewReader(strings.NewReader(text))
			must(t, err)
			got, err := io.ReadAll(r)
			must(t, err)
			if len(text) > len(want)*2/3 || string(got) != want {
				t.Errorf("%s: %d bytes instead of %d", target, len(text), len(want))
			}
		}
	}
	get(t, s, "/api/series?run=1", 200, ",10.1,10.2,", `"metric":"one","steps":[0],"values":[0.33333334]`, `[1e+300]`, `["NaN"]`, `[1e-300]`)
	same := func(r *http.Request) {
		first, _ := ask(t, s, http.MethodGet, "/assets/page.css", nil)
		r.Header.Set("If-None-Match", first.Header().Get("ETag"))
		r.Header.Set("Accept-Encoding", "gzip")
	}
	if answer, _ := ask(t, s, http.MethodGet, "/assets/page.css", nil, same); answer.Code != http.StatusNotModified {
		t.Error(answer.Code)
	}
}

// A card shows the runs that are best of all, and then the newest; those that are deleted stand for nothing.
func TestCards(t *testing.T) {
	store, ctx := fresh(t), t.Context()
	for i := range 7 {
		run := logged(t, store, tracker.NewRun{Experiment: "e", Tags: map[string]string{"pair": "x"}})
		must(t, run.Log(ctx, 3, map[string]float64{"score": float64(i % 4)}), run.Finish(ctx, nil))
	}
	logged(t, store, tracker.NewRun{Experiment: "other"})
	must(t, store.Delete(ctx, 7))
	high := func(runs []tracker.Measured) (list []tracker.Measured) {
		for _, run := range runs {
			if run.Last[0] > 2 && math.IsNaN(run.Last[1]) {
				list = append(list, run)
			}
		}
		return list
	}
	s := New(store, Options{Measures: []string{"score", "none"}, Best: high})
	links := regexp.MustCompile(`href="/runs/(\d+)"`)
	order := func(text string) (list []string) {
		for _, m := range links.FindAllStringSubmatch(text, -1) {
			list = append(list, m[1])
		}
		return list
	}
	if got := order(get(t, s, "/", 200, "pair x")); !slices.Equal(got, []string{"8", "4", "6", "5", "3"}) {
		t.Error(got)
	}
	if got := order(get(t, New(store, Options{}), "/", 200)); !slices.Equal(got, []string{"8", "6", "5", "4", "3"}) {
		t.Error(got)
	}
}

// Pages of a long table lead to each other.
func TestPaging(t *testing.T) {
	store := fresh(t)
	for i := range 2*pageLength + 5 {
		_, err := store.Start(t.Context(), tracker.NewRun{Name: fmt.Sprint("n", i), Params: map[string]any{"w": i % 7}})
		must(t, err)
	}
	s := New(store, Options{})
	target, n := "/runs?sort=params.w", 0
	for pages := 0; target != ""; pages++ {
		text := get(t, s, target, 200)
		n += strings.Count(text, "<tr data-row")
		_, next, ok := strings.Cut(text, `rel="next"`)
		if target = ""; ok {
			before := text[:len(text)-len(next)]
			at := strings.LastIndex(before, `href="`) + len(`href="`)
			target = strings.ReplaceAll(before[at:at+strings.IndexByte(before[at:], '"')], "&amp;", "&")
		}
		if pages > 5 {
			t.Fatal("the pages do not end")
		}
	}
	if n != 2*pageLength+5 {
		t.Errorf("%d runs on all pages", n)
	}
}

// What a run supplied is text, or is saved, whatever it contains.
func TestSuppliedIsText(t *testing.T) {
	store, evil := fresh(t), `"><script>alert(1)</script>{{.}}`
	run := logged(t, store, tracker.NewRun{Experiment: evil, Name: evil, Params: map[string]any{evil: evil}, Tags: map[string]string{evil: evil}, Environment: map[string]string{evil: evil}})
	must(t, run.Note(t.Context(), evil), run.Log(t.Context(), 3, map[string]float64{evil: 1}), run.LogArtifact(t.Context(), evil, strings.NewReader(evil)),
		run.LogPicture(t.Context(), 4, `</script>`, image.NewGray(image.Rect(0, 0, 2, 2))), run.Finish(t.Context(), errors.New(evil)))
	run2 := logged(t, store, tracker.NewRun{Experiment: evil, Name: evil})
	s := New(store, Options{})
	for _, target := range []string{"/", "/runs", "/runs?experiment=" + url.QueryEscape(evil), "/runs?where=" + url.QueryEscape(evil), "/runs/1", "/compare?run=1,2", "/nothing" + url.PathEscape(evil)} {
		_, text := ask(t, s, http.MethodGet, target, nil)
		if strings.Contains(text, "<script>alert") || strings.Contains(text, `"</script>`) {
			t.Errorf("%s has the script", target)
		}
	}
	const outside = "../../../etc/passwd"
	must(t, run2.LogArtifact(t.Context(), outside, strings.NewReader(evil)))
	if at := File(2, outside); at != (&url.URL{Path: "/"}).JoinPath(at).EscapedPath() {
		t.Errorf("%s leads elsewhere", at)
	}
	for target, want := range map[string][2]string{
		File(2, outside):               {"application/octet-stream", "attachment; filename=passwd"},
		"/runs/1/files/page.html":      {"application/octet-stream", "attachment"},
		"/runs/1/files/page.html?show": {"application/octet-stream", "attachment"},
		"/runs/1/files/output":         {"image/png", "attachment; filename=output.png"},
		"/runs/1/files/output?show":    {"image/png", "inline"},
		File(1, evil) + "?show":        {"application/octet-stream", "attachment"},
	} {
		answer, _ := ask(t, s, http.MethodGet, target, nil)
		if kind, how := answer.Header().Get("Content-Type"), answer.Header().Get("Content-Disposition"); answer.Code != http.StatusOK || kind != want[0] || !strings.HasPrefix(how, want[1]) || answer.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %s %s", target, answer.Code, kind, how)
		}
	}
}

// Several runs are changed at once, or none.
func TestChange(t *testing.T) {
	store := fresh(t)
	for range 3 {
		logged(t, store, tracker.NewRun{})
	}
	s := New(store, Options{})
	post := func(status int, form url.Values) string {
		t.Helper()
		answer, text := ask(t, s, http.MethodPost, "/runs", form)
		if answer.Code != status {
			t.Fatalf("%v: %d %s", form, answer.Code, text)
		}
		return answer.Header().Get("Location")
	}
	runs := []string{"1", "3"}
	if to := post(303, url.Values{"run": runs, "do": {"tag"}, "key": {"good"}, "value": {"yes"}, "back": {"/runs?sort=id"}}); to != "/runs?sort=id" {
		t.Error(to)
	}
	for _, back := range []string{"//evil.example/", "https://evil.example/", `/\evil.example`, "javascript:alert(1)", ""} {
		if to := post(303, url.Values{"run": runs, "do": {"note"}, "text": {"n"}, "back": {back}}); to != "/" {
			t.Errorf("%q leads to %q", back, to)
		}
	}
	post(303, url.Values{"run": runs, "do": {"delete"}})
	i, err := store.Run(t.Context(), "3")
	if err != nil || i.Tags["good"] != "yes" || len(i.Notes) != 5 || i.Deleted.IsZero() {
		t.Errorf("%+v %v", i, err)
	}
	if text := get(t, s, "/runs", 200); strings.Count(text, "<tr data-row") != 1 {
		t.Error("deleted runs are shown")
	}
	get(t, s, "/runs?deleted=1", 200, `class="deleted"`)
	post(303, url.Values{"run": runs, "do": {"restore"}})
	post(303, url.Values{"run": runs, "do": {"untag"}, "key": {"good"}})
	post(404, url.Values{"run": {"1", "77"}, "do": {"delete"}})
	if i, err := store.Run(t.Context(), "1"); err != nil || !i.Deleted.IsZero() || len(i.Tags) != 0 {
		t.Errorf("%+v %v", i, err)
	}
	for _, form := range []url.Values{{"do": {"delete"}}, {"run": runs}, {"run": {"x"}, "do": {"delete"}}, {"run": runs, "do": {"tag"}}, {"run": runs, "do": {"note"}, "text": {" "}}, {"run": runs, "do": {"explode"}}} {
		post(400, form)
	}
	post(413, url.Values{"run": runs, "do": {"note"}, "text": {strings.Repeat("x", 2<<20)}})
}

// Who may not ask gets nothing.
func TestGuard(t *testing.T) {
	store := fresh(t)
	open, asked := New(store, Options{Hosts: []string{"studio"}}), New(store, Options{TokenHash: TokenHash("right")})
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	header := func(key, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(key, value) }
	}
	delete1 := url.Values{"run": {"1"}, "do": {"delete"}}
	for _, c := range []struct {
		server *Server
		method string
		target string
		form   url.Values
		change func(*http.Request)
		status int
	}{
		{open, "GET", "/", nil, host("evil.example"), 403},
		{open, "GET", "/api/runs", nil, host("localhost.evil.example:8765"), 403},
		{open, "GET", "/", nil, host("studio:8765"), 200},
		{open, "GET", "/", nil, host("localhost:1"), 200},
		{open, "GET", "/", nil, host("[::1]:8765"), 200},
		{open, "GET", "/", nil, host("192.168.1.2:8765"), 200},
		{open, "GET", "/", nil, host(""), 403},
		{open, "POST", "/runs", delete1, header("Origin", "http://evil.example"), 403},
		{open, "POST", "/runs", delete1, header("Sec-Fetch-Site", "cross-site"), 403},
		{open, "POST", "/runs", delete1, header("Sec-Fetch-Site", "same-site"), 403},
		{open, "POST", "/runs", delete1, header("Sec-Fetch-Site", "same-origin"), 404},
		{open, "PUT", "/runs", delete1, nil, 404},
		{asked, "GET", "/", nil, nil, 401},
		{asked, "GET", "/api/runs", nil, nil, 401},
		{asked, "GET", "/events", nil, nil, 401},
		{asked, "GET", "/thumbs/x.jpg", nil, nil, 401},
		{asked, "GET", "/", nil, header("Authorization", "Bearer wrong"), 401},
		{asked, "GET", "/", nil, header("Cookie", cookie+"=wrong"), 401},
		{asked, "GET", "/", nil, header("Authorization", "Bearer right"), 200},
		{asked, "POST", "/runs", delete1, nil, 401},
		{asked, "POST", "/login", url.Values{"token": {"wrong"}}, nil, 401},
		{asked, "POST", "/login", url.Values{"token": {"right"}}, header("Origin", "http://evil.example"), 403},
	} {
		change := c.change
		if change == nil {
			change = func(*http.Request) {}
		}
		answer, text := ask(t, c.server, c.method, c.target, c.form, change)
		if answer.Code != c.status {
			t.Errorf("%s %s: %d; want %d\n%s", c.method, c.target, answer.Code, c.status, text)
		}
		if !strings.HasPrefix(answer.Header().Get("Content-Security-Policy"), "default-src 'self'") {
			t.Errorf("%s %s: no policy", c.method, c.target)
		}
	}
	answer, _ := ask(t, asked, http.MethodPost, "/login", url.Values{"token": {"right"}})
	set, err := http.ParseSetCookie(answer.Header().Get("Set-Cookie"))
	if answer.Code != http.StatusSeeOther || err != nil || !set.HttpOnly || set.SameSite != http.SameSiteStrictMode {
		t.Fatalf("%d %v %v", answer.Code, set, err)
	}
	if answer, _ := ask(t, asked, http.MethodGet, "/", nil, func(r *http.Request) { r.AddCookie(set) }); answer.Code != http.StatusOK {
		t.Errorf("with the cookie: %d", answer.Code)
	}
}

// A database that cannot be used is told by a page.
func TestTroubles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hrlab.db")
	store, err := tracker.Open(t.Context(), path)
	must(t, err)
	logged(t, store, tracker.NewRun{Name: "kept"})
	s := New(store, Options{})
	must(t, os.Rename(path, path+".away"))
	get(t, s, "/", 503, "the database is gone")
	get(t, s, "/api/runs", 503, `"error"`)
	must(t, os.WriteFile(path, nil, 0o666))
	get(t, s, "/runs", 503, "is another file by now")
	must(t, os.Rename(path+".away", path))
	get(t, s, "/runs", 200, "kept")
	other, err := tracker.Open(t.Context(), path)
	must(t, err, store.WaitAtMost(t.Context(), time.Millisecond))
	writing, err := other.DB().BeginTx(t.Context(), nil)
	must(t, err)
	note := url.Values{"run": {"1"}, "do": {"note"}, "text": {"n"}}
	if answer, text := ask(t, s, http.MethodPost, "/runs", note); answer.Code != 503 || !strings.Contains(text, "another process keeps it locked") {
		t.Errorf("locked: %d\n%s", answer.Code, text)
	}
	get(t, s, "/runs", 200, "kept") // no writer is in a reader's way
	must(t, writing.Rollback())
	if answer, _ := ask(t, s, http.MethodPost, "/runs", note); answer.Code != 303 {
		t.Error(answer.Code)
	}
	_, err = other.DB().ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)")
	must(t, err)
	get(t, s, "/runs", 503, "made by a newer hrlab (schema 99")
	must(t, other.Close(), store.Close())
	get(t, s, "/runs", 503, "cannot be used")
}

// An extension has pages, a link to them, and a part of each run's page; other protocols are behind the same checks.
func TestExtension(t *testing.T) {
	store := fresh(t)
	logged(t, store, tracker.NewRun{Experiment: "e"})
	page := template.Must(template.New("x").Funcs(Funcs).Parse(`<p>own {{.}}</p>`))
	s := New(store, Options{
		Extensions: []Extension{{Name: "own", Title: "Own page", Handler: func(s *Server) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s.Show(w, r, Page{Title: "Own", Experiment: r.FormValue("experiment"), Template: page, Data: r.URL.Path})
			})
		}, Run: func(_ context.Context, run tracker.Info) (template.HTML, error) {
			return template.HTML(fmt.Sprintf("<p>about %d</p>", run.ID)), nil
		}}},
		Protocols: map[string]Protocol{"/api/2.0/": {
			Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "other") }),
			Refuse: func(w http.ResponseWriter, status int, line string) {
				w.WriteHeader(status)
				fmt.Fprint(w, "refused: ", line)
			},
		}},
	})
	get(t, s, "/own/", 200, "own /own/", `<a href="/own/" aria-current="page">Own page</a>`)
	get(t, s, "/runs?experiment=e", 200, `<a href="/own/?experiment=e">`)
	get(t, s, "/runs/1", 200, "about 1")
	get(t, s, "/api/2.0/mlflow", 200, "other")
	if answer, text := ask(t, s, http.MethodGet, "/api/2.0/mlflow", nil, func(r *http.Request) { r.Host = "evil.example" }); answer.Code != 403 || !strings.HasPrefix(text, `refused: host "evil.example"`) {
		t.Error(answer.Code, text)
	}
}

// What a running run logs comes as events, none twice and none missing, also to one whose connection breaks.
func TestEvents(t *testing.T) {
	store, ctx := fresh(t), t.Context()
	run, err := store.Start(ctx, tracker.NewRun{Name: "live"})
	must(t, err, run.Log(ctx, 0, map[string]float64{"m": 0}))
	other, err := store.Start(ctx, tracker.NewRun{})
	must(t, err)
	since, err := store.Cursor(ctx)
	must(t, err)
	server := httptest.NewServer(New(store, Options{}))
	defer server.Close()
	defer server.CloseClientConnections()
	const steps = 60
	go func() {
		for step := int64(1); step <= steps; step++ {
			_ = run.Log(ctx, step, map[string]float64{"m": float64(step)})
			_ = other.Log(ctx, step, map[string]float64{"o": 1})
			time.Sleep(20 * time.Millisecond)
		}
		_ = run.Finish(ctx, nil)
	}()
	last, next, ended := strconv.FormatInt(since, 10), int64(1), false
	for connections := 0; !ended; connections++ {
		if connections > 200 {
			t.Fatal("the run does not end")
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/events?run=1", nil)
		must(t, err)
		r.Header.Set("Last-Event-ID", last)
		answer, err := http.DefaultClient.Do(r)
		must(t, err)
		reader := newEvents(answer.Body)
		for range 2 { // then the connection breaks
			id, kind, data := reader.next(t)
			if kind == "reset" {
				t.Fatal("told to begin anew")
			}
			last = id
			var runs []news
			must(t, json.Unmarshal([]byte(data), &runs))
			for _, n := range runs {
				if n.ID != run.ID {
					t.Errorf("run %d", n.ID)
				}
				for _, p := range n.Points["m"] {
					if step := int64(p[0].(float64)); step == next {
						next++
					} else if step > next {
						t.Fatalf("step %d came after %d", step, next-1)
					}
				}
				ended = ended || n.Status == tracker.Finished
			}
			if ended {
				break
			}
		}
		must(t, answer.Body.Close())
	}
	if next != steps+1 {
		t.Errorf("%d steps came", next-1)
	}
	// Who missed more than is kept reads everything anew.
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/events?since=0", nil)
	must(t, err)
	answer, err := http.DefaultClient.Do(r)
	must(t, err)
	defer answer.Body.Close() //nolint:errcheck // it was read
	if _, kind, _ := newEvents(answer.Body).next(t); kind != "reset" {
		t.Error(kind)
	}
}

// Whatever is asked, the answer is a page or JSON with a status, and no panic.
func FuzzHandlers(f *testing.F) {
	store := fresh(f)
	logged(f, store, tracker.NewRun{Params: map[string]any{"w": 1}})
	s := New(store, Options{})
	for _, target := range []string{"/", "/runs?where=params.w%20%3E%200&sort=-id&column=name&after=1", "/runs/1", "/runs/1/files/output?show", "/compare?run=1&run=1", "/api/series?run=1&points=3", "/assets/page.js", "/thumbs/0", "/api/runs/-1", "/%2e%2e/x"} {
		f.Add("GET", target, "")
	}
	f.Add("POST", "/runs", "run=1&do=tag&key=a&value=b&back=/runs")
	f.Fuzz(func(t *testing.T, method, target, form string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "/events") || strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" || method == "" {
			return
		}
		r := httptest.NewRequest(method, "/", strings.NewReader(form))
		r.URL, r.Host = u, "localhost"
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code < 200 || w.Code == 500 || w.Code > 503 {
			t.Errorf("%s %s %q: %d %s", method, target, form, w.Code, w.Body)
		}
	})
}
