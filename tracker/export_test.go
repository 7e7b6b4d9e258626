package tracker

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// filled is a run with everything, of values that JSON does not know.
func filled(t *testing.T, s *Store) Info {
	t.Helper()
	ctx := t.Context()
	r := start(t, s, NewRun{Experiment: "e", Name: "a/b", Params: map[string]any{"w": 0.1, "x": "y"}, Tags: map[string]string{"k": "v"}})
	must(t, r.Log(ctx, 0, map[string]float64{"m": 1.5, "odd": math.NaN()}), r.Log(ctx, 7, map[string]float64{"m": 2.5, "odd": math.Inf(-1)}),
		r.Note(ctx, "remark"), r.LogPicture(ctx, 7, "output", grey(200)), r.LogArtifact(ctx, "file", strings.NewReader("\x00data")), r.Finish(ctx, errors.New("boom")))
	return info(t, s, r.ID)
}

// What is exported and imported is exported the same again, but for ids.
func TestImport(t *testing.T) {
	s, ctx := fresh(t), t.Context()
	a := filled(t, s)
	var first bytes.Buffer
	must(t, s.ExportJSON(ctx, &first, []Info{a}))
	for l := range strings.SplitSeq(strings.TrimSpace(first.String()), "\n") {
		if !json.Valid([]byte(l)) {
			t.Errorf("no JSON: %.200s", l)
		}
	}
	other := fresh(t)
	start(t, other, NewRun{}) // so that ids differ
	ids, err := other.Import(ctx, bytes.NewReader(first.Bytes()))
	if err != nil || len(ids) != 1 {
		t.Fatal(ids, err)
	}
	var second bytes.Buffer
	must(t, other.ExportJSON(ctx, &second, []Info{info(t, other, ids[0])}))
	strip := func(text string) string {
		text = regexp.MustCompile(`"(id|of)":\d+`).ReplaceAllString(text, "")
		return regexp.MustCompile(`"time":"[^"]*"`).ReplaceAllString(text, "") // an artifact's is that of its writing
	}
	if strip(first.String()) != strip(second.String()) {
		t.Errorf("%s\nbecame\n%s", first.String(), second.String())
	}
	whole(t, other)

	for text, want := range map[string]string{
		"nonsense":                             "line 1: ",
		`{"of":1,"metric":{"name":"m"}}`:       "line 1: belongs to no run before it",
		first.String() + `{"of":99,"x":1}`:     "belongs to no run before it",
		`{"run":{"id":1}}` + "\n" + `{"of":1}`: "line 2: neither run, metric, picture nor artifact",
		`{"run":{"id":1}}` + "\n" + `{"of":1,"metric":{"name":"m","steps":[1],"values":[]}}`:     "line 2: metric m: 1 steps and 0 values",
		`{"run":{"id":1}}` + "\n" + `{"of":1,"picture":{"name":"p","jpeg":"AAAA","digest":"x"}}`: "line 2: picture p of step 0: no JPEG",
	} {
		if _, err := other.Import(ctx, strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %s", text, err, want)
		}
	}
}

func TestExportCSV(t *testing.T) {
	s := fresh(t)
	var out bytes.Buffer
	must(t, s.ExportCSV(t.Context(), &out, []Info{filled(t, s)}))
	want := "run,experiment,name,metric,step,value\n1,e,a/b,m,0,1.5\n1,e,a/b,m,7,2.5\n1,e,a/b,odd,0,NaN\n1,e,a/b,odd,7,-Inf\n"
	if out.String() != want {
		t.Errorf("%s", out.String())
	}
}

// The real TensorBoard reads scalars and pictures.
func TestTensorBoard(t *testing.T) {
	python := "python3"
	if env := os.Getenv("HRLAB_TEST_TENSORBOARD"); env != "" {
		python = env
	}
	s, dir := fresh(t), t.TempDir()
	must(t, s.ExportTensorBoard(t.Context(), dir, []Info{filled(t, s)}))
	files, err := filepath.Glob(filepath.Join(dir, "1-a_b", "events.out.tfevents.*.hrlab"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	data, err := os.ReadFile(files[0])
	must(t, err)
	if !bytes.HasPrefix(data[12+9:], []byte("\x1a\x0dbrain.Event:2")) {
		t.Errorf("begins with %q", data[:40])
	}
	if exec.Command(python, "-c", "import tensorboard").Run() != nil {
		t.Skip("no TensorBoard for ", python, ": pip install tensorboard, or name a Python that has it by HRLAB_TEST_TENSORBOARD")
	}
	const script = `
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
e = EventAccumulator(sys.argv[1], size_guidance={"images": 0, "scalars": 0, "tensors": 0})
e.Reload()
print(sorted(e.Tags()["scalars"]), [(s.step, s.value) for s in e.Scalars("m")], sorted(e.Tags()["images"]), [(i.step, i.width, i.height) for i in e.Images("output")])
`
	out, err := exec.Command(python, "-c", script, filepath.Dir(files[0])).Output()
	if want := "['m', 'odd'] [(0, 1.5), (7, 2.5)] ['output'] [(7, 320, 80)]\n"; err != nil || string(out) != want {
		t.Errorf("%s %v, want %s", out, err, want)
	}
}
