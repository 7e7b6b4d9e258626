// Package pages has what knows style transfer of the tracker's pages: starting fits and ending them, the command that makes a
// run again, and three pages that compare:
//
//   - the matrix: outputs by any two settings, coloured by a measure; empty cells can be queued,
//   - which is better: a person chooses between outputs, and [report.Like] learns what they like,
//   - the map: runs by any measures and settings, with their Pareto front.
//
// The page of a run makes its picture at full size, and shows a weight map under a slider, at any ratio of the weights.
package pages

import (
	"hrlab/experiments"
	"hrlab/report"
	"hrlab/tracker"
	"hrlab/tracker/web"
)

// best are the runs that stand for an experiment: those of its Pareto front, the knee first.
func best(runs []tracker.Measured) []tracker.Measured {
	both := func(m tracker.Measured) (content, style float64) { return m.Last[0], m.Last[1] }
	return report.Best(report.FrontOf(runs, both), both)
}

// Options are those of a server that shows fits.
func Options(store *tracker.Store, vgg string) web.Options {
	pictures := experiments.NewPictures(store) // as long as the server lives
	return web.Options{
		Extensions: append(looking(), fits(store, vgg, pictures), weightMap(store, pictures)),
		Columns:    []string{"created", "params.content_weight", "params.style_weight", "metrics." + report.ContentKept, "metrics." + report.StyleMatch, "metrics.total"},
		Unlisted:   []string{"fit", "output_as"}, // a digest, and how fit --resume writes the picture
		Measures:   []string{report.ContentKept, report.StyleMatch},
		Best:       best,
		Picture:    report.Output,
	}
}
