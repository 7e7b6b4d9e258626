package experiments

import (
	"image"
	"image/color"
	"math"
	"testing"

	"hrlab/picture"

	"hrlab/hrstyle"
	"hrlab/hrstyle/sample"
	"hrlab/report"

	"golang.org/x/image/draw"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s is %.9g, want %.9g", what, got, want)
	}
}

// What scikit-image says: testdata/ssim.py.
func TestSSIM(t *testing.T) {
	a, b := plane{53, 37, nil}, plane{53, 37, nil}
	for y := range 37 {
		for x := range 53 {
			fx, fy := float64(x), float64(y)
			v := 0.5 + 0.3*math.Sin(fx/5)*math.Cos(fy/7) + 0.2*float64((x/8+y/6)%2)
			a.v = append(a.v, v)
			b.v = append(b.v, 0.9*v+0.05*math.Sin(fx*1.3)+0.02*math.Cos(fy*2.1))
		}
	}
	near(t, "SSIM", ssim(a, b), 0.9075152710292361, 1e-9)
	edges := a.sobel()
	near(t, "Sobel within", edges.at(7, 3), 0.15631591801322836, 1e-12)
	near(t, "Sobel at a corner", edges.at(0, 0), 0.042036938502232335, 1e-12)
	near(t, "edge-SSIM", ssim(edges, b.sobel()), 0.8103975442191284, 1e-9)
	near(t, "SSIM with itself", ssim(a, a), 1, 1e-12)
}

func TestColourDistance(t *testing.T) {
	day, dusk := sample.Content(64, 48), sample.Style(64, 48)
	near(t, "of a picture to itself", colourDistance(day, day), 0, 0)
	near(t, "of a picture to itself at another size", colourDistance(sample.Content(64, 48), sample.Content(128, 96)), 0, 0.01)
	if d := colourDistance(day, dusk); d < 0.05 || math.Abs(d-colourDistance(dusk, day)) > 1e-12 {
		t.Errorf("day to dusk %g, dusk to day %g", d, colourDistance(dusk, day))
	}
	// Between two uniform pictures it is the mean length of the projected difference: half of it, evenly over a sphere.
	black, white := image.NewGray(image.Rect(0, 0, 20, 20)), image.NewGray(image.Rect(0, 0, 20, 20))
	draw.Draw(white, white.Rect, image.White, image.Point{}, draw.Src)
	near(t, "black to white", colourDistance(black, white), 0.5, 0.002)
	for c, want := range map[color.Color][3]float64{ // Ottosson's table of sRGB's corners, by colorjs.io to four digits
		color.White:                 {1, 0, 0},
		color.RGBA{255, 0, 0, 255}:  {0.6280, 0.2249, 0.1258},
		color.RGBA{0, 0, 255, 255}:  {0.4520, -0.0325, -0.3115},
		color.RGBA{0, 255, 0, 255}:  {0.8664, -0.2339, 0.1795},
		color.RGBA{99, 99, 99, 255}: {0.4997, 0, 0},
	} {
		for i, v := range oklab(c) {
			near(t, "Oklab", v, want[i], 2e-4)
		}
	}
}

// The measures put a picture that is the content picture and one that has the style picture's colours where they belong.
func TestMeasures(t *testing.T) {
	if testing.Short() {
		t.Skip("fits pictures")
	}
	engine, err := hrstyle.Open(t.Context(), hrstyle.Options{Device: "go", VGG: "random"})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	lab := Lab{Engine: engine}
	pair := hrstyle.Pair{
		Content: picture.Picture{Name: "day", Image: sample.Content(32, 32)},
		Style:   picture.Picture{Name: "dusk", Image: sample.Style(32, 32)},
	}
	content, err := lab.Measures(pair, pair.Content)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{report.SSIM: 1, report.EdgeSSIM: 1, report.ContentKept: 1, report.StyleMatch: 0, report.ColourDistance: colourDistance(pair.Content, pair.Style)} {
		near(t, "the content picture's "+name, content[name], want, 1e-6)
	}
	style, err := lab.Measures(pair, pair.Style)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "the style picture's style match", style[report.StyleMatch], 1, 1e-6)
	near(t, "the style picture's colour distance", style[report.ColourDistance], 0, 0)
	if style[report.SSIM] > 0.9 || style[report.ContentKept] > 0.9 {
		t.Errorf("the style picture keeps the content: %v", style)
	}
	if _, err := lab.Measures(pair, sample.Content(16, 16)); err == nil {
		t.Error("an output of another size was measured")
	}
}
