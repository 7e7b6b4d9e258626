package experiments

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"hrlab/hrstyle"
)

func TestGrid(t *testing.T) {
	trials := Grid(hrstyle.Default, ContentWeight(1, 2), StyleWeight(3, 4, 5), Seed(7))
	var got []string
	for _, tr := range trials {
		got = append(got, fmt.Sprint(tr.Config.ContentWeight, tr.Config.StyleWeight, tr.Config.Seed))
	}
	if want := []string{"1 3 7", "1 4 7", "1 5 7", "2 3 7", "2 4 7", "2 5 7"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if hrstyle.Default.Seed != 0 {
		t.Error("Default was changed")
	}
	repeated := Repeat(trials[:2], 3)
	if len(repeated) != 6 || repeated[2].Config.Seed != 9 || repeated[3].Config.StyleWeight != 4 {
		t.Errorf("%v", repeated)
	}
	if n := len(Grid(hrstyle.Default, Presets["paper"]...)); n != 4 {
		t.Errorf("paper has %d trials", n)
	}
}

func TestRandom(t *testing.T) {
	trials := Random(hrstyle.Default, 1000, 3, ContentWeight(1, 10000))
	below := 0
	for _, tr := range trials {
		w := tr.Config.ContentWeight
		if w < 1 || w > 10000 {
			t.Fatalf("%g", w)
		}
		if w < 100 {
			below++
		}
	}
	if below < 400 || below > 600 {
		t.Errorf("%d of 1000 below the middle in logarithms", below)
	}
	if again := Random(hrstyle.Default, 1000, 3, ContentWeight(1, 10000)); !slices.Equal(again, trials) {
		t.Error("another draw with the same seed")
	}
}

func TestParseValues(t *testing.T) {
	for text, want := range map[string][]float64{
		"80":             {80},
		"0.8, 8,80":      {0.8, 8, 80},
		"log:0.8:8000:5": {0.8, 8, 80, 800, 8000},
		"lin:0:10:3":     {0, 5, 10},
		"1e2":            {100},
	} {
		got, err := ParseValues("content-weight", text)
		if err != nil || !slices.EqualFunc(got, want, func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }) {
			t.Errorf("%q: %v %v, want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":              `"" is no number`,
		"1,x":           `"x" is no number`,
		"NaN":           `"NaN" is no number`,
		"1,,2":          `"" is no number`,
		"log:0:10:3":    "FROM of log is above 0",
		"log:10:1:3":    "an empty range",
		"lin:1:10:1":    "an empty range",
		"log:1:10:2000": "an empty range",
		"exp:1:10:3":    "not understood",
		"log:1:10":      "not understood",
		"log:a:10:3":    "FROM and TO are numbers",
		"lin:1:inf:3":   "FROM and TO are numbers",
	} {
		_, err := ParseValues("content-weight", text)
		if err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("content-weight %q: ", text)) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if err := Validate(Grid(hrstyle.Default, ContentWeight(1, -1))); err == nil || err.Error() != "trial 2 of 2: content-weight -1: allowed: a finite number, at least 0" {
		t.Error(err)
	}
	if err := Validate(nil); err == nil {
		t.Error("no trials are valid")
	}
}
