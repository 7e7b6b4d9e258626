package prefer_test

import (
	"cmp"
	"encoding/csv"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"hrlab/report"
	"hrlab/report/prefer"
	"hrlab/tracker"
)

// grid are the trials of a sweep of the built-in pair, and their measures, each scaled to 0 to 1:
//
//	hrlab sweep --content day.png --style dusk.png --size 96 --steps 150 --content-weight 8,30,80,250,800 --style-gain 0.6,1,1.6,2.56,4
func grid(t testing.TB) (points, measures [][]float64) {
	t.Helper()
	file, err := os.Open("testdata/grid.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	const weights = 2
	for _, line := range lines[1:] {
		var values []float64
		for _, text := range line {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, v)
		}
		points = append(points, []float64{math.Log(values[0]), math.Log(values[1])})
		measures = append(measures, values[weights:])
	}
	for k := range measures[0] {
		by := func(a, b []float64) int { return cmp.Compare(a[k], b[k]) }
		low, high := slices.MinFunc(measures, by)[k], slices.MaxFunc(measures, by)[k]
		for i := range measures {
			measures[i][k] = (measures[i][k] - low) / (high - low)
		}
	}
	return points, measures
}

// person has hidden preferences: the nearer the measures of a picture are to the person's ideal, the better (Coombs, "A
// Theory of Data", 1964). Every person weighs the measures in their own way. Utilities are 1 for the best trial and 0 for the worst.
func person(measures [][]float64, random *rand.Rand) []float64 {
	ideal, weight := make([]float64, len(measures[0])), make([]float64, len(measures[0]))
	for k := range ideal {
		ideal[k], weight[k] = random.Float64(), random.ExpFloat64()
	}
	utility := make([]float64, len(measures))
	for i := range measures {
		for k, v := range measures[i] {
			utility[i] -= weight[k] * (v - ideal[k]) * (v - ideal[k])
		}
	}
	low, high := slices.Min(utility), slices.Max(utility)
	for i := range utility {
		utility[i] = (utility[i] - low) / (high - low)
	}
	return utility
}

// choose is what the person clicks. They see differences from 0.02 on, and are not quite sure of small ones.
func choose(utility []float64, shown []int, random *rand.Rand) prefer.Choice {
	seen := make([]float64, len(shown))
	for a, i := range shown {
		seen[a] = utility[i] - 0.02*math.Log(random.ExpFloat64()) // Gumbel's distribution, as the model of choices has
	}
	best := slices.Index(seen, slices.Max(seen))
	if len(shown) == 2 && math.Abs(utility[shown[0]]-utility[shown[1]]) < 0.02 {
		return prefer.Choice{Shown: shown, Best: -1}
	}
	return prefer.Choice{Shown: shown, Best: shown[best]}
}

func median(values []float64) float64 {
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

// After 12 clicks the pick is nearly as good as the best of 25 trials, and better than that of a person who trusts chance, or
// the knee of the Pareto front.
func TestTwelveClicks(t *testing.T) {
	points, measures := grid(t)
	const persons, clicks = 200, 12
	var runs []tracker.Info
	for i, m := range measures {
		runs = append(runs, tracker.Info{ID: int64(i), Metrics: map[string]tracker.Metric{report.ContentKept: {Last: m[0]}, report.StyleMatch: {Last: m[1]}}})
	}
	knee, _ := report.Knee(report.Front(runs))
	lost := map[string][]float64{} // of the best utility, by who picks
	right, sure := 0.0, 0.0        // how often the pick is the best, and how often the model expects that
	for seed := range uint64(persons) {
		random := rand.New(rand.NewPCG(seed, 0))
		utility := person(measures, random)
		lost["chance"] = append(lost["chance"], 1-utility[random.IntN(len(points))])
		lost["knee"] = append(lost["knee"], 1-utility[knee.ID])
		var choices []prefer.Choice
		model := prefer.Fit(points, nil, nil)
		for range clicks {
			choices = append(choices, choose(utility, model.Show(2), random))
			model = prefer.Fit(points, choices, nil)
		}
		pick := argmax(model.Utilities())
		lost["model"] = append(lost["model"], 1-utility[pick])
		sure += model.Sure()[pick] / persons
		if utility[pick] == 1 {
			right += 1.0 / persons
		}
	}
	model, chance, kneeLoses := median(lost["model"]), median(lost["chance"]), median(lost["knee"])
	t.Logf("of the best utility the median loses %.3f with the model, %.3f with the knee, %.3f by chance; the pick is the best %.2f of the times, which it expects %.2f of the times", model, kneeLoses, chance, right, sure)
	if model > 0.05 || model >= kneeLoses || model >= chance {
		t.Error("the model is to lose 0.05 at most, and less than the others")
	}
	if sure > right+0.1 {
		t.Error("the model is surer than it may be")
	}
}
