package report

import (
	"bytes"
	"errors"
	"fmt"
	"html"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hrlab/tracker"
)

// fitted is a run as a sweep records it.
type fitted struct {
	content, style      string // names of files, which stand for the pictures
	weight, gain        float64
	size                int
	kept, match         float64
	notDefined, because string // a measure, and why
	failed, large       bool   // large: an output of 640x480
}

// drawing is an output of w by h pixels: a light sky over dark land, with some grain.
func drawing(w, h int, seed uint64) *image.NRGBA {
	random, img := rand.New(rand.NewPCG(seed, 1)), image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			grain := uint8(random.IntN(8))
			c := color.NRGBA{uint8(200*y/h) + grain, uint8(120*x/w) + grain, 100 + grain, 255}
			if y > h/2+int(20*random.Float64()) {
				c.R, c.B = c.R/4, 30
			}
			img.SetNRGBA(x, y, c)
		}
	}
	return img
}

// open makes a database.
func open(t *testing.T) *tracker.Store {
	t.Helper()
	store, err := tracker.Open(t.Context(), filepath.Join(t.TempDir(), "hrlab.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// record records a run and returns its id.
func record(t *testing.T, store *tracker.Store, experiment string, f fitted) int64 {
	t.Helper()
	ctx := t.Context()
	run, err := store.Start(ctx, tracker.NewRun{
		Experiment: experiment, Tags: map[string]string{"pair": "day_dusk"}, Inputs: map[string]string{"content": f.content, "style": f.style, "vgg": "random"},
		Params: map[string]any{
			"content_weight": f.weight, "style_weight": 1, "style_gain": f.gain, "size": f.size, "seed": 0, "report_every": 10,
			"content": f.content, "style": f.style, "vgg": "random filters",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	pictures := drawing(64, 48, uint64(run.ID))
	if f.large {
		pictures = drawing(640, 480, uint64(run.ID))
	}
	var data bytes.Buffer
	measures := map[string]float64{SSIM: 0.9, EdgeSSIM: 0.8, ColourDistance: 0.1, ContentKept: f.kept, StyleMatch: f.match}
	err = errors.Join(run.LogPicture(ctx, 0, "content", pictures), run.LogPicture(ctx, 0, "style", pictures))
	if f.notDefined != "" {
		delete(measures, f.notDefined)
		err = errors.Join(err, run.Tag(ctx, f.notDefined+NotDefined, f.because))
	}
	for step := range int64(3) {
		err = errors.Join(err, run.Log(ctx, step, map[string]float64{"content": 10 / float64(step+1), "style": 100 / float64(step+1)}))
	}
	if f.failed {
		err = errors.Join(err, run.Finish(ctx, errors.New("the fit diverged")))
	} else {
		err = errors.Join(err, run.Log(ctx, 2, measures), png.Encode(&data, pictures), run.LogArtifact(ctx, Output, &data), run.Finish(ctx, nil))
	}
	if err != nil {
		t.Fatal(err)
	}
	return run.ID
}

func compare(t *testing.T, store *tracker.Store, experiment string) *Report {
	t.Helper()
	r, err := New(t.Context(), store, experiment)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A report keeps pairs apart whose names are the same, and shows every setting that varies; its outputs are small.
func TestReport(t *testing.T) {
	store := open(t)
	for _, folder := range []string{"", "other/"} {
		for i, weight := range []float64{1, 100} {
			for _, size := range []int{32, 40} {
				record(t, store, "e", fitted{content: folder + "day.png", style: folder + "dusk.png", weight: weight, gain: 1, size: size, kept: float64(i), match: float64(1 - i), large: size == 40 && folder == ""})
			}
		}
	}
	r := compare(t, store, "e")
	if len(r.Pairs) != 2 || r.Pairs[0].Name == r.Pairs[1].Name || !r.Random {
		t.Fatalf("%+v", r)
	}
	for _, p := range r.Pairs {
		want := []string{"content 1, size 32", "content 1, size 40", "content 100, size 32", "content 100, size 40"}
		if got := slices.Sorted(slices.Values(p.Columns)); !slices.Equal(got, want) || len(p.Matrix) != 1 || slices.Contains(p.Matrix[0], nil) {
			t.Errorf("%v of %v: %v", p.Rows, p.Columns, p.Matrix)
		}
		if len(p.Effects) != 2*len(measures) {
			t.Errorf("%d effects", len(p.Effects))
		}
		if p.Suggested == nil || p.Content == nil || p.Style == nil {
			t.Errorf("suggested %v, %d and %d bytes of pictures", p.Suggested, len(p.Content), len(p.Style))
		}
		for _, run := range p.Runs {
			small, format, err := image.Decode(bytes.NewReader(run.Output))
			if err != nil {
				t.Fatal(err)
			}
			size := small.Bounds().Size()
			if format != "jpeg" || size != image.Pt(512, 384) && size != image.Pt(64, 48) || len(run.Output) > maxPicture {
				t.Errorf("an output is a %s of %v, %d bytes", format, size, len(run.Output))
			}
		}
	}
	for _, text := range asWritten(t, r) {
		if len(text) > 100_000*8 || !strings.Contains(text, "size 40") {
			t.Errorf("%d bytes for 8 trials, want 100 kB each at most, and their sizes", len(text))
		}
	}
}

// Runs without a measure are in the report but not in what it compares; it says why nothing is suggested.
func TestReportNotDefined(t *testing.T) {
	store := open(t)
	for _, weight := range []float64{1, 100} {
		record(t, store, "e", fitted{content: "day.png", style: "day.png", weight: weight, gain: 1, size: 32, kept: weight / 200, notDefined: StyleMatch, because: "the pictures look alike"})
	}
	r := compare(t, store, "e")
	p := r.Pairs[0]
	const why = "style match is not defined: the pictures look alike"
	if p.Suggested != nil || p.Front != 0 || p.Finished != 2 || p.NoSuggestion() != "nothing is suggested: "+why {
		t.Errorf("%+v of %d suggested, %d on the front; %q", p.Suggested, p.Finished, p.Front, p.NoSuggestion())
	}
	for _, text := range asWritten(t, r) {
		if !strings.Contains(text, why) || strings.Contains(text, "</strong> is suggested") || strings.Contains(text, "Suggested:") {
			t.Errorf("%.3000s", text)
		}
	}
}

// notFinite matches what is written for a number that is not finite, or absurdly large.
var notFinite = regexp.MustCompile(`[>|"\s][+-]?(NaN|Inf)\b|e\+1[0-9]`)

// asWritten is a report as a page and as Markdown, in which it finds no number that is not finite and no empty picture.
func asWritten(t *testing.T, r *Report) (texts []string) {
	t.Helper()
	dir := t.TempDir()
	for name, write := range map[string]func(string) error{"r.html": r.HTML, "r.md": r.Markdown} {
		if err := write(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		text := html.UnescapeString(string(data))
		if notFinite.MatchString(text) || strings.Contains(text, `base64,"`) {
			t.Errorf("%s: a number that is not finite, or an empty picture: %.3000s", name, text)
		}
		texts = append(texts, text)
	}
	return texts
}

// A report does without the outputs that cannot be read, and says which and why.
func TestReportWithoutFiles(t *testing.T) {
	store := open(t)
	var ids []int64
	var files []string
	for i, weight := range []float64{1, 10, 100, 1000} {
		id := record(t, store, "e", fitted{content: "day.png", style: "dusk.png", weight: weight, gain: 1, size: 32, kept: float64(i) / 4, match: 1 - float64(i)/4})
		artifacts, err := store.Artifacts(t.Context(), id)
		if err != nil || len(artifacts) != 1 {
			t.Fatal(artifacts, err)
		}
		found, err := filepath.Glob(filepath.Join(store.Path()+".artifacts", "*", artifacts[0].Digest+"*"))
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		ids, files = append(ids, id), append(files, found[0])
	}
	whole, err := os.ReadFile(files[1])
	if err := errors.Join(err, os.Remove(files[0]), os.Chmod(files[1], 0o644), os.WriteFile(files[1], whole[:len(whole)/2], 0o644), os.Chmod(files[2], 0o644), os.WriteFile(files[2], nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	r := compare(t, store, "e")
	if len(r.Faults) != 3 || r.Pairs[0].Finished != 4 || r.Pairs[0].Suggested == nil {
		t.Fatalf("%q; %+v", r.Faults, r.Pairs[0])
	}
	for i, fault := range r.Faults {
		if !strings.HasPrefix(fault, fmt.Sprintf("run %d: artifact \"output\": %s: ", ids[i], files[i])) {
			t.Errorf("%q; want run %d and %s", fault, ids[i], files[i])
		}
	}
	for _, text := range asWritten(t, r) {
		for i := range 3 {
			if !strings.Contains(text, filepath.Base(files[i])) {
				t.Errorf("%s is not named: %.3000s", files[i], text)
			}
		}
	}
}

// An output may be of any shape; one that is no picture is left out.
func TestReportOfOddOutputs(t *testing.T) {
	store := open(t)
	var narrow bytes.Buffer
	if err := png.Encode(&narrow, drawing(2000, 1, 1)); err != nil {
		t.Fatal(err)
	}
	for _, output := range []string{narrow.String(), "text"} {
		run, err := store.Start(t.Context(), tracker.NewRun{Experiment: "e", Params: map[string]any{"content_weight": 1, "style_weight": 1}})
		if err == nil {
			err = errors.Join(run.LogArtifact(t.Context(), Output, strings.NewReader(output)), run.Finish(t.Context(), nil))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r := compare(t, store, "e")
	small, err := jpeg.Decode(bytes.NewReader(r.Pairs[0].Runs[0].Output))
	if err != nil || small.Bounds().Size() != image.Pt(512, 1) {
		t.Errorf("%v: %v", small, err)
	}
	if r.Pairs[0].Runs[1].Output != nil || len(r.Faults) != 1 || !strings.HasPrefix(r.Faults[0], `run 2: artifact "output": `) {
		t.Errorf("%q", r.Faults)
	}
	asWritten(t, r)
}

// A report of runs that did not come to an end says so little, but is one.
func TestReportOfNothing(t *testing.T) {
	store := open(t)
	record(t, store, "e", fitted{content: "day.png", style: "dusk.png", weight: 1, gain: 1, size: 32, failed: true})
	r := compare(t, store, "e")
	if p := r.Pairs[0]; p.Suggested != nil || p.Finished != 0 || len(p.Matrix) != 0 || p.NoSuggestion() != "" {
		t.Errorf("%+v", p)
	}
	asWritten(t, r)
	if _, err := New(t.Context(), store, "empty"); !errors.Is(err, tracker.ErrNotFound) {
		t.Error(err)
	}
}

// With a gain the report names it and says what measures mean.
func TestReportGain(t *testing.T) {
	store := open(t)
	for i, gain := range []float64{1, 2.56} {
		for _, weight := range []float64{1, 100} {
			record(t, store, "e", fitted{content: "day.png", style: "dusk.png", weight: weight, gain: gain, size: 32, kept: weight / 200, match: gain - weight/100})
		}
		r := compare(t, store, "e")
		p := r.Pairs[0]
		if with := i == 1; p.Gain != with || slices.Contains(p.Columns, "content 100, style gain 2.56") != with || p.Finished != 2+2*i {
			t.Errorf("%d runs: gain %t, %q", p.Finished, p.Gain, p.Columns)
		}
		for _, text := range asWritten(t, r) {
			if strings.Contains(text, "a style gain of 1") != (i == 1) {
				t.Errorf("%d runs: %.3000s", p.Finished, text)
			}
		}
	}
}
