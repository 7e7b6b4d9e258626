package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hrlab/picture"

	"hrlab/experiments"
	"hrlab/hrstyle"
)

type applyCmd struct {
	generatorFlags
	Cube     string   `placeholder:"FILE" help:"A 3D LUT for sRGB in place of a generator: a .cube file."`
	Pictures []string `arg:"" name:"picture" help:"Pictures, folders of pictures, or - for standard input."`
	Out      string   `required:"" placeholder:"DIR|FILE|-" help:"A directory, where results have the names of the pictures, with a number where there is one. For one picture also a file, or - for standard output."`
	Format   string   `default:"png" enum:"png,jpg,webp" help:"Format of results in a directory: png, jpg or webp."`
	encodingFlags
	applyFlags
	Scenes bool   `help:"Give every scene of a video, from cut to cut, statistics of its own; otherwise frames of the whole video have the same."`
	Device string `default:"auto" predictor:"device" env:"HRLAB_DEVICE" placeholder:"auto|cuda|cpu|go" help:"auto, cuda, cpu (XLA:CPU) or go (slow, needs nothing)."`
}

// Help has examples.
func (*applyCmd) Help() string {
	return `Examples:

	hrlab apply --generator boat.safetensors other.jpg --out out.png
	hrlab apply --run 12 holiday/ --out done --format jpg
	hrlab apply --run 15 --ratio 45 other.jpg --out out.png   # run 15 is a weight map: hrlab map
	hrlab apply --cube look.cube holiday/ --out done
	hrlab apply --generator boat.safetensors boat.mp4 --out out.mp4`
}

// generatorFlags say which generator.
type generatorFlags struct {
	Generator string `placeholder:"FILE" help:"A generator that hrlab fit saved."`
	RunName   string `name:"run" predictor:"run" placeholder:"RUN" help:"The generator of a run, by its id or name."`
	dbFlags
	Ratio *float64 `placeholder:"80" help:"Of a weight map (hrlab map): the ratio of content weight to style weight."`
}

// look is what pictures get: that of a generator, or of a LUT.
type look struct {
	generator *hrstyle.Generator
	cube      *picture.Cube
	engine    *hrstyle.Engine // that applies the generator
}

// errPictures is the error of the command where some of several pictures failed.
var errPictures = errors.New("failed")

// Run applies the look to every picture. Each keeps its EXIF data and time; one that fails does not stop the rest.
func (a *applyCmd) Run(ctx context.Context, c *console) error {
	if err := a.valid(); err != nil {
		return err
	}
	if a.isVideo() {
		return a.video(ctx, c)
	}
	pictures, skipped, err := inFolders(a.Pictures, a.Out)
	if err != nil {
		return err
	}
	outs, err := a.outputs(pictures)
	if err != nil {
		return err
	}
	for _, line := range skipped {
		fmt.Fprintln(c.messages, line)
	}
	l, err := a.look(ctx)
	if err != nil {
		return err
	}
	if err := a.prepare(outs); err != nil {
		return err
	}
	if l.generator != nil {
		if l.engine, err = (engineFlags{a.Device, "none"}).open(ctx, c); err != nil {
			return err
		}
		defer l.engine.Close()
	}

	named := len(pictures) == 1 && pictures[0] == a.Pictures[0] // the only one, and in no folder
	bar := c.newCounter(len(pictures))
	var failed []error
	for i, path := range pictures {
		if ctx.Err() != nil {
			break
		}
		err := a.one(ctx, l, path, outs[i], bar)
		if err != nil {
			failed = append(failed, err)
		}
		if err != nil && !named && ctx.Err() == nil {
			bar.say(oneLine(err))
		}
		bar.done()
	}
	bar.close()
	switch {
	case ctx.Err() != nil && named && len(failed) > 0:
		fmt.Fprintf(c.messages, "stopped: %s is not written\n", outs[0].path)
		return ctx.Err()
	case ctx.Err() != nil:
		fmt.Fprintf(c.messages, "stopped: %d of %d pictures are done\n", bar.n-len(failed), len(pictures))
		return ctx.Err()
	case named:
		return errors.Join(failed...)
	case len(failed) > 0:
		return fmt.Errorf("%d of %d pictures %w", len(failed), len(pictures), errPictures)
	}
	return nil
}

// look reads the generator or the LUT.
func (a *applyCmd) look(ctx context.Context) (l look, err error) {
	given := 0
	for _, flag := range []string{a.Generator, a.RunName, a.Cube} {
		if flag != "" {
			given++
		}
	}
	switch {
	case given != 1:
		return l, errors.New("--generator FILE, --run RUN or --cube FILE is needed, and only one of them")
	case a.Cube != "" && a.Ratio != nil:
		return l, fmt.Errorf("--ratio %g: a LUT has none; allowed with a weight map", *a.Ratio)
	case a.Cube != "":
		l.cube, err = picture.LoadCube(a.Cube)
	default:
		l.generator, err = a.load(ctx)
	}
	return l, err
}

// load reads the generator of the file or of the run; of a weight map it takes the one for the ratio.
func (f generatorFlags) load(ctx context.Context) (*hrstyle.Generator, error) {
	g, err := f.read(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case f.Ratio != nil:
		if g, err = g.At(*f.Ratio); err != nil {
			return nil, fmt.Errorf("--%w", err)
		}
	case g.IsMap():
		return nil, fmt.Errorf("the %s is a weight map: choose a ratio of its weights, as --ratio 80; allowed: %g to %g", f.source(), g.Config.From, g.Config.To)
	}
	return g, nil
}

// read reads the generator of the file or of the run.
func (f generatorFlags) read(ctx context.Context) (g *hrstyle.Generator, err error) {
	if f.Generator != "" {
		return hrstyle.LoadGenerator(f.Generator)
	}
	store, info, err := f.findRun(ctx, f.RunName)
	if err != nil {
		return nil, err
	}
	g, err = experiments.LoadGenerator(ctx, store, info.ID)
	return g, errors.Join(err, store.Close())
}

// source names the generator in a few words.
func (f generatorFlags) source() string {
	text := "generator " + filepath.Base(f.Generator)
	if f.RunName != "" {
		text = "generator of run " + f.RunName
	}
	if f.Ratio != nil {
		text += fmt.Sprintf(" at ratio %g", *f.Ratio)
	}
	return text
}

// one applies the look to the picture of a file, and tells the user of anything odd.
func (a *applyCmd) one(ctx context.Context, l look, path string, where place, bar *counter) error {
	p, err := picture.Load(path)
	if err != nil {
		return err
	}
	for _, note := range p.Notes {
		bar.say(path + " " + note)
	}
	if err := a.write(ctx, l, p, &where, bar); err != nil || where.path == "-" {
		return err
	}
	bar.say(where.path)
	if note := a.encoding("", p).Note(where.path); note != "" {
		bar.say(where.path + " " + note)
	}
	if info, err := os.Stat(path); err == nil && path != "-" {
		return os.Chtimes(where.path, info.ModTime(), info.ModTime())
	}
	return nil
}

// write applies the look to a picture and writes the result.
func (a *applyCmd) write(ctx context.Context, l look, p picture.Picture, where *place, bar *counter) (err error) {
	var img *image.NRGBA64
	comment := "hrlab: LUT " + filepath.Base(a.Cube)
	if l.cube != nil {
		img = l.cube.Apply(picture.Flatten(p.Image))
		picture.Blend(img, p, a.Strength)
	} else {
		if text := farLarger(l.generator.Config.Size, p.Name, p.Bounds().Size()); text != "" {
			bar.say(text)
		}
		if img, err = a.apply(ctx, l.engine, l.generator, p, bar); err != nil {
			return err
		}
		comment = "hrlab: " + a.source() + "; VGG19: " + l.generator.VGG
	}
	return where.write(where.encoded(img, a.encoding(comment+a.describe(), p)))
}

// inFolders replaces every folder in paths by the pictures in it, and says what it skips there: files without the extension
// of a picture, hidden files, folders, and the folder that the results go to.
func inFolders(paths []string, results string) (pictures, skipped []string, err error) {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil || !info.IsDir() {
			pictures = append(pictures, path)
			continue
		}
		if out, err := os.Stat(results); err == nil && os.SameFile(info, out) {
			skipped = append(skipped, path+": skipped, since it is --out")
			continue
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, nil, err
		}
		before := len(pictures)
		var unknown, hidden, folders []string
		for _, e := range entries {
			name := e.Name()
			switch info, err := os.Stat(filepath.Join(path, name)); { // links are followed
			case name[0] == '.':
				hidden = append(hidden, name)
			case err == nil && info.IsDir():
				folders = append(folders, name)
			case picture.Format(name) == "":
				unknown = append(unknown, name)
			default:
				pictures = append(pictures, filepath.Join(path, name))
			}
		}
		var parts []string
		for _, part := range []struct {
			names []string
			what  string
		}{{unknown, "no picture by name"}, {hidden, "hidden"}, {folders, "a folder"}} {
			if n := len(part.names); n > 3 {
				parts = append(parts, fmt.Sprintf("%s and %d more (%s)", strings.Join(part.names[:3], ", "), n-3, part.what))
			} else if n > 0 {
				parts = append(parts, fmt.Sprintf("%s (%s)", strings.Join(part.names, ", "), part.what))
			}
		}
		var said []string
		if len(pictures) == before {
			said = append(said, fmt.Sprintf("a folder without pictures (%s)", strings.Join(picture.Extensions(), ", ")))
		}
		if parts != nil {
			said = append(said, "skipped "+strings.Join(parts, "; "))
		}
		if said != nil {
			skipped = append(skipped, path+": "+strings.Join(said, "; "))
		}
	}
	if len(pictures) == 0 {
		return nil, nil, errors.New(strings.Join(skipped, "; "))
	}
	return pictures, skipped, nil
}

// outputs names a file for every picture.
func (a *applyCmd) outputs(pictures []string) (outs []place, err error) {
	inputs := append([]string{a.Generator, a.Cube}, pictures...)
	switch {
	case isFolder(a.Out) || a.Out != "-" && filepath.Ext(a.Out) == "":
		var names []string
		for _, name := range resultNames(pictures, a.Format) {
			names = append(names, filepath.Join(a.Out, name))
		}
		if err := apart(names, inputs); err != nil {
			return nil, err
		}
		taken := names
		for _, name := range names {
			out := place{name, name}
			if _, err := os.Lstat(name); err == nil {
				out.path = unused(name, taken)
				taken = append(taken, out.path)
			}
			outs = append(outs, out)
		}
		return outs, nil
	case len(pictures) > 1:
		return nil, fmt.Errorf("--out %s: is one file for %d pictures; name a directory", a.Out, len(pictures))
	}
	return []place{{path: a.Out}}, apart([]string{a.Out}, inputs)
}

// resultNames are the pictures' names with the extension of a format in place of theirs. Pictures whose names differ only by
// extension keep it: a.jpg and a.tif become a.jpg.png and a.tif.png.
func resultNames(pictures []string, format string) []string {
	names, whole := make([]string, len(pictures)), make([]bool, len(pictures))
	for again := true; again; {
		again = false
		alike := map[string][]int{}
		for i, p := range pictures {
			names[i] = stem(p) + "." + format
			if whole[i] {
				names[i] = filepath.Base(p) + "." + format
			}
			alike[names[i]] = append(alike[names[i]], i)
		}
		for _, group := range alike {
			differ := slices.ContainsFunc(group, func(i int) bool { return filepath.Base(pictures[i]) != filepath.Base(pictures[group[0]]) })
			for _, i := range group {
				if differ && !whole[i] {
					whole[i], again = true, true
				}
			}
		}
	}
	return names
}

// prepare makes the directory of the results, and checks that they can be written.
func (a *applyCmd) prepare(outs []place) error {
	if outs[0].made != "" {
		if err := os.MkdirAll(a.Out, 0o777); err != nil {
			return err
		}
	}
	for _, out := range outs {
		if err := a.check(out.path); err != nil {
			return err
		}
	}
	return nil
}
