package mlflow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"hrlab/tracker"
)

const (
	api   = "/api/2.0/mlflow/"
	files = "/api/2.0/mlflow-artifacts/artifacts"
)

// call sends a request and returns the response, whose JSON, if it is some, is in fields.
func call(h http.Handler, method, path string, body io.Reader) (response *httptest.ResponseRecorder, fields map[string]any) {
	response = httptest.NewRecorder()
	h.ServeHTTP(response, httptest.NewRequest(method, path, body))
	_ = json.Unmarshal(response.Body.Bytes(), &fields)
	return response, fields
}

// post sends JSON to an endpoint that is to accept it.
func post(t testing.TB, h http.Handler, endpoint, body string) map[string]any {
	t.Helper()
	response, fields := call(h, "POST", api+endpoint, strings.NewReader(body))
	if response.Code != http.StatusOK {
		t.Fatalf("%s %s: %d %s", endpoint, body, response.Code, response.Body)
	}
	return fields
}

// create makes a run and returns its id.
func create(t testing.TB, h http.Handler) string {
	t.Helper()
	return post(t, h, "runs/create", `{"experiment_id":"0"}`)["run"].(map[string]any)["info"].(map[string]any)["run_id"].(string)
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// What cannot be understood or held is refused with MLflow's error and a status for which its client does not try again.
func TestRefused(t *testing.T) {
	store := open(t)
	h := Handler(store)
	id := create(t, h)
	ended := create(t, h)
	post(t, h, "runs/update", `{"run_id":"`+ended+`","status":"FINISHED"}`)
	other, err := store.Start(t.Context(), tracker.NewRun{})
	must(t, err)
	elsewhere := strconv.FormatInt(other.ID, 10)
	const invalid, absent = "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"
	for _, test := range []struct {
		request, body, code string
		status              int
	}{
		{"POST " + api + "runs/log-batch", `{`, invalid, 400},
		{"POST " + api + "runs/log-batch", ``, invalid, 400},
		{"POST " + api + "runs/log-batch", `{"run_id":` + id + `}`, invalid, 400},
		{"POST " + api + "runs/log-batch", `{"run_id":"x"}`, absent, 404},
		{"POST " + api + "runs/log-batch", `{"run_id":"99"}`, absent, 404},
		{"POST " + api + "runs/log-batch", `{"run_id":"` + elsewhere + `"}`, "RESOURCE_CONFLICT", 409},
		{"POST " + api + "runs/log-batch", `{"run_id":"` + ended + `"}`, invalid, 400},
		{"POST " + api + "runs/log-batch", `{"run_id":"` + id + `","metrics":[{"key":"a","value":1,"step":-1}]}`, invalid, 400},
		{"POST " + api + "runs/log-batch", `{"run_id":"` + id + `","metrics":[{"key":"a","value":"x"}]}`, invalid, 400},
		{"POST " + api + "runs/log-batch", `{"run_id":"` + id + `","metrics":[{"value":1}]}`, invalid, 400},
		{"POST " + api + "runs/log-batch", `{"run_id":"` + id + `","params":[{"value":"1"}]}`, invalid, 400},
		{"POST " + api + "runs/log-batch", `{"run_id":"` + strings.Repeat(" ", maxBody) + `"}`, invalid, 413},
		{"POST " + api + "runs/update", `{"run_id":"` + id + `","status":"SCHEDULED"}`, invalid, 400},
		{"POST " + api + "runs/update", `{"run_id":"` + id + `","run_name":"other"}`, invalid, 400},
		{"POST " + api + "runs/set-tag", `{"run_id":"` + id + `"}`, invalid, 400},
		{"POST " + api + "runs/delete-tag", `{"run_id":"` + id + `","key":"a"}`, absent, 404},
		{"POST " + api + "runs/create", `{"experiment_id":"7"}`, absent, 404},
		{"POST " + api + "runs/search", `{"experiment_ids":["0"],"max_results":-1}`, invalid, 400},
		{"POST " + api + "runs/search", `{"experiment_ids":["0"],"page_token":"x"}`, invalid, 400},
		{"POST " + api + "runs/search", `{"experiment_ids":["0"],"order_by":["a b c"]}`, invalid, 400},
		{"POST " + api + "runs/search", `{"experiment_ids":["0"],"filter":"` + strings.Repeat("tags.a = 'b' and ", 300) + `tags.a = 'b'"}`, invalid, 400},
		{"POST " + api + "experiments/create", `{"name":""}`, invalid, 400},
		{"POST " + api + "experiments/create", `{"name":"default"}`, "RESOURCE_ALREADY_EXISTS", 400},
		{"GET " + api + "experiments/get-by-name?experiment_name=x", "", absent, 404},
		{"GET " + api + "runs/get?run_id=5000", "", absent, 404},
		{"GET " + api + "metrics/get-history?run_id=" + id, "", invalid, 400},
		{"GET " + api + "metrics/get-history?run_id=" + id + "&metric_key=a&max_results=x", "", invalid, 400},
		{"POST " + api + "registered-models/create", `{"name":"m"}`, "ENDPOINT_NOT_FOUND", 404},
		{"GET " + api + "runs/log-batch", "", "ENDPOINT_NOT_FOUND", 404},
		{"GET " + files + "?path=50/x", "", absent, 404},
		{"GET " + files + "/" + id + "/x", "", absent, 404},
		{"PUT " + files + "/" + id + "/", "x", invalid, 400},
		{"PUT " + files + "/" + id + "/a%2f..%2f..%2fb", "x", invalid, 400},
		{"PUT " + files + "/" + id + "/a%5cb", "x", invalid, 400},
		{"PUT " + files + "/" + id + "/%2e%2e", "x", invalid, 400},
	} {
		method, path, _ := strings.Cut(test.request, " ")
		response, fields := call(h, method, path, strings.NewReader(test.body))
		if response.Code != test.status || fields["error_code"] != test.code || fields["message"] == "" || strings.Contains(fmt.Sprint(fields["message"]), "\n") {
			t.Errorf("%s %.80s: %d %s; want %d %s", test.request, test.body, response.Code, response.Body, test.status, test.code)
		}
	}
}

// Who may not ask, or asks when the database is locked, is told so as MLflow tells.
func TestRefuse(t *testing.T) {
	for status, code := range map[int]string{401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 503: "TEMPORARILY_UNAVAILABLE", 500: "INTERNAL_ERROR"} {
		w := httptest.NewRecorder()
		Refuse(w, status, "no \"token\"")
		if want := `{"error_code":"` + code + `","message":"no \"token\""}` + "\n"; w.Code != status || w.Body.String() != want {
			t.Errorf("%d %s, want %s", w.Code, w.Body, want)
		}
	}
}

// A batch is one transaction, and a run of which the writer was lost goes on when its client sends more.
func TestLostRunGoesOn(t *testing.T) {
	store := open(t)
	id := create(t, Handler(store))
	_, err := store.DB().ExecContext(t.Context(), "UPDATE run SET pid = 0, process_start = 0") // as of a server that was killed
	must(t, err)
	h := Handler(store)
	post(t, h, "runs/log-batch", `{"run_id":"`+id+`","metrics":[{"key":"m","value":"Infinity","timestamp":"5","step":"3"}],"params":[{"key":"p","value":"007"}],"tags":[{"key":"t","value":"v"}]}`)
	post(t, h, "runs/update", `{"run_id":"`+id+`","status":"KILLED"}`)
	post(t, h, "runs/update", `{"run_id":"`+id+`","status":"KILLED"}`)
	i, err := store.Run(t.Context(), id)
	if err != nil || i.Status != tracker.Stopped || i.Metrics["m"].LastStep != 3 || i.Params["p"].IsNumber || i.Tags["t"] != "v" {
		t.Errorf("%+v %v", i, err)
	}
}

// Many clients log to one run at once, also the first time after its writer was lost.
func TestAtOnce(t *testing.T) {
	store := open(t)
	id := create(t, Handler(store))
	_, err := store.DB().ExecContext(t.Context(), "UPDATE run SET pid = 0, process_start = 0")
	must(t, err)
	h := Handler(store)
	var all sync.WaitGroup
	for step := range 20 {
		all.Go(func() {
			response, _ := call(h, "POST", api+"runs/log-metric", strings.NewReader(fmt.Sprintf(`{"run_id":"%s","key":"m","value":1,"step":%d}`, id, step)))
			if response.Code != http.StatusOK {
				t.Error(response.Body)
			}
		})
	}
	all.Wait()
	_, history := call(h, "GET", api+"metrics/get-history?run_id="+id+"&metric_key=m&max_results=15", nil)
	_, rest := call(h, "GET", fmt.Sprintf("%smetrics/get-history?run_id=%s&metric_key=m&page_token=%s", api, id, history["next_page_token"]), nil)
	if a, b := len(history["metrics"].([]any)), len(rest["metrics"].([]any)); a != 15 || b != 5 || rest["next_page_token"] != "" {
		t.Error(a, b, history, rest)
	}
}

// What a run supplied is a file to save, never a page.
func TestDownload(t *testing.T) {
	h := Handler(open(t))
	id := create(t, h)
	const page = "<script>alert(1)</script>"
	path := files + "/" + id + "/a/%3Cb%3E.html"
	if response, _ := call(h, "PUT", path, strings.NewReader(page)); response.Code != http.StatusOK {
		t.Fatal(response.Body)
	}
	response, _ := call(h, "GET", path, nil)
	got := response.Header()
	if response.Body.String() != page || got.Get("Content-Type") != "application/octet-stream" || got.Get("X-Content-Type-Options") != "nosniff" || got.Get("Content-Disposition") != `attachment; filename="<b>.html"` {
		t.Error(response.Code, got, response.Body)
	}
	_, list := call(h, "GET", api+"artifacts/list?run_id="+id+"&path=a", nil)
	if got := fmt.Sprint(list); got != "map[files:[map[file_size:25 is_dir:false path:a/<b>.html]] root_uri:mlflow-artifacts:/"+id+"]" {
		t.Error(got)
	}
}

// An upload that breaks off leaves nothing.
func TestBrokenUpload(t *testing.T) {
	store := open(t)
	h := Handler(store)
	id := create(t, h)
	response, _ := call(h, "PUT", files+"/"+id+"/a", io.MultiReader(strings.NewReader("half"), broken{}))
	if artifacts, err := store.Artifacts(t.Context(), 1); response.Code != http.StatusInternalServerError || err != nil || len(artifacts) > 0 {
		t.Error(response.Code, response.Body, artifacts, err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Filters and orders mean the same in the tracker's language.
func TestTranslation(t *testing.T) {
	for filter, want := range map[string]string{
		"":                      "",
		"metrics.m > 1":         `metrics."m" > 1`,
		"metric.`a b`<=-1.5e-7": `metrics."a b" <= -1.5e-07`,
		`params."k.max" != "x"`: `params."k.max" != "x"`,
		"tag.mlflow.user = 'me' AND parameter.p LIKE 'a_b'": `tags."mlflow.user" = "me" and params."p" = "a_b"`,
		`tags.t ILIKE '%a"b\c%'`:                            `tags."t" ~ "a\"b\\c"`,
		"status = 'FAILED'":                                 `(status = failed or status = lost)`,
		"attributes.status != 'FINISHED'":                   `not (status = finished)`,
		"attr.status = 'x'":                                 `id = 0`,
		"run_id IN ('1', 'x',)":                             `(id = 1 or id = 0)`,
		"run.`run name` NOT IN (\"a\",'b')":                 `name != "a" and name != "b"`,
		"tags.t is null and tags.u IS NOT  NULL":            `not tags."t" ~ "" and tags."u" ~ ""`,
	} {
		if got, err := where(filter); got != want || err != nil {
			t.Errorf("%s: %s %v, want %s", filter, got, err, want)
		}
	}
	for _, filter := range []string{
		"x", "metrics.m", "metrics.m = 'a'", "metrics.m = NaN", "metrics.m LIKE '%a%'", "params.p > 'a'", "params.p = 1",
		"params.p = 'a' or params.q = 'b'", "params.p = 'a' and", "models.m = 'a'", "attributes.x = 'a'", "params.p = ('a')",
		"params.p IN 'a'", "start_time = 'a'", "start_time < -1", "status LIKE 'F%'", "tags.t LIKE '%a'",
		"tags.t ILIKE 'a%b%'", "(params.p = 'a')", "params.p = 'it''s'",
	} {
		if got, err := where(filter); err == nil {
			t.Errorf("%s: %s", filter, got)
		}
	}
	got, err := sorting([]string{"metrics.m DESC", "params.`a b` asc", "start_time", "attributes.run_name desc"})
	if want := `-metrics."m",params."a b",started,-name`; got != want || err != nil {
		t.Errorf("%s %v, want %s", got, err, want)
	}
}

// A comparison with a time counts whole milliseconds, as MLflow's times are.
func TestTimes(t *testing.T) {
	store := open(t)
	h := Handler(store)
	id := create(t, h)
	i, err := store.Run(t.Context(), id)
	must(t, err)
	for operator, offsets := range map[string][]int64{"=": {0}, "!=": {-1, 1}, "<": {1}, "<=": {0, 1}, ">": {-1}, ">=": {-1, 0}} {
		var got []int64
		for _, d := range []int64{-1, 0, 1} {
			found := post(t, h, "runs/search", fmt.Sprintf(`{"experiment_ids":["0"],"filter":"start_time %s %d"}`, operator, i.Started.UnixMilli()+d))
			if len(found["runs"].([]any)) == 1 {
				got = append(got, d)
			}
		}
		if !slices.Equal(got, offsets) {
			t.Errorf("%s: %v, want %v", operator, got, offsets)
		}
	}
}

// Whatever is sent, the answer is one of a few, and JSON.
func FuzzHandler(f *testing.F) {
	store := open(f)
	h := Handler(store)
	id := create(f, h)
	for _, endpoint := range []string{"POST " + api + "runs/log-batch", "POST " + api + "runs/search", "POST " + api + "experiments/create", "POST " + api + "runs/update", "GET " + api + "metrics/get-history", "GET " + api + "artifacts/list", "PUT " + files + "/" + id + "/a", "GET " + files, "GET " + files + "/" + id + "/a"} {
		f.Add(endpoint, []byte(`{"run_id":"`+id+`","metrics":[{"key":"a","value":1,"timestamp":1,"step":2}],"params":[{"key":"b","value":"c"}],"tags":[]}`))
		f.Add(endpoint+"?run_id="+id+"&metric_key=a&path=1/x", []byte(`{"experiment_ids":["0"],"filter":"metrics.a > 1 and tags.b ILIKE '%c%'","order_by":["params.b DESC"],"max_results":3}`))
	}
	f.Fuzz(func(t *testing.T, request string, body []byte) {
		method, path, _ := strings.Cut(request, " ")
		r, err := http.NewRequestWithContext(t.Context(), method, path, bytes.NewReader(body))
		if err != nil {
			t.Skip()
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("%s %q: %d %s", request, body, w.Code, w.Body)
		}
		if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %q: %s", request, body, w.Body)
		}
	})
}

// The filter of MLflow never becomes one that the tracker does not understand.
func FuzzWhere(f *testing.F) {
	store := open(f)
	f.Add("metrics.a > 1 and tags.`b c` ILIKE '%c%'", "params.b DESC")
	f.Add("start_time >= 1700000000000 AND status IN ('FAILED', 'x') and tags.t IS NULL", "created")
	f.Fuzz(func(t *testing.T, filter, order string) {
		condition, err := where(filter)
		if err != nil {
			return
		}
		sort, err := sorting([]string{order})
		if err != nil {
			return
		}
		_, err = store.Runs(t.Context(), tracker.Query{Where: condition, Sort: sort})
		if err != nil && !strings.Contains(err.Error(), "allowed:") { // too long, too many
			t.Errorf("%q, %q: %q, %q: %v", filter, order, condition, sort, err)
		}
	})
}
