package experiments

import (
	"errors"
	"fmt"
	"html"
	"image"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hrlab/hrstyle"
	"hrlab/hrstyle/sample"
	"hrlab/tracker"

	"golang.org/x/image/draw"
)

// uniform is a picture of one colour.
func uniform(c color.Color) hrstyle.Picture {
	m := image.NewRGBA(image.Rect(0, 0, 32, 24))
	draw.Draw(m, m.Rect, image.NewUniform(c), image.Point{}, draw.Src)
	return hrstyle.Picture{Name: "uniform.png", Image: m}
}

// noisy has some pixels one level off.
func noisy(img image.Image) hrstyle.Picture {
	m := image.NewRGBA(img.Bounds())
	draw.Draw(m, m.Rect, img, img.Bounds().Min, draw.Src)
	for i := 0; i < len(m.Pix); i += 12 {
		m.Pix[i] ^= 1
	}
	return hrstyle.Picture{Name: "noisy.png", Image: m}
}

// A measure that would be divided by nothing, or by rounding, is not there; the others are, and are finite.
func TestMeasuresNotDefined(t *testing.T) {
	day, dusk := hrstyle.Picture{Name: "day.png", Image: sample.Content(32, 24)}, hrstyle.Picture{Name: "dusk.png", Image: sample.Style(32, 24)}
	grey := uniform(color.Gray{128})
	for _, device := range []string{"go", "cpu"} {
		engine, err := hrstyle.Open(t.Context(), hrstyle.Options{Device: device, VGG: "random"})
		if err != nil {
			if device == "go" || os.Getenv("HRLAB_TEST_REQUIRE_XLA") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
		defer engine.Close()
		for _, c := range []struct {
			name           string
			content, style hrstyle.Picture
			without        []string
		}{
			{"two pictures", day, dusk, nil},
			{"one picture", day, day, []string{StyleMatch}},
			{"one picture, rounded", day, noisy(day), []string{StyleMatch}},
			{"flat grey", grey, dusk, []string{ContentKept}},
			{"flat grey, another", uniform(color.Gray{127}), dusk, []string{ContentKept}},
			{"flat grey, rounded", noisy(grey), dusk, []string{ContentKept}},
			{"flat white", uniform(color.White), dusk, []string{ContentKept}},
			{"a flat style", day, grey, nil},
			{"flat both", grey, grey, []string{ContentKept, StyleMatch}},
		} {
			pair := hrstyle.Pair{Content: c.content, Style: c.style}
			for _, output := range []image.Image{day, dusk, grey} {
				got, err := Lab{Engine: engine}.Measures(pair, output)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range measures {
					v, ok := got[m.Name]
					if ok == slices.Contains(c.without, m.Name) || math.IsNaN(v) || math.IsInf(v, 0) || math.Abs(v) > 1000 {
						t.Errorf("%s, %s: %s is %g, there: %t", device, c.name, m.Name, v, ok)
					}
				}
			}
		}
	}
}

// Runs without measures, and such with measures that are none, are in the report but not in what it compares; it says why
// nothing is suggested.
func TestReportNotDefined(t *testing.T) {
	lab := testLab(t)
	c := testConfig()
	c.Steps = 1
	for name, pair := range map[string]hrstyle.Pair{
		"one picture": {Content: testPair.Content, Style: testPair.Content},
		"flat":        {Content: uniform(color.Gray{128}), Style: testPair.Style},
	} {
		if _, err := lab.Sweep(t.Context(), name, pair, Grid(c, ContentWeight(1, 100)), 0, nil); err != nil {
			t.Fatal(err)
		}
		r, err := NewReport(t.Context(), lab.Tracker, name)
		if err != nil {
			t.Fatal(err)
		}
		p := r.Pairs[0]
		if p.Suggested != nil || p.Front != 0 || p.Finished != 2 || len(p.NotDefined) != 1 || !strings.HasPrefix(p.NoSuggestion(), "nothing is suggested: ") {
			t.Errorf("%s: %+v of %d suggested, %d on the front; %q", name, p.Suggested, p.Finished, p.Front, p.NoSuggestion())
		}
		for _, text := range asWritten(t, r) {
			if !strings.Contains(text, p.NotDefined[0]) || strings.Contains(text, "</strong> is suggested") || strings.Contains(text, "Suggested:") || notFinite.MatchString(text) {
				t.Errorf("%s: %.3000s", name, text)
			}
		}
	}
}

// notFinite is a number in a report that is none.
var notFinite = regexp.MustCompile(`[>|"\s][+-]?(NaN|Inf)\b|e\+1[0-9]`)

// asWritten is a report as a page and as Markdown.
func asWritten(t *testing.T, r *Report) (texts []string) {
	t.Helper()
	dir := t.TempDir()
	for name, write := range map[string]func(string) error{"r.html": r.HTML, "r.md": r.Markdown} {
		if err := write(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, html.UnescapeString(string(text)))
	}
	return texts
}

// Values that are not finite, or were divided by noise, as databases of before may have them, take part in nothing.
func TestCompareOnlyDefined(t *testing.T) {
	good := []tracker.Info{made(1, 0.9, 0.1, 1, "0"), made(2, 0.5, 0.8, 8, "0"), made(3, 0.52, 0.78, 8, "1"), made(4, 0.1, 0.9, 9, "0")}
	runs := slices.Clone(good)
	for i, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -5.09e14} {
		runs = append(runs, made(int64(10+i), 1, v, 1, "2"), made(int64(20+i), v, 1, 8, "3"), made(int64(30+i), v, v, 20, "4"))
	}
	runs = append(runs, tracker.Info{ID: 40, Params: good[0].Params}) // without measures
	if a, b := fmt.Sprint(ids(Front(good))), fmt.Sprint(ids(Front(runs))); a != b {
		t.Errorf("front %s, want %s", b, a)
	}
	want, _ := Knee(Front(good))
	if knee, ok := Knee(Front(runs)); !ok || knee.ID != want.ID {
		t.Errorf("knee %d, want %d", knee.ID, want.ID)
	}
	for _, e := range append(Effects(runs, ContentKept, StyleMatch), Effects(runs[len(good):], ContentKept, StyleMatch)...) {
		if math.IsNaN(e.Effect) || math.IsInf(e.Effect, 0) || math.Abs(e.Effect) > 1 {
			t.Errorf("%+v", e)
		}
	}
	if s := Spread(runs, StyleMatch); !(s > 0 && s < 1) {
		t.Errorf("spread %g", s)
	}
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -5.09e14} {
		r := RunReport{Info: made(1, v, v, 1, "0")}
		if text := r.Measure(StyleMatch); text != "–" {
			t.Errorf("%g is shown as %s", v, text)
		}
	}
	if e := Effects([]tracker.Info{made(1, 0.9, 0.1, 1, "0"), made(2, math.NaN(), 0.2, 8, "0")}, ContentKept); len(e) != 0 {
		t.Errorf("an effect of one value: %+v", e)
	}
}

func ids(runs []tracker.Info) (list []int64) {
	for _, r := range runs {
		list = append(list, r.ID)
	}
	return list
}

// Charts can be drawn of whatever curves and measures there are.
func TestCharts(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for name, values := range map[string][]float64{
		"nothing":    {},
		"one point":  {3},
		"small":      {0.5},
		"all equal":  {0.25, 0.25, 0.25},
		"zeros":      {0, 0},
		"some zeros": {1, 0, 0.5, 0},
		"negative":   {-1, 2},
		"not finite": {nan, inf, -inf, 3},
		"none":       {nan, inf},
		"tiny":       {1e-300, 2e-300},
		"huge":       {1e300, 1e-300},
		"the limits": {math.MaxFloat64, math.SmallestNonzeroFloat64},
	} {
		t.Run(name, func(t *testing.T) {
			steps := make([]int64, len(values))
			for i := range steps {
				steps[i] = int64(i)
			}
			p := &PairReport{curves: []tracker.Series{{Run: 1, Metric: "style", Steps: steps, Values: values}}}
			for i, v := range append(values, nan) {
				info := made(int64(i), v, v, 1, "0")
				info.Status = tracker.Finished
				p.Runs = append(p.Runs, RunReport{Info: info, OnFront: i == 0 && measure(info, ContentKept) == v})
			}
			p.Suggested = &p.Runs[0]
			for _, chart := range []string{"losses", "pareto"} {
				drawn := p.Losses("style")
				if chart == "pareto" {
					drawn = p.Pareto()
				}
				svg, err := SVG(drawn)
				if err != nil || strings.Contains(string(svg), "NaN") || strings.Contains(string(svg), "Inf") {
					t.Errorf("%s: %v %.300s", chart, err, svg)
				}
				if _, err := pngBytes(drawn); err != nil {
					t.Errorf("%s: %v", chart, err)
				}
			}
		})
	}
}

// Of flat pictures SSIM is what its constants make of it, and finite.
func TestSSIMOfFlat(t *testing.T) {
	black, white, day := luma(uniform(color.Black)), luma(uniform(color.White)), luma(sample.Content(32, 24))
	near(t, "black with itself", ssim(black, black), 1, 1e-12)
	near(t, "white with itself", ssim(white, white), 1, 1e-12)
	near(t, "black with white", ssim(black, white), 1e-4/(1+1e-4), 1e-12)
	near(t, "edges of flat pictures", ssim(black.sobel(), white.sobel()), 1, 1e-12)
	for _, v := range []float64{ssim(black, day), ssim(day.sobel(), white.sobel())} {
		if !(v > -1 && v < 1) {
			t.Errorf("a flat picture with another: %g", v)
		}
	}
}

// A report does without the outputs that cannot be read, and says which and why.
func TestReportWithoutFiles(t *testing.T) {
	lab := testLab(t)
	c := testConfig()
	c.Steps = 1
	runs, err := lab.Sweep(t.Context(), "e", testPair, Grid(c, ContentWeight(1, 10, 100, 1000)), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, run := range runs {
		file, err := lab.Tracker.OpenArtifact(t.Context(), run.ID, Output)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file.Name())
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := os.ReadFile(files[1])
	if err := errors.Join(err, os.Remove(files[0]), os.Chmod(files[1], 0o644), os.WriteFile(files[1], whole[:len(whole)/2], 0o644), os.Chmod(files[2], 0o644), os.WriteFile(files[2], nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	r, err := NewReport(t.Context(), lab.Tracker, "e")
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Faults) != 3 || r.Pairs[0].Finished != 4 || r.Pairs[0].Suggested == nil {
		t.Fatalf("%q; %+v", r.Faults, r.Pairs[0])
	}
	for i, fault := range r.Faults {
		if !strings.HasPrefix(fault, fmt.Sprintf("run %d: artifact \"output\": %s: ", runs[i].ID, files[i])) {
			t.Errorf("%q; want run %d and %s", fault, runs[i].ID, files[i])
		}
	}
	for _, text := range asWritten(t, r) {
		for i := range 3 {
			if !strings.Contains(text, filepath.Base(files[i])) {
				t.Errorf("%s is not named: %.3000s", files[i], text)
			}
		}
		if strings.Contains(text, `base64,"`) {
			t.Error("an empty picture")
		}
	}
}

// A report of runs that did not come to an end says so little, but is one.
func TestReportOfNothing(t *testing.T) {
	lab := testLab(t)
	c := testConfig()
	c.LearningRate = 1e30
	if _, err := lab.Sweep(t.Context(), "e", testPair, List(c), 0, nil); !errors.Is(err, ErrTrials) {
		t.Fatal(err)
	}
	r, err := NewReport(t.Context(), lab.Tracker, "e")
	if err != nil {
		t.Fatal(err)
	}
	if p := r.Pairs[0]; p.Suggested != nil || p.Finished != 0 || len(p.Matrix) != 0 || p.NoSuggestion() != "" {
		t.Errorf("%+v", p)
	}
	asWritten(t, r)
	if _, err := NewReport(t.Context(), lab.Tracker, "empty"); !errors.Is(err, tracker.ErrNotFound) {
		t.Error(err)
	}
}

// With a gain the report names it and says what measures mean.
func TestReportGain(t *testing.T) {
	lab := testLab(t)
	c := testConfig()
	c.Steps = 1
	for i, trials := range [][]Trial{Grid(c, ContentWeight(1, 100)), Grid(c, ContentWeight(1, 100), StyleGain(1, 2.56))} {
		runs, err := lab.Sweep(t.Context(), "e", testPair, trials, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		if v := runs[0].Params["style_gain"]; v.Number != 1 {
			t.Errorf("recorded: %+v", v)
		}
		r, err := NewReport(t.Context(), lab.Tracker, "e")
		if err != nil {
			t.Fatal(err)
		}
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
