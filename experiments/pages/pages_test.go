package pages

import (
	"bytes"
	"context"
	"image/png"
	"maps"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"hrlab/hrstyle/sample"
	"hrlab/tracker"
	"hrlab/tracker/web"
)

func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func serve(t *testing.T) (*tracker.Store, *web.Server) {
	t.Helper()
	store, err := tracker.Open(context.Background(), filepath.Join(t.TempDir(), "hrlab.db"))
	must(t, err)
	t.Cleanup(func() { must(t, store.Close()) })
	return store, web.New(store, Options(store, "random"))
}

func send(t *testing.T, s http.Handler, method, target, kind string, body []byte) (status int, location, text string) {
	t.Helper()
	r := httptest.NewRequest(method, target, bytes.NewReader(body))
	r.Host = "localhost"
	r.Header.Set("Content-Type", kind)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code, w.Header().Get("Location"), w.Body.String()
}

func post(t *testing.T, s http.Handler, target string, form url.Values) (status int, location, text string) {
	t.Helper()
	return send(t, s, http.MethodPost, target, "application/x-www-form-urlencoded", []byte(form.Encode()))
}

// upload is a form with two pictures.
func upload(t *testing.T, content []byte, fields map[string]string) (kind string, body []byte) {
	t.Helper()
	var b, style bytes.Buffer
	must(t, png.Encode(&style, sample.Style(96, 64)))
	form := multipart.NewWriter(&b)
	for name, data := range map[string][]byte{"content": content, "style": style.Bytes()} {
		part, err := form.CreateFormFile(name, "../"+name+".png")
		must(t, err)
		_, err = part.Write(data)
		must(t, err)
	}
	for name, value := range fields {
		must(t, form.WriteField(name, value))
	}
	must(t, form.Close())
	return form.FormDataContentType(), b.Bytes()
}

// Fits are started from the page, with pictures or from a run, and stopped and tried again.
func TestFits(t *testing.T) {
	store, s := serve(t)
	ctx := t.Context()
	var content bytes.Buffer
	must(t, png.Encode(&content, sample.Content(96, 64)))
	kind, body := upload(t, content.Bytes(), map[string]string{"content_weight": "10,30", "style_weight": "1", "size": "64", "steps": "5", "experiment": "up"})
	status, to, text := send(t, s, http.MethodPost, "/fits/", kind, body)
	if status != http.StatusSeeOther || to != "/runs?experiment=up" {
		t.Fatal(status, to, text)
	}
	runs, err := store.Runs(ctx, tracker.Query{Experiment: "up", Sort: "id"})
	if err != nil || len(runs) != 2 || runs[0].Status != tracker.Queued || runs[1].Params["content_weight"].Number != 30 || runs[0].Params["content"].Text != "content.png" || runs[0].Params["size"].Number != 64 {
		t.Fatalf("%+v %v", runs, err)
	}
	again := url.Values{"run": {"1"}, "content_weight": {"77"}, "style_weight": {"2"}, "size": {"64"}, "steps": {"9"}}
	if status, to, text = post(t, s, "/fits/again", again); status != http.StatusSeeOther || to != "/runs/3" {
		t.Fatal(status, to, text)
	}
	third, err := store.Run(ctx, "3")
	if err != nil || third.Experiment != "up" || third.Params["content_weight"].Number != 77 || third.Params["steps"].Number != 9 || third.Params["content"].Text != "content.png" {
		t.Fatalf("%+v %v", third, err)
	}
	if status, to, text = post(t, s, "/fits/again", again); status != http.StatusSeeOther || to != "/runs/3" {
		t.Errorf("the same fit again: %d %s %s", status, to, text)
	}
	if _, _, text = send(t, s, http.MethodGet, "/fits/", "", nil); strings.Count(text, "badge queued") != 3 || !strings.Contains(text, "No worker") {
		t.Error(text)
	}
	if _, _, text = send(t, s, http.MethodGet, "/runs/3", "", nil); !strings.Contains(text, "It waits for a worker") || !strings.Contains(text, "Again with these") {
		t.Error(text)
	}
	for _, step := range []struct {
		what string
		want tracker.Status
	}{{"stop", tracker.Stopped}, {"retry", tracker.Queued}, {"stop", tracker.Stopped}} {
		if status, _, text = post(t, s, "/fits/"+step.what, url.Values{"run": {"3"}}); status != http.StatusSeeOther {
			t.Fatal(step.what, status, text)
		}
		if info, err := store.Run(ctx, "3"); err != nil || info.Status != step.want {
			t.Errorf("%s: %s %v", step.what, info.Status, err)
		}
	}
}

// What is wrong with a form is said, and nothing is queued.
func TestFitsRefused(t *testing.T) {
	store, s := serve(t)
	var content bytes.Buffer
	must(t, png.Encode(&content, sample.Content(96, 64)))
	good := map[string]string{"content_weight": "10", "style_weight": "1", "size": "64", "steps": "5"}
	for field, values := range map[string][]string{"content_weight": {"x", "-1", "lin:1:1000:1000", "NaN"}, "size": {"1", "99999", "big"}, "steps": {"-1", "many"}} {
		for _, value := range values {
			fields := maps.Clone(good)
			fields[field] = value
			kind, body := upload(t, content.Bytes(), fields)
			if status, _, text := send(t, s, http.MethodPost, "/fits/", kind, body); status != http.StatusBadRequest || !strings.Contains(text, "fault") {
				t.Errorf("%s %s: %d", field, value, status)
			}
		}
	}
	kind, body := upload(t, []byte("no picture"), good)
	if status, _, text := send(t, s, http.MethodPost, "/fits/", kind, body); status != http.StatusBadRequest || !strings.Contains(text, "content.png") || strings.Contains(text, "/tmp") {
		t.Error(status, text)
	}
	run, err := store.Start(t.Context(), tracker.NewRun{Params: map[string]any{"content": "/etc/passwd", "style": "/etc/passwd"}})
	must(t, err, run.Finish(t.Context(), nil))
	for target, status := range map[string]int{"/fits/again": 400, "/fits/stop": 400, "/fits/retry": 400} {
		if got, _, text := post(t, s, target, url.Values{"run": {"1"}, "content_weight": {"1"}}); got != status {
			t.Error(target, got, text)
		}
		if got, _, _ := post(t, s, target, url.Values{"run": {"77"}}); got != http.StatusNotFound {
			t.Error(target, got)
		}
		if got, _, _ := post(t, s, target, url.Values{"run": {"x"}}); got != http.StatusBadRequest {
			t.Error(target, got)
		}
	}
	kind, body = upload(t, content.Bytes(), good)
	without := web.New(store, Options(store, filepath.Join(t.TempDir(), "none.safetensors")))
	if status, _, text := send(t, without, http.MethodPost, "/fits/", kind, body); status != http.StatusBadRequest || !strings.Contains(text, "none.safetensors") {
		t.Error(status, text) // the database can be used
	}
	if runs, err := store.Runs(t.Context(), tracker.Query{}); err != nil || len(runs) != 1 {
		t.Error(len(runs), err)
	}
}
