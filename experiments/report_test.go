package experiments

import (
	"image/color"
	"slices"
	"strings"
	"testing"

	"hrlab/hrstyle"
	"hrlab/report"
)

// What a sweep records is what a report shows: settings, pictures, measures, and why there are none.
func TestReport(t *testing.T) {
	lab := testLab(t)
	c := testConfig()
	c.Steps = 1
	for name, pair := range map[string]hrstyle.Pair{
		"a pair":      testPair,
		"one picture": {Content: testPair.Content, Style: testPair.Content},
		"flat":        {Content: uniform(color.Gray{128}), Style: testPair.Style},
	} {
		if _, err := lab.Sweep(t.Context(), name, pair, Grid(c, ContentWeight(1, 100), StyleGain(1, 2.56)), 0, nil); err != nil {
			t.Fatal(err)
		}
		r, err := report.New(t.Context(), lab.Tracker, name)
		if err != nil || len(r.Faults) > 0 || len(r.Pairs) != 1 {
			t.Fatalf("%s: %+v %v", name, r, err)
		}
		p := r.Pairs[0]
		if p.Finished != 4 || p.Content == nil || p.Style == nil || p.Runs[0].Output == nil || !p.Gain || !slices.Contains(p.Columns, "content 100, style gain 2.56") {
			t.Errorf("%s: %d finished, gain %t, %q", name, p.Finished, p.Gain, p.Columns)
		}
		if name == "a pair" { // its loss has only begun to fall
			if p.Suggested != nil || len(p.NotDefined) > 0 || !strings.Contains(p.Suggestion(), "first fall of the loss") {
				t.Errorf("%q; %q", p.Suggestion(), p.NotDefined)
			}
			continue
		}
		if p.Suggested != nil || len(p.NotDefined) != 1 || !strings.HasPrefix(p.NoSuggestion(), "nothing is suggested: ") {
			t.Errorf("%s: %+v suggested; %q, %q", name, p.Suggested, p.NotDefined, p.NoSuggestion())
		}
	}
}
