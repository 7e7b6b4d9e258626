package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hrlab/experiments"
	"hrlab/hrstyle"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// encodingFlags say how pictures are written.
type encodingFlags struct {
	Bits    int `default:"8" help:"Bits a channel in PNG: 8 or 16."`
	Quality int `default:"95" help:"Quality of JPEG, 1 to 100."`
}

func (f encodingFlags) encoding(comment string, from hrstyle.Picture) hrstyle.Encoding {
	return hrstyle.Encoding{Bits: f.Bits, Quality: f.Quality, Comment: comment, Exif: from.Exif()}
}

func (f encodingFlags) check(path string) error {
	if f.Quality == 0 {
		return errors.New("quality 0: allowed: 1 to 100")
	}
	return f.encoding("", hrstyle.Picture{}).Check(path)
}

type applyCmd struct {
	Generator string   `placeholder:"FILE" help:"A generator that hrlab fit saved."`
	RunName   string   `name:"run" placeholder:"RUN" help:"The generator of a run, by its id or name."`
	DB        string   `name:"db" default:"hrlab.db" env:"HRLAB_DB" placeholder:"URL" help:"The tracker's database."`
	Pictures  []string `arg:"" name:"picture" help:"Pictures to run it on, folders of them, or - for standard input."`
	Out       string   `required:"" placeholder:"DIR|FILE|-" help:"A directory for the results, named as the pictures are; a file, or - for standard output, where there is one picture."`
	Format    string   `default:"png" enum:"png,jpg,webp" help:"Format of results in a directory: png, jpg or webp."`
	encodingFlags
	Device string `default:"auto" env:"HRLAB_DEVICE" help:"auto, cuda, cpu (XLA:CPU) or go (slow, needs nothing)."`
}

// Run applies the generator to every picture. Each keeps its EXIF data and time; one that fails does not stop the rest.
func (a *applyCmd) Run(ctx context.Context, c *console) error {
	pictures, err := inFolders(a.Pictures)
	if err != nil {
		return err
	}
	outs, err := a.outputs(pictures)
	if err != nil {
		return err
	}
	g, err := a.load(ctx)
	if err != nil {
		return err
	}
	if err := a.prepare(outs); err != nil {
		return err
	}
	engine, err := engineFlags{a.Device, "none"}.open(ctx, c)
	if err != nil {
		return err
	}
	defer engine.Close()

	bar := c.newCounter(len(pictures))
	var failed []error
	for i, path := range pictures {
		if ctx.Err() != nil {
			break
		}
		if err := a.one(engine, g, path, outs[i], bar); err != nil {
			failed = append(failed, err)
			bar.say(oneLine(err))
		} else if a.Out != "-" {
			bar.say(outs[i])
		}
		bar.done()
	}
	bar.close()
	switch {
	case ctx.Err() != nil:
		fmt.Fprintf(c.messages, "stopped: %d of %d pictures are done\n", bar.n-len(failed), len(pictures))
		return ctx.Err()
	case len(pictures) == 1:
		return errors.Join(failed...)
	case len(failed) > 0:
		return fmt.Errorf("%d of %d pictures failed, %w", len(failed), len(pictures), failed[0])
	}
	return nil
}

// load reads the generator of the file or of the run.
func (a *applyCmd) load(ctx context.Context) (g *hrstyle.Generator, err error) {
	switch {
	case (a.Generator == "") == (a.RunName == ""):
		return nil, errors.New("--generator FILE or --run RUN is needed, and not both")
	case a.Generator != "":
		return hrstyle.LoadGenerator(a.Generator)
	}
	store, info, err := findRun(ctx, a.DB, a.RunName)
	if err != nil {
		return nil, err
	}
	g, err = experiments.LoadGenerator(ctx, store, info.ID)
	return g, errors.Join(err, store.Close())
}

func (a *applyCmd) one(engine *hrstyle.Engine, g *hrstyle.Generator, path, out string, bar *counter) error {
	p, err := hrstyle.LoadPicture(path)
	if err != nil {
		return err
	}
	for _, note := range p.Notes {
		bar.say(path + " " + note)
	}
	img, err := engine.Apply(g, p)
	if err != nil {
		return err
	}
	comment := "hrlab: generator " + a.source() + "; VGG19: " + g.VGG
	if err := hrstyle.SavePicture(out, img, a.encoding(comment, p)); err != nil {
		return err
	}
	if info, err := os.Stat(path); err == nil && out != "-" && path != "-" {
		return os.Chtimes(out, info.ModTime(), info.ModTime())
	}
	return nil
}

func (a *applyCmd) source() string {
	if a.RunName != "" {
		return "of run " + a.RunName
	}
	return filepath.Base(a.Generator)
}

// loadPicture loads a picture and says what was done to it.
func loadPicture(c *console, path string) (hrstyle.Picture, error) {
	p, err := hrstyle.LoadPicture(path)
	for _, note := range p.Notes {
		fmt.Fprintln(c.messages, path, note)
	}
	return p, err
}

// inFolders puts the pictures in a folder in its place.
func inFolders(paths []string) (pictures []string, err error) {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil || !info.IsDir() {
			pictures = append(pictures, path)
			continue
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, err
		}
		before := len(pictures)
		for _, e := range entries {
			known := slices.Contains([]string{".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif"}, strings.ToLower(filepath.Ext(e.Name())))
			if known && !e.IsDir() && e.Name()[0] != '.' {
				pictures = append(pictures, filepath.Join(path, e.Name()))
			}
		}
		if len(pictures) == before {
			return nil, fmt.Errorf("%s: a folder without pictures (.png, .jpg, .jpeg, .webp, .tif, .tiff, .bmp, .gif)", path)
		}
	}
	return pictures, nil
}

// outputs names a file for every picture.
func (a *applyCmd) outputs(pictures []string) (outs []string, err error) {
	info, err := os.Stat(a.Out)
	switch folder := err == nil && info.IsDir(); {
	case folder || a.Out != "-" && filepath.Ext(a.Out) == "":
		for _, p := range pictures {
			outs = append(outs, filepath.Join(a.Out, stem(p)+"."+a.Format))
		}
	case len(pictures) > 1:
		return nil, fmt.Errorf("--out %s: is one file for %d pictures; name a directory", a.Out, len(pictures))
	default:
		outs = []string{a.Out}
	}
	return outs, apart(outs, append([]string{a.Generator}, pictures...))
}

// prepare finds out whether the results can be written, and makes their directory.
func (a *applyCmd) prepare(outs []string) error {
	if outs[0] != a.Out {
		if err := os.MkdirAll(a.Out, 0o777); err != nil {
			return err
		}
	}
	for _, out := range outs {
		if err := a.check(out); err != nil {
			return err
		}
	}
	return nil
}

// counter shows how many of several pictures are done: a bar on a terminal.
type counter struct {
	c    *console
	n    int           // pictures that are over
	bars *mpb.Progress // nil where messages is no terminal
	bar  *mpb.Bar
}

func (c *console) newCounter(total int) *counter {
	k := &counter{c: c}
	if c.terminal && total > 1 {
		k.bars = mpb.New(mpb.WithOutput(c.messages), mpb.WithWidth(24))
		k.bar = k.bars.AddBar(int64(total), mpb.PrependDecorators(decor.CountersNoUnit("%d of %d")), mpb.AppendDecorators(decor.AverageETA(decor.ET_STYLE_MMSS), decor.Name(" left")))
	}
	return k
}

// say prints a line above the bar.
func (k *counter) say(line string) {
	if k.bars != nil {
		fmt.Fprintln(k.bars, line)
		return
	}
	fmt.Fprintln(k.c.messages, line)
}

func (k *counter) done() {
	k.n++
	if k.bar != nil {
		k.bar.Increment()
	}
}

func (k *counter) close() {
	if k.bars != nil {
		k.bar.Abort(false)
		k.bars.Wait()
	}
}
