package experiments

import (
	"errors"
	"fmt"
	"html"
	"image/color"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hrlab/hrstyle"
	"hrlab/report"
	"hrlab/tracker"
)

// A report keeps pairs apart whose names are the same, and shows every setting that varies.
func TestReport(t *testing.T) {
	lab := testLab(t)
	other := hrstyle.Pair{Content: testPair.Style, Style: testPair.Content}
	other.Content.Name, other.Style.Name = filepath.Join("other", testPair.Content.Name), filepath.Join("other", testPair.Style.Name)
	c := testConfig()
	c.Steps = 1
	for _, pair := range []hrstyle.Pair{testPair, other} {
		if _, err := lab.Sweep(t.Context(), "e", pair, Grid(c, Size(32, 40), ContentWeight(1, 100)), 0, nil); err != nil {
			t.Fatal(err)
		}
	}
	r, err := report.New(t.Context(), lab.Tracker, "e")
	if err != nil || len(r.Pairs) != 2 || r.Pairs[0].Name == r.Pairs[1].Name {
		t.Fatalf("%+v %v", r, err)
	}
	for _, p := range r.Pairs {
		want := []string{"content 1, size 40", "content 1, size 32", "content 100, size 40", "content 100, size 32"}
		slices.Sort(want)
		if got := slices.Sorted(slices.Values(p.Columns)); !slices.Equal(got, want) || len(p.Matrix) != 1 || slices.Contains(p.Matrix[0], nil) {
			t.Errorf("%v of %v: %v", p.Rows, p.Columns, p.Matrix)
		}
		if len(p.Effects) != 2*5 {
			t.Errorf("%d effects", len(p.Effects))
		}
	}
	dir := t.TempDir()
	if err := errors.Join(r.HTML(filepath.Join(dir, "r.html")), r.Markdown(filepath.Join(dir, "r.md"))); err != nil {
		t.Fatal(err)
	}
	page, err := os.Stat(filepath.Join(dir, "r.html"))
	if err != nil || page.Size() > 100_000*8 {
		t.Errorf("a page of %d bytes for 8 trials, want 100 kB each at most: %v", page.Size(), err)
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
		r, err := report.New(t.Context(), lab.Tracker, name)
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
func asWritten(t *testing.T, r *report.Report) (texts []string) {
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
		files = append(files, artifactFile(t, lab.Tracker, run.ID, report.Output))
	}
	whole, err := os.ReadFile(files[1])
	if err := errors.Join(err, os.Remove(files[0]), os.Chmod(files[1], 0o644), os.WriteFile(files[1], whole[:len(whole)/2], 0o644), os.Chmod(files[2], 0o644), os.WriteFile(files[2], nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	r, err := report.New(t.Context(), lab.Tracker, "e")
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
	r, err := report.New(t.Context(), lab.Tracker, "e")
	if err != nil {
		t.Fatal(err)
	}
	if p := r.Pairs[0]; p.Suggested != nil || p.Finished != 0 || len(p.Matrix) != 0 || p.NoSuggestion() != "" {
		t.Errorf("%+v", p)
	}
	asWritten(t, r)
	if _, err := report.New(t.Context(), lab.Tracker, "empty"); !errors.Is(err, tracker.ErrNotFound) {
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
		r, err := report.New(t.Context(), lab.Tracker, "e")
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
