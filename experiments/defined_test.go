package experiments

import (
	"image"
	"image/color"
	"math"
	"os"
	"slices"
	"testing"

	"hrlab/picture"

	"hrlab/hrstyle"
	"hrlab/hrstyle/sample"
	"hrlab/report"

	"golang.org/x/image/draw"
)

// uniform is a picture of one colour.
func uniform(c color.Color) picture.Picture {
	m := image.NewRGBA(image.Rect(0, 0, 32, 24))
	draw.Draw(m, m.Rect, image.NewUniform(c), image.Point{}, draw.Src)
	return picture.Picture{Name: "uniform.png", Image: m}
}

// noisy has some pixels one level off.
func noisy(img image.Image) picture.Picture {
	m := image.NewRGBA(img.Bounds())
	draw.Draw(m, m.Rect, img, img.Bounds().Min, draw.Src)
	for i := 0; i < len(m.Pix); i += 12 {
		m.Pix[i] ^= 1
	}
	return picture.Picture{Name: "noisy.png", Image: m}
}

// A measure that would be divided by nothing, or by rounding, is not there; the others are, and are finite.
func TestMeasuresNotDefined(t *testing.T) {
	if testing.Short() {
		t.Skip("fits pictures")
	}
	day, dusk := picture.Picture{Name: "day.png", Image: sample.Content(32, 24)}, picture.Picture{Name: "dusk.png", Image: sample.Style(32, 24)}
	grey := uniform(color.Gray{128})
	for _, device := range []string{"go", "cpu"} {
		engine, err := hrstyle.Open(t.Context(), hrstyle.Options{Device: device, VGG: "random"})
		if err != nil {
			if device == "go" || os.Getenv("HRLAB_TEST_REQUIRE_XLA") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
		defer engine.Close()
		for _, c := range []struct {
			name           string
			content, style picture.Picture
			without        []string
		}{
			{"two pictures", day, dusk, nil},
			{"one picture", day, day, []string{report.StyleMatch}},
			{"one picture, rounded", day, noisy(day), []string{report.StyleMatch}},
			{"flat grey", grey, dusk, []string{report.ContentKept}},
			{"flat grey, another", uniform(color.Gray{127}), dusk, []string{report.ContentKept}},
			{"flat grey, rounded", noisy(grey), dusk, []string{report.ContentKept}},
			{"flat white", uniform(color.White), dusk, []string{report.ContentKept}},
			{"a flat style", day, grey, nil},
			{"flat both", grey, grey, []string{report.ContentKept, report.StyleMatch}},
		} {
			pair := hrstyle.Pair{Content: c.content, Style: c.style}
			for _, output := range []image.Image{day, dusk, grey} {
				got, err := Lab{Engine: engine}.Measures(pair, output)
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range []string{report.ContentKept, report.StyleMatch, report.SSIM, report.EdgeSSIM, report.ColourDistance} {
					v, ok := got[name]
					if ok == slices.Contains(c.without, name) || math.IsNaN(v) || math.IsInf(v, 0) || math.Abs(v) > 1000 {
						t.Errorf("%s, %s: %s is %g, there: %t", device, c.name, name, v, ok)
					}
				}
			}
		}
	}
}

// Of flat pictures SSIM is what its constants make of it, and finite.
func TestSSIMOfFlat(t *testing.T) {
	black, white, day := luma(uniform(color.Black)), luma(uniform(color.White)), luma(sample.Content(32, 24))
	near(t, "black with itself", ssim(black, black), 1, 1e-12)
	near(t, "white with itself", ssim(white, white), 1, 1e-12)
	near(t, "black with white", ssim(black, white), 1e-4/(1+1e-4), 1e-12)
	near(t, "edges of flat pictures", ssim(black.sobel(), white.sobel()), 1, 1e-12)
	for _, v := range []float64{ssim(black, day), ssim(day.sobel(), white.sobel())} {
		if !(v > -1 && v < 1) {
			t.Errorf("a flat picture with another: %g", v)
		}
	}
}
