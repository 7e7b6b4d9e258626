package experiments_test

import (
	"fmt"

	"hrlab/experiments"
	"hrlab/hrstyle"
)

// A grid of two axes, each trial with two seeds.
func ExampleGrid() {
	trials := experiments.Grid(hrstyle.Default, experiments.ContentWeight(8, 80), experiments.StyleWeight(1, 10))
	for _, t := range experiments.Repeat(trials[:2], 2) {
		fmt.Println(t.Config.ContentWeight, t.Config.StyleWeight, t.Config.Seed)
	}
	fmt.Println(experiments.Validate(trials))
	// Output:
	// 8 1 0
	// 8 1 1
	// 8 10 0
	// 8 10 1
	// <nil>
}

// Values of an axis as the command line has them.
func ExampleParseValues() {
	for _, text := range []string{"0.8,8,80", "log:0.8:8000:5", "lin:0:100:3", "log:0:10:3"} {
		fmt.Println(experiments.ParseValues("content-weight", text))
	}
	// Output:
	// [0.8 8 80] <nil>
	// [0.8 8 80 800 8000] <nil>
	// [0 50 100] <nil>
	// [] content-weight "log:0:10:3": FROM of log is above 0; allowed: comma-separated numbers, log:FROM:TO:N or lin:FROM:TO:N
}
