package prefer_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"hrlab/report/prefer"
)

func argmax(values []float64) int { return slices.Index(values, slices.Max(values)) }

// Choices that say the opposite, of things with equal points, and none at all are no trouble.
func TestOddChoices(t *testing.T) {
	for name, c := range map[string]struct {
		things  [][]float64
		choices []prefer.Choice
	}{
		"one thing":  {[][]float64{{1}}, nil},
		"no choice":  {[][]float64{{1, 2}, {3, 2}}, nil},
		"opposite":   {[][]float64{{1}, {2}}, []prefer.Choice{{Shown: []int{0, 1}, Best: 0}, {Shown: []int{1, 0}, Best: 1}}},
		"the same":   {[][]float64{{1}, {2}, {4}}, slices.Repeat([]prefer.Choice{{Shown: []int{0, 1, 2}, Best: -1}}, 50)},
		"equal":      {[][]float64{{1}, {1}, {1}}, slices.Repeat([]prefer.Choice{{Shown: []int{0, 2}, Best: 2}}, 50)},
		"many times": {[][]float64{{1}, {2}}, slices.Repeat([]prefer.Choice{{Shown: []int{0, 1}, Best: 1}}, 500)},
	} {
		m := prefer.Fit(c.things, c.choices, [][]float64{c.things[0]})
		total := 0.0
		for i, s := range m.Sure() {
			total += s
			if math.IsNaN(m.Utilities()[i]) {
				t.Errorf("%s: utility %v", name, m.Utilities())
			}
		}
		if math.Abs(total-1) > 1e-9 {
			t.Errorf("%s: %v add up to %g", name, m.Sure(), total)
		}
		shown := m.Show(4)
		slices.Sort(shown)
		if len(slices.Compact(shown)) != min(4, len(c.things)) {
			t.Errorf("%s: shows %v", name, shown)
		}
		if best := argmax(m.Utilities()); name == "equal" && best != 2 || name == "many times" && (best != 1 || m.Sure()[1] < 0.99) {
			t.Errorf("%s: %d is best of %v, sure %v", name, best, m.Utilities(), m.Sure())
		}
	}
}

// What lies near the thing that is liked is proposed, and what lies elsewhere is not.
func TestNext(t *testing.T) {
	things, candidates := [][]float64{{0}, {2}, {4}, {6}}, [][]float64{{0.5}, {3.8}, {4.4}, {6.2}}
	var choices []prefer.Choice
	for _, other := range []int{0, 1, 3, 1, 3} {
		choices = append(choices, prefer.Choice{Shown: []int{2, other}, Best: 2})
	}
	candidate, improvement := prefer.Fit(things, choices, candidates).Next()
	if candidate != 1 && candidate != 2 || improvement <= 0 {
		t.Errorf("candidate %d, better by %g", candidate, improvement)
	}
}

// The likelihood's gradient is in balance at the mode: two things of equal points, of which one is chosen 3 times of 4, differ by
// less than the logarithm of 3, which their data alone would say.
func TestShrinks(t *testing.T) {
	choices := slices.Repeat([]prefer.Choice{{Shown: []int{0, 1}, Best: 0}, {Shown: []int{0, 1}, Best: 0}, {Shown: []int{0, 1}, Best: 0}, {Shown: []int{0, 1}, Best: 1}}, 100)
	u := prefer.Fit([][]float64{{0}, {1}}, choices, nil).Utilities()
	if far := u[0] - u[1]; far > math.Log(3)+0.05 || far < 0.9 {
		t.Errorf("utilities differ by %g", far)
	}
}

func BenchmarkFit(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 1))
	var things, candidates [][]float64
	for range 200 {
		things = append(things, []float64{random.Float64(), random.Float64()})
	}
	for range 120 {
		candidates = append(candidates, []float64{random.Float64(), random.Float64()})
	}
	var choices []prefer.Choice
	for range 30 {
		choices = append(choices, prefer.Choice{Shown: random.Perm(200)[:2], Best: -1})
	}
	for b.Loop() {
		prefer.Fit(things, choices, candidates).Next()
	}
}
