package report

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"hrlab/tracker"
)

// made is a run with these measures and weights.
func made(id int64, content, style, contentWeight float64, seed string) tracker.Info {
	number := func(v float64) tracker.Value {
		return tracker.Value{Text: string(rune('a' + int(v))), Number: v, IsNumber: true}
	}
	return tracker.Info{
		ID:      id,
		Params:  map[string]tracker.Value{"content_weight": number(contentWeight), "style_weight": number(1), "seed": {Text: seed, IsNumber: true}},
		Metrics: map[string]tracker.Metric{ContentKept: {Last: content}, StyleMatch: {Last: style}},
	}
}

// The front is what comparing everything with everything finds.
func TestFront(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		var runs []tracker.Info
		for i := range random.IntN(12) {
			v := func() float64 { return float64(random.IntN(5)) / 4 } // ties are frequent
			runs = append(runs, made(int64(i), v(), v(), 1, "0"))
		}
		runs = append(runs, made(99, math.NaN(), 1, 1, "0"), tracker.Info{ID: 100})
		want := map[[2]float64]bool{}
		for _, r := range runs[:len(runs)-2] {
			c, s := Measured(r, ContentKept), Measured(r, StyleMatch)
			if !slices.ContainsFunc(runs[:len(runs)-2], func(o tracker.Info) bool {
				oc, os := Measured(o, ContentKept), Measured(o, StyleMatch)
				return oc >= c && os >= s && (oc > c || os > s)
			}) {
				want[[2]float64{c, s}] = true
			}
		}
		front := Front(runs)
		for i, r := range front {
			if !want[[2]float64{Measured(r, ContentKept), Measured(r, StyleMatch)}] {
				t.Fatalf("run %d is dominated", r.ID)
			}
			if i > 0 && Measured(r, StyleMatch) <= Measured(front[i-1], StyleMatch) {
				t.Fatal("not in order")
			}
		}
		if len(front) != len(want) {
			t.Fatalf("%d on the front, want %d", len(front), len(want))
		}
		if _, ok := Knee(front); ok != (len(front) > 0) {
			t.Fatal("knee of ", len(front))
		}
	}
}

func TestKnee(t *testing.T) {
	front := []tracker.Info{made(1, 1, 0, 1, "0"), made(2, 0.95, 0.5, 1, "0"), made(3, 0.8, 0.9, 1, "0"), made(4, 0, 1, 1, "0")}
	if knee, ok := Knee(front); !ok || knee.ID != 3 {
		t.Errorf("knee is run %d", knee.ID)
	}
	if knee, ok := Knee(front[:2]); !ok || knee.ID != 1 {
		t.Errorf("knee of two is run %d", knee.ID)
	}
}

func TestEffectsAndSpread(t *testing.T) {
	runs := []tracker.Info{made(1, 0.5, 0.2, 1, "0"), made(2, 0.7, 0.2, 1, "1"), made(3, 0.9, 0.1, 8, "0"), made(4, 0.7, 0.1, 8, "1")}
	if v := Varied(runs); !slices.Equal(v, []string{"content_weight"}) {
		t.Errorf("varied: %v", v)
	}
	effects := Effects(runs, ContentKept, StyleMatch)
	if len(effects) != 2 || math.Abs(effects[0].Effect-0.2) > 1e-12 || math.Abs(effects[1].Effect-0.1) > 1e-12 {
		t.Errorf("%v", effects)
	}
	if s := Spread(runs, ContentKept); math.Abs(s-math.Sqrt(0.04/2)) > 1e-12 { // 2·0.1² in each group, one degree each
		t.Errorf("spread %g", s)
	}
	if s := Spread(runs[1:3], ContentKept); !math.IsNaN(s) {
		t.Errorf("spread without repeats %g", s)
	}
}

func TestDifference(t *testing.T) {
	a, b := image.NewGray(image.Rect(3, 3, 5, 4)), image.NewGray(image.Rect(0, 0, 2, 1))
	a.SetGray(3, 3, color.Gray{30})
	a.SetGray(4, 3, color.Gray{200})
	b.SetGray(0, 0, color.Gray{20})
	d := Difference(a, b)
	if d.RGBAAt(0, 0) != (color.RGBA{40, 40, 40, 255}) || d.RGBAAt(1, 0) != (color.RGBA{255, 255, 255, 255}) {
		t.Errorf("%v", d.Pix)
	}
}

// Runs from before the style gain was introduced have one of 1.
func TestGainOfOldRuns(t *testing.T) {
	old, one, more := made(1, 0.9, 0.1, 8, "0"), made(2, 0.8, 0.2, 8, "1"), made(3, 0.5, 0.6, 8, "0")
	one.Params["style_gain"] = tracker.Value{Text: "1", Number: 1, IsNumber: true}
	more.Params["style_gain"] = tracker.Value{Text: "2.56", Number: 2.56, IsNumber: true}
	if v := Varied([]tracker.Info{old, one}); len(v) != 0 {
		t.Errorf("varied: %v", v)
	}
	if v := Varied([]tracker.Info{old, more}); !slices.Equal(v, []string{"style_gain"}) {
		t.Errorf("varied: %v", v)
	}
	if s := Spread([]tracker.Info{old, one, more}, ContentKept); math.Abs(s-0.1/math.Sqrt2) > 1e-12 {
		t.Errorf("spread %g: the first two differ in the seed alone", s)
	}
	if e := Effects([]tracker.Info{old, one, more}, ContentKept); len(e) != 1 || math.Abs(e[0].Effect-0.35) > 1e-12 {
		t.Errorf("%+v", e)
	}
}

// Values that are not finite, or were divided by noise, as older databases have them, take no part in a comparison.
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
		r := Run{Info: made(1, v, v, 1, "0")}
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
	if testing.Short() {
		t.Skip("draws charts, which is slow with the race detector and not concurrent")
	}
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
			p := &Pair{curves: []tracker.Series{{Run: 1, Metric: "style", Steps: steps, Values: values}}}
			for i, v := range append(values, nan) {
				info := made(int64(i), v, v, 1, "0")
				info.Status = tracker.Finished
				p.Runs = append(p.Runs, Run{Info: info, OnFront: i == 0 && Measured(info, ContentKept) == v})
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
