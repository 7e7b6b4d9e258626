package experiments

import (
	"bytes"
	"cmp"
	"context"
	_ "embed" // the page
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"image"
	"image/jpeg"
	_ "image/png" // outputs are PNG
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"hrlab/tracker"

	"github.com/google/renameio/v2"
	"golang.org/x/image/draw"
)

// measures are those that a report shows, in its order, with the words it has for them.
var measures = []struct{ Name, Title, Best string }{
	{ContentKept, "content kept", "high"},
	{StyleMatch, "style match", "high"},
	{SSIM, "SSIM", "high"},
	{EdgeSSIM, "edge SSIM", "high"},
	{ColourDistance, "colour distance", "low"},
}

// Report is what a report shows of the runs of an experiment.
type Report struct {
	Experiment string
	Made       time.Time
	Pairs      []*PairReport
	VGG        []string // labels of the weights used
	Random     bool     // some are random filters
	Commands   []string // that made the runs
	Devices    []string
	Faults     []string // pictures that are left out, because their files are missing or damaged: run, file and what is wrong
}

// PairReport is the part on one pair of pictures.
type PairReport struct {
	Name           string
	Content, Style []byte // JPEGs, as fitted; nil where not recorded
	Runs           []RunReport
	// Rows and Columns are the heads of the matrix of finished runs: content weights, with the other settings that
	// vary, and style weights; the other way round where there is one style weight.
	Rows, Columns []string
	Matrix        [][]*RunReport // [row][column], nil where there is none
	Suggested     *RunReport
	Finished      int // runs
	Front         int // of these on the Pareto front
	Effects       []Effect
	Spread        map[string]float64 // by measure, where runs were repeated
	NotDefined    []string           // measures, and why finished runs have none
	Others        bool               // settings other than the weights vary
	Gain          bool               // some runs have a style gain other than 1
	curves        []tracker.Series
}

// RunReport is one run.
type RunReport struct {
	tracker.Info
	Output  []byte // a JPEG; nil where the run has none
	Seeds   int    // of the runs with the same settings, of which this is the first
	Other   string // the settings that vary apart from the weights: "size 96"
	OnFront bool
}

// Measure is the last value of a measure, for people.
func (r *RunReport) Measure(name string) string {
	v := measure(r.Info, name)
	if math.IsNaN(v) {
		return "–"
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}

// Param is a parameter as it was written.
func (r *RunReport) Param(name string) string {
	v, _ := param(r.Info, name)
	return v.Text
}

// Label names a run by its weights, and by what else varies.
func (r *RunReport) Label() string {
	return join(r.Param("content_weight")+" : "+r.Param("style_weight"), r.Other)
}

// Settings are the run's weights, and what else varies, in words.
func (r *RunReport) Settings() string {
	return join("content weight "+r.Param("content_weight")+", style weight "+r.Param("style_weight"), r.Other)
}

// row is the run's row of the matrix.
func (r *RunReport) row() string { return join("content "+r.Param("content_weight"), r.Other) }

func join(weights, other string) string { return strings.TrimSuffix(weights+", "+other, ", ") }

// NewReport gathers the runs of an experiment.
func NewReport(ctx context.Context, store *tracker.Store, experiment string) (*Report, error) {
	runs, err := store.Runs(ctx, tracker.Query{Experiment: experiment, Sort: "params.content_weight,params.style_weight,params.seed,id"})
	if err != nil {
		return nil, err
	}
	if len(runs) == 0 {
		return nil, fmt.Errorf("experiment %q: %w: it has no runs; hrlab runs list shows those there are", experiment, tracker.ErrNotFound)
	}
	r := &Report{Experiment: experiment, Made: time.Now()}
	pairs := map[[3]string]*PairReport{} // by the digests of pictures and VGG19 weights: names may be the same
	for _, info := range runs {
		run := RunReport{Info: info, Seeds: 1}
		run.Output, err = outputJPEG(ctx, store, info.ID)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			r.Faults = append(r.Faults, err.Error())
		}
		environment, err := store.Environment(ctx, info.ID)
		if err != nil {
			return nil, err
		}
		key := [3]string{environment["input.content"], environment["input.style"], environment["input.vgg"]}
		if pairs[key] == nil {
			pairs[key] = &PairReport{Name: info.Tags["pair"], Spread: map[string]float64{}}
			r.Pairs = append(r.Pairs, pairs[key])
		}
		pairs[key].Runs = append(pairs[key].Runs, run)
		r.Random = r.Random || environment["input.vgg"] == "random"
		r.VGG = appendNew(r.VGG, info.Params["vgg"].Text)
		device, _, _ := strings.Cut(environment["device"], " (") // the rest is where its plugin lies
		r.Devices = appendNew(r.Devices, device)
		r.Commands = appendNew(r.Commands, info.Command)
	}
	r.tellApart()
	for _, p := range r.Pairs {
		if err := p.gather(ctx, store); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// appendNew appends text where the list has not got it.
func appendNew(list []string, text string) []string {
	if text == "" || slices.Contains(list, text) {
		return list
	}
	return append(list, text)
}

// tellApart puts the files' names in place of those that several pairs have, and names the weights where they differ.
func (r *Report) tellApart() {
	files := map[string]map[string]bool{} // by name
	for _, p := range r.Pairs {
		if files[p.Name] == nil {
			files[p.Name] = map[string]bool{}
		}
		files[p.Name][p.files()] = true
	}
	for _, p := range r.Pairs {
		if len(files[p.Name]) > 1 {
			p.Name = p.files()
		}
		if len(r.VGG) > 1 {
			p.Name += ", " + p.Runs[0].Param("vgg")
		}
	}
}

func (p *PairReport) files() string {
	return p.Runs[0].Param("content") + ", " + p.Runs[0].Param("style")
}

func (p *PairReport) gather(ctx context.Context, store *tracker.Store) (err error) {
	if p.Content, err = thumbnail(ctx, store, p.Runs, "content"); err != nil {
		return err
	}
	if p.Style, err = thumbnail(ctx, store, p.Runs, "style"); err != nil {
		return err
	}
	var finished []tracker.Info
	var ids []int64
	first := map[string]*RunReport{} // by settings
	for i := range p.Runs {
		run := &p.Runs[i]
		if run.Status != tracker.Finished {
			continue
		}
		finished, ids = append(finished, run.Info), append(ids, run.ID)
		if other := first[settings(run.Info)]; other != nil {
			other.Seeds++
			continue
		}
		first[settings(run.Info)] = run
	}
	styles := values(finished, "style_weight")
	for _, weight := range styles {
		p.Columns = append(p.Columns, "style "+weight)
	}
	others := slices.DeleteFunc(Varied(finished), func(name string) bool { return rank(name) < 2 })
	p.Others = len(others) > 0
	for i := range p.Runs { // in the order of the content weight
		run := &p.Runs[i]
		var other []string
		for _, name := range others {
			other = append(other, strings.ReplaceAll(name, "_", " ")+" "+run.Param(name))
		}
		run.Other = strings.Join(other, ", ")
		p.Gain = p.Gain || run.Param("style_gain") != "1"
		if run.Status != tracker.Finished {
			continue
		}
		row := slices.Index(p.Rows, run.row())
		if row < 0 {
			row = len(p.Rows)
			p.Rows, p.Matrix = append(p.Rows, run.row()), append(p.Matrix, make([]*RunReport, len(p.Columns)))
		}
		if cell := &p.Matrix[row][slices.Index(styles, run.Param("style_weight"))]; *cell == nil {
			*cell = run
		}
	}
	if len(p.Columns) == 1 {
		var row []*RunReport
		for _, cells := range p.Matrix {
			row = append(row, cells[0])
		}
		p.Rows, p.Columns, p.Matrix = p.Columns, p.Rows, [][]*RunReport{row}
	}
	for _, m := range measures {
		for _, info := range finished {
			if why := info.Tags[m.Name+notDefined]; why != "" {
				p.NotDefined = appendNew(p.NotDefined, m.Title+" is not defined: "+why)
			}
		}
	}
	front := Front(finished)
	p.Finished, p.Front = len(finished), len(front)
	knee, ok := Knee(front)
	for i := range p.Runs {
		run := &p.Runs[i]
		run.OnFront = slices.ContainsFunc(front, func(o tracker.Info) bool { return o.ID == run.ID })
		if ok && run.ID == knee.ID {
			p.Suggested = run
		}
	}
	var names []string
	for _, m := range measures {
		names = append(names, m.Name)
		if s := Spread(finished, m.Name); !math.IsNaN(s) {
			p.Spread[m.Name] = s
		}
	}
	p.Effects = Effects(finished, names...)
	p.curves, err = store.Series(ctx, ids, []string{"content", "style"}, 200)
	return err
}

// NoSuggestion says why no weights are suggested; empty where some are, and where no run has come to its end.
func (p *PairReport) NoSuggestion() string {
	switch {
	case p.Suggested != nil || p.Finished == 0:
		return ""
	case len(p.NotDefined) > 0:
		return "nothing is suggested: " + strings.Join(p.NotDefined, "; ")
	}
	return "nothing is suggested: no run has both content kept and style match"
}

// WhySuggested says what the suggested run is.
func (p *PairReport) WhySuggested() string {
	if p.Front <= 2 {
		return "which keeps most: so short a Pareto front has no knee"
	}
	return "the knee of the Pareto front"
}

// Within says that a run's measure differs from the suggested run's by no more than seeds alone make it.
func (p *PairReport) Within(run *RunReport, name string) bool {
	spread, ok := p.Spread[name]
	return ok && p.Suggested != nil && run.ID != p.Suggested.ID && math.Abs(measure(run.Info, name)-measure(p.Suggested.Info, name)) <= 2*spread
}

// Shown is a measure of the i-th run for people, marked where the difference says nothing.
func (p *PairReport) Shown(i int, name string) string {
	text := p.Runs[i].Measure(name)
	if p.Within(&p.Runs[i], name) {
		text = "≈ " + text
	}
	return text
}

// values lists what a parameter is in runs, in the order of the numbers.
func values(runs []tracker.Info, name string) (list []string) {
	sorted := slices.Clone(runs)
	slices.SortStableFunc(sorted, func(a, b tracker.Info) int { return cmp.Compare(a.Params[name].Number, b.Params[name].Number) })
	for _, r := range sorted {
		if text := r.Params[name].Text; len(list) == 0 || list[len(list)-1] != text {
			list = append(list, text)
		}
	}
	return list
}

// thumbnail is the first picture called name that one of runs has.
func thumbnail(ctx context.Context, store *tracker.Store, runs []RunReport, name string) ([]byte, error) {
	for _, r := range runs {
		pictures, err := store.Pictures(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		for _, p := range pictures {
			if p.Name != name {
				continue
			}
			if jpeg, err := store.Thumbnail(ctx, p.Digest); !errors.Is(err, tracker.ErrNotFound) {
				return jpeg, err
			}
		}
	}
	return nil, nil
}

// A report has at most this many bytes of each output, and outputs of at most this side.
const maxPicture, maxPictureSide = 60_000, 512

// outputJPEG is the output of a run, small enough for a report; nil where it has none.
func outputJPEG(ctx context.Context, store *tracker.Store, run int64) ([]byte, error) {
	file, err := store.OpenArtifact(ctx, run, Output)
	if errors.Is(err, tracker.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	img, _, err := image.Decode(file)
	if err != nil {
		return nil, fmt.Errorf("run %d: artifact %q: %s: %w", run, Output, file.Name(), err)
	}
	if b := img.Bounds(); max(b.Dx(), b.Dy()) > maxPictureSide {
		scale := maxPictureSide / float64(max(b.Dx(), b.Dy()))
		small := image.NewRGBA(image.Rect(0, 0, int(float64(b.Dx())*scale), int(float64(b.Dy())*scale)))
		draw.CatmullRom.Scale(small, small.Rect, img, b, draw.Src, nil)
		img = small
	}
	var buf bytes.Buffer
	for quality := 88; ; quality -= 8 {
		buf.Reset()
		if err := jpeg.Encode(&buf, img, &jpeg.Options{Quality: quality}); err != nil {
			return nil, err
		}
		if buf.Len() <= maxPicture || quality <= 40 {
			return buf.Bytes(), nil
		}
	}
}

//go:embed report.html
var page string

// HTML writes one page that needs nothing else: no network, no other file.
func (r *Report) HTML(path string) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"picture": func(jpeg []byte) template.URL {
			return template.URL("data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(jpeg)) //nolint:gosec // base64
		},
		"svg":      SVG,
		"measures": func() any { return measures },
		"gainNote": func() string { return gainNote },
		"number":   func(v float64) string { return strconv.FormatFloat(v, 'g', 3, 64) },
		"title":    measureTitle,
		"words":    func(name string) string { return strings.ReplaceAll(name, "_", " ") },
	}).Parse(page)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	if err := t.Execute(&buf, r); err != nil {
		return err
	}
	return renameio.WriteFile(path, buf.Bytes(), 0o666)
}

// gainNote says what measures mean where a style gain is used.
const gainNote = "Measures are against the style picture itself (a style gain of 1), whatever the gain of a fit was: a fit with a gain aims beyond the style picture, so that its style match falls, even below 0, where it takes more of the style's colours than the style picture has. What is suggested goes by these measures: with a gain, look at the outputs."

func measureTitle(name string) string {
	for _, m := range measures {
		if m.Name == name {
			return m.Title
		}
	}
	return name
}

// Markdown writes a file for a README and, in a folder beside it called as the file with -files, its pictures and charts.
func (r *Report) Markdown(path string) error {
	folder := strings.TrimSuffix(path, filepath.Ext(path)) + "-files"
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	var out strings.Builder
	var failed error
	// put writes a file into the folder and returns the text that shows it.
	put := func(name, alt string, data []byte, err error) string {
		if err == nil {
			err = renameio.WriteFile(filepath.Join(folder, name), data, 0o666)
		}
		failed = errors.Join(failed, err)
		return fmt.Sprintf("![%s](%s/%s)", alt, filepath.Base(folder), name)
	}
	fmt.Fprintf(&out, "# %s\n\n", r.Experiment)
	if r.Random {
		fmt.Fprint(&out, "**Made with random filters in place of VGG19: other weights mean other things.**\n\n")
	}
	for i, p := range r.Pairs {
		fmt.Fprintf(&out, "## %s\n\n", p.Name)
		if p.Content != nil && p.Style != nil {
			fmt.Fprintf(&out, "| content | style |\n|---|---|\n| %s | %s |\n\n", put(fmt.Sprintf("%d-content.jpg", i), "content", p.Content, nil), put(fmt.Sprintf("%d-style.jpg", i), "style", p.Style, nil))
		}
		if why := p.NoSuggestion(); why != "" {
			fmt.Fprintf(&out, "%s.\n\n", why)
		}
		if p.Suggested != nil {
			fmt.Fprintf(&out, "Suggested: %s (%s).\n\n", p.Suggested.Settings(), p.WhySuggested())
		}
		if len(p.Columns) > 0 {
			fmt.Fprintf(&out, "| | %s |\n|---|%s\n", strings.Join(p.Columns, " | "), strings.Repeat("---|", len(p.Columns)))
		}
		for row, cells := range p.Matrix {
			fmt.Fprintf(&out, "| %s |", p.Rows[row])
			for _, run := range cells {
				cell := ""
				if run != nil && run.Output != nil {
					cell = put(fmt.Sprintf("run%d.jpg", run.ID), run.Label(), run.Output, nil)
				}
				fmt.Fprintf(&out, " %s |", cell)
			}
			fmt.Fprintln(&out)
		}
		pareto, err := pngBytes(p.Pareto())
		curves, err2 := pngBytes(p.Losses("content"))
		styles, err3 := pngBytes(p.Losses("style"))
		fmt.Fprintf(&out, "\n%s\n%s\n%s\n\n", put(fmt.Sprintf("%d-pareto.png", i), "Pareto front", pareto, err), put(fmt.Sprintf("%d-content.png", i), "content loss", curves, err2), put(fmt.Sprintf("%d-style.png", i), "style loss", styles, err3))
		fmt.Fprint(&out, "| run | content weight | style weight | seed | other settings |")
		for _, m := range measures {
			fmt.Fprintf(&out, " %s |", m.Title)
		}
		fmt.Fprintf(&out, "\n|---|---|---|---|---|%s\n", strings.Repeat("---|", len(measures)))
		for i, run := range p.Runs {
			fmt.Fprintf(&out, "| %d | %s | %s | %s | %s |", run.ID, run.Param("content_weight"), run.Param("style_weight"), run.Param("seed"), cmp.Or(run.Other, "–"))
			for _, m := range measures {
				fmt.Fprintf(&out, " %s |", p.Shown(i, m.Name))
			}
			fmt.Fprintln(&out)
		}
		if p.Gain {
			fmt.Fprintf(&out, "\n%s\n", gainNote)
		}
		fmt.Fprintln(&out)
	}
	for _, fault := range r.Faults {
		fmt.Fprintf(&out, "Left out: %s\n\n", fault)
	}
	fmt.Fprintf(&out, "VGG19: %s. Made by:\n\n    %s\n", strings.Join(r.VGG, ", "), strings.Join(r.Commands, "\n    "))
	if failed != nil {
		return failed
	}
	return renameio.WriteFile(path, []byte(out.String()), 0o666)
}
