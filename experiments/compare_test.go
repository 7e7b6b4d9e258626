package experiments

import (
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"slices"
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
			c, s := measure(r, ContentKept), measure(r, StyleMatch)
			if !slices.ContainsFunc(runs[:len(runs)-2], func(o tracker.Info) bool {
				oc, os := measure(o, ContentKept), measure(o, StyleMatch)
				return oc >= c && os >= s && (oc > c || os > s)
			}) {
				want[[2]float64{c, s}] = true
			}
		}
		front := Front(runs)
		for i, r := range front {
			if !want[[2]float64{measure(r, ContentKept), measure(r, StyleMatch)}] {
				t.Fatalf("run %d is dominated", r.ID)
			}
			if i > 0 && measure(r, StyleMatch) <= measure(front[i-1], StyleMatch) {
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

func TestNearest(t *testing.T) {
	runs := []tracker.Info{made(1, 0, 0, 0, "0"), made(2, 0, 0, 8, "0"), made(3, 0, 0, 20, "0")}
	for weight, want := range map[float64]int64{0: 1, 7: 2, 13: 3, 1e6: 3} {
		if r, ok := Nearest(runs, weight, 1); !ok || r.ID != want {
			t.Errorf("nearest to %g is run %d, want %d", weight, r.ID, want)
		}
	}
	if _, ok := Nearest(nil, 1, 1); ok {
		t.Error("nearest of none")
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

// Runs of before there was a style gain have one of 1.
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
