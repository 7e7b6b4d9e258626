package experiments

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hrlab/hrstyle"
	"hrlab/hrstyle/sample"
	"hrlab/picture"
	"hrlab/tracker"
)

// A step of a weight map beside one of an ordinary fit, and a picture of the slider, from the request to the JPEG.
func BenchmarkMap(b *testing.B) {
	ctx, dir := b.Context(), b.TempDir()
	engine, err := hrstyle.Open(ctx, hrstyle.Options{Device: "auto", VGG: cmp.Or(os.Getenv("HRLAB_VGG"), "random")})
	if err != nil {
		b.Fatal(err)
	}
	defer engine.Close()
	content, style := filepath.Join(dir, "day.png"), filepath.Join(dir, "dusk.png")
	if err := picture.Save(content, sample.Content(512, 384), picture.Encoding{}); err != nil {
		b.Fatal(err)
	}
	if err := picture.Save(style, sample.Style(512, 384), picture.Encoding{}); err != nil {
		b.Fatal(err)
	}
	pair, err := hrstyle.LoadPair(content, style)
	if err != nil {
		b.Fatal(err)
	}
	store, err := tracker.Open(ctx, filepath.Join(dir, "hrlab.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close() //nolint:errcheck // nothing depends on it
	const size, each, rounds = 128, 10, 3
	ordinary, weightMap := hrstyle.Default, hrstyle.DefaultMap
	fit := func(c hrstyle.Config) (took time.Duration) { // of the steps, without compiling
		c.Size, c.Steps, c.ReportEvery = size, each, each
		for step, err := range engine.Fit(ctx, pair, c) {
			if err != nil {
				b.Fatal(err)
			}
			if step.N == 0 {
				took = time.Duration(-time.Now().UnixNano())
			} else {
				took += time.Duration(time.Now().UnixNano())
			}
		}
		return took
	}
	var steps, mapSteps time.Duration
	for b.Loop() {
		fit(ordinary)
		fit(weightMap) // both are compiled
		for range rounds {
			steps += fit(ordinary)
			mapSteps += fit(weightMap)
		}
	}
	b.ReportMetric(mapSteps.Seconds()/steps.Seconds(), "map-step/step")

	pictures := NewPictures(store)
	defer pictures.Close()
	for _, size := range []int{128, 256} {
		c := hrstyle.DefaultMap
		c.Size, c.Steps = size, 0
		run, err := Lab{Engine: engine, Tracker: store}.Start(ctx, About{}, pair, Trial{Config: c})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := hrstyle.Last(Lab{Engine: engine, Tracker: store}.Record(ctx, run, engine.Fit(ctx, pair, c))); err != nil {
			b.Fatal(err)
		}
		ratios := c.Ratios(21)
		var took time.Duration
		for i, ratio := range ratios {
			began := time.Now()
			if _, err := pictures.JPEG(ctx, run.ID, ratio); err != nil {
				b.Fatal(err)
			}
			if i > 0 { // the first one compiles
				took += time.Since(began)
			}
		}
		b.ReportMetric(float64(took.Milliseconds())/float64(len(ratios)-1), fmt.Sprintf("ms-a-picture-at-%d-px", size))
	}
}
