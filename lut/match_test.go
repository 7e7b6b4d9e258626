package lut

import (
	"image"
	"image/color"
	"math"
	"testing"

	"hrlab/picture"
)

// Distances are those of scikit-image 0.26 (rgb2lab, deltaE_ciede2000). Here the LUT is one that changes nothing.
func TestMatch(t *testing.T) {
	same := cube([3][]float64{make([]float64, 8), make([]float64, 8), make([]float64, 8)}, 2)
	pairs := []struct {
		a, b color.RGBA
		want float64
	}{
		{color.RGBA{255, 255, 255, 255}, color.RGBA{0, 0, 0, 255}, 100},
		{color.RGBA{200, 30, 40, 255}, color.RGBA{180, 60, 70, 255}, 7.7148},
		{color.RGBA{10, 20, 200, 255}, color.RGBA{40, 10, 160, 255}, 5.3256},
		{color.RGBA{128, 128, 128, 255}, color.RGBA{130, 126, 129, 255}, 3.1159},
		{color.RGBA{250, 220, 30, 255}, color.RGBA{30, 220, 90, 255}, 31.1119},
	}
	for _, p := range pairs {
		from, to := image.NewRGBA(image.Rect(0, 0, 1, 1)), image.NewRGBA(image.Rect(0, 0, 1, 1))
		from.SetRGBA(0, 0, p.a)
		to.SetRGBA(0, 0, p.b)
		if m := measure(same, from, to); math.Abs(m.Mean-p.want) > 0.01 || m.P95 != m.Mean || m.Look != m.Mean || m.Rest() != 1 {
			t.Errorf("%v, %v: %+v, want %.4f", p.a, p.b, m, p.want)
		}
	}
	// 19 of 20 pixels are as near as 95% are.
	from, to := image.NewRGBA(image.Rect(0, 0, 20, 1)), image.NewRGBA(image.Rect(0, 0, 20, 1))
	for x := range 20 {
		from.SetRGBA(x, 0, pairs[3].a)
		to.SetRGBA(x, 0, pairs[3].b)
	}
	to.SetRGBA(7, 0, pairs[0].b)
	if m := measure(same, from, to); math.Abs(m.P95-3.1159) > 0.01 || m.Mean < 4 {
		t.Errorf("%+v", m)
	}
}

// Where a picture changes on one side only, no LUT brings it nearer on average.
func TestRest(t *testing.T) {
	from, to := image.NewRGBA(image.Rect(0, 0, 64, 64)), image.NewRGBA(image.Rect(0, 0, 64, 64))
	for y := range 64 {
		for x := range 64 {
			v := uint8(4*y - y/2)
			from.SetRGBA(x, y, color.RGBA{v, v, v, 255})
			to.SetRGBA(x, y, color.RGBA{v + uint8(x/32*30), v + uint8(x/32*30), v + uint8(x/32*30), 255})
		}
	}
	_, m, err := Fit(picture.Picture{Image: from}, picture.Picture{Image: to}, 17)
	if err != nil || m.Rest() < 0.9 || m.Rest() > 1.1 {
		t.Errorf("%+v, %v", m, err)
	}
}
