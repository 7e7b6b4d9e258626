package pages

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hrlab/experiments"
	"hrlab/hrstyle"
	"hrlab/hrstyle/sample"
	"hrlab/picture"
	"hrlab/report"
	"hrlab/tracker"
	"hrlab/tracker/web"
)

// weights of the runs: a grid of three content weights and four style gains.
var contents, gains = []float64{8, 80, 800}, []float64{0.6, 1, 1.6, 2.5}

// served is a server of a database with the runs of a grid, but for the last: the run of contents[i] and gains[j] has the id
// 1 + 4i + j, and is finished. Measures are as such weights have them; pictures are grey.
func served(t testing.TB, experiment string) (*tracker.Store, *web.Server) {
	t.Helper()
	ctx := t.Context()
	store := open(t)
	vgg, err := hrstyle.OpenVGG("random")
	must(t, err)
	queue, err := experiments.OpenQueue(ctx, store)
	must(t, err)
	config := hrstyle.Default
	config.Size = 32
	trials := experiments.Grid(config, experiments.ContentWeight(contents...), experiments.StyleGain(gains...))
	pair := hrstyle.Pair{Content: picture.Picture{Name: "day.png", Image: sample.Content(48, 32)}, Style: picture.Picture{Name: "dusk.png", Image: sample.Style(48, 32)}}
	ids, err := queue.Enqueue(ctx, experiment, vgg, pair, trials[:len(trials)-1], 0)
	must(t, err)
	for i, id := range ids {
		run, err := store.Take(ctx, id, nil)
		must(t, err, run.LogPicture(ctx, 0, "content", sample.Content(48, 32)), run.LogPicture(ctx, 0, "style", sample.Style(48, 32)))
		for step := range int64(3) {
			must(t, run.LogPicture(ctx, step*10, report.Output, grey(uint8(20*i+int(step)))))
		}
		kept := 1 - gains[i%4]/5 - 10/contents[i/4]
		var output bytes.Buffer
		must(t, png.Encode(&output, grey(uint8(20*i))), run.LogArtifact(ctx, report.Output, &output),
			run.Log(ctx, 20, map[string]float64{report.ContentKept: kept, report.StyleMatch: 1 - kept, report.ColourDistance: kept / 10}), run.Finish(ctx, nil))
	}
	return store, web.New(store, Options(store, "random"))
}

func open(t testing.TB) *tracker.Store {
	t.Helper()
	store, err := tracker.Open(t.Context(), filepath.Join(t.TempDir(), "hrlab.db"))
	must(t, err)
	t.Cleanup(func() { must(t, store.Close()) })
	return store
}

func grey(v uint8) image.Image {
	m := image.NewGray(image.Rect(0, 0, 48, 32))
	for i := range m.Pix {
		m.Pix[i] = v
	}
	m.SetGray(0, 0, color.Gray{255 - v})
	return m
}

// get is the answer to a request; with a form it is a POST.
func get(t testing.TB, server http.Handler, address string, form url.Values) (status int, body string) {
	t.Helper()
	method, text := http.MethodGet, ""
	if form != nil {
		method, text = http.MethodPost, form.Encode()
	}
	r := httptest.NewRequestWithContext(context.Background(), method, address, strings.NewReader(text))
	r.Host = "localhost"
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	server.ServeHTTP(w, r)
	data, err := io.ReadAll(w.Result().Body)
	must(t, err)
	if method == http.MethodPost {
		return w.Code, w.Header().Get("Location") + string(data)
	}
	return w.Code, string(data)
}

// has checks that an answer is OK and has these texts, in their order.
func has(t testing.TB, server http.Handler, address string, texts ...string) string {
	t.Helper()
	status, body := get(t, server, address, nil)
	rest := body
	for _, text := range texts {
		_, after, ok := strings.Cut(rest, text)
		if !ok {
			_, body, _ = strings.Cut(body, "<main")
			t.Fatalf("%s: %d, without %q in its place:\n%s", address, status, text, body)
		}
		rest = after
	}
	if status != http.StatusOK {
		t.Fatalf("%s: %d\n%s", address, status, body)
	}
	return body
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([a-z]+)" value="([^"]*)">`)

// form is the form of a page that begins with the text.
func form(t testing.TB, body, begins string) url.Values {
	t.Helper()
	_, rest, ok := strings.Cut(body, begins)
	if !ok {
		t.Fatalf("no form %q", begins)
	}
	rest, _, _ = strings.Cut(rest, "</form>")
	values := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(rest, -1) {
		values.Add(m[1], strings.NewReplacer("&#34;", `"`, "&amp;", "&", "&lt;", "<", "&gt;", ">", "&#43;", "+").Replace(m[2]))
	}
	return values
}

// The matrix has every run in its cell, by any two settings, and its empty cell is queued once.
func TestMatrix(t *testing.T) {
	store, server := served(t, "e")
	has(t, server, "/matrix/", "suggested: content weight 800", "(run 9), the knee", `suggested" href="/runs/9"`, ">suggested</span>")
	body := has(t, server, "/matrix/", "<th scope=\"col\">0.6</th><th scope=\"col\">1</th><th scope=\"col\">1.6</th><th scope=\"col\">2.5</th>",
		`<th scope="row">8</th>`, `data-run="1"`, `data-run="4"`, `<th scope="row">80</th>`, `data-run="5"`, `<th scope="row">800</th>`, `data-run="11"`, `aria-label="queue {&#34;content_weight&#34;:800,&#34;style_gain&#34;:2.5}"`)
	if n := strings.Count(body, `class="shot`); n != 11 {
		t.Errorf("%d pictures", n)
	}
	has(t, server, "/matrix/?row=style_gain&column=style_weight&colour=colour_distance", "colour distance", `<th scope="row">0.6</th>`, `data-run="9"`, "also", `data-run="5"`, `data-run="1"`)

	// Where only the content weight varies the matrix is laid across.
	across, again := served(t, "across")
	for id := range int64(11) {
		if id%4 != 1 {
			must(t, across.Delete(t.Context(), 1+id))
		}
	}
	has(t, again, "/matrix/", `<th scope="col">8</th><th scope="col">80</th><th scope="col">800</th>`, `<th scope="row">1</th>`, `data-run="2"`, `data-run="6"`, `data-run="10"`)
	has(t, again, "/matrix/?row=content_weight&column=style_weight", `<th scope="col">1</th>`, `<th scope="row">8</th>`)

	queue := form(t, body, `action="/matrix/queue">`)
	for range 2 {
		if status, to := get(t, server, "/matrix/queue", queue); status != http.StatusSeeOther || to != "/matrix/" {
			t.Fatalf("%d %s", status, to)
		}
	}
	runs, err := store.Runs(t.Context(), tracker.Query{Where: "status = queued"})
	if err != nil || len(runs) != 1 || runs[0].Params["content_weight"].Number != 800 || runs[0].Params["style_gain"].Number != 2.5 || runs[0].Params["size"].Number != 32 {
		t.Errorf("%+v %v", runs, err)
	}
	has(t, server, "/matrix/", "1 run waits", `data-run="12"`, "no picture", "queued")

	for name, c := range map[string]struct {
		form   url.Values
		status int
		want   string
	}{
		"nothing":      {url.Values{}, 400, "0 runs and 0 settings"},
		"no run":       {url.Values{"from": {"x"}, "set": {"{}"}}, 400, `run &#34;x&#34; is no number`},
		"unknown run":  {url.Values{"from": {"99"}, "set": {"{}"}}, 404, "not found"},
		"no setting":   {url.Values{"from": {"1"}, "set": {`{"colour":1}`}}, 400, `setting &#34;colour&#34;; allowed`},
		"bad weight":   {url.Values{"from": {"1"}, "set": {`{"content_weight":-1}`}}, 400, "-1"},
		"a file":       {url.Values{"from": {"1"}, "set": {`{"init":"/etc/passwd"}`}}, 400, `setting &#34;init&#34;; allowed`},
		"another site": {url.Values{"from": {"1"}, "set": {`{"content_weight":8}`}, "back": {"//example.com/"}}, 400, "a page of this server"},
		"another's":    {url.Values{"from": {"1"}, "set": {`{"content_weight":8}`}, "back": {`/matrix/../\\example.com/`}}, 400, "a page of this server"},
	} {
		if c.form.Get("back") == "" {
			c.form.Set("back", "/matrix/")
		}
		if status, body := get(t, server, "/matrix/queue", c.form); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d, want %d and %s\n%s", name, status, c.status, c.want, body)
		}
	}
}

// A setting that the form does not name stays as the run has it.
func TestSettingStays(t *testing.T) {
	change, err := setting(`{"content_weight":8}`)
	must(t, err)
	c := hrstyle.Default
	c.StyleGain, c.Size = 2.5, 64
	change(&c)
	if c.ContentWeight != 8 || c.StyleGain != 2.5 || c.Size != 64 {
		t.Errorf("%+v", c)
	}
}

// Who always chooses the highest content weight gets the runs in that order, and weights near to fit next.
func TestBetter(t *testing.T) {
	store, server := served(t, "e")
	for n := 2; n <= 4; n++ {
		if shown := form(t, has(t, server, fmt.Sprintf("/better/?number=%d", n), "After a few clicks"), `id="options">`)["run"]; len(shown) != n {
			t.Errorf("%d of %d are shown", len(shown), n)
		}
	}
	for range 8 {
		f := form(t, has(t, server, "/better/?experiment=e"), `id="options">`)
		slices.SortFunc(f["run"], func(a, b string) int { return len(a)*100 + strings.Compare(a, b) - len(b)*100 }) // as numbers
		f.Set("best", f["run"][1])
		if status, to := get(t, server, "/better/", f); status != http.StatusSeeOther || to != "/better/?experiment=e" {
			t.Fatalf("%d %s", status, to)
		}
	}
	choices, err := store.Choices(t.Context(), "e")
	if err != nil || len(choices) != 8 {
		t.Error(choices, err)
	}
	// A wrong choice is taken back, once.
	f := form(t, has(t, server, "/better/"), `id="options">`)
	f.Set("best", f["run"][0])
	get(t, server, "/better/", f)
	undo := form(t, has(t, server, "/better/", "Take the last choice back", "It was run "+f["run"][0], "after 9 choices"), `id="back">`)
	for _, want := range []int{http.StatusSeeOther, http.StatusNotFound} {
		if status, to := get(t, server, "/better/back", undo); status != want {
			t.Errorf("%d %s", status, to)
		}
	}
	undo.Set("time", "x")
	if status, to := get(t, server, "/better/back", undo); status != http.StatusBadRequest {
		t.Errorf("%d %s", status, to)
	}
	body := has(t, server, "/better/", "after 8 choices", "content weight 800", "Worth a fit", "Queue it", "%")
	has(t, server, "/better/order.json?number=3", `{"choices":[{"time":"`, `"runs":[{"id":`, `"sure":0.`, `"show":[`, `"next":{"content_weight":`)
	if status, _ := get(t, server, "/matrix/queue", form(t, body, `action="/matrix/queue">`)); status != http.StatusSeeOther {
		t.Errorf("queued: %d", status)
	}
	runs, err := store.Runs(t.Context(), tracker.Query{Where: "status = queued"})
	if err != nil || len(runs) != 1 || runs[0].Params["content_weight"].Number < 300 {
		t.Errorf("%+v %v", runs, err)
	}
	for name, c := range map[string]struct {
		form   url.Values
		status int
	}{
		"one run":     {url.Values{"run": {"1"}, "best": {"1"}}, 400},
		"no best":     {url.Values{"run": {"1", "2"}}, 400},
		"another":     {url.Values{"run": {"1", "2"}, "best": {"3"}}, 400},
		"unknown run": {url.Values{"run": {"1", "99"}, "best": {"1"}}, 404},
	} {
		c.form.Set("back", "/better/")
		if status, body := get(t, server, "/better/", c.form); status != c.status {
			t.Errorf("%s: %d, want %d\n%s", name, status, c.status, body)
		}
	}
	if status, body := get(t, server, "/better/?number=5", nil); status != http.StatusBadRequest {
		t.Errorf("%d %s", status, body)
	}
}

// The map has a dot for every run and the Pareto front of any two axes.
func TestMap(t *testing.T) {
	_, server := served(t, "e")
	body := has(t, server, "/map/", "11 of 11 runs are on the Pareto front", `id="scatter"`, `id="parallel"`)
	if dots, lines := strings.Count(body, "<circle"), strings.Count(body, "<polyline class=\"run"); dots != 11 || lines != 11 {
		t.Errorf("%d dots and %d lines", dots, lines)
	}
	has(t, server, "/map/?x=colour_distance&y=content_kept", "11 of 11") // low is best
	has(t, server, "/map/?x=colour_distance&y=content_kept&xbest=high", "1 of 11")
	has(t, server, "/map/?x=content_weight&y=ssim", "style match") // which no run has
	if status, _ := get(t, server, "/map/?xbest=large", nil); status != http.StatusBadRequest {
		t.Error(status)
	}
}

// An axis has its numbers as one writes them.
func TestTicks(t *testing.T) {
	for want, values := range map[string][]float64{"0 0.2 0.4 0.6 0.8 1": {-0.01, 1}, "3 10 30 100 300 1000": {3, 1000}} {
		a := axis{field: field{Name: "total"}}
		var runs []tracker.Info
		for _, v := range values {
			runs = append(runs, tracker.Info{Metrics: map[string]tracker.Metric{"total": {Last: v}}})
		}
		a.draw(runs, 0, 100)
		var texts []string
		for _, tick := range a.Ticks {
			texts = append(texts, tick.Text)
		}
		if got := strings.Join(texts, " "); got != want {
			t.Errorf("%v: %s; want %s", values, got, want)
		}
	}
	for v, want := range map[float64]string{19513.2: "19513", 999.7: "1000", 0.12345: "0.123", 1e9: "1e+09"} {
		if got := digits(v, 3); got != want {
			t.Errorf("%v: %s; want %s", v, got, want)
		}
	}
}

// What is not there gives a page that says so, and names are text.
func TestNames(t *testing.T) {
	const name = `<script>alert(1)</script>"'&`
	store, server := served(t, name)
	run, err := store.Start(t.Context(), tracker.NewRun{Experiment: "other program", Params: map[string]any{"lr": 0.1}})
	must(t, err, run.Finish(t.Context(), nil))
	empty := open(t)
	for _, page := range []string{"/matrix/", "/better/", "/map/"} {
		body := has(t, server, page+"?experiment="+url.QueryEscape(name), "&lt;script&gt;alert")
		if strings.Contains(body, "<script>alert") {
			t.Errorf("%s has a script of a name", page)
		}
		has(t, server, page+"?experiment=other+program")
		for query, want := range map[string]int{"?experiment=none": 404, "?pair=7&experiment=" + url.QueryEscape(name): 400, "?pair=x": 400, "none.js": 404, "pages.go": 404} {
			if status, _ := get(t, server, page+query, nil); status != want {
				t.Errorf("%s: %d, want %d", page+query, status, want)
			}
		}
		has(t, server, page+"pages.css", ".shot")
		has(t, web.New(empty, Options(empty, "random")), page, "hrlab sweep") // an empty database
	}
}

// No address and no form makes a page fail.
func FuzzPages(f *testing.F) {
	_, server := served(f, "e")
	for _, seed := range []string{"/matrix/?row=style_gain&column=x", "/better/?number=3&pair=0", "/map/?x=total&ybest=low", "/matrix/queue?from=1&set={}", "/better/?run=1&run=2&best=0&back=/better/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		u, err := url.Parse(address)
		if err != nil || !strings.HasPrefix(u.Path, "/") {
			t.Skip()
		}
		for _, form := range []url.Values{nil, u.Query()} {
			address := (&url.URL{Path: u.Path, RawQuery: u.Query().Encode()}).String()
			if status, body := get(t, server, address, form); status >= http.StatusInternalServerError {
				t.Errorf("%s: %d\n%s", address, status, body)
			}
		}
	})
}
