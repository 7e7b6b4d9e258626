package notebooks_test

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/png"
	"math"
	"path/filepath"
	"testing"

	"hrlab/notebooks/browser"
	"hrlab/report"
	"hrlab/tracker"
)

// sweep records a sweep over content and style weights, with outputs that have the weights' colours, and returns its report.
func sweep(t *testing.T, contents, styles int, size image.Point) *report.Report {
	t.Helper()
	ctx := t.Context()
	store, err := tracker.Open(ctx, filepath.Join(t.TempDir(), "hrlab.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	drawing := func(a, b float64) image.Image {
		img := image.NewNRGBA(image.Rectangle{Max: size})
		for y := range size.Y {
			for x := range size.X {
				wave := math.Sin(float64(x)/20+9*a) * math.Sin(float64(y)/15+7*b)
				img.SetNRGBA(x, y, color.NRGBA{uint8(40 + 200*a), uint8(128 + 100*wave), uint8(40 + 200*b), 255})
			}
		}
		return img
	}
	for i := range contents {
		for j := range styles {
			a, b := float64(i)/float64(max(contents-1, 1)), float64(j)/float64(max(styles-1, 1))
			content, style := math.Round(10*math.Pow(1000, a))/10, math.Round(10*math.Pow(10, b))/10
			run, err := store.Start(ctx, tracker.NewRun{
				Experiment: "boat", Tags: map[string]string{"pair": "boat_sunset"},
				Params: map[string]any{"content_weight": content, "style_weight": style, "seed": 0, "steps": 50, "size": 128, "content": "my boat.jpg", "style": "sunset.jpg", "vgg": "vgg19.safetensors"},
			})
			if err != nil {
				t.Fatal(err)
			}
			var points []tracker.Point
			for step := int64(0); step <= 50; step += 10 {
				loss := 20 / (1 + float64(step))
				points = append(points, tracker.Point{Metric: "content", Step: step, Value: loss / (1 + a)}, tracker.Point{Metric: "style", Step: step, Value: 50 * loss * (1 + b)})
			}
			ratio := math.Log10(content / style)
			points = append(points, tracker.Point{Metric: report.ContentKept, Step: 50, Value: 1 / (1 + math.Exp(-2*ratio+2))}, tracker.Point{Metric: report.StyleMatch, Step: 50, Value: 1 / (1 + math.Exp(2*ratio-5))}, tracker.Point{Metric: report.SSIM, Step: 50, Value: a})
			var output bytes.Buffer
			err = errors.Join(run.LogBatch(ctx, points), png.Encode(&output, drawing(a, b)), run.LogArtifact(ctx, report.Output, &output))
			if i+j == 0 {
				err = errors.Join(err, run.LogPicture(ctx, 0, "content", drawing(1, 0)), run.LogPicture(ctx, 0, "style", drawing(0, 1)))
			}
			if err := errors.Join(err, run.Finish(ctx, nil)); err != nil {
				t.Fatal(err)
			}
		}
	}
	r, err := report.New(ctx, store, "boat")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The report's page in Chromium: testdata/report.js says what is done.
func TestReportPage(t *testing.T) {
	dir := browser.Screenshots(t)
	for name, r := range map[string]*report.Report{"few": sweep(t, 5, 1, image.Pt(160, 120)), "grid": sweep(t, 4, 3, image.Pt(160, 120)), "many": sweep(t, 25, 20, image.Pt(160, 120))} {
		if err := r.HTML(filepath.Join(dir, name+".html")); err != nil {
			t.Fatal(err)
		}
	}
	browser.Run(t, "testdata/report.js", dir)
}
