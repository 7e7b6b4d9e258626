package pages

import (
	"image"
	"image/color"
	"image/draw"
	"math"
	"net/http/httptest"
	"testing"

	"hrlab/hrstyle/sample"
	"hrlab/notebooks/browser"
	"hrlab/report"
	"hrlab/tracker"
	"hrlab/tracker/web"
)

// A matrix of 100 pictures in Chromium, from the click to the last picture on the screen: testdata/painted.js logs how long that
// takes.
func BenchmarkMatrixPainted(b *testing.B) {
	ctx, store := b.Context(), open(b)
	for i := range 100 {
		run, err := store.Start(ctx, tracker.NewRun{Experiment: "e", Params: map[string]any{"content_weight": math.Pow(2, float64(i/10)), "style_weight": 1 + i%10}})
		must(b, err)
		output := image.NewNRGBA(image.Rect(0, 0, 320, 213))
		draw.Draw(output, output.Rect, sample.Content(320, 213), image.Point{}, draw.Src)
		output.Set(i, 0, color.White) // so that none is like another
		must(b, run.LogPicture(ctx, 100, report.Output, output), run.Log(ctx, 100, map[string]float64{report.ContentKept: float64(i) / 100, report.StyleMatch: 1 - float64(i)/100}), run.Finish(ctx, nil))
	}
	server := httptest.NewServer(web.New(store, Options(store, "random")))
	defer server.Close()
	for b.Loop() {
		browser.Run(b, "testdata/painted.js", server.URL, browser.Screenshots(b))
	}
}
