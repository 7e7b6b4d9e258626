package hrstyle_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"hrlab/hrstyle"
	"hrlab/hrstyle/sample"
	"hrlab/picture"
)

// quick is a fit that pure Go does in a second.
var quick = func() hrstyle.Config {
	c := hrstyle.Default
	c.Size, c.Steps, c.ReportEvery = 32, 2, 1
	return c
}()

// pair is the built-in one; hrstyle.LoadPair reads one from files.
var pair = hrstyle.Pair{
	Content: picture.Picture{Name: "day", Image: sample.Content(48, 48)},
	Style:   picture.Picture{Name: "dusk", Image: sample.Style(48, 48)},
}

func Example() {
	ctx := context.Background()
	engine, err := hrstyle.Open(ctx, hrstyle.Options{Device: "go", VGG: "random"}) // Options{}: best device, cached VGG19
	if err != nil {
		fmt.Println(err)
		return
	}
	defer engine.Close()
	for step, err := range engine.Fit(ctx, pair, quick) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(step.N, step.Total > 0, step.Picture().Bounds().Max)
	}
	// Output:
	// 0 true (32,32)
	// 1 true (32,32)
	// 2 true (32,32)
}

func ExampleLoadPair() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	day, dusk := filepath.Join(dir, "day.png"), filepath.Join(dir, "dusk.jpg")
	err = errors.Join(
		picture.Save(day, sample.Content(64, 48), picture.Encoding{Comment: "drawn by code"}),
		picture.Save(dusk, sample.Style(48, 48), picture.Encoding{Comment: "drawn by code"}),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	pair, err := hrstyle.LoadPair(day, dusk)
	fmt.Println(pair.Content.Bounds().Size(), pair.Style.Bounds().Size(), err)
	// Output: (64,48) (48,48) <nil>
}

func ExampleLast() {
	ctx := context.Background()
	engine, err := hrstyle.Open(ctx, hrstyle.Options{Device: "go", VGG: "random"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer engine.Close()
	result, err := hrstyle.Last(engine.Fit(ctx, pair, quick))
	fmt.Println(result.N, err)
	// Output: 2 <nil>
}

func ExampleEngine_Apply() {
	ctx := context.Background()
	engine, err := hrstyle.Open(ctx, hrstyle.Options{Device: "go", VGG: "none"}) // applying needs no VGG19
	if err != nil {
		fmt.Println(err)
		return
	}
	defer engine.Close()
	generator, err := hrstyle.LoadGenerator("testdata/hrnet_init.safetensors")
	if err != nil {
		fmt.Println(err)
		return
	}
	out, err := engine.Apply(ctx, generator, picture.Picture{Name: "any size", Image: sample.Content(50, 33)}, hrstyle.Applying{})
	fmt.Println(out.Bounds().Size(), err)
	// Output: (50,33) <nil>
}

// Frames of a video share statistics, so that what stands still does not flicker.
func ExampleEngine_Statistics() {
	ctx := context.Background()
	engine, err := hrstyle.Open(ctx, hrstyle.Options{Device: "go", VGG: "none"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer engine.Close()
	generator, err := hrstyle.LoadGenerator("testdata/hrnet_init.safetensors")
	if err != nil {
		fmt.Println(err)
		return
	}
	frames := []picture.Picture{{Name: "0", Image: sample.Content(48, 32)}, {Name: "1", Image: sample.Style(48, 32)}}
	statistics, err := engine.Statistics(ctx, generator, frames, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, frame := range frames {
		out, err := engine.Apply(ctx, generator, frame, hrstyle.Applying{Statistics: statistics})
		fmt.Println(out.Bounds().Size(), err)
	}
	// Output:
	// (48,32) <nil>
	// (48,32) <nil>
}

func ExampleGenerator_At() {
	ctx := context.Background()
	engine, err := hrstyle.Open(ctx, hrstyle.Options{Device: "go", VGG: "random"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer engine.Close()
	config := hrstyle.DefaultMap
	config.Size, config.Steps = quick.Size, quick.Steps
	last, err := hrstyle.Last(engine.Fit(ctx, pair, config))
	if err != nil {
		fmt.Println(err)
		return
	}
	generator, err := last.Generator().At(45) // for Apply, and to begin a fit with
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = last.Generator().At(9000)
	fmt.Println(generator.Config.ContentWeight, err)
	// Output: 45 ratio 9000: allowed: 0.8 to 8000, the range of the weight map
}

func ExampleEngine_Resume() {
	ctx := context.Background()
	engine, err := hrstyle.Open(ctx, hrstyle.Options{Device: "go", VGG: "random"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer engine.Close()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder

	config := quick
	config.Checkpoint = filepath.Join(dir, "fit.checkpoint.safetensors")
	for step, err := range engine.Fit(ctx, pair, config) {
		if err != nil || step.N == 1 {
			break // stopping early leaves a checkpoint
		}
	}
	checkpoint, err := hrstyle.LoadCheckpoint(config.Checkpoint)
	if err != nil {
		fmt.Println(err)
		return
	}
	result, err := hrstyle.Last(engine.Resume(ctx, pair, checkpoint))
	fmt.Println("from", checkpoint.Step, "to", result.N, err)
	// Output: from 1 to 2 <nil>
}

func ExampleConfig_Validate() {
	c := hrstyle.Default
	c.Gram = "median"
	fmt.Println(c.Validate())
	// Output: gram median: allowed: sum, mean
}

// A generator that is not in a file: it was kept in a database, say.
func ExampleReadGenerator() {
	ctx := context.Background()
	engine, err := hrstyle.Open(ctx, hrstyle.Options{Device: "go", VGG: "random"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer engine.Close()
	result, err := hrstyle.Last(engine.Fit(ctx, pair, quick))
	if err != nil {
		fmt.Println(err)
		return
	}
	kept, err := result.Generator().Encode()
	if err != nil {
		fmt.Println(err)
		return
	}
	generator, err := hrstyle.ReadGenerator("kept", bytes.NewReader(kept), int64(len(kept)))
	if err != nil {
		fmt.Println(err)
		return
	}
	for step, err := range engine.Resume(ctx, pair, generator.Start(quick)) { // another fit that begins with it
		fmt.Println(generator.Step, "updates, then", step.N, step.Total == result.Total, err)
		break
	}
	// Output: 2 updates, then 0 true <nil>
}

// Losses that can be compared between fits, whatever their weights and sizes were.
func ExampleEngine_Compare() {
	ctx := context.Background()
	engine, err := hrstyle.Open(ctx, hrstyle.Options{Device: "go", VGG: "random"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer engine.Close()
	losses, err := engine.Compare(pair, pair.Content, pair.Style)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("the content picture:", losses[0].Content, losses[0].Style > 0)
	fmt.Println("the style picture:", losses[1].Content > 0, losses[1].Style)
	// Output:
	// the content picture: 0 true
	// the style picture: true 0
}
