package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"hrlab/experiments"
	"hrlab/hrstyle"
	"hrlab/lut"
	"hrlab/picture"
	"hrlab/report"

	"golang.org/x/image/draw"
)

type exportCmd struct {
	Out string `arg:"" name:"file" help:"A .cube file, or a .png file for a HALD CLUT."`
	generatorFlags
	Pictures []string `arg:"" optional:"" name:"picture" help:"The picture that the generator is applied to, for a run its content picture if there is none; without a generator two, before and after."`
	Size     int      `placeholder:"33" help:"Nodes along each axis: 17, 33 or 65 (default: 33); of a HALD CLUT 36, which is level 6 and 216x216 px, or 64, level 8 and 512x512 px (default: 36)."`
	Device   string   `default:"auto" predictor:"device" env:"HRLAB_DEVICE" placeholder:"auto|cuda|cpu|go" help:"auto, cuda, cpu (XLA:CPU) or go (slow, needs nothing)."`
}

// Help has examples.
func (*exportCmd) Help() string {
	return `A 3D LUT gives a colour for a colour. It is for sRGB.

Examples:

	hrlab export look.cube --run 12
	hrlab export look.cube --generator boat.safetensors boat.jpg
	hrlab export look.png before.jpg after.jpg --size 64`
}

// Run fits the LUT, writes it, and says how near it comes to the look.
func (e *exportCmd) Run(ctx context.Context, c *console) error {
	save, err := e.check()
	if err != nil {
		return err
	}
	before, after, source, err := e.look(ctx, c)
	if err != nil {
		return err
	}
	cube, match, err := lut.Fit(before, after, e.Size)
	if err = errors.Join(err, ctx.Err()); err != nil {
		return err
	}
	cube.Title = "hrlab: " + source
	if err := save(cube); err != nil {
		return err
	}
	fmt.Fprintf(c.messages, "%s: %d nodes an axis; from the look ΔE2000 %.1f on average, 95%% within %.1f\n", e.Out, e.Size, match.Mean, match.P95)
	fmt.Fprintf(c.messages, "the look itself is ΔE2000 %.1f; %.0f%% of it is no LUT: it depends on the place in the picture, not only on the colour\n", match.Look, 100*match.Rest())
	return nil
}

// check says what of the command line is not allowed, before there is a LUT, and returns what writes it.
func (e *exportCmd) check() (save func(c *picture.Cube) error, err error) {
	sizes := []int{33, 17, 65}
	save = func(c *picture.Cube) error { return picture.WriteFile(e.Out, c.Encode()) }
	switch strings.ToLower(filepath.Ext(e.Out)) {
	case ".cube":
	case ".png":
		sizes = []int{36, 64}
		save = func(c *picture.Cube) error {
			return picture.Save(e.Out, c.Hald(), picture.Encoding{Bits: 16, Comment: c.Title})
		}
	default:
		return nil, fmt.Errorf("%s: unknown extension %q; allowed: .cube, and .png for a HALD CLUT", e.Out, filepath.Ext(e.Out))
	}
	if e.Size == 0 {
		e.Size = sizes[0]
	}
	if !slices.Contains(sizes, e.Size) {
		slices.Sort(sizes)
		return nil, fmt.Errorf("size %d: allowed in %s: %s", e.Size, filepath.Ext(e.Out), strings.ReplaceAll(strings.Trim(fmt.Sprint(sizes), "[]"), " ", ", "))
	}
	if err := apart([]string{e.Out}, append([]string{e.Generator}, e.Pictures...)); err != nil {
		return nil, err
	}
	return save, picture.CheckWritable(e.Out)
}

// look finds the two pictures that show the look, and says in a few words where it comes from.
func (e *exportCmd) look(ctx context.Context, c *console) (before, after picture.Picture, source string, err error) {
	switch n := len(e.Pictures); {
	case e.Generator != "" && e.RunName != "":
		return before, after, "", errors.New("--generator FILE and --run RUN: allowed is one of them")
	case e.Ratio != nil && (e.Generator+e.RunName == "" || n != 1):
		return before, after, "", fmt.Errorf("--ratio %g: allowed with --generator FILE or --run RUN and one picture", *e.Ratio)
	case e.RunName != "" && n == 0:
		before, after, err = e.recorded(ctx)
		return before, after, e.source(), err
	case e.Generator == "" && e.RunName == "" && n == 2:
		if before, err = e.picture(c, e.Pictures[0]); err == nil {
			after, err = e.picture(c, e.Pictures[1])
		}
		return before, after, filepath.Base(e.Pictures[0]) + " to " + filepath.Base(e.Pictures[1]), err
	case e.Generator == "" && e.RunName == "" || n != 1:
		return before, after, "", fmt.Errorf("%d pictures: allowed: --run RUN, --generator FILE or --run RUN with one picture, or two pictures, before and after", n)
	}
	if before, err = e.picture(c, e.Pictures[0]); err != nil {
		return before, after, "", err
	}
	g, err := e.load(ctx)
	if err != nil {
		return before, after, "", err
	}
	size := before.Bounds().Size()
	if scale := float64(g.Config.Size) / float64(max(size.X, size.Y)); scale > 0 && scale < 1 { // an old generator may not say at which size it was fitted
		before.Image = picture.Scale(before, max(int(float64(size.X)*scale), leastSide), max(int(float64(size.Y)*scale), leastSide), draw.BiLinear)
	}
	engine, err := engineFlags{e.Device, "none"}.open(ctx, c)
	if err != nil {
		return before, after, "", err
	}
	defer engine.Close()
	out, err := engine.Apply(ctx, g, before, hrstyle.Applying{})
	return before, picture.Picture{Name: e.source(), Image: out}, e.source() + " on " + filepath.Base(e.Pictures[0]), err
}

// picture reads a picture and prints its notes.
func (*exportCmd) picture(c *console, path string) (picture.Picture, error) {
	p, err := picture.Load(path)
	for _, note := range p.Notes {
		fmt.Fprintln(c.messages, path, note)
	}
	return p, err
}

// recorded finds the content picture of a run as it was fitted, and the output.
func (e *exportCmd) recorded(ctx context.Context) (before, after picture.Picture, err error) {
	store, info, err := e.findRun(ctx, e.RunName)
	if err != nil {
		return before, after, err
	}
	if report.IsMap(info) {
		return before, after, errors.Join(fmt.Errorf("run %d is a weight map: choose a ratio of its weights and a picture, as hrlab export %s --run %d --ratio 80 PICTURE", info.ID, e.Out, info.ID), store.Close())
	}
	if after, err = readOutput(ctx, store, info.ID); err == nil {
		var pair hrstyle.Pair
		pair, err = experiments.Fitted(ctx, store, info.ID)
		before = pair.Content
	}
	return before, after, errors.Join(err, store.Close())
}
