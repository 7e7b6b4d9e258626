package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"path/filepath"

	"hrlab/hrstyle"
	"hrlab/hrstyle/device"
	"hrlab/hrstyle/sample"

	"golang.org/x/image/draw"
)

type demoCmd struct {
	Out string `default:"demo" placeholder:"DIR" help:"Where the pictures and losses go."`
	engineFlags
}

// Run fits the built-in pair at 128 px (in pure Go at 96) and writes the pictures, the generator and the losses.
func (d *demoCmd) Run(ctx context.Context, c *console) error {
	if err := os.MkdirAll(d.Out, 0o777); err != nil {
		return err
	}
	if err := hrstyle.CheckWritable(d.file("output.png")); err != nil {
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

	config := hrstyle.Default
	config.Size, config.Steps, config.ContentWeight, config.ReportEvery = 128, 200, 30, 20
	if engine.Device.Kind == device.Go {
		config.Size, config.Steps = 96, 100
	}
	pair := hrstyle.Pair{
		Content: hrstyle.Picture{Name: "landscape by day", Image: sample.Content(config.Size, config.Size*3/4)},
		Style:   hrstyle.Picture{Name: "scene at dusk", Image: sample.Style(config.Size, config.Size*3/4)},
	}
	lines, err := os.Create(d.file("losses.jsonl"))
	if err != nil {
		return err
	}
	defer lines.Close()

	bar := c.newProgress(0, config.Steps)
	var steps []hrstyle.Step
	for step, stepErr := range engine.Fit(ctx, pair, config) {
		if err = stepErr; err != nil {
			break
		}
		bar.report(step)
		steps = append(steps, step)
		if err = writeJSON(lines, step, engine.VGG); err != nil {
			break
		}
	}
	bar.close()
	if len(steps) == 0 {
		return err
	}
	last := steps[len(steps)-1]
	return errors.Join(err, d.save(pair, last, engine.VGG), d.table(c.out, steps, engine.VGG))
}

func (d *demoCmd) file(name string) string { return filepath.Join(d.Out, name) }

func (d *demoCmd) save(pair hrstyle.Pair, last hrstyle.Step, vgg *hrstyle.VGG) error {
	how, output := hrstyle.Encoding{Comment: last.Describe()}, last.Picture()
	return errors.Join(
		hrstyle.SavePicture(d.file("content.png"), pair.Content, hrstyle.Encoding{Comment: "hrlab: built-in picture"}),
		hrstyle.SavePicture(d.file("style.png"), pair.Style, hrstyle.Encoding{Comment: "hrlab: built-in picture"}),
		hrstyle.SavePicture(d.file("output.png"), output, how),
		hrstyle.SavePicture(d.file("before-after.png"), sideBySide(pair.Content, pair.Style, output), how),
		last.Generator().Save(d.file("generator.safetensors")),
	)
}

// table prints the losses and where everything is.
func (d *demoCmd) table(w io.Writer, steps []hrstyle.Step, vgg *hrstyle.VGG) error {
	fmt.Fprintf(w, "%6s %12s %12s %12s %9s\n", "step", "total", "content", "style", "seconds")
	for _, s := range steps {
		fmt.Fprintf(w, "%6d %12.5g %12.5g %12.5g %9.1f\n", s.N, s.Total, s.Content, s.Style, s.Elapsed.Seconds())
	}
	if vgg.Random() {
		fmt.Fprintln(w, "These losses are of random filters, not of VGG19.")
	}
	_, err := fmt.Fprintf(w, "\n%s   content, style, output\n%s\n%s\n%s\n", d.file("before-after.png"), d.file("output.png"), d.file("generator.safetensors"), d.file("losses.jsonl"))
	return err
}

// sideBySide puts pictures of one height beside each other, with a gap.
func sideBySide(pictures ...image.Image) image.Image {
	const gap = 4
	w, h := -gap, 0
	for _, p := range pictures {
		w, h = w+gap+p.Bounds().Dx(), max(h, p.Bounds().Dy())
	}
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(out, out.Bounds(), image.White, image.Point{}, draw.Src)
	x := 0
	for _, p := range pictures {
		draw.Draw(out, p.Bounds().Sub(p.Bounds().Min).Add(image.Pt(x, 0)), p, p.Bounds().Min, draw.Src)
		x += gap + p.Bounds().Dx()
	}
	return out
}
