package nb

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	_ "embed" // the pages' scripts

	"hrlab/picture"

	"hrlab/report"
	"hrlab/tracker"

	"github.com/janpfeifer/gonb/gonbui"
	"github.com/janpfeifer/gonb/gonbui/protocol"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
)

//go:embed show.html
var pages string

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"picture": func(jpeg []byte) template.URL {
		return template.URL("data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(jpeg)) //nolint:gosec // base64
	},
}).Parse(pages))

// render executes a template of show.html.
func render(name string, data any) string {
	var out bytes.Buffer
	Check(templates.ExecuteTemplate(&out, name, data))
	return out.String()
}

// display shows html, or text where HTML cannot be shown, such as in a terminal.
func display(html, text string) {
	if !gonbui.IsNotebook {
		return
	}
	gonbui.SendData(&protocol.DisplayData{Data: map[protocol.MIMEType]any{protocol.MIMETextHTML: html, protocol.MIMETextPlain: text}})
	gonbui.Sync() // the cell may end next
}

// maxShown is the most pixels of the longer side of a picture in a notebook, which is saved with its pictures.
const maxShown = 512

// figure is a picture and its caption.
type figure struct {
	Caption string
	JPEG    []byte
}

// figures are pictures with their captions, or without one with their names.
func figures(pictures []image.Image, captions ...string) (list []figure, text string) {
	var names strings.Builder
	for i, p := range pictures {
		f := figure{JPEG: Must(picture.JPEG(p, maxShown, 0))}
		if i < len(captions) {
			f.Caption = captions[i]
		}
		if named, ok := p.(picture.Picture); ok && f.Caption == "" {
			f.Caption = filepath.Base(named.Name)
		}
		list = append(list, f)
		fmt.Fprintf(&names, "[%s %dx%d]", cmp.Or(f.Caption, "picture"), p.Bounds().Dx(), p.Bounds().Dy())
	}
	return list, names.String()
}

// Show shows pictures side by side, each [picture.Picture] with its name.
func Show(pictures ...image.Image) {
	list, text := figures(pictures)
	display(render("show", list), text)
}

// Slider shows two pictures of one size, with a slider that moves the border between them. Captions say what is left and right;
// by default they are the names of each [picture.Picture]. Without scripts the two are side by side.
func Slider(left, right image.Image, captions ...string) {
	list, text := figures([]image.Image{left, right}, captions...)
	list[0].Caption, list[1].Caption = cmp.Or(list[0].Caption, "left"), cmp.Or(list[1].Caption, "right")
	display(render("slider", struct {
		ID            string
		Left, Right   figure
		Width, Height int // of the picture
		Shown         int // its width in the notebook
	}{id(), list[0], list[1], right.Bounds().Dx(), right.Bounds().Dy(), shownWidth(right)}), text)
}

// shownWidth is the width of a picture in a notebook where it is looked at closely: small ones are enlarged.
func shownWidth(p image.Image) int { return max(320, min(maxShown, p.Bounds().Dx())) }

// id names an element of a page.
func id() string { return "hrlab" + strings.ReplaceAll(gonbui.UniqueId(), "-", "") }

// Colours of gonum's lines and points, which are black otherwise, tell them apart on white and on black.
func init() {
	plotter.DefaultLineStyle.Color, plotter.DefaultGlyphStyle.Color = report.Colours[0], report.Colours[0]
	plotutil.DefaultColors = report.Colours
}

// Chart shows a chart of your own, made with gonum.org/v1/plot:
//
//	chart := report.NewChart("how much is kept", "content weight", "content kept")
//	nb.Check(plotutil.AddLinePoints(chart,
//		"style weight 1", plotter.XYs{{X: 3, Y: 0.2}, {X: 300, Y: 0.95}},
//		"style weight 10", plotter.XYs{{X: 3, Y: 0.05}, {X: 300, Y: 0.7}}))
//	nb.Chart(chart)
//
// Lines and points of plotutil have [report.Colours], others without a colour the first of them. Colours that you give stay.
func Chart(p *plot.Plot) { display(render("chart", chart(p)), "[chart: "+p.Title.Text+"]") }

// RunCurves shows a chart of the curves of a metric, such as "style", of runs in the order given.
func RunCurves(ctx context.Context, metric string, runs ...tracker.Info) {
	var ids []int64
	for _, r := range runs {
		ids = append(ids, r.ID)
	}
	store := Tracker(ctx)
	series := Must(store.Series(ctx, ids, []string{metric}, 500))
	Check(store.Close())
	varied := report.Varied(runs)
	var curves []report.Curve
	for _, r := range runs {
		i := slices.IndexFunc(series, func(s tracker.Series) bool { return s.Run == r.ID })
		if i < 0 {
			continue
		}
		label := []string{fmt.Sprint("run ", r.ID)}
		for _, name := range varied {
			label = append(label, strings.ReplaceAll(name, "_", " ")+" "+r.Params[name].Text)
		}
		curves = append(curves, report.Curve{Label: strings.Join(label, ", "), Steps: series[i].Steps, Values: series[i].Values})
	}
	if len(curves) == 0 {
		fail(fmt.Errorf("none of %d runs has the metric %q", len(runs), metric))
	}
	Chart(report.Curves(metric, curves...))
}

// chart draws p as a picture, since JupyterLab removes SVG elements from notebooks that it does not trust. A picture does not
// know the colours around it, so lines and texts are grey, which can be read on black and on white.
func chart(p *plot.Plot) template.URL {
	svg := strings.ReplaceAll(string(Must(report.SVG(p))), "currentColor", "#808080")
	return template.URL("data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString([]byte(svg))) //nolint:gosec // base64
}

// Matrix shows the outputs of an experiment by content weight (down) and style weight (across). Where there is only one style
// weight, content weights are across.
func Matrix(r *report.Report) {
	var text strings.Builder
	for _, p := range r.Pairs {
		fmt.Fprintf(&text, "[%s: %d outputs by content and style weight]\n", p.Name, len(p.Rows)*len(p.Columns))
	}
	display(render("matrix", r), text.String())
}

// Pareto shows content kept against style match of the runs of an experiment. A line joins the Pareto front, and a ring marks the
// suggested run; where none can be suggested it says why. The command that gives the suggested run at full size is below it.
func Pareto(r *report.Report) {
	for _, p := range r.Pairs {
		Chart(p.Pareto())
		lines := []string{p.Suggestion()}
		if command := p.FullSize(); command != "" {
			lines = append(lines, "at full size: "+command)
		}
		for _, line := range lines {
			display("<p>"+template.HTMLEscapeString(line)+"</p>", line)
		}
	}
}

// Table shows runs, differences of runs, or any structs. For runs, columns are fields as in the tracker's filters: id, status,
// params.size, metrics.ssim; by default the parameters that vary and the measures. For structs they are the names of fields; by
// default all.
func Table[T any](rows []T, columns ...string) {
	cells := make([][]string, 0, len(rows))
	switch list := any(rows).(type) {
	case []tracker.Info:
		if len(columns) == 0 {
			columns = []string{"id", "status"}
			for _, name := range report.Varied(list) {
				columns = append(columns, "params."+name)
			}
			for _, name := range []string{report.ContentKept, report.StyleMatch, report.SSIM, report.ColourDistance} {
				columns = append(columns, "metrics."+name)
			}
		}
		for _, run := range list {
			var row []string
			for _, c := range columns {
				row = append(row, field(run, c))
			}
			cells = append(cells, row)
		}
	default:
		row := reflect.TypeFor[T]()
		if row.Kind() != reflect.Struct {
			fail(fmt.Errorf("a table of %s: allowed: runs, or structs", row))
		}
		var allowed []string
		for _, f := range reflect.VisibleFields(row) {
			if f.IsExported() {
				allowed = append(allowed, f.Name)
			}
		}
		if len(columns) == 0 {
			columns = allowed
		}
		for _, c := range columns {
			if !slices.Contains(allowed, c) {
				fail(fmt.Errorf("column %q: allowed: %s", c, strings.Join(allowed, ", ")))
			}
		}
		for _, r := range rows {
			var row []string
			for _, c := range columns {
				row = append(row, shown(reflect.ValueOf(r).FieldByName(c).Interface()))
			}
			cells = append(cells, row)
		}
	}
	head := make([]string, len(columns))
	for i, c := range columns {
		head[i] = strings.ReplaceAll(c[strings.LastIndex(c, ".")+1:], "_", " ")
	}
	lines := []string{strings.Join(head, "\t")}
	for _, row := range cells {
		lines = append(lines, strings.Join(row, "\t"))
	}
	display(render("table", struct {
		Head []string
		Rows [][]string
	}{head, cells}), strings.Join(lines, "\n"))
}

// field is the text of a run's field, which is named as in filters.
func field(run tracker.Info, name string) string {
	kind, rest, _ := strings.Cut(name, ".")
	switch kind {
	case "id":
		return strconv.FormatInt(run.ID, 10)
	case "name":
		return run.Name
	case "experiment":
		return run.Experiment
	case "status":
		return string(run.Status)
	case "started":
		if run.Started.IsZero() {
			return "–"
		}
		return run.Started.Local().Format("2006-01-02 15:04:05")
	case "params":
		return run.Params[rest].Text
	case "tags":
		return run.Tags[rest]
	case "metrics":
		if m, ok := run.Metrics[rest]; ok {
			return shown(m.Last)
		}
		return "–"
	}
	fail(fmt.Errorf("column %q: allowed: id, name, experiment, status, started, params.NAME, tags.NAME, metrics.NAME", name))
	return ""
}

// shown is a value as text: numbers with four digits.
func shown(value any) string {
	text := fmt.Sprint(value)
	if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) && strings.Contains(text, ".") {
		return strconv.FormatFloat(v, 'g', 4, 64)
	}
	return text
}
