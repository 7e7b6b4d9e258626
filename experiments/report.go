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
	Command    string   // that made the newest run
	Devices    []string
}

// PairReport is the part on one pair of pictures.
type PairReport struct {
	Name           string
	Content, Style []byte // JPEGs, as fitted; nil where not recorded
	Runs           []RunReport
	Rows, Columns  []string       // content and style weights of the finished runs
	Matrix         [][]*RunReport // [row][column], nil where there is none
	Suggested      *RunReport
	Front          int // runs on the Pareto front
	Effects        []Effect
	Spread         map[string]float64 // by measure, where runs were repeated
	curves         []tracker.Series
}

// RunReport is one run.
type RunReport struct {
	tracker.Info
	Output  []byte // a JPEG; nil where the run has none
	Seeds   int    // of the runs with the same settings, of which this is the first
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
func (r *RunReport) Param(name string) string { return r.Params[name].Text }

// Label names a run by its weights.
func (r *RunReport) Label() string {
	return r.Param("content_weight") + " : " + r.Param("style_weight")
}

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
	pairs := map[string]*PairReport{}
	newest := runs[0]
	for _, info := range runs {
		name := info.Tags["pair"]
		if pairs[name] == nil {
			pairs[name] = &PairReport{Name: name, Spread: map[string]float64{}}
			r.Pairs = append(r.Pairs, pairs[name])
		}
		run := RunReport{Info: info, Seeds: 1}
		if run.Output, err = outputJPEG(ctx, store, info.ID); err != nil {
			return nil, err
		}
		pairs[name].Runs = append(pairs[name].Runs, run)
		if info.ID > newest.ID {
			newest = info
		}
		vgg := info.Params["vgg"].Text
		if !slices.Contains(r.VGG, vgg) {
			r.VGG = append(r.VGG, vgg)
		}
		environment, err := store.Environment(ctx, info.ID)
		if err != nil {
			return nil, err
		}
		r.Random = r.Random || environment["input.vgg"] == "random"
		if d := environment["device"]; d != "" && !slices.Contains(r.Devices, d) {
			r.Devices = append(r.Devices, d)
		}
	}
	r.Command = newest.Command
	for _, p := range r.Pairs {
		if err := p.gather(ctx, store); err != nil {
			return nil, err
		}
	}
	return r, nil
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
	p.Rows, p.Columns = values(finished, "content_weight"), values(finished, "style_weight")
	for _, row := range p.Rows {
		cells := make([]*RunReport, len(p.Columns))
		for c, column := range p.Columns {
			for i := range p.Runs {
				run := &p.Runs[i]
				if cells[c] == nil && run.Status == tracker.Finished && run.Param("content_weight") == row && run.Param("style_weight") == column {
					cells[c] = run
				}
			}
		}
		p.Matrix = append(p.Matrix, cells)
	}
	front := Front(finished)
	p.Front = len(front)
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
			if p.Name == name {
				return store.Thumbnail(ctx, p.Digest)
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
		return nil, fmt.Errorf("output of run %d: %w", run, err)
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
		if p.Suggested != nil {
			fmt.Fprintf(&out, "Suggested: content weight %s, style weight %s (the knee of the Pareto front).\n\n", p.Suggested.Param("content_weight"), p.Suggested.Param("style_weight"))
		}
		fmt.Fprintf(&out, "| content weight | style %s |\n|---|%s\n", strings.Join(p.Columns, " | style "), strings.Repeat("---|", len(p.Columns)))
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
		fmt.Fprint(&out, "| run | content weight | style weight | seed |")
		for _, m := range measures {
			fmt.Fprintf(&out, " %s |", m.Title)
		}
		fmt.Fprintf(&out, "\n|---|---|---|---|%s\n", strings.Repeat("---|", len(measures)))
		for _, run := range p.Runs {
			fmt.Fprintf(&out, "| %d | %s | %s | %s |", run.ID, run.Param("content_weight"), run.Param("style_weight"), run.Param("seed"))
			for _, m := range measures {
				fmt.Fprintf(&out, " %s |", run.Measure(m.Name))
			}
			fmt.Fprintln(&out)
		}
		fmt.Fprintln(&out)
	}
	fmt.Fprintf(&out, "VGG19: %s. Made by `%s`.\n", strings.Join(r.VGG, ", "), r.Command)
	if failed != nil {
		return failed
	}
	return renameio.WriteFile(path, []byte(out.String()), 0o666)
}
