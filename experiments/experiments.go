// Package experiments helps to choose weights: it fits a pair of pictures with many settings, records every fit and
// measures the results, which package report compares.
//
//	lab := experiments.Lab{Engine: engine, Tracker: store}
//	trials := experiments.Grid(hrstyle.Default, experiments.ContentWeight(0.8, 8, 80), experiments.StyleWeight(1, 10))
//	runs, err := lab.Sweep(ctx, "boat", pair, trials, 0, nil)
//	comparison, err := report.New(ctx, store, "boat")
//	fmt.Println(comparison.Pairs[0].Suggestion())
//
// A [Lab] fits with an engine of its own. A [WarmLab] hands its fits to a worker process that stays warm, as cells of
// notebooks do, which are short processes. Both are a [Fitter]. A [Queue] hands trials to workers on any machine that reaches
// the database and its artifacts; [Lab.Work] is such a worker.
package experiments
