package pages

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
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

// servedMap is a server of a database whose run 1 is a small weight map.
func servedMap(t testing.TB) (*tracker.Store, *web.Server) {
	t.Helper()
	if testing.Short() {
		t.Skip("fits a weight map")
	}
	ctx, store, dir := t.Context(), open(t), t.TempDir()
	content, style := filepath.Join(dir, "day.png"), filepath.Join(dir, "dusk.png")
	must(t, picture.Save(content, sample.Content(48, 32), picture.Encoding{}), picture.Save(style, sample.Style(48, 32), picture.Encoding{}))
	pair, err := hrstyle.LoadPair(content, style)
	must(t, err)
	engine, err := hrstyle.Open(ctx, hrstyle.Options{Device: "go", VGG: "random"})
	must(t, err)
	defer engine.Close()
	lab := experiments.Lab{Engine: engine, Tracker: store}
	config := hrstyle.DefaultMap
	config.Size, config.Steps = 48, 4
	run, err := lab.Start(ctx, experiments.About{Experiment: "map"}, pair, experiments.Trial{Config: config})
	must(t, err)
	_, err = hrstyle.Last(lab.Record(ctx, run, engine.Fit(ctx, pair, config)))
	must(t, err)
	return store, web.New(store, Options(store, "random"))
}

// A weight map is on its run's page. It answers with a picture at any ratio, and becomes runs: one that is fitted from there, or
// nine that are only measured.
func TestWeightMap(t *testing.T) {
	store, server := servedMap(t)
	has(t, server, "/runs/1", "Weight map", `id="weight-map-state"`, `"run":1`, `action="/weight-map/fit"`, "/weight-map/weightmap.js")
	has(t, server, "/runs/1", "makes it again: <code>hrlab map --content ", " metrics</summary>")
	if _, body := get(t, server, "/runs/1", nil); strings.Contains(body, `action="/fits/again"`) || strings.Contains(body, "--content-weight 0") || strings.Contains(body, "At the size of the content picture") {
		t.Error("the map is offered as a fit with a content weight of 0")
	}
	status, body := get(t, server, "/weight-map/picture?run=1&ratio=45", nil)
	img, err := jpeg.Decode(bytes.NewReader([]byte(body)))
	if status != http.StatusOK || err != nil || img.Bounds().Dx() != 48 {
		t.Fatalf("%d, %v", status, err)
	}
	if status, to := get(t, server, "/weight-map/fit", url.Values{"run": {"1"}, "ratio": {"45"}}); status != http.StatusSeeOther || to != "/runs/2" {
		t.Fatalf("%d %s", status, strings.Join(strings.Fields(to), " "))
	}
	if status, to := get(t, server, "/weight-map/fit", url.Values{"run": {"1"}}); status != http.StatusSeeOther || to != "/better/?experiment=map" {
		t.Fatalf("%d %s", status, strings.Join(strings.Fields(to), " "))
	}
	// A newer experiment with a map alone is not the one that is shown first.
	other, err := store.Start(t.Context(), tracker.NewRun{Experiment: "newer", Params: map[string]any{"map_knots": 5, "content_weight": 0}})
	must(t, err, other.Finish(t.Context(), nil))
	has(t, server, "/matrix/", "Matrix <small>map</small>", `data-run="2"`)
	has(t, server, "/matrix/?experiment=newer", "Matrix <small>newer</small>")
	runs, err := store.Runs(t.Context(), tracker.Query{Where: "status = queued", Sort: "id"})
	must(t, err)
	var made []string
	for _, run := range runs {
		made = append(made, fmt.Sprintf("%g/%g", run.Params["content_weight"].Number, run.Params["steps"].Number))
	}
	if got := strings.Join(made, " "); got != "45/60 0.8/0 2.53/0 8/0 25.3/0 80/0 253/0 800/0 2530/0 8000/0" {
		t.Error(got)
	}
	// What is worth a fit after such choices is measured in the same way: no step is made.
	if status, to := get(t, server, "/matrix/queue", url.Values{"from": {"5"}, "set": {`{"content_weight":31,"style_weight":1}`}, "back": {"/better/"}}); status != http.StatusSeeOther || to != "/better/" {
		t.Fatalf("%d %s", status, strings.Join(strings.Fields(to), " "))
	}
	if run, err := store.Run(t.Context(), "13"); err != nil || run.Params["content_weight"].Number != 31 || run.Params["steps"].Number != 0 || run.Params["map"].Text != "run 1" {
		t.Errorf("%+v %v", run.Params, err)
	}
	if status, body := get(t, server, "/matrix/queue", url.Values{"from": {"5"}, "set": {`{"style_gain":2}`}, "back": {"/better/"}}); status != http.StatusBadRequest || !strings.Contains(body, "allowed are other weights, no other setting") {
		t.Errorf("%d %s", status, body)
	}
	for want, form := range map[string]url.Values{
		"400 run: &#34;x&#34;":                 {"run": {"x"}},
		"400 ratio: &#34;y&#34;":               {"run": {"1"}, "ratio": {"y"}},
		"400 ratio 9000: allowed: 0.8 to 8000": {"run": {"1"}, "ratio": {"9000"}},
		"404 ":                                 {"run": {"99"}, "ratio": {"8"}},
	} {
		status, body := get(t, server, "/weight-map/fit", form)
		code, line, _ := strings.Cut(want, " ")
		if strconv.Itoa(status) != code || !strings.Contains(body, line) {
			t.Errorf("%v: %d, want %s\n%s", form, status, want, body)
		}
	}
}

// The slider in Chromium, over its whole range: testdata/weightmap.js says what is done.
func TestWeightMapInBrowser(t *testing.T) {
	_, server := servedMap(t)
	listening := httptest.NewServer(server)
	defer listening.Close()
	browser.Run(t, "testdata/weightmap.js", listening.URL, browser.Screenshots(t))
}
