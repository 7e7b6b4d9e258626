// Package nb is what the cells of a notebook need besides hrlab's other packages: parameters, errors, a lab, and pictures,
// tables and charts in the notebook.
//
//	import (
//		"hrlab/experiments"
//		"hrlab/hrstyle"
//		"hrlab/notebooks/nb"
//	)
//
//	var size = nb.Param("size", 128)
//
//	%%
//	ctx := nb.Context()
//	lab := nb.Lab(ctx, "auto")
//	config := hrstyle.Default
//	config.Size = size
//	last := nb.Must(hrstyle.Last(nb.Curves(lab.Fit(ctx, "boat", nb.Pair("boat.jpg", "sunset.jpg"), config))))
//	nb.Slider(nb.Pair("boat.jpg", "sunset.jpg").Content, last.Picture(), "content", "output")
//
// Every cell is a process of its own: what it is to keep goes to the tracker. What is shown is plain HTML with the pictures in
// it. It loads nothing, is saved with the notebook, and makes sense without scripts. Nothing waits for a person. Outside of a
// notebook nothing is shown.
package nb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"hrlab/experiments"
	"hrlab/hrstyle"
	"hrlab/hrstyle/device"
	"hrlab/hrstyle/sample"
	"hrlab/picture"
	"hrlab/tracker"

	"github.com/janpfeifer/gonb/gonbui"
)

// Context is one that ends when the stop button is pressed. While what it is given to waits for something, as for the fit of
// another cell, the cell says for what, and for how long.
func Context() context.Context {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return tracker.OnWait(ctx, new(wait).tell)
}

// Must returns value, or ends the cell with err as one line.
func Must[T any](value T, err error) T {
	if err != nil {
		fail(err)
	}
	return value
}

// Check ends the cell with err as one line, if there is one.
func Check(err error) {
	if err != nil {
		fail(err)
	}
}

// saidStopped says that the cell shows already that a person stopped it.
var saidStopped bool

// fail ends the cell. An exit code that is not 0 also ends a run of all cells.
func fail(err error) {
	gonbui.Sync()
	if errors.Is(err, context.Canceled) {
		said := "stopped"
		if saidStopped {
			said = ""
		}
		display(render("stopped", said), said)
		fmt.Fprintln(os.Stderr, "hrlab: stopped")
		os.Exit(130)
	}
	place := ""
	said := "hrlab: " + strings.Join(strings.Fields(err.Error()), " ") + "\n"
	if os.Getenv("HRLAB_NOTEBOOK_RUN") != "" { // the kernel replaces main.go:LINE by cell and line
		for skip := 1; ; skip++ {
			_, file, line, ok := runtime.Caller(skip)
			if !ok {
				break
			}
			if filepath.Base(file) == "main.go" {
				place = fmt.Sprintf("hrlab: at %s:%d\n", file, line)
				break
			}
		}
	}
	fmt.Fprint(os.Stderr, said+place)
	os.Exit(1)
}

// Param is the value of a parameter: what hrlab notebook run -p name=value gives, and without that the default. Numbers may be
// written as in Go: 1_000, 0x10, 1e3. A value of another type than the default's ends the cell.
func Param[T string | int | float64 | bool](name string, otherwise T) T {
	text, ok := os.LookupEnv("HRLAB_PARAM_" + name)
	if !ok {
		return otherwise
	}
	var value any = text
	var err error
	switch any(otherwise).(type) {
	case int:
		var f float64
		if f, err = number(text); f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			err = strconv.ErrSyntax
		}
		value = int(f)
	case float64:
		value, err = number(text)
	case bool:
		value, err = strconv.ParseBool(text)
	}
	if err != nil {
		fail(fmt.Errorf("parameter %s: %q is not of type %T", name, text, otherwise))
	}
	return value.(T)
}

// number reads a number as Go writes it, whole or not.
func number(text string) (float64, error) {
	f, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	if err != nil {
		if whole, err := strconv.ParseInt(text, 0, 64); err == nil {
			return float64(whole), nil
		}
	}
	return f, err
}

// Values is a parameter whose text lists the values of an axis: comma-separated numbers, or as [experiments.ParseValues] says.
func Values(name, otherwise string) []float64 {
	return Must(experiments.ParseValues(name, Param(name, otherwise)))
}

// Pair loads a content and a style picture. An empty name means the built-in picture, which is drawn into the folder pictures
// the first time.
func Pair(content, style string) hrstyle.Pair {
	const w, h = 512, 384
	for _, p := range []struct {
		path *string
		name string
		save func(path string) error
	}{
		{&content, "day.png", func(path string) error { return picture.Save(path, sample.Content(w, h), picture.Encoding{}) }},
		{&style, "dusk.png", func(path string) error { return picture.Save(path, sample.Style(w, h), picture.Encoding{}) }},
	} {
		if *p.path != "" {
			continue
		}
		*p.path = filepath.Join("pictures", p.name)
		if _, err := os.Stat(*p.path); err != nil {
			Check(os.MkdirAll("pictures", 0o777))
			Check(p.save(*p.path))
		}
	}
	return Must(hrstyle.LoadPair(content, style))
}

// options are the options of an engine. vgg is as in [hrstyle.Options], where auto means HRLAB_VGG if that is set.
func options(vgg string) hrstyle.Options {
	if vgg == "auto" {
		vgg = cmp.Or(os.Getenv("HRLAB_VGG"), vgg)
	}
	if vgg != "auto" && vgg != "random" {
		vgg = Must(filepath.Abs(vgg))
	}
	return hrstyle.Options{Device: cmp.Or(os.Getenv("HRLAB_DEVICE"), "auto"), VGG: vgg}
}

// Tracker opens the database of runs: what HRLAB_DB names, or hrlab.db in the working directory. That is the notebook's folder
// in JupyterLab, and with hrlab notebook run the folder that the command was given in.
func Tracker(ctx context.Context) *tracker.Store {
	return Must(tracker.Open(ctx, cmp.Or(os.Getenv("HRLAB_DB"), "hrlab.db")))
}

// Lab is one whose fits are done by a worker process that stays warm: the first cell that fits starts it, it ends with the
// kernel, and only the first fit of a picture size waits for the compiler. vgg is auto, random or a file, as
// [hrstyle.Options] says.
func Lab(ctx context.Context, vgg string) experiments.Fitter { return warmLab(ctx, vgg) }

func warmLab(ctx context.Context, vgg string) experiments.WarmLab {
	store, o := Tracker(ctx), options(vgg)
	if o.VGG == "auto" {
		path := Must(hrstyle.CachedVGG())
		if _, err := os.Stat(path); err != nil {
			noVGG()
		}
	}
	return experiments.WarmLab{Tracker: store, Warm: &experiments.Warm{Options: o, Command: func() *exec.Cmd {
		worker := exec.Command("hrlab", "worker", "--while", strconv.Itoa(os.Getppid()), "--device", o.Device, "--vgg", o.VGG)
		worker.Env = append(os.Environ(), "HRLAB_DB="+store.URL()) // not in its command line, which others see: it may have a password
		return worker
	}}}
}

// LabHere is one whose fits are done in the cell itself, which opens the device and compiles every time.
func LabHere(ctx context.Context, vgg string) experiments.Fitter {
	for _, v := range device.Environment() {
		name, value, _ := strings.Cut(v, "=")
		Check(os.Setenv(name, value))
	}
	engine, err := hrstyle.Open(ctx, options(vgg))
	if errors.Is(err, hrstyle.ErrNoVGG) {
		noVGG()
	}
	return experiments.Lab{Engine: Must(engine, err), Tracker: Tracker(ctx)}
}

func noVGG() {
	fail(errors.New(`VGG19's weights are not here: run hrlab setup weights, or set the parameter vgg to "random" (random filters: other losses, another look)`))
}
