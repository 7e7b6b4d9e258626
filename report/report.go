// Package report compares the recorded runs of an experiment and shows them: on a page, in Markdown, as charts. It needs
// what the tracker has of them alone, no device and no queue.
//
//	r, err := report.New(ctx, store, "boat")
//	err = r.HTML("boat.html")
//
// [Front] finds the runs than which none keeps more content and matches more style, [Knee] the one of them where giving
// more of either costs most of the other, which is what is suggested. [Effects] says how much each setting moves each
// measure, [Spread] how much the seed does. What the measures are is said at their names.
package report

import (
	"bytes"
	"context"
	_ "embed" // the page
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	_ "image/png" // outputs are PNG
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"hrlab/tracker"

	"golang.org/x/image/draw"
)

// Report is what a report shows of the runs of an experiment.
type Report struct {
	Experiment string
	Made       time.Time
	Pairs      []*Pair
	VGG        []string // labels of the weights used
	Random     bool     // some are random filters
	Commands   []string // that made the runs
	Devices    []string
	Faults     []string // pictures that are left out, because their files are missing or damaged: run, file and what is wrong
}

// Pair is the part on one pair of pictures.
type Pair struct {
	Name           string
	Content, Style []byte // JPEGs, as fitted; nil where not recorded
	Runs           []Run
	// Rows and Columns are the heads of the matrix of finished runs: content weights, with the other settings that
	// vary, and style weights; the other way round where there is one style weight.
	Rows, Columns []string
	Matrix        [][]*Run // [row][column], nil where there is none
	Suggested     *Run
	Finished      int // runs
	Front         int // of these on the Pareto front
	Effects       []Effect
	Spread        map[string]float64 // by measure, where runs were repeated
	NotDefined    []string           // measures, and why finished runs have none
	Others        bool               // settings other than the weights vary
	Gain          bool               // some runs have a style gain other than 1
	curves        []tracker.Series
}

// Run is one run.
type Run struct {
	tracker.Info
	Output  []byte // a JPEG; nil where the run has none
	Seeds   int    // of the runs with the same settings, of which this is the first
	Other   string // the settings that vary apart from the weights: "size 96"
	OnFront bool
}

// Measure is the last value of a measure, for people.
func (r *Run) Measure(name string) string {
	v := measure(r.Info, name)
	if math.IsNaN(v) {
		return "–"
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}

// Param is a parameter as it was written.
func (r *Run) Param(name string) string {
	v, _ := param(r.Info, name)
	return v.Text
}

// Label names a run by its weights, and by what else varies.
func (r *Run) Label() string {
	return join(r.Param("content_weight")+" : "+r.Param("style_weight"), r.Other)
}

// Settings are the run's weights, and what else varies, in words.
func (r *Run) Settings() string {
	return join("content weight "+r.Param("content_weight")+", style weight "+r.Param("style_weight"), r.Other)
}

// row is the run's row of the matrix.
func (r *Run) row() string { return join("content "+r.Param("content_weight"), r.Other) }

func join(weights, other string) string { return strings.TrimSuffix(weights+", "+other, ", ") }

// New gathers the runs of an experiment.
func New(ctx context.Context, store *tracker.Store, experiment string) (*Report, error) {
	runs, err := store.Runs(ctx, tracker.Query{Experiment: experiment, Sort: "params.content_weight,params.style_weight,params.seed,id"})
	if err != nil {
		return nil, err
	}
	if len(runs) == 0 {
		return nil, fmt.Errorf("experiment %q: %w: it has no runs; hrlab runs list shows those there are", experiment, tracker.ErrNotFound)
	}
	r := &Report{Experiment: experiment, Made: time.Now()}
	pairs := map[[3]string]*Pair{} // by the digests of pictures and VGG19 weights: names may be the same
	for _, info := range runs {
		run := Run{Info: info, Seeds: 1}
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
			pairs[key] = &Pair{Name: info.Tags["pair"], Spread: map[string]float64{}}
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

func (p *Pair) files() string {
	return p.Runs[0].Param("content") + ", " + p.Runs[0].Param("style")
}

func (p *Pair) gather(ctx context.Context, store *tracker.Store) (err error) {
	if p.Content, err = thumbnail(ctx, store, p.Runs, "content"); err != nil {
		return err
	}
	if p.Style, err = thumbnail(ctx, store, p.Runs, "style"); err != nil {
		return err
	}
	var finished []tracker.Info
	var ids []int64
	first := map[string]*Run{} // by settings
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
			p.Rows, p.Matrix = append(p.Rows, run.row()), append(p.Matrix, make([]*Run, len(p.Columns)))
		}
		if cell := &p.Matrix[row][slices.Index(styles, run.Param("style_weight"))]; *cell == nil {
			*cell = run
		}
	}
	if len(p.Columns) == 1 {
		var row []*Run
		for _, cells := range p.Matrix {
			row = append(row, cells[0])
		}
		p.Rows, p.Columns, p.Matrix = p.Columns, p.Rows, [][]*Run{row}
	}
	for _, m := range measures {
		for _, info := range finished {
			if why := info.Tags[m.Name+NotDefined]; why != "" {
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
func (p *Pair) NoSuggestion() string {
	switch {
	case p.Suggested != nil || p.Finished == 0:
		return ""
	case len(p.NotDefined) > 0:
		return "nothing is suggested: " + strings.Join(p.NotDefined, "; ")
	}
	return "nothing is suggested: no run has both content kept and style match"
}

// WhySuggested says what the suggested run is.
func (p *Pair) WhySuggested() string {
	if p.Front <= 2 {
		return "which keeps most: so short a Pareto front has no knee"
	}
	return "the knee of the Pareto front"
}

// Within says that a run's measure differs from the suggested run's by no more than seeds alone make it.
func (p *Pair) Within(run *Run, name string) bool {
	spread, ok := p.Spread[name]
	return ok && p.Suggested != nil && run.ID != p.Suggested.ID && math.Abs(measure(run.Info, name)-measure(p.Suggested.Info, name)) <= 2*spread
}

// Shown is a measure of the i-th run for people, marked where the difference says nothing.
func (p *Pair) Shown(i int, name string) string {
	text := p.Runs[i].Measure(name)
	if p.Within(&p.Runs[i], name) {
		text = "≈ " + text
	}
	return text
}

// thumbnail is the first picture called name that one of runs has.
func thumbnail(ctx context.Context, store *tracker.Store, runs []Run, name string) ([]byte, error) {
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
	data, err := store.ReadArtifact(ctx, run, Output)
	if errors.Is(err, tracker.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	img, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("run %d: artifact %q: %w", run, Output, err)
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
