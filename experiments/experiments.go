// Package experiments helps to choose weights: it fits a pair of pictures with many settings, records every fit and
// measures the results, which package report compares.
//
//	lab := experiments.Lab{Engine: engine, Tracker: store}
//	trials := experiments.Grid(hrstyle.Default, experiments.ContentWeight(0.8, 8, 80), experiments.StyleWeight(1, 10))
//	runs, err := lab.Sweep(ctx, "boat", pair, trials, 0, nil)
//	comparison, err := report.New(ctx, store, "boat")
//	fmt.Println(comparison.Pairs[0].Suggestion())
package experiments
