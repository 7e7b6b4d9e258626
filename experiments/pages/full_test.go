package pages

import (
	"bytes"
	"context"
	"image/png"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hrlab/experiments"
	"hrlab/hrstyle"
	"hrlab/hrstyle/sample"
	"hrlab/notebooks/browser"
	"hrlab/picture"
	"hrlab/tracker"
	"hrlab/tracker/web"
)

// servedFit is a server of a database whose run 1 is a fit at 32 px of a content picture of 96x64 px.
func servedFit(t *testing.T) (store *tracker.Store, server *web.Server, content string) {
	t.Helper()
	ctx, dir := t.Context(), t.TempDir()
	store = open(t)
	content, style := filepath.Join(dir, "day.png"), filepath.Join(dir, "dusk.png")
	must(t, picture.Save(content, sample.Content(96, 64), picture.Encoding{}), picture.Save(style, sample.Style(96, 64), picture.Encoding{}))
	pair, err := hrstyle.LoadPair(content, style)
	must(t, err)
	engine, err := hrstyle.Open(ctx, hrstyle.Options{Device: "go", VGG: "random"})
	must(t, err)
	defer engine.Close()
	lab := experiments.Lab{Engine: engine, Tracker: store}
	config := hrstyle.Default
	config.Size, config.Steps = 32, 1
	run, err := lab.Start(ctx, experiments.About{}, pair, experiments.Trial{Config: config})
	must(t, err)
	_, err = hrstyle.Last(lab.Record(ctx, run, engine.Fit(ctx, pair, config)))
	must(t, err)
	return store, web.New(store, Options(store, "random")), content
}

// The page of a run makes its picture at full size, for who may ask, also where nothing can be written.
func TestFullSize(t *testing.T) {
	store, server, content := servedFit(t)
	has(t, server, "/runs/1", `action="/fits/full"`, `data-name="day_run1.png"`, "Picture at full size", "hrlab apply --run 1", `src="/fits/full.js"`)
	ask := func(handler http.Handler, form url.Values, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/fits/full", strings.NewReader(form.Encode()))
		r.Host = "localhost"
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	first := url.Values{"run": {"1"}}
	w := ask(server, first)
	img, err := png.Decode(bytes.NewReader(w.Body.Bytes()))
	if w.Code != http.StatusOK || err != nil || img.Bounds().Dx() != 96 || img.Bounds().Dy() != 64 || w.Header().Get("Content-Disposition") != `attachment; filename=day_run1.png` {
		t.Fatalf("%d %v %v", w.Code, w.Header(), err)
	}
	if w := ask(server, first, "Sec-Fetch-Site", "cross-site"); w.Code != http.StatusForbidden {
		t.Errorf("from a page of another site: %d", w.Code)
	}
	options := Options(store, "random")
	options.TokenHash = web.TokenHash("secret")
	private := web.New(store, options)
	if w := ask(private, first); w.Body.Len() == 0 || w.Header().Get("Content-Type") == "image/png" {
		t.Errorf("without the token: %d %v", w.Code, w.Header())
	}
	if w := ask(private, url.Values{"run": {"99"}}, "Authorization", "Bearer secret"); w.Code != http.StatusNotFound {
		t.Errorf("with the token: %d", w.Code)
	}

	must(t, os.Remove(content))
	for want, form := range map[string]url.Values{
		"day.png: no such file or directory":         first,
		"run &#34;99&#34;: not found":                {"run": {"99"}},
		"run: &#34;x&#34;; allowed: the id of a run": {"run": {"x"}},
		"ratio: &#34;y&#34;; allowed: a number":      {"run": {"1"}, "ratio": {"y"}},
	} {
		if w := ask(server, form); w.Code != http.StatusBadRequest && w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%v: %d %s", form, w.Code, w.Body)
		}
	}
}

// Who goes away while a picture is made leaves the next one to be made.
func TestFullSizeLeft(t *testing.T) {
	_, server, _ := servedFit(t)
	listening := httptest.NewServer(server)
	defer listening.Close()
	ask := func(ctx context.Context) (*http.Response, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, listening.URL+"/fits/full", strings.NewReader("run=1"))
		must(t, err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return http.DefaultClient.Do(r)
	}
	for range 5 {
		ctx, leave := context.WithCancel(t.Context())
		go leave()
		if answer, err := ask(ctx); err == nil {
			must(t, answer.Body.Close())
		}
	}
	answer, err := ask(t.Context())
	must(t, err)
	defer answer.Body.Close() //nolint:errcheck // read
	if _, err := png.Decode(answer.Body); err != nil {
		t.Fatal(err)
	}
}

// The button in Chromium: testdata/full.js says what is done.
func TestFullSizeInBrowser(t *testing.T) {
	_, server, content := servedFit(t)
	listening := httptest.NewServer(server)
	defer listening.Close()
	browser.Run(t, "testdata/full.js", listening.URL, content)
}
