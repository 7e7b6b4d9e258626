package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"

	"hrlab/experiments"
	"hrlab/hrstyle"
	"hrlab/report"
	"hrlab/tracker"
)

// engineFlags choose what a verb runs on.
type engineFlags struct {
	Device string `default:"auto" env:"HRLAB_DEVICE" help:"auto, cuda, cpu (XLA:CPU) or go (slow, needs nothing)."`
	VGG    string `default:"auto" env:"HRLAB_VGG" name:"vgg" placeholder:"auto|random|FILE" help:"VGG19 weights: auto takes those in the cache directory, and fetches them (52 MB) the first time."`
}

// open opens the engine and says on what it runs.
func (f engineFlags) open(ctx context.Context, c *console) (*hrstyle.Engine, error) {
	options := hrstyle.Options{Device: f.Device, VGG: f.VGG}
	engine, err := hrstyle.Open(ctx, options)
	if errors.Is(err, hrstyle.ErrNoVGG) {
		if err := fetchVGG(ctx, c, ""); err != nil {
			return nil, err
		}
		engine, err = hrstyle.Open(ctx, options)
	}
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(c.messages, "device: %s (%s)\n", engine.Device.Name, engine.Device.Why)
	if v := engine.VGG; v != nil {
		fmt.Fprintln(c.messages, "VGG19:", v.Label)
	}
	return engine, nil
}

// loopFlags are the fields of hrstyle.Config that fit and sweep take alike; what is not given comes from Default, or
// Reference.
type loopFlags struct {
	Reference    bool      `help:"Start from the authors' settings: 500x500, style picture at its own size, Gram sums. Other flags on top."`
	Size         *int      `placeholder:"500" help:"Longer side of the result in pixels."`
	Square       *bool     `negatable:"" help:"Make both sides --size, whatever the picture's shape."`
	StyleSize    *int      `placeholder:"N" help:"Longer side of the style picture; 0: its own size (default: as --size)."`
	Gram         *string   `placeholder:"mean" help:"mean: weights mean the same at every size; sum: as the paper."`
	Steps        *int      `placeholder:"1000" help:"Updates to make."`
	LayerWeights []float64 `placeholder:"0.1,0.2,0.4,0.8,1.6" help:"Weights of conv1_1 to conv5_1 in the style loss."`
	WeightDecay  *float64  `placeholder:"0" help:"L2 weight decay."`
	Seed         *int64    `placeholder:"0" help:"Seed of the initial generator."`
	Init         *string   `placeholder:"FILE" help:"Start from this generator instead."`
}

// configFlags are those of one fit.
type configFlags struct {
	loopFlags
	ContentWeight *float64 `placeholder:"150" help:"Weight of the content loss: more keeps more of the content picture."`
	StyleWeight   *float64 `placeholder:"1" help:"Weight of the style loss: more takes more of the style picture."`
	StyleGain     *float64 `placeholder:"1" help:"Multiplies the style picture's Gram matrices: above 1 aims at stronger colours than it has. 2.56 is what the paper's sizes of pictures amount to."`
	LearningRate  *float64 `placeholder:"0.005" help:"Adam's learning rate."`
}

// config applies the flags to Default or Reference.
func (f loopFlags) config() (hrstyle.Config, error) {
	c := hrstyle.Default
	if f.Reference {
		c = hrstyle.Reference
	}
	set(&c.Size, f.Size)
	set(&c.Square, f.Square)
	set(&c.StyleSize, f.StyleSize)
	set(&c.Steps, f.Steps)
	set(&c.WeightDecay, f.WeightDecay)
	set(&c.Seed, f.Seed)
	set(&c.Init, f.Init)
	set(&c.Gram, (*hrstyle.Gram)(f.Gram))
	if n := len(f.LayerWeights); n > 0 && n != len(c.LayerWeights) {
		return c, fmt.Errorf("layer-weights: %d numbers; allowed: 5 (conv1_1, conv2_1, conv3_1, conv4_1, conv5_1)", n)
	}
	copy(c.LayerWeights[:], f.LayerWeights)
	return c, nil
}

func (f configFlags) config() (hrstyle.Config, error) {
	c, err := f.loopFlags.config()
	set(&c.ContentWeight, f.ContentWeight)
	set(&c.StyleWeight, f.StyleWeight)
	set(&c.StyleGain, f.StyleGain)
	set(&c.LearningRate, f.LearningRate)
	return c, err
}

func set[T any](field, flag *T) {
	if flag != nil {
		*field = *flag
	}
}

type fitCmd struct {
	Content string `placeholder:"FILE|-" help:"The picture to change (PNG, JPEG, WebP, TIFF, BMP, GIF; - is standard input)."`
	Style   string `placeholder:"FILE|-" help:"The picture whose look it gets."`
	configFlags
	Resume          string `placeholder:"RUN|FILE" help:"Go on with a run, or from a checkpoint file; only --steps, --report-every and --checkpoint-every may change its settings."`
	CheckpointEvery *int   `placeholder:"N" help:"Save the fit's state beside --out every N steps (the run has it anyway, every 10 s and on Ctrl-C)."`
	engineFlags
	ReportEvery *int   `placeholder:"10" help:"Steps from one report to the next."`
	Out         string `placeholder:"FILE|-" help:"Where the result goes (.png, .jpg, .webp; - is standard output, as PNG); default: CONTENT_STYLE.png here."`
	encodingFlags
	trackFlags
	Generator string `placeholder:"FILE" help:"Save the fitted generator, for hrlab apply."`
	JSON      string `name:"json" placeholder:"FILE|-" help:"Write a JSON line a report."`
}

// Run fits.
func (f *fitCmd) Run(ctx context.Context, c *console) (err error) {
	var track tracked
	defer func() { err = errors.Join(err, track.close()) }()
	start, resumed, err := f.load(ctx, &track)
	if err != nil {
		return err
	}
	pair, err := f.loadPair(c)
	if err != nil {
		return err
	}
	config := &start.Config
	name := stem(pair.Content.Name) + "_" + stem(pair.Style.Name)
	switch f.Out {
	case "":
		f.Out = name + ".png"
	case "-":
	default:
		name = strings.TrimSuffix(f.Out, filepath.Ext(f.Out))
	}
	if config.Checkpoint == "" && (f.NoTrack || config.CheckpointEvery > 0) { // else the run has it
		config.Checkpoint = name + ".checkpoint.safetensors"
	}
	if err := f.checkOutputs(config.Checkpoint); err != nil {
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
	lines, err := f.openJSON(c) // now: it empties a file that is there
	if err != nil {
		return err
	}
	defer lines.Close() //nolint:errcheck // every line was written and checked
	if track.store == nil && !f.NoTrack {
		if track.store, err = tracker.Open(ctx, f.DB); err != nil {
			return err
		}
	}
	if err := track.start(ctx, c, f, engine, pair, *config, resumed); err != nil {
		return err
	}

	bar := c.newProgress(ctx, start.Step, config.Steps)
	fit := engine.Fit(ctx, pair, *config)
	if f.Resume != "" {
		fit = engine.Resume(ctx, pair, start)
	}
	var last hrstyle.Step
	var lost error // of the JSON lines: no reason to end a fit
	for step, stepErr := range track.record(ctx, fit) {
		last, err = step, stepErr
		if err != nil {
			break
		}
		bar.report(step)
		if f.Resume != "" && step.N == start.Step { // the run before has reported it
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
	return f.end(ctx, c, &track, last, pair.Content, err, lost)
}

// end writes the results of a fit that ended with err at step last, and says what there is and how to go on.
func (f *fitCmd) end(ctx context.Context, c *console, track *tracked, last hrstyle.Step, content hrstyle.Picture, err, lost error) error {
	ctx = context.WithoutCancel(ctx)
	steps, checkpoint := last.Generator().Config.Steps, last.Generator().Config.Checkpoint
	how := f.encoding(last.Describe(), content)
	picture := f.save(ctx, track, f.Out, report.Output, func(path string) error { return hrstyle.SavePicture(path, last.Picture(), how) })
	failed := errors.Join(picture, f.save(ctx, track, f.Generator, report.Generator, last.Generator().Save))
	if lost != nil {
		lost = fmt.Errorf("--json %w", lost)
		if track.run != nil {
			lost = fmt.Errorf("%w; run %d has them: hrlab runs export --where 'id = %d' --format csv --out FILE%s", lost, track.run.ID, track.run.ID, f.otherDB())
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
	case picture == nil:
		fmt.Fprintf(c.messages, "%s: %d steps in %.0f s\n", f.Out, last.N, last.Elapsed.Seconds())
	}
	return errors.Join(err, failed)
}

// save writes a result, if it was asked for. What cannot be written is in the run, as artifact, or else goes to the folder
// for temporary files.
func (f *fitCmd) save(ctx context.Context, track *tracked, path, artifact string, write func(path string) error) error {
	if path == "" {
		return nil
	}
	err := write(path)
	if err == nil {
		return nil
	}
	if track.has(ctx, artifact) {
		return fmt.Errorf("%w; run %d has it: hrlab runs get %d %s --out FILE%s", err, track.run.ID, track.run.ID, artifact, f.otherDB())
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

// otherDB is the flag that names the database, where it is not the usual one.
func (f *fitCmd) otherDB() string {
	if f.DB == "hrlab.db" {
		return ""
	}
	return " " + option("db", f.DB)
}

// uncancelled is what of an error is no cancellation.
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

// load makes the state to start from: step 0 of the flags' settings, or a checkpoint, a file's or that of the run
// resumed.
func (f *fitCmd) load(ctx context.Context, track *tracked) (start *hrstyle.Checkpoint, resumed int64, err error) {
	start = &hrstyle.Checkpoint{}
	if f.Resume != "" {
		steps := f.Steps
		f.Steps = nil
		if !reflect.ValueOf(f.configFlags).IsZero() {
			return nil, 0, errors.New("--resume takes its settings from the checkpoint; allowed with it: --steps, --report-every, --checkpoint-every")
		}
		if _, statErr := os.Stat(f.Resume); statErr == nil {
			start, err = hrstyle.LoadCheckpoint(f.Resume)
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
		if f.Content == "" {
			f.Content = start.Content
		}
		if f.Style == "" {
			f.Style = start.Style
		}
	} else if start.Config, err = f.config(); err != nil {
		return nil, 0, err
	}
	set(&start.Config.ReportEvery, f.ReportEvery)
	set(&start.Config.CheckpointEvery, f.CheckpointEvery)
	if err := start.Config.Validate(); err != nil {
		return nil, 0, err
	}
	if init := start.Config.Init; init != "" && f.Resume == "" {
		if _, err := hrstyle.LoadGenerator(init); err != nil { // now, not after the device was opened
			return nil, 0, err
		}
	}
	return start, resumed, nil
}

// loadRun finds the run to resume and its checkpoint.
func (f *fitCmd) loadRun(ctx context.Context, track *tracked) (*hrstyle.Checkpoint, int64, error) {
	store, info, err := findRun(ctx, f.DB, f.Resume)
	if err != nil {
		return nil, 0, err
	}
	track.store = store
	start, err := experiments.LoadCheckpoint(ctx, store, info.ID)
	if errors.Is(err, tracker.ErrNotFound) {
		err = fmt.Errorf("run %d is %s and has no checkpoint to go on from", info.ID, info.Status)
		if len(info.Metrics) == 0 {
			err = fmt.Errorf("%w: it ended before its first step; begin again: %s", err, info.Command)
		}
		return nil, 0, err
	}
	return start, info.ID, err
}

func (f *fitCmd) loadPair(c *console) (pair hrstyle.Pair, err error) {
	if f.Content == "" || f.Style == "" {
		return pair, errors.New("--content FILE and --style FILE are needed: the picture to change and the picture whose look it gets")
	}
	if f.Content == "-" && f.Style == "-" {
		return pair, errors.New("--content - and --style -: only one of them can be standard input")
	}
	if pair.Content, err = loadPicture(c, f.Content); err == nil {
		pair.Style, err = loadPicture(c, f.Style)
	}
	return pair, err
}

// checkOutputs finds out before the fit whether its results can be written.
func (f *fitCmd) checkOutputs(checkpoint string) error {
	if err := apart([]string{f.Out, checkpoint, f.Generator, f.JSON}, []string{f.Content, f.Style, f.VGG, deref(f.Init)}); err != nil {
		return err
	}
	if err := f.check(f.Out); err != nil {
		return err
	}
	for _, path := range []string{checkpoint, f.Generator} {
		if path != "" {
			if err := hrstyle.CheckWritable(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// openJSON opens the file of JSON lines, which a resumed fit appends to.
func (f *fitCmd) openJSON(c *console) (io.WriteCloser, error) {
	switch mode := os.O_TRUNC; f.JSON {
	case "":
		return nopCloser{io.Discard}, nil
	case "-":
		return nopCloser{c.out}, nil
	default:
		if f.Resume != "" {
			mode = os.O_APPEND
		}
		file, err := os.OpenFile(f.JSON, os.O_CREATE|os.O_WRONLY|mode, 0o666)
		if err != nil {
			return nil, fmt.Errorf("--json %w", err)
		}
		return lineFile{file}, nil
	}
}

// lineFile is a file of lines: one that does not fit is taken back.
type lineFile struct{ *os.File }

func (f lineFile) Write(line []byte) (int, error) {
	n, err := f.File.Write(line)
	if n > 0 && err != nil {
		if end, seekErr := f.Seek(0, io.SeekCurrent); seekErr == nil {
			_ = f.Truncate(end - int64(n))
		}
	}
	return n, err
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// apart says which output would overwrite an input or another output; empty names are none.
func apart(outputs, inputs []string) error {
	read, written := map[any]bool{}, map[any]bool{}
	for _, in := range inputs {
		for _, key := range fileKeys(in) {
			read[key] = in != "-"
		}
	}
	for _, out := range outputs {
		keys := fileKeys(out)
		for _, key := range keys {
			switch {
			case read[key]:
				return fmt.Errorf("%s: is read and would be overwritten; name another file", out)
			case written[key]:
				return fmt.Errorf("%s: would be written twice; name another file", out)
			}
		}
		for _, key := range keys {
			written[key] = true
		}
	}
	return nil
}

// fileKeys are what tells a file from others: its place, with the links in its directory's name followed, and the number
// that the disk has for it where it is there; none for an empty name.
func fileKeys(path string) (keys []any) {
	if path == "" {
		return nil
	}
	if abs, err := filepath.Abs(path); err == nil {
		if dir, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
			abs = filepath.Join(dir, filepath.Base(abs))
		}
		keys = append(keys, abs)
	}
	if info, err := os.Stat(path); err == nil {
		if file, ok := info.Sys().(*syscall.Stat_t); ok {
			keys = append(keys, [2]any{file.Dev, file.Ino})
		}
	}
	return keys
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// resumeCommand is the command line that goes on with this fit: with every flag that the checkpoint does not have.
func (f *fitCmd) resumeCommand(from string) string {
	command := []string{"hrlab fit", option("resume", from), option("out", f.Out)}
	for _, other := range []struct{ name, value, usual string }{
		{"bits", strconv.Itoa(f.Bits), "8"},
		{"quality", strconv.Itoa(f.Quality), "95"},
		{"vgg", f.VGG, "auto"},
		{"device", f.Device, "auto"},
		{"generator", f.Generator, ""},
		{"json", f.JSON, ""},
		{"db", f.DB, "hrlab.db"},
	} {
		if other.value != other.usual {
			command = append(command, option(other.name, other.value))
		}
	}
	if f.NoTrack {
		command = append(command, "--no-track")
	}
	return strings.Join(command, " ")
}

// option is a flag with its value for a POSIX shell. A value that begins with two hyphens would be taken for a flag.
func option(name, value string) string {
	if strings.HasPrefix(value, "--") {
		return "--" + name + "=" + quote(value)
	}
	return "--" + name + " " + quote(value)
}

// quote quotes a word for a POSIX shell where it needs to be.
func quote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// stem is a file's name without directory and extension.
func stem(path string) string {
	if path == "-" {
		return "stdin"
	}
	base := filepath.Base(path)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

// line is a report: unweighted losses, and seconds since the first step began.
type line struct {
	Step    int     `json:"step"`
	Total   float64 `json:"total"`
	Content float64 `json:"content"`
	Style   float64 `json:"style"`
	Seconds float64 `json:"seconds"`
	VGG     string  `json:"vgg,omitempty"` // "random" where the losses are not those of VGG19
}

// writeJSON writes a report as one line at once.
func writeJSON(w io.Writer, s hrstyle.Step, vgg *hrstyle.VGG) error {
	l := line{Step: s.N, Total: s.Total, Content: s.Content, Style: s.Style, Seconds: s.Elapsed.Seconds()}
	if vgg.Random() {
		l.VGG = "random"
	}
	return json.NewEncoder(w).Encode(l)
}
