package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"hrlab/picture"

	"hrlab/hrstyle"
	"hrlab/tracker"

	"github.com/alecthomas/kong"
)

// dbFlags name the database of runs.
type dbFlags struct {
	DB        dbURL  `name:"db" default:"hrlab.db" env:"HRLAB_DB" placeholder:"URL" help:"The tracker's database: a path, or postgres://USER@HOST/DATABASE."`
	Artifacts string `env:"HRLAB_ARTIFACTS" placeholder:"DIR" help:"Where a server's database has its files: a directory that all machines see. Without it they are in the database."`
}

// dbURL names a database. It is printed without the password that it may have in it.
type dbURL string

func (u dbURL) String() string { return tracker.WithoutPassword(string(u)) }

// url is what the tracker opens.
func (d dbFlags) url() (string, error) {
	if d.Artifacts == "" {
		return string(d.DB), nil
	}
	return tracker.WithArtifacts(string(d.DB), d.Artifacts)
}

// exists says whether there is a file of the database; a server knows itself.
func (d dbFlags) exists() (bool, error) {
	if tracker.IsServer(string(d.DB)) {
		return true, nil
	}
	path, err := tracker.Path(string(d.DB))
	if err != nil {
		return false, err
	}
	_, err = os.Stat(path)
	return !errors.Is(err, os.ErrNotExist), nil
}

// openAny opens the database, and makes it where it does not exist.
func (d dbFlags) openAny(ctx context.Context) (*tracker.Store, error) {
	url, err := d.url()
	if err != nil {
		return nil, err
	}
	return tracker.Open(ctx, url)
}

// openThere opens the database. A file that does not exist is an error, not made.
func (d dbFlags) openThere(ctx context.Context) (*tracker.Store, error) {
	there, err := d.exists()
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, fmt.Errorf("%s: no such database; hrlab fit and hrlab sweep make one, --db names another", d.DB)
	}
	return d.openAny(ctx)
}

// openToWrite is openAny for a verb that records runs.
func (d dbFlags) openToWrite(ctx context.Context) (*tracker.Store, error) {
	store, err := d.openAny(ctx)
	if err != nil {
		return nil, err
	}
	if err := store.ReadOnly(); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

// with opens an existing database, as openThere does, runs f and closes it.
func (d dbFlags) with(ctx context.Context, f func(s *tracker.Store) error) error {
	s, err := d.openThere(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(s), s.Close())
}

// findRun finds the run that --resume or --run names, where there is no file of that name, and opens its database.
func (d dbFlags) findRun(ctx context.Context, name string) (store *tracker.Store, info tracker.Info, err error) {
	there, err := d.exists()
	if err != nil {
		return nil, info, err
	}
	if !there {
		return nil, info, fmt.Errorf("%s: there is no such file, and no database %s (--db) with runs", name, d.DB)
	}
	if store, err = d.openAny(ctx); err != nil {
		return nil, info, err
	}
	if info, err = store.Run(ctx, name); err != nil {
		return nil, info, errors.Join(fmt.Errorf("%s: there is no such file, and %w", name, err), store.Close())
	}
	return store, info, nil
}

// asFlag is the flag --db as text for a command line, with a space before it; empty for the default, and where a server's
// database comes from the environment, maybe with a password.
func (d dbFlags) asFlag() string {
	text, inherited := "", tracker.IsServer(string(d.DB)) && string(d.DB) == os.Getenv("HRLAB_DB")
	if d.DB != "hrlab.db" && !inherited {
		text = " " + option("db", d.DB.String())
	}
	if d.Artifacts != "" && d.Artifacts != os.Getenv("HRLAB_ARTIFACTS") {
		text += " " + option("artifacts", d.Artifacts)
	}
	return text
}

// noPasswords refuses a password in a command line: every user of the machine sees it in the list of processes.
func noPasswords(args []string) error {
	for _, arg := range args {
		_, value, _ := strings.Cut(arg, "=")
		if tracker.HasPassword(arg) || tracker.HasPassword(value) {
			return errors.New("a password in a command line is seen by other users: put it in ~/.pgpass (PGPASSFILE) or PGPASSWORD, or the URL in HRLAB_DB")
		}
	}
	return nil
}

// engineFlags choose what a verb runs on.
type engineFlags struct {
	Device string `default:"auto" predictor:"device" env:"HRLAB_DEVICE" placeholder:"auto|cuda|cpu|go" help:"auto, cuda, cpu (XLA:CPU) or go (slow, needs nothing)."`
	VGG    string `default:"auto" predictor:"vgg" env:"HRLAB_VGG" name:"vgg" placeholder:"auto|random|FILE" help:"VGG19 weights; auto: those in the cache directory, which are fetched (52 MB) the first time."`
}

// open opens the engine, fetching VGG19's weights where they are missing, and prints what it runs on.
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
	name, _, _ := strings.Cut(engine.Device.Name, " (") // the rest is the path of its plugin, which doctor shows
	fmt.Fprintf(c.messages, "device: %s (%s)\n", name, engine.Device.Why)
	if v := engine.VGG; v != nil {
		fmt.Fprintln(c.messages, "VGG19:", v.Label)
	}
	return engine, nil
}

// loopFlags are the fields of hrstyle.Config that fit and sweep have in common. The default is that of hrstyle.Default, or of
// Reference.
type loopFlags struct {
	Reference    bool      `help:"Start from the authors' settings: 500x500, style picture at its own size, Gram sums. Other flags change them."`
	Size         *int      `placeholder:"500" help:"Longer side that is fitted, in pixels (fit without it: 500, or a sixteenth of that of a result which is larger than 8000)."`
	Square       *bool     `negatable:"" help:"Make both sides --size, whatever the picture's shape."`
	StyleSize    *int      `placeholder:"N" help:"Longer side of the style picture; 0: its own size (default: as --size)."`
	Gram         *string   `predictor:"gram" placeholder:"mean" help:"mean: weights mean the same at every size; sum: as in the paper."`
	Steps        *int      `placeholder:"1000" help:"Updates to make."`
	LayerWeights []float64 `placeholder:"0.1,0.2,0.4,0.8,1.6" help:"Weights of conv1_1 to conv5_1 in the style loss."`
	WeightDecay  *float64  `placeholder:"0" help:"L2 weight decay."`
	Seed         *int64    `placeholder:"0" help:"Seed of the initial generator."`
	Init         *string   `placeholder:"FILE" help:"Start from this generator instead of random values."`
}

// base is Default or Reference, which other flags change.
func (f loopFlags) base() hrstyle.Config {
	if f.Reference {
		return hrstyle.Reference
	}
	return hrstyle.Default
}

// config applies the flags to Default or Reference.
func (f loopFlags) config() (hrstyle.Config, error) {
	c := f.base()
	err := f.change(&c)
	return c, err
}

// change applies the flags to c, but for --reference.
func (f loopFlags) change(c *hrstyle.Config) error {
	set(&c.Size, f.Size)
	set(&c.Square, f.Square)
	set(&c.StyleSize, f.StyleSize)
	set(&c.Steps, f.Steps)
	set(&c.WeightDecay, f.WeightDecay)
	set(&c.Seed, f.Seed)
	set(&c.Init, f.Init)
	set(&c.Gram, (*hrstyle.Gram)(f.Gram))
	if n := len(f.LayerWeights); n > 0 && n != len(c.LayerWeights) {
		return fmt.Errorf("layer-weights: %d numbers; allowed: 5 (conv1_1, conv2_1, conv3_1, conv4_1, conv5_1)", n)
	}
	copy(c.LayerWeights[:], f.LayerWeights)
	return nil
}

// configFlags are the fields of hrstyle.Config that one fit has.
type configFlags struct {
	loopFlags
	ContentWeight *float64 `placeholder:"150" help:"Weight of the content loss: more keeps more of the content picture."`
	StyleWeight   *float64 `placeholder:"1" help:"Weight of the style loss: more takes more of the style picture."`
	StyleGain     *float64 `placeholder:"1" help:"Factor of the style picture's Gram matrices: above 1 aims at stronger colours than the picture has. 2.56 has the effect of the paper's picture sizes."`
	LearningRate  *float64 `placeholder:"0.005" help:"Adam's learning rate."`
}

func (f configFlags) config() (hrstyle.Config, error) {
	c := f.base()
	err := f.change(&c)
	return c, err
}

// change applies the flags to c, but for --reference.
func (f configFlags) change(c *hrstyle.Config) error {
	set(&c.ContentWeight, f.ContentWeight)
	set(&c.StyleWeight, f.StyleWeight)
	set(&c.StyleGain, f.StyleGain)
	set(&c.LearningRate, f.LearningRate)
	return f.loopFlags.change(c)
}

func set[T any](field, flag *T) {
	if flag != nil {
		*field = *flag
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// encodingFlags say how pictures are written.
type encodingFlags struct {
	Bits    int `default:"8" help:"Bits per channel in PNG: 8 or 16."`
	Quality int `default:"95" help:"Quality of JPEG, 1 to 100."`
}

func (f encodingFlags) encoding(comment string, from picture.Picture) picture.Encoding {
	return picture.Encoding{Bits: f.Bits, Quality: f.Quality, Comment: comment, Exif: from.Exif()}
}

func (f encodingFlags) check(path string) error {
	if f.Quality == 0 {
		return errors.New("quality 0: allowed: 1 to 100")
	}
	return f.encoding("", picture.Picture{}).Check(path)
}

// textFlag reads the value of a flag or argument as it is. Kong's own mapper changes names that are not UTF-8, and refuses
// those that begin with a hyphen. An empty text, as that of a shell's variable which is not set, is refused where it is not the
// default: it would count as left out.
func textFlag(ctx *kong.DecodeContext, target reflect.Value) error {
	text, err := popText(ctx)
	if err != nil {
		return err
	}
	if value := ctx.Value; text == "" && !value.Passthrough && (!value.HasDefault || value.Default != "") {
		if value.Flag == nil {
			return errors.New("the value is empty")
		}
		return fmt.Errorf("the value is empty; allowed: %s", value.Flag.FormatPlaceHolder())
	}
	target.SetString(text)
	return nil
}

// pairFlag adds KEY=VALUE to a map. The value is any text; kong's own mapper gives ; and \ a meaning.
func pairFlag(ctx *kong.DecodeContext, target reflect.Value) error {
	text, err := popText(ctx)
	if err != nil {
		return err
	}
	key, value, ok := strings.Cut(text, "=")
	if !ok || key == "" {
		return fmt.Errorf("%q: allowed: KEY=VALUE", text)
	}
	if target.IsNil() {
		target.Set(reflect.MakeMap(target.Type()))
	}
	target.SetMapIndex(reflect.ValueOf(key), reflect.ValueOf(value))
	return nil
}

// popText takes the next word of the command line. A word that begins with two hyphens is the next flag.
func popText(ctx *kong.DecodeContext) (string, error) {
	switch token := ctx.Scan.Pop(); {
	case token.IsEOL():
		return "", errors.New("a value is missing")
	case token.Type == kong.UntypedToken && strings.HasPrefix(token.String(), "--"):
		return "", fmt.Errorf("a value is missing before %s; write a value that begins with -- after =", token)
	default:
		return token.String(), nil
	}
}
