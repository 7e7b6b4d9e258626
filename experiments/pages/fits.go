package pages

import (
	"bytes"
	"context"
	_ "embed" // the page
	"html/template"
	"net/http"

	"hrlab/report"
	"hrlab/tracker"
	"hrlab/tracker/web"
)

//go:embed fits.html
var fitsPage string

var fitsTemplate = template.Must(template.New("fits").Funcs(web.Funcs).Parse(fitsPage))

// fits starts fits and ends them. vgg are the weights that they use, as hrstyle.OpenVGG names them.
func fits(_ *tracker.Store, _ string) web.Extension {
	return web.Extension{Name: "fits", Handler: func(*web.Server) http.Handler { return http.NewServeMux() }, Run: func(_ context.Context, info tracker.Info) (template.HTML, error) {
		var b bytes.Buffer
		run := report.Run{Info: info}
		err := fitsTemplate.ExecuteTemplate(&b, "run", map[string]any{"Command": run.Command()})
		return template.HTML(b.String()), err //nolint:gosec // by a template
	}}
}
