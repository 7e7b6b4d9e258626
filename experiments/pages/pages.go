// Package pages has what knows style transfer of the tracker's pages: starting fits and ending them, and the command that makes a
// run again.
package pages

import (
	"hrlab/report"
	"hrlab/tracker"
	"hrlab/tracker/web"
)

// Options are those of a server that shows fits.
func Options(store *tracker.Store, vgg string) web.Options {
	return web.Options{
		Extensions: []web.Extension{fits(store, vgg)},
		Columns:    []string{"created", "params.content_weight", "params.style_weight", "metrics." + report.ContentKept, "metrics." + report.StyleMatch, "metrics.total"},
		Rank:       "-metrics." + report.StyleMatch,
		Picture:    report.Output,
	}
}
