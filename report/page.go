package report

import (
	"bytes"
	_ "embed" // the pages
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"strconv"
	"strings"

	"hrlab/picture"
	"hrlab/tracker/web/slider"
)

//go:embed report.html
var page string

// pageFuncs are what pages call.
var pageFuncs = template.FuncMap{
	"picture": func(jpeg []byte) template.URL {
		return template.URL("data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(jpeg)) //nolint:gosec // base64
	},
	"size": func(jpeg []byte) template.HTMLAttr {
		c, _, _ := image.DecodeConfig(bytes.NewReader(jpeg))
		return template.HTMLAttr(fmt.Sprintf(`width="%d" height="%d"`, c.Width, c.Height)) //nolint:gosec // numbers
	},
	"svg":         SVG,
	"slider":      func() template.HTML { return template.HTML(slider.Elements) }, //nolint:gosec // a constant
	"sliding":     func() template.JS { return template.JS(slider.Script) },       //nolint:gosec // a constant
	"sliderStyle": func() template.CSS { return template.CSS(slider.Style) },      //nolint:gosec // a constant
	"measures":    func() any { return measures },
	"gainNote":    func() string { return gainNote },
	"number":      func(v float64) string { return strconv.FormatFloat(v, 'g', 3, 64) },
	"title":       measureTitle,
	"sentence":    sentence,
	"words":       func(name string) string { return strings.ReplaceAll(name, "_", " ") },
}

// HTML writes the report as one file, which needs no other file and no network.
func (r *Report) HTML(path string) error {
	t, err := template.New("report").Funcs(pageFuncs).Parse(page)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	if err := t.Execute(&buf, r); err != nil {
		return err
	}
	return picture.WriteFile(path, buf.Bytes())
}

// sentence is text with a capital.
func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] }
