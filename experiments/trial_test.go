package experiments

import (
	"fmt"
	"math"
	"slices"
	"strconv"
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

// The paper's presets aim at what the authors' runs aim at, which Reference does by the pictures' own sizes.
func TestPresetsGain(t *testing.T) {
	for preset, want := range map[string]float64{"paper": 2.56, "table": 2.56, "wide": 1} {
		for _, tr := range Grid(hrstyle.Default, Presets[preset]...) {
			if tr.Config.StyleGain != want {
				t.Errorf("%s: gain %g, want %g", preset, tr.Config.StyleGain, want)
			}
		}
		for _, tr := range Grid(hrstyle.Reference, Presets[preset]...) {
			if tr.Config.StyleGain != 1 {
				t.Errorf("reference, %s: gain %g, want 1", preset, tr.Config.StyleGain)
			}
		}
	}
	var got []float64
	for _, tr := range Grid(hrstyle.Default, StyleGain(1, 2.56)) {
		got = append(got, tr.Config.StyleGain)
	}
	if !slices.Equal(got, []float64{1, 2.56}) {
		t.Errorf("an axis of gains: %g", got)
	}
}

// Values of an axis are those that a person would write, whichever way they come in, and each is there once.
func TestAxisValues(t *testing.T) {
	for text, want := range map[string]string{
		"lin:0.1:0.5:5":               "0.1 0.2 0.3 0.4 0.5",
		"lin:0:1:11":                  "0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1",
		"lin:1:10:4":                  "1 4 7 10",
		"lin:1:2:4":                   "1 1.33333 1.66667 2",
		"lin:-1:1:3":                  "-1 0 1",
		"lin:-0.3:0.3:7":              "-0.3 -0.2 -0.1 0 0.1 0.2 0.3",
		"lin:0:100:7":                 "0 16.6667 33.3333 50 66.6667 83.3333 100",
		"lin:100000:100010:5":         "100000 100002.5 100005 100007.5 100010",
		"lin:1000000.1:1000000.5:5":   "1.0000001e+06 1.0000002e+06 1.0000003e+06 1.0000004e+06 1.0000005e+06",
		"lin:1:2469133:3":             "1 1.234567e+06 2.469133e+06",
		"lin:1e-3:5e-3:5":             "0.001 0.002 0.003 0.004 0.005",
		"lin:1e-12:3e-12:3":           "1e-12 2e-12 3e-12",
		"lin:1e20:4e20:4":             "1e+20 2e+20 3e+20 4e+20",
		"lin:0.1:0.7:4":               "0.1 0.3 0.5 0.7",
		"log:0.8:8000:5":              "0.8 8 80 800 8000",
		"log:0.001:1:4":               "0.001 0.01 0.1 1",
		"log:1:1000:10":               "1 2.15443 4.64159 10 21.5443 46.4159 100 215.443 464.159 1000",
		"log:1e-5:1e-3:3":             "1e-05 0.0001 0.001",
		"log:100000:100001:3":         "100000 100000.5 100001",
		"log:1234567:12345678:2":      "1.234567e+06 1.2345678e+07",
		"80,80.0,8e1":                 "80",
		"1e-3,0.001,5e-3":             "0.001 0.005",
		"-0,0":                        "0",
		"0.30000000000000004,0.3":     "0.3",
		"3,1,2,1":                     "3 1 2",
		"1e308,1e-308,5e-324":         "1e+308 1e-308 5e-324",
		"0.12345678901,0.12345678902": "0.12345678901 0.12345678902",
	} {
		values, err := ParseValues("content-weight", text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var got []string
		for _, tr := range Grid(hrstyle.Default, ContentWeight(values...)) {
			got = append(got, strconv.FormatFloat(tr.Config.ContentWeight, 'g', -1, 64))
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	tenth := 0.1
	for _, axis := range []func(...float64) Axis{ContentWeight, StyleWeight, StyleGain, LearningRate} {
		if a := axis(3*tenth, 0.3, tenth+2*tenth, 0.7-4*tenth); !slices.Equal(a.values, []float64{0.3}) {
			t.Errorf("%s: %v", a.Name, a.values)
		}
	}
	if a := ContentWeight(math.Inf(1), math.NaN()); !math.IsInf(a.values[0], 1) || !math.IsNaN(a.values[1]) {
		t.Errorf("%v: Validate would not see them", a.values)
	}
	if a := Seed(3, 3, 1); a.Len() != 2 {
		t.Errorf("%v", a.values)
	}
	for _, kind := range []string{"lin", "log"} { // however close, neighbours stay apart and in their place
		for _, ends := range []string{"1:2", "1000:1001", "0.001:1000", "123456.7:123456.8"} {
			values, err := ParseValues("w", kind+":"+ends+":1000")
			if err != nil || !slices.IsSorted(values) || len(slices.Compact(slices.Clone(values))) != 1000 {
				t.Errorf("%s:%s: %v", kind, ends, err)
			}
		}
	}
}

// What was finished before there was a style gain is known by the same digest; these were computed then.
func TestFitDigest(t *testing.T) {
	vgg := hrstyle.RandomVGG()
	c := testConfig()
	c.ContentWeight = 8
	digest := func() string {
		n, err := describe(About{}, vgg.Label, pairInputs(testPair, vgg), testPair, Trial{Config: c}, 0)
		if err != nil {
			t.Fatal(err)
		}
		return n.Tags["fit"]
	}
	if got, want := digest(), "17b7eef3fb903615"; got != want {
		t.Errorf("%s, was %s", got, want)
	}
	got, err := fitDigest(hrstyle.Reference, map[string]string{"content": "c", "style": "s", "vgg": "v"}, 20)
	if want := "17acc630d823c121"; err != nil || got != want {
		t.Errorf("%s %v, was %s", got, err, want)
	}
	one := digest()
	c.StyleGain = 2.56
	if other := digest(); other == one {
		t.Error("a gain does not change the digest")
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
		"log:10:1:3":    "FROM is less than TO, and N is 2 to 1000",
		"lin:1:10:1":    "FROM is less than TO, and N is 2 to 1000",
		"log:1:10:2000": "FROM is less than TO, and N is 2 to 1000",
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
