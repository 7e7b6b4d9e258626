package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"hrlab/picture"

	"hrlab/experiments"
	"hrlab/hrstyle"
	"hrlab/report"
	"hrlab/tracker"

	"github.com/alecthomas/kong"
)

type fitCmd struct {
	Content string `placeholder:"FILE|-" help:"The picture to change (PNG, JPEG, WebP, TIFF, BMP, GIF; - is standard input)."`
	Style   string `placeholder:"FILE|-" help:"The picture whose look it gets."`
	configFlags
	Ratio           *float64 `placeholder:"80" help:"With --init of a weight map (hrlab map), its file or its run: begin with what it has at this ratio of content weight to style weight. The settings are then the map's, with these weights, 60 steps and a learning rate of 0.001, unless they are given."`
	Resume          string   `predictor:"run" placeholder:"RUN|FILE" help:"Go on with a run, or from a checkpoint file. Of the settings only --steps, --report-every and --checkpoint-every may be given. A run has --out, --out-size, --strength, --bits and --quality too, unless they are given."`
	CheckpointEvery *int     `placeholder:"N" help:"Also save the fit's state beside --out every N steps; the run keeps it anyway, every 10 s and on Ctrl-C."`
	engineFlags
	ReportEvery *int   `placeholder:"10" help:"Steps between reports."`
	Out         string `placeholder:"FILE|-" help:"Where the result goes (.png, .jpg, .webp; - is standard output, as PNG); default: CONTENT_STYLE.png here, with a number where there is one; a run that goes on: its own file. In a folder it has that name."`
	sizeFlags
	Open bool `help:"Open the result when it is written."`
	encodingFlags
	trackFlags
	Generator string            `placeholder:"FILE" help:"Save the fitted generator, for hrlab apply."`
	JSON      string            `name:"json" placeholder:"FILE|-" help:"Write one JSON line per report."`
	typed     map[string]bool   // the flags that are on the command line
	of        experiments.Trial // the weight map's, where the fit begins with one
}

// AfterApply notes which flags are on the command line.
func (f *fitCmd) AfterApply(k *kong.Context) error {
	f.typed = map[string]bool{}
	for _, part := range k.Path {
		if part.Flag != nil {
			f.typed[part.Flag.Name] = true
		}
	}
	return nil
}

// Help has examples.
func (*fitCmd) Help() string {
	return `Examples:

	hrlab fit --content boat.jpg --style sunset.jpg
	hrlab fit --content boat.jpg --style sunset.jpg --size 128 --steps 200 --content-weight 80
	hrlab fit --content boat.jpg --style sunset.jpg --init 15 --ratio 45   # run 15 is a weight map: hrlab map
	hrlab fit --resume 12 --steps 2000   # go on with run 12`
}

// Run fits.
func (f *fitCmd) Run(ctx context.Context, c *console) (err error) {
	var track tracked
	defer func() { err = errors.Join(err, track.close()) }()
	start, resumed, err := f.load(ctx, &track)
	if err != nil {
		return err
	}
	if start.Config.Knots > 0 {
		return fmt.Errorf("%s is the fit of a weight map: hrlab map --resume %s%s goes on with it", f.Resume, f.Resume, f.asFlag())
	}
	pair, err := f.loadPair(ctx, c, track.store, start, resumed)
	if err != nil {
		return err
	}
	config := &start.Config
	full, err := f.fullSize(pair.Content)
	if err != nil {
		return err
	}
	files, err := f.places(stem(pair.Content.Name) + "_" + stem(pair.Style.Name))
	if err != nil {
		return err
	}
	if config.Checkpoint == "" && (f.NoTrack || config.CheckpointEvery > 0) { // otherwise the run keeps it
		config.Checkpoint = strings.TrimSuffix(f.Out, filepath.Ext(f.Out)) + checkpointName + ".safetensors"
		if f.Out == "-" {
			config.Checkpoint = stem(pair.Content.Name) + "_" + stem(pair.Style.Name) + checkpointName + ".safetensors"
		}
		if resumed == 0 {
			config.Checkpoint = unused(config.Checkpoint, nil)
		}
	}
	if err := f.checkOutputs(config.Checkpoint); err != nil {
		return err
	}
	if err := f.encoding("", pair.Content).CheckSize(f.Out, full); err != nil {
		return err
	}
	if note := f.encoding("", pair.Content).Note(f.Out); note != "" {
		fmt.Fprintln(c.messages, f.Out, note)
	}
	engine, err := f.open(ctx, c)
	if err != nil {
		return err
	}
	defer engine.Close()
	if f.Size == nil && f.Resume == "" && !f.Reference && f.of.Init == nil { // a weight map has its size
		var line string
		if config.Size, line = chooseSize(engine, pair, *config, full); line != "" {
			fmt.Fprintln(c.messages, line)
		}
	}
	lines, err := f.openJSON(c) // only now, since it empties the file
	if err != nil {
		return err
	}
	defer lines.Close() //nolint:errcheck // every line was written and checked
	if track.store == nil && !f.NoTrack {
		if track.store, err = f.openToWrite(ctx); err != nil {
			return err
		}
	}
	if err := track.start(ctx, c, f, engine, pair, *config, resumed); err != nil {
		return err
	}
	if files.out.made == "" { // one that was made up may be taken by another process before it is written
		if err := track.wrote(ctx, f.Out, f.written()); err != nil {
			return errors.Join(err, track.run.Finish(context.WithoutCancel(ctx), err))
		}
	}

	for _, text := range []string{noWeights(*config), farLarger(config.Size, pair.Content.Name, full)} {
		if text != "" {
			fmt.Fprintln(c.messages, text)
		}
	}
	bar := c.newProgress(ctx, start.Step, config.Steps, newFirstLoss(engine.Device.Kind, config.Size))
	fit := engine.Fit(ctx, pair, *config)
	if f.Resume != "" || f.of.Init != nil {
		fit = engine.Resume(ctx, pair, start)
	}
	var last hrstyle.Step
	var losses course
	var lost error // the first error of the JSON lines, which does not end the fit
	for step, stepErr := range track.record(ctx, fit) {
		last, err = step, stepErr
		if err != nil {
			break
		}
		bar.report(step)
		losses.note(step)
		if f.Resume != "" && step.N == start.Step { // reported before it was stopped
			continue
		}
		if lost == nil {
			lost = writeJSON(lines, step, engine.VGG)
		}
	}
	bar.close()
	if !last.Ok() {
		return err
	}
	if err == nil {
		for _, text := range losses.warnings(*config, f.of.Init != nil) {
			fmt.Fprintln(c.messages, text)
		}
	}
	img := f.fitted(last)
	var short error // why the result has the fitted size only
	began := time.Now()
	if size := img.Bounds().Size(); err == nil && full != size && full != (image.Point{}) {
		var larger *image.NRGBA64
		if larger, short = f.full(ctx, c, engine, last.Generator(), pair.Content, full); short == nil {
			img = larger
		}
	}
	return f.end(ctx, c, &track, files, fitResult{last, img, pair.Content, time.Since(began), short}, err, lost)
}

// fitFiles are where the results of a fit go.
type fitFiles struct{ out, generator place }

// places places the results. It replaces the flags by their names, so that these are the names of files.
func (f *fitCmd) places(name string) (files fitFiles, err error) {
	if files.out, err = newPlace(f.Out, name+".png"); err != nil {
		return files, err
	}
	f.Out = files.out.path
	if f.Generator != "" {
		if files.generator, err = newPlace(f.Generator, name+".safetensors"); err != nil {
			return files, err
		}
		f.Generator = files.generator.path
	}
	if f.JSON != "" && isFolder(f.JSON) {
		lines, err := newPlace(f.JSON, name+".jsonl")
		if err != nil {
			return files, err
		}
		f.JSON = lines.path
	}
	return files, nil
}

// fitResult is what a fit ends with: its last step, and the picture to write, whose making took so long.
type fitResult struct {
	last    hrstyle.Step
	img     *image.NRGBA64
	content picture.Picture
	took    time.Duration
	short   error // why img has the fitted size only
}

// end writes the results of a fit that ended with err. It prints what was written and how to go on.
func (f *fitCmd) end(ctx context.Context, c *console, track *tracked, files fitFiles, result fitResult, err, lost error) error {
	ctx = context.WithoutCancel(ctx)
	last, content := result.last, result.content
	steps, checkpoint := last.Generator().Config.Steps, last.Generator().Config.Checkpoint
	how := f.encoding(last.Describe()+f.describe(), content)
	picture := f.save(ctx, track, &files.out, report.Output, files.out.encoded(result.img, how))
	if command := f.applyCommand(track, content, "FILE"); picture != nil && command != "" && result.img.Bounds().Size() != last.Pair().Content.Bounds().Size() {
		picture = fmt.Errorf("%w; at the picture's own size: %s", picture, command)
	}
	failed := errors.Join(picture, f.save(ctx, track, &files.generator, report.Generator, last.Generator().Save))
	f.Out, f.Generator = files.out.path, files.generator.path
	if picture == nil {
		failed = errors.Join(failed, track.wrote(ctx, f.Out, f.written()))
	}
	if lost != nil {
		lost = fmt.Errorf("--json %w", lost)
		if track.run != nil {
			lost = fmt.Errorf("%w; run %d has them: hrlab runs export --where 'id = %d' --format csv --out FILE%s", lost, track.run.ID, track.run.ID, f.asFlag())
		}
		failed = errors.Join(failed, lost)
	}
	from := ""
	switch _, statErr := os.Stat(checkpoint); {
	case track.has(ctx, report.Checkpoint):
		from = strconv.FormatInt(track.run.ID, 10)
	case statErr == nil:
		from = checkpoint
	}
	switch {
	case errors.Is(err, context.Canceled):
		text := fmt.Sprintf("stopped at step %d of %d", last.N, steps)
		if picture == nil {
			text += fmt.Sprintf("; %s has the picture so far", f.Out)
		}
		if from != "" {
			text += ". Go on with:\n  " + f.resumeCommand(from)
		}
		fmt.Fprintln(c.messages, text)
		if other := errors.Join(uncancelled(err), failed); other != nil {
			return other
		}
		return err
	case err != nil:
		if picture == nil {
			err = errors.Join(err, fmt.Errorf("%s has the picture of step %d", f.Out, last.N))
		}
		if from != "" && !errors.Is(err, hrstyle.ErrDiverged) {
			failed = errors.Join(failed, fmt.Errorf("go on with: %s", f.resumeCommand(from)))
		}
	case result.short != nil:
		if picture == nil {
			text := f.Out + " has the picture at the size of the fit"
			if command := f.applyCommand(track, content, f.fullName(content)); command != "" {
				text += "; at the picture's own size: " + command
			}
			if errors.Is(result.short, context.Canceled) {
				fmt.Fprintln(c.messages, "stopped:", text)
			} else {
				result.short = fmt.Errorf("%w; %s", result.short, text)
			}
		}
		err = result.short
	case picture == nil:
		text := fmt.Sprintf("%s: %d steps in %.0f s", f.Out, last.N, last.Elapsed.Seconds())
		if size := result.img.Bounds().Size(); size != last.Pair().Content.Bounds().Size() {
			text += fmt.Sprintf(", %dx%d px in %.0f s", size.X, size.Y, result.took.Seconds())
		}
		fmt.Fprintln(c.messages, text)
		if f.Open {
			c.open(ctx, f.Out)
		}
		if failed == nil && track.run != nil {
			fmt.Fprintln(c.messages, f.next(track, last, content))
		}
	}
	return errors.Join(err, failed)
}

// fullName is a name beside the result for the picture at its own size.
func (f *fitCmd) fullName(content picture.Picture) string {
	out := stem(content.Name) + "_full.png"
	if extension := filepath.Ext(f.Out); f.Out != "-" {
		out = strings.TrimSuffix(f.Out, extension) + "_full" + extension
	}
	return unused(out, nil)
}

// applyCommand is the command that gives the same look at the picture's own size, in the file out; empty where there is none.
func (f *fitCmd) applyCommand(track *tracked, content picture.Picture, out string) string {
	name := content.Name
	if strings.HasPrefix(name, "-") { // or else it would be a flag
		name = "./" + name
	}
	from := option("generator", f.Generator)
	switch {
	case content.Name == "-":
		return ""
	case track.run != nil:
		from = fmt.Sprintf("--run %d", track.run.ID)
	case f.Generator == "":
		return ""
	}
	command := append([]string{"hrlab apply", from, quote(name), option("out", out)}, given(f.resultFlags())...)
	return strings.Join(command, " ") + f.asFlag()
}

// next is the line that says what may come next: the look at the picture's own size, or where the result has that size, other
// weights.
func (f *fitCmd) next(track *tracked, last hrstyle.Step, content picture.Picture) string {
	name, ratio := f.Content, last.Generator().Config.ContentWeight
	if f.OutSize == fittedSize && content.Bounds().Size() != last.Pair().Content.Bounds().Size() && name != "-" {
		return "next, at the picture's own size: " + f.applyCommand(track, content, f.fullName(content))
	}
	if name == "-" || f.Style == "-" || ratio == 0 {
		return fmt.Sprintf("next, more steps: hrlab fit --resume %d --steps %d%s", track.run.ID, 2*max(last.N, 1), f.asFlag())
	}
	return fmt.Sprintf("next, other weights: hrlab sweep %s %s --size %d --content-weight %g,%g,%g%s", option("content", name), option("style", f.Style), last.Generator().Config.Size, ratio/4, ratio, ratio*4, f.asFlag())
}

// save writes a result, unless path is empty. Where that fails, the error says where else the result is: in the run, as
// artifact, or else in a folder for temporary files.
func (f *fitCmd) save(ctx context.Context, track *tracked, where *place, artifact string, write func(path string) error) error {
	path := where.path
	if path == "" {
		return nil
	}
	err := where.write(write)
	if err == nil {
		return nil
	}
	if track.has(ctx, artifact) {
		what := "it"
		if artifact == report.Output && f.OutSize != fittedSize {
			what = "it at the size of the fit"
		}
		return fmt.Errorf("%w; run %d has %s: hrlab runs get %d %s --out FILE%s", err, track.run.ID, what, track.run.ID, artifact, f.asFlag())
	}
	dir, tempErr := os.MkdirTemp("", "hrlab-")
	if tempErr != nil {
		return err
	}
	other := filepath.Join(dir, filepath.Base(path))
	if path == "-" {
		other = filepath.Join(dir, "output.png")
	}
	if write(other) != nil {
		_ = os.RemoveAll(dir)
		return err
	}
	return fmt.Errorf("%w; it is in %s", err, other)
}

// uncancelled is an error without the parts that say that the context was cancelled; nil where nothing is left.
func uncancelled(err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	switch {
	case !errors.Is(err, context.Canceled):
		return err
	case !ok:
		return nil
	}
	var rest []error
	for _, e := range joined.Unwrap() {
		rest = append(rest, uncancelled(e))
	}
	return errors.Join(rest...)
}

// load makes the state to start from: step 0 with the settings of the flags, or the checkpoint of a file or run. resumed is
// that run; 0 where there is none.
func (f *fitCmd) load(ctx context.Context, track *tracked) (start *hrstyle.Checkpoint, resumed int64, err error) {
	if f.Ratio != nil && f.Init == nil {
		return nil, 0, fmt.Errorf("--ratio %g: it is of a weight map; allowed with --init FILE|RUN", *f.Ratio)
	}
	if f.Resume != "" {
		steps := f.Steps
		f.Steps = nil // the only one of these that may be given
		given := f.configFlags
		f.Steps = steps
		if !reflect.ValueOf(given).IsZero() {
			return nil, 0, errors.New("--resume takes its settings from the checkpoint; allowed with it: --steps, --report-every, --checkpoint-every")
		}
		if _, statErr := os.Stat(f.Resume); statErr == nil {
			if start, err = hrstyle.LoadCheckpoint(f.Resume); err == nil && f.Out == "" {
				f.Out = pictureOf(f.Resume)
			}
		} else {
			start, resumed, err = f.loadRun(ctx, track)
		}
		if err != nil {
			return nil, 0, err
		}
		set(&start.Config.Steps, steps)
		if start.Step > start.Config.Steps {
			return nil, 0, fmt.Errorf("%s is at step %d already: steps %d; allowed: %d or more", f.Resume, start.Step, start.Config.Steps, start.Step)
		}
	} else if start, err = f.begin(ctx); err != nil {
		return nil, 0, err
	}
	set(&start.Config.ReportEvery, f.ReportEvery)
	set(&start.Config.CheckpointEvery, f.CheckpointEvery)
	return start, resumed, start.Config.Validate()
}

// begin makes the state of a fit before its first step. What is wrong with --init fails here, before the device is opened.
func (f *fitCmd) begin(ctx context.Context) (start *hrstyle.Checkpoint, err error) {
	if f.Ratio != nil {
		return f.beginWithMap(ctx)
	}
	start = &hrstyle.Checkpoint{}
	if start.Config, err = f.config(); err != nil || f.Init == nil {
		return start, err
	}
	g, err := hrstyle.LoadGenerator(*f.Init)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("--init %w; allowed: the file of a generator, and with --ratio also the run of a weight map", err)
	}
	if err == nil && g.IsMap() {
		err = fmt.Errorf("--init %s is a weight map: choose a ratio of its weights, as --ratio 80; allowed: %g to %g", *f.Init, g.Config.From, g.Config.To)
	}
	return start, err
}

// beginWithMap is begin with the generator that a weight map, of the file or the run --init, has at --ratio.
func (f *fitCmd) beginWithMap(ctx context.Context) (*hrstyle.Checkpoint, error) {
	if f.Reference {
		return nil, errors.New("--reference: the settings of a fit with --ratio are the weight map's")
	}
	m, name, err := f.weightMap(ctx)
	if err != nil {
		return nil, err
	}
	trials, err := experiments.MapTrials(m, name, experiments.RefineSteps, *f.Ratio)
	if err != nil {
		return nil, fmt.Errorf("--%w", err)
	}
	f.of = trials[0]
	err = f.change(&f.of.Config)
	f.of.Config.Init = ""
	return f.of.Init.Start(f.of.Config), err
}

// weightMap reads what --init names, a file or a run, and names it for the record.
func (f *fitCmd) weightMap(ctx context.Context) (m *hrstyle.Generator, name string, err error) {
	if _, err := os.Stat(*f.Init); err == nil {
		m, err = hrstyle.LoadGenerator(*f.Init)
		return m, *f.Init, err
	}
	store, info, err := f.findRun(ctx, *f.Init)
	if err != nil {
		return nil, "", err
	}
	m, err = experiments.LoadGenerator(ctx, store, info.ID)
	return m, fmt.Sprintf("run %d", info.ID), errors.Join(err, store.Close())
}

// loadRun finds the run to resume and its checkpoint.
func (f *fitCmd) loadRun(ctx context.Context, track *tracked) (*hrstyle.Checkpoint, int64, error) {
	store, info, err := f.findRun(ctx, f.Resume)
	if err != nil {
		return nil, 0, err
	}
	track.store = store
	if info.Status == tracker.Queued {
		return nil, 0, fmt.Errorf("run %d is queued, for a worker: hrlab worker%s", info.ID, f.asFlag())
	}
	if own := info.Tags[outputFile]; f.Out == "" && own != "" {
		if _, err := os.Stat(filepath.Dir(own)); err == nil { // the run may be of another machine
			f.Out = own
		}
	}
	f.writeAs(info.Tags)
	start, err := experiments.LoadCheckpoint(ctx, store, info.ID)
	if errors.Is(err, tracker.ErrNotFound) {
		start, err = experiments.Continue(ctx, store, info)
		track.fresh = err == nil
	}
	if errors.Is(err, tracker.ErrNotFound) {
		err = fmt.Errorf("run %d is %s and has no checkpoint to go on from", info.ID, info.Status)
		if len(info.Metrics) == 0 {
			again := info.Command
			if _, pairErr := experiments.LoadPair(ctx, store, info.ID); pairErr == nil { // a trial of the queue
				again = fmt.Sprintf("hrlab queue retry %d%s", info.ID, f.asFlag())
			}
			err = fmt.Errorf("%w: it ended before its first step; begin again: %s", err, again)
		}
		return nil, 0, err
	}
	if err == nil && info.Status == tracker.Finished && start.Step >= start.Config.Steps && f.Steps == nil {
		return nil, 0, fmt.Errorf("run %d is finished, after %d steps: say how many there are to be: --steps %d; its look at a picture's own size: hrlab apply --run %d PICTURE --out FILE%s", info.ID, start.Step, 2*max(start.Step, 1), info.ID, f.asFlag())
	}
	return start, info.ID, err
}

// loadPair loads the pictures that flags name, or those that the checkpoint is of: a run that was queued has them with it.
func (f *fitCmd) loadPair(ctx context.Context, c *console, store *tracker.Store, start *hrstyle.Checkpoint, resumed int64) (pair hrstyle.Pair, err error) {
	if resumed != 0 && f.Content == "" && f.Style == "" {
		pair, err = experiments.LoadPair(ctx, store, resumed)
		if !errors.Is(err, tracker.ErrNotFound) {
			f.Content, f.Style = pair.Content.Name, pair.Style.Name
			return pair, err
		}
	}
	recorded := f.Content == "" && f.Style == ""
	directory := ""
	if resumed != 0 {
		env, err := store.Environment(ctx, resumed)
		if err != nil {
			return pair, err
		}
		directory = env["directory"]
	}
	f.Content, f.Style = cmp.Or(f.Content, namedIn(directory, start.Content)), cmp.Or(f.Style, namedIn(directory, start.Style))
	if f.Content == "" || f.Style == "" {
		return pair, errors.New("--content FILE and --style FILE are needed: the picture to change and the picture whose look it gets")
	}
	if f.Content == "-" && f.Style == "-" {
		return pair, errors.New("--content - and --style -: only one of them can be standard input")
	}
	pair, err = loadPair(c, f.Content, f.Style)
	if recorded && errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; say where the pictures of the fit are: --content FILE --style FILE", err)
	}
	return pair, err
}

// namedIn is a name for the file that somebody in directory called name: that itself, unless it only leads there from directory.
func namedIn(directory, name string) string {
	path := filepath.Join(directory, name)
	here, err := os.Getwd()
	if directory == "" || directory == here || err != nil || name == "" || name == "-" || filepath.IsAbs(name) {
		return name
	}
	if _, err := os.Stat(path); err != nil { // the run may be of another machine
		return name
	}
	return path
}

// pictureOf is the picture that the fit of a checkpoint file wrote: it has the same name. It is empty where there is none.
func pictureOf(checkpoint string) string {
	name, ok := strings.CutSuffix(checkpoint, checkpointName+".safetensors")
	for _, extension := range []string{".png", ".jpg", ".jpeg", ".webp"} {
		if _, err := os.Stat(name + extension); ok && err == nil {
			return name + extension
		}
	}
	return ""
}

// checkOutputs checks, before the fit, that its results can be written.
func (f *fitCmd) checkOutputs(checkpoint string) error {
	if err := apart([]string{f.Out, checkpoint, f.Generator, f.JSON}, []string{f.Content, f.Style, f.VGG, deref(f.Init)}); err != nil {
		return err
	}
	if err := f.check(f.Out); err != nil {
		return err
	}
	if f.Generator != "" {
		if err := endsIn(f.Generator, ".safetensors"); err != nil {
			return err
		}
	}
	for _, path := range []string{checkpoint, f.Generator} {
		if path != "" {
			if err := picture.CheckWritable(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// resumeCommand is the command line that goes on with this fit, with every flag that is not kept in the checkpoint.
func (f *fitCmd) resumeCommand(from string) string {
	command := []string{"hrlab fit", option("resume", from), option("out", f.Out)}
	command = append(command, given(append(f.resultFlags(), []flagValue{
		{"out-size", f.OutSize, originalSize},
		{"memory", strconv.FormatFloat(f.Memory, 'g', -1, 64), "0"},
		{"vgg", f.VGG, "auto"},
		{"device", f.Device, "auto"},
		{"generator", f.Generator, ""},
		{"json", f.JSON, ""},
	}...))...)
	if db := f.asFlag(); db != "" {
		command = append(command, db[1:])
	}
	if f.NoTrack {
		command = append(command, "--no-track")
	}
	return strings.Join(command, " ")
}

// flagValue is a flag with its value and the one that it has where nobody gives it.
type flagValue struct{ name, value, usual string }

// resultFlags are those flags that fit and apply have in common, and that change what is in the result.
func (f *fitCmd) resultFlags() []flagValue {
	return []flagValue{
		{"bits", strconv.Itoa(f.Bits), "8"},
		{"quality", strconv.Itoa(f.Quality), "95"},
		{"strength", strconv.FormatFloat(f.Strength, 'g', -1, 64), "1"},
	}
}

// given are the options for flags whose value is not the usual one.
func given(flags []flagValue) (options []string) {
	for _, flag := range flags {
		if flag.value != flag.usual {
			options = append(options, option(flag.name, flag.value))
		}
	}
	return options
}
