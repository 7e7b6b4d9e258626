package tracker

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// filled is a run with everything, of values that JSON does not know.
func filled(t *testing.T, s *Store) Info {
	t.Helper()
	ctx := t.Context()
	r := start(t, s, NewRun{Experiment: "e", Name: "a/b", Params: map[string]any{"w": 0.1, "x": "y"}, Tags: map[string]string{"k": "v"}})
	must(t, r.Log(ctx, 0, map[string]float64{"m": 1.5, "odd": math.NaN()}), r.Log(ctx, 7, map[string]float64{"m": 2.5, "odd": math.Inf(-1)}),
		r.Note(ctx, "remark"), r.LogPicture(ctx, 7, "output", grey(200)), r.LogArtifact(ctx, "file", strings.NewReader("\x00data")),
		r.LogPicture(ctx, 8, "a \"b\"\n", grey(7)), r.LogArtifact(ctx, "ä\r\n\xff", bytes.NewReader(bytes.Repeat([]byte("\r\n\x00\xff"), 300_000))),
		r.Log(ctx, 9, map[string]float64{"a,\"b\"\n": 0.1, "ä\xff": math.MaxFloat64}), r.Note(ctx, strings.Repeat("ü\"\n", 300_000)), r.Tag(ctx, "q\"'\x00", "\xfe\n"),
		s.write(ctx, func(t tx) error { return t.addSample(r.ID, Sample{time.Now(), 150.5, 1 << 33, &GPULoad{99, 1 << 34}}) }),
		r.Finish(ctx, errors.New("boom")))
	return info(t, s, r.ID)
}

// What is exported and imported is exported the same again, but for ids.
func (db suite) imports(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	a := filled(t, s)
	var first bytes.Buffer
	must(t, s.ExportJSON(ctx, &first, []Info{a}))
	for l := range strings.SplitSeq(strings.TrimSpace(first.String()), "\n") {
		if !json.Valid([]byte(l)) {
			t.Errorf("no JSON: %.200s", l)
		}
	}
	other := db.fresh(t)
	start(t, other, NewRun{}) // so that ids differ
	ids, _, err := other.Import(ctx, bytes.NewReader(first.Bytes()))
	if err != nil || len(ids) != 1 {
		t.Fatal(ids, err)
	}
	var second bytes.Buffer
	must(t, other.ExportJSON(ctx, &second, []Info{info(t, other, ids[0])}))
	strip := func(text string) string { return regexp.MustCompile(`"(id|of)":\d+`).ReplaceAllString(text, "") }
	if strip(first.String()) != strip(second.String()) {
		t.Errorf("%s\nbecame\n%s", first.String(), second.String())
	}
	whole(t, other)

	created := func(year string) string {
		return strings.Replace(first.String(), `"created":"20`, `"created":"`+year, 1)
	} // another run
	bent := strings.Replace(created("19"), `"data":"`, `"data":"AAAA`, 1)
	for text, want := range map[string]string{
		bent:                                   "sha256 is ",
		"nonsense":                             "line 1: ",
		`{"of":1,"metric":{"name":"m"}}`:       "line 1: belongs to no run before it",
		first.String() + `{"of":99,"x":1}`:     "belongs to no run before it",
		`{"run":{"id":1}}` + "\n" + `{"of":1}`: "line 2: neither run, metric, samples, picture nor artifact",
		`{"run":{"id":1}}` + "\n" + `{"of":1,"metric":{"name":"m","steps":[1],"values":[]}}`:     "line 2: metric \"m\": 1 steps and 0 values",
		`{"run":{"id":1}}` + "\n" + `{"of":1,"picture":{"name":"p","jpeg":"AAAA","digest":"x"}}`: "line 2: picture \"p\" of step 0: no JPEG",
		`{"run":{"id":1}}` + "\n" + `{"of":1,"picture":{"name":"p","digest":"x"}}`:               "line 2: picture \"p\" of step 0: no JPEG",
		`{"run":{"id":1}}` + "\n" + `{"of":1,"artifact":{"name":"a","digest":"x","size":1}}`:     "line 2: artifact \"a\": no line before it has its content",
	} {
		if _, _, err := other.Import(ctx, strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %s", text, err, want)
		}
	}
	// Of a run that could not be imported nothing stays, those before it do.
	ids, _, err = other.Import(ctx, strings.NewReader(created("18")+bent))
	if err == nil || len(ids) != 1 {
		t.Error(ids, err)
	}
	runs, err := other.Runs(ctx, Query{Where: "status = failed or status = stopped or name != ''"})
	if err != nil || len(runs) != 2 { // that of the first import, and the one of this
		t.Errorf("%d runs %v", len(runs), err)
	}
	for _, f := range check(t, other) {
		if !f.Leftover {
			t.Error(f)
		}
	}
}

// Runs that share files and pictures share them in an export, too, and where it is imported.
func (db suite) exportsOnce(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	const n = 20
	content := strings.Repeat("content of a picture", 1000)
	for i := range n {
		r := start(t, s, NewRun{Name: strconv.Itoa(i)})
		must(t, r.LogArtifact(ctx, "content", strings.NewReader(content)), r.LogArtifact(ctx, "empty", strings.NewReader("")),
			r.LogArtifact(ctx, "own", strings.NewReader(strconv.Itoa(i))), r.LogPicture(ctx, 0, "output", grey(1)), r.Finish(ctx, nil))
	}
	runs, err := s.Runs(ctx, Query{Sort: "id"})
	must(t, err)
	var file bytes.Buffer
	must(t, s.ExportJSON(ctx, &file, runs))
	text := file.String()
	if once := strings.Count(text, base64.StdEncoding.EncodeToString([]byte(content))); once != 1 {
		t.Errorf("the shared file is there %d times", once)
	}
	if once := strings.Count(text, `"jpeg":"`); once != 1 {
		t.Errorf("the shared picture is there %d times", once)
	}
	other := db.fresh(t)
	// The run whose lines have the contents is there already, without them.
	early, _, _ := strings.Cut(text, "\n")
	_, _, err = other.Import(ctx, strings.NewReader(early))
	must(t, err)
	ids, there, err := other.Import(ctx, strings.NewReader(text))
	if err != nil || len(ids) != n-1 || len(there) != 1 {
		t.Fatal(ids, there, err)
	}
	for i, id := range ids {
		for name, want := range map[string]string{"content": content, "empty": "", "own": strconv.Itoa(i + 1)} {
			if got, err := other.ReadArtifact(ctx, id, name); err != nil || string(got) != want {
				t.Errorf("%d: %s: %.50q %v", id, name, got, err)
			}
		}
		if pictures, err := other.Pictures(ctx, id); err != nil || len(pictures) != 1 {
			t.Errorf("%v %v", pictures, err)
		} else if _, err := other.Thumbnail(ctx, pictures[0].Digest); err != nil {
			t.Error(err)
		}
	}
	whole(t, other)
}

// Importing the same again adds nothing, whatever has become of the runs meanwhile, and by whatever way they came.
func (db suite) importsOnce(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	filled(t, s)
	start(t, s, NewRun{Name: "a/b", Experiment: "e"}) // as the first, but for the time
	export := func(s *Store) string {
		runs, err := s.Runs(ctx, Query{Deleted: true})
		must(t, err)
		var out bytes.Buffer
		must(t, s.ExportJSON(ctx, &out, runs))
		return out.String()
	}
	other := db.fresh(t)
	again := func(s *Store, text string, wantNew, wantThere int) {
		t.Helper()
		ids, there, err := s.Import(ctx, strings.NewReader(text))
		if err != nil || len(ids) != wantNew || len(there) != wantThere {
			t.Errorf("%d imported, %d there already, want %d and %d: %v", len(ids), len(there), wantNew, wantThere, err)
		}
		whole(t, s)
	}
	first := export(s)
	again(other, first, 2, 0)
	again(other, first, 0, 2)
	again(s, first, 0, 2)         // where they were made
	again(s, export(other), 0, 2) // and come back from elsewhere
	again(db.fresh(t), first+first, 2, 2)
	must(t, other.Tag(ctx, 1, "k", "other"), other.Note(ctx, 1, "more"), other.Delete(ctx, 2))
	again(other, first, 0, 2)
	if i := info(t, other, 1); i.Tags["k"] != "other" {
		t.Errorf("%+v", i)
	}
	_, err := other.GC(ctx)
	must(t, err)
	again(other, first, 1, 1) // of what was removed for good nothing is known
	// Two imports of the same at once.
	both, errs := db.fresh(t), make(chan error)
	for range 2 {
		go func() {
			_, _, err := both.Import(ctx, strings.NewReader(first))
			errs <- err
		}()
	}
	must(t, <-errs, <-errs)
	if runs, err := both.Runs(ctx, Query{}); err != nil || len(runs) != 2 {
		t.Errorf("%d runs %v", len(runs), err)
	}
	whole(t, both)
}

// An import does not beat, and its run gets no load but that which it had.
func (db suite) importDoesNotBeat(t *testing.T) {
	s := db.fresh(t)
	in, out := io.Pipe()
	done := make(chan error)
	go func() {
		_, _, err := s.Import(t.Context(), in)
		done <- err
	}()
	_, err := io.WriteString(out, `{"run":{"id":1}}`+"\n"+`{"of":1,"samples":[{"time":"2026-01-02T03:04:05Z","cpu":1,"memory":2}]}`+"\n")
	must(t, err)
	s.beats.Wait() // nothing beats while it waits for more
	must(t, out.Close(), <-done)
	samples, err := s.Samples(t.Context(), 1)
	if err != nil || len(samples) != 1 {
		t.Errorf("%v %v", samples, err)
	}
}

func (db suite) exportCSV(t *testing.T) {
	s := db.fresh(t)
	var out bytes.Buffer
	must(t, s.ExportCSV(t.Context(), &out, []Info{filled(t, s)}))
	rows, err := csv.NewReader(&out).ReadAll()
	want := [][]string{
		{"run", "experiment", "name", "metric", "step", "value"},
		{"1", "e", "a/b", "a,\"b\"\n", "9", "0.1"},
		{"1", "e", "a/b", "m", "0", "1.5"},
		{"1", "e", "a/b", "m", "7", "2.5"},
		{"1", "e", "a/b", "odd", "0", "NaN"},
		{"1", "e", "a/b", "odd", "7", "-Inf"},
		{"1", "e", "a/b", "ä\uFFFD", "9", "1.7976931348623157e+308"},
	}
	if err != nil || !reflect.DeepEqual(rows, want) {
		t.Errorf("%q %v", rows, err)
	}
}

// A run's folder has a name that file systems take.
func TestFileName(t *testing.T) {
	for name, want := range map[string]string{"a/b": "a_b", "x\n": "x_", `C:\z`: "C__z", strings.Repeat("漢", 100): strings.Repeat("漢", 33)} {
		if got := fileName(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

// TensorBoard shows all scalars, pictures and hyperparameters, also where a picture is called like a metric. make test
// installs it.
func (db suite) tensorBoard(t *testing.T) {
	s, dir := db.fresh(t), t.TempDir()
	r := start(t, s, NewRun{Name: "a/b", Params: map[string]any{"weight": 1e-3, "gram": "mean/ä", "square": true}})
	must(t, r.Log(t.Context(), 0, map[string]float64{"style": 1.5, "odd": math.NaN()}), r.Log(t.Context(), 7, map[string]float64{"style": 2.5, "odd": math.Inf(-1)}),
		r.LogPicture(t.Context(), 0, "style", grey(9)), r.LogPicture(t.Context(), 7, "output", grey(200)), r.LogPicture(t.Context(), 9, "output", grey(20)), r.Finish(t.Context(), nil))
	other := start(t, s, NewRun{Params: map[string]any{"weight": 300}})
	must(t, other.Log(t.Context(), 3, map[string]float64{"style": 4}), other.Finish(t.Context(), errors.New("boom")))
	runs := []Info{info(t, s, r.ID), info(t, s, other.ID)}
	for i, seconds := range []time.Duration{4, 2} { // of which TensorBoard says how long it took
		runs[i].Ended = runs[i].Started.Add(seconds * time.Second)
	}
	must(t, s.ExportTensorBoard(t.Context(), dir, runs, "weight", "gram"))
	python := exec.Command("python3", "testdata/read_events.py", dir)
	if installed := os.Getenv("HRLAB_TEST_TENSORBOARD"); installed != "" {
		python.Env = append(os.Environ(), "PYTHONPATH="+installed)
	} else if exec.Command("python3", "-c", "import tensorboard").Run() != nil {
		t.Skip("no TensorBoard: make test installs it")
	}
	var complaint bytes.Buffer
	python.Stderr = &complaint
	out, err := python.Output()
	want := `1-a_b-weight=0.001-gram=mean_ä odd (0, nan) (7, -inf)
1-a_b-weight=0.001-gram=mean_ä style (0, 1.5) (7, 2.5)
2-weight=300 style (3, 4.0)
1-a_b-weight=0.001-gram=mean_ä pictures/output 7 320x80 ffd8ff
1-a_b-weight=0.001-gram=mean_ä pictures/output 9 320x80 ffd8ff
1-a_b-weight=0.001-gram=mean_ä pictures/style 0 320x80 ffd8ff
hparams gram:DATA_TYPE_STRING square:DATA_TYPE_STRING weight:DATA_TYPE_FLOAT64
1-a_b-weight=0.001-gram=mean_ä mean/ä true 0.001 STATUS_SUCCESS 4.0 ('odd', -inf, 7) ('style', 2.5, 7)
2-weight=300 300.0 STATUS_FAILURE 2.0 ('style', 4.0, 3)
`
	if err != nil || string(out) != want {
		t.Errorf("%v\n%swant\n%s%s", err, out, want, complaint.String())
	}
}
