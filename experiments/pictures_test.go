package experiments

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hrlab/hrstyle"
	"hrlab/picture"
	"hrlab/report"
	"hrlab/tracker"
)

// A warm worker shows what a weight map makes of its content picture at any ratio: what the map's generator there makes of it.
func TestMapPictures(t *testing.T) {
	ctx, lab := t.Context(), testLab(t)
	dir := t.TempDir()
	var pair hrstyle.Pair
	for name, p := range map[string]picture.Picture{"content.png": testPair.Content, "style.png": testPair.Style} {
		if err := picture.Save(filepath.Join(dir, name), p, picture.Encoding{}); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := hrstyle.LoadPair(filepath.Join(dir, "content.png"), filepath.Join(dir, "style.png"))
	if err != nil {
		t.Fatal(err)
	}
	config := hrstyle.DefaultMap
	config.Size, config.Steps, config.Knots = 32, 2, 3
	fit := func(config hrstyle.Config) (int64, *hrstyle.Generator) {
		run, err := lab.Start(ctx, About{Experiment: "map"}, pair, Trial{Config: config})
		if err != nil {
			t.Fatal(err)
		}
		last, err := hrstyle.Last(lab.Record(ctx, run, lab.Engine.Fit(ctx, pair, config)))
		if err != nil {
			t.Fatal(err)
		}
		return run.ID, last.Generator()
	}
	run, m := fit(config)
	plainConfig := testConfig()
	plainConfig.Steps = 0
	plain, _ := fit(plainConfig)

	_, release, err := Announce(lab.Tracker, hrstyle.Options{}, func() (*hrstyle.Engine, error) { return lab.Engine, nil })
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	worker, _, err := look(lab.Tracker, hrstyle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	get := func(query string) (status int, body []byte) {
		answer, err := http.Get(worker.Maps + query) //nolint:noctx // of this process
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close() //nolint:errcheck // read
		body, err = io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, body
	}
	fitted, err := pair.Fitted(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, ratio := range []float64{0.8, 45, 8000} {
		at, err := m.At(ratio)
		if err != nil {
			t.Fatal(err)
		}
		img, err := lab.Engine.Apply(ctx, at, fitted.Content, hrstyle.Applying{})
		if err != nil {
			t.Fatal(err)
		}
		file, err := picture.JPEG(img, config.Size, 0)
		if err != nil {
			t.Fatal(err)
		}
		status, body := get(fmt.Sprintf("?run=%d&ratio=%g", run, ratio))
		want, err := jpeg.Decode(bytes.NewReader(file))
		got, err2 := jpeg.Decode(bytes.NewReader(body))
		if status != http.StatusOK || err != nil || err2 != nil || got.Bounds() != want.Bounds() {
			t.Fatalf("ratio %g: status %d; %v, %v", ratio, status, err, err2)
		}
		const rounding = 4 // of 255: the two devices round differently, and then the JPEG does
		if off := furthest(got, want); off > rounding {
			t.Errorf("ratio %g: off by %d of 255", ratio, off)
		}
	}
	for query, want := range map[string]string{
		"?run=a&ratio=8":                       "400 run \"a\", ratio \"8\"; allowed: two numbers",
		"?run=99&ratio=8":                      "404 run 99 has no weight map: ",
		fmt.Sprintf("?run=%d&ratio=9000", run): "400 ratio 9000: allowed: 0.8 to 8000",
		fmt.Sprintf("?run=%d&ratio=8", plain):  "400 ratio: the generator is of one fit",
	} {
		status, body := get(query)
		if got := fmt.Sprint(status, " ", string(body)); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s; want %s", query, got, want)
		}
	}
}

// The picture of a run at full size is its generator's output at the size of the content picture, which must be the run's own.
func TestFullSize(t *testing.T) {
	ctx, lab := t.Context(), testLab(t)
	dir := t.TempDir()
	content, style := filepath.Join(dir, "content.png"), filepath.Join(dir, "style.png")
	exif := []byte("II*\x00\x08\x00\x00\x00\x01\x00\x0e\x01\x02\x00\x05\x00\x00\x00\x1a\x00\x00\x00\x00\x00\x00\x00boat\x00")
	if err := errors.Join(picture.Save(content, testPair.Content, picture.Encoding{Exif: exif}), picture.Save(style, testPair.Style, picture.Encoding{})); err != nil {
		t.Fatal(err)
	}
	pair, err := hrstyle.LoadPair(content, style)
	if err != nil {
		t.Fatal(err)
	}
	config := testConfig()
	config.Size, config.Steps = 32, 1
	run, err := lab.Start(ctx, About{}, pair, Trial{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	last, err := hrstyle.Last(lab.Record(ctx, run, lab.Engine.Fit(ctx, pair, config)))
	if err != nil {
		t.Fatal(err)
	}
	pictures := NewPictures(lab.Tracker)
	defer pictures.Close()
	file, err := pictures.PNG(ctx, run.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := picture.Read("got", bytes.NewReader(file))
	want, err2 := lab.Engine.Apply(ctx, last.Generator(), pair.Content, hrstyle.Applying{})
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	if got.Bounds().Size() != pair.Content.Bounds().Size() || got.Bounds().Dx() <= config.Size || furthest(got, want) > 1 || !bytes.Contains(got.Exif(), []byte("boat\x00")) {
		t.Errorf("%v, off by %d of 255, EXIF %q", got.Bounds(), furthest(got, want), got.Exif())
	}
	if text := picture.Comment(file); text != fmt.Sprintf("hrlab: generator of run %d; VGG19: %s", run.ID, lab.Engine.VGG.Label) {
		t.Error(text)
	}

	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := pictures.PNG(gone, run.ID, 0); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := pictures.PNG(ctx, 99, 0); !errors.Is(err, tracker.ErrNotFound) {
		t.Error(err)
	}
	if err := picture.Save(content, testPair.Style, picture.Encoding{}); err != nil {
		t.Fatal(err)
	}
	if _, err := pictures.PNG(ctx, run.ID, 0); err == nil || !strings.Contains(err.Error(), "the content picture is another by now than that of run") {
		t.Error(err)
	}
	if err := os.Remove(content); err != nil {
		t.Fatal(err)
	}
	if _, err := pictures.PNG(ctx, run.ID, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}

	// What only names a file, as any program can by MLflow's client, has nothing read.
	foreign, err := lab.Tracker.Start(ctx, tracker.NewRun{Params: map[string]any{"content": style, "style": style}})
	if err == nil {
		err = errors.Join(foreign.LogArtifact(ctx, report.Generator, bytes.NewReader(encoded(t, last.Generator()))), foreign.Finish(ctx, nil))
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pictures.PNG(ctx, foreign.ID, 0); err == nil || !strings.Contains(err.Error(), "has no record of its content picture") {
		t.Error(err)
	}
}

func encoded(t *testing.T, g *hrstyle.Generator) []byte {
	t.Helper()
	data, err := g.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// furthest is the largest difference of two pictures of one size in a channel, of 255.
func furthest(a, b image.Image) (most int) {
	for y := range a.Bounds().Dy() {
		for x := range a.Bounds().Dx() {
			p, q := color.NRGBAModel.Convert(a.At(x, y)).(color.NRGBA), color.NRGBAModel.Convert(b.At(x, y)).(color.NRGBA)
			for _, d := range []int{int(p.R) - int(q.R), int(p.G) - int(q.G), int(p.B) - int(q.B)} {
				most = max(most, d, -d)
			}
		}
	}
	return most
}
