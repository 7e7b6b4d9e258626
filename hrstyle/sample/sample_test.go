package sample

import (
	"image"
	"math"
	"testing"

	"golang.org/x/image/draw"
)

func TestPictures(t *testing.T) {
	for name, picture := range map[string]func(w, h int) *image.RGBA{"content": Content, "style": Style} {
		small, large := picture(120, 90), picture(240, 180)
		if small.Bounds() != image.Rect(0, 0, 120, 90) || !small.Opaque() {
			t.Errorf("%s: %v, opaque %v", name, small.Bounds(), small.Opaque())
		}
		if again := picture(120, 90); string(again.Pix) != string(small.Pix) {
			t.Errorf("%s: differs from one call to the next", name)
		}
		// The same scene at every size: only detail differs.
		shrunk := image.NewRGBA(small.Bounds())
		draw.BiLinear.Scale(shrunk, shrunk.Bounds(), large, large.Bounds(), draw.Src, nil)
		if d := difference(small, shrunk); d > 8 {
			t.Errorf("%s: differs by %.1f levels from the larger picture", name, d)
		}
		picture(1, 1)
		picture(16, 300)
	}
	if d := difference(Content(120, 90), Style(120, 90)); d < 60 {
		t.Errorf("content and style differ by %.1f levels: too alike to show anything", d)
	}
}

// difference is the mean over pixels and channels, in levels of 255.
func difference(a, b *image.RGBA) float64 {
	sum := 0.0
	for i := range a.Pix {
		sum += math.Abs(float64(a.Pix[i]) - float64(b.Pix[i]))
	}
	return sum / float64(len(a.Pix)/4*3)
}
