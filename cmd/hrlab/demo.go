package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"path/filepath"
	"strings"

	"hrlab/picture"

	"hrlab/experiments"
	"hrlab/hrstyle"
	"hrlab/hrstyle/device"
	"hrlab/hrstyle/sample"
	"hrlab/report"
	"hrlab/tracker"
)

type demoCmd struct {
	Out string `default:"demo" placeholder:"DIR" help:"Where pictures, runs and report go. Files that are there and differ are kept: the new ones get a number."`
	engineFlags
}

// Help has examples.
func (*demoCmd) Help() string {
	return `Examples:

	hrlab demo
	hrlab demo --out /tmp/demo --device cpu`
}

// Run fits the built-in pair at 128 px with six content weights (in pure Go at 96 px), writes the report and the
// pictures of the suggested run, or of one in the middle where nothing can be suggested.
func (d *demoCmd) Run(ctx context.Context, c *console) (err error) {
	if err := os.MkdirAll(d.Out, 0o777); err != nil {
		return err
	}
	if err := picture.CheckWritable(d.file("output.png")); err != nil {
		return err
	}
	engine, err := d.open(ctx, c)
	if errors.Is(err, errNoWeights) {
		fmt.Fprintln(c.messages, oneLine(err)+"; the demo goes on with random filters")
		d.VGG = "random"
		engine, err = d.open(ctx, c)
	}
	if err != nil {
		return err
	}
	defer engine.Close()
	store, err := tracker.Open(ctx, d.file("hrlab.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()

	config := hrstyle.Default
	config.Size, config.Steps = 128, 80
	if engine.Device.Kind == device.Go {
		config.Size, config.Steps = 96, 30
	}
	const width, height = 640, 480 // large enough to go on with
	pair := hrstyle.Pair{
		Content: picture.Picture{Name: "day.png", Image: sample.Content(width, height)},
		Style:   picture.Picture{Name: "dusk.png", Image: sample.Style(width, height)},
	}
	for _, p := range []*picture.Picture{&pair.Content, &pair.Style} {
		if p.Name, err = d.savePicture(p.Name, *p, "built-in picture"); err != nil {
			return err
		}
	}
	trials := experiments.Grid(config, experiments.ContentWeight(3, 10, 30, 100, 300, 1000)) // only the ratio of the weights counts
	show := c.newSweepProgress(ctx, trials, compiling)
	experiment := fmt.Sprintf("demo at %d px, %s", config.Size, engine.VGG.Label) // so that the report leaves out runs of other demos
	_, err = experiments.Lab{Engine: engine, Tracker: store}.Sweep(ctx, experiment, pair, trials, 0, show.report)
	show.close()
	if err != nil {
		return err
	}
	comparison, err := report.New(ctx, store, experiment)
	if err != nil {
		return err
	}
	scaled, err := pair.Fitted(config)
	if err != nil {
		return err
	}
	best := comparison.Pairs[0].Suggested
	if best == nil { // with random filters, or in few steps
		best = &comparison.Pairs[0].Runs[len(trials)/2]
	}
	files, err := d.save(ctx, store, scaled, best)
	if err != nil {
		return err
	}
	page, err := newPlace(d.Out, "report.html")
	if err == nil {
		err = page.write(comparison.HTML)
	}
	if err != nil {
		return err
	}
	return d.table(ctx, c.out, store, comparison, best, pair, append(files, page.path))
}

func (d *demoCmd) file(name string) string { return filepath.Join(d.Out, name) }

// keep writes a file into the folder and returns its path. A file of that name with other content stays as it is.
func (d *demoCmd) keep(name string, data []byte) (string, error) {
	if there, err := os.ReadFile(d.file(name)); err == nil && bytes.Equal(there, data) {
		return d.file(name), nil
	}
	out, err := newPlace(d.Out, name)
	if err == nil {
		err = out.write(func(path string) error { return picture.WriteFile(path, data) })
	}
	return out.path, err
}

func (d *demoCmd) savePicture(name string, img image.Image, comment string) (string, error) {
	data, err := picture.Encoding{Comment: "hrlab: " + comment}.Encode(filepath.Ext(name), img)
	if err != nil {
		return "", err
	}
	return d.keep(name, data)
}

// save writes the output and the generator of a run on pair, and a picture of content, style and output side by side. It returns
// the files of that picture and of the output.
func (d *demoCmd) save(ctx context.Context, store *tracker.Store, pair hrstyle.Pair, run *report.Run) (files []string, err error) {
	for _, artifact := range []string{report.Generator, report.Output} {
		data, err := store.ReadArtifact(ctx, run.ID, artifact)
		if err != nil {
			return nil, err
		}
		path, err := d.keep(map[string]string{report.Output: "output.png", report.Generator: "generator.safetensors"}[artifact], data)
		if err != nil {
			return nil, err
		}
		files = append(files, path)
	}
	output, err := picture.Load(files[1])
	if err != nil {
		return nil, err
	}
	files[0], err = d.savePicture("before-after.png", report.SideBySide(pair.Content, pair.Style, output), "content, style, output")
	return files, err
}

// table prints what is suggested, the losses of a run and where everything is: files are the picture side by side, output and report.
func (d *demoCmd) table(ctx context.Context, w io.Writer, store *tracker.Store, comparison *report.Report, run *report.Run, pair hrstyle.Pair, files []string) error {
	series, err := store.Series(ctx, []int64{run.ID}, []string{"content", "seconds", "style", "total"}, 0)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s.\n\nThe losses with %s:\n", comparison.Pairs[0].Suggestion(), run.Settings())
	fmt.Fprintf(w, "%6s %12s %12s %12s %9s\n", "step", "total", "content", "style", "seconds")
	for i, step := range series[0].Steps {
		fmt.Fprintf(w, "%6d %12.5g %12.5g %12.5g %9.1f\n", step, series[3].Values[i], series[0].Values[i], series[2].Values[i], series[1].Values[i])
	}
	if comparison.Random {
		fmt.Fprintln(w, "These losses are of random filters, not of VGG19.")
	}
	_, err = fmt.Fprintf(w, "\n%s   content, style, output\n%s\n%s   all six, compared\n\nOther weights: %s\nChoose by looking: %s\n",
		files[0], files[1], files[2], d.sweepCommand(pair, run.Param("size")), strings.Join(d.withEngine("hrlab serve --worker", option("db", d.file("hrlab.db"))), " "))
	return err
}

// sweepCommand is a command line that tries other weights with the settings of this demo.
func (d *demoCmd) sweepCommand(pair hrstyle.Pair, size string) string {
	return strings.Join(d.withEngine("hrlab sweep", option("content", pair.Content.Name), option("style", pair.Style.Name), option("size", size), "--content-weight 10,100,1000"), " ")
}

// withEngine is a command line with the device and the weights of this demo.
func (d *demoCmd) withEngine(command ...string) []string {
	if d.VGG != "auto" {
		command = append(command, option("vgg", d.VGG))
	}
	if d.Device != "auto" {
		command = append(command, option("device", d.Device))
	}
	return command
}
