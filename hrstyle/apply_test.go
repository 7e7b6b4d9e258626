package hrstyle

import (
	"image"
	"reflect"
	"strings"
	"testing"

	"hrlab/hrstyle/device"
	"hrlab/hrstyle/sample"
	"hrlab/picture"
)

// The output of a step is its generator applied to the content picture at the fitted size.
func TestApply(t *testing.T) {
	pair, c := small()
	e := smallEngine(t, device.Go)
	last, err := Last(e.Fit(t.Context(), pair, c))
	if err != nil {
		t.Fatal(err)
	}
	scaled, err := pair.Fitted(c)
	if err != nil {
		t.Fatal(err)
	}
	applied, err := e.Apply(last.Generator(), scaled.Content)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(applied.Pix, last.Picture().Pix) {
		t.Error("Apply differs from the fit's own output")
	}
	odd, err := e.Apply(last.Generator(), picture.Picture{Name: "odd", Image: sample.Content(37, 21)})
	if err != nil || odd.Bounds() != image.Rect(0, 0, 37, 21) {
		t.Errorf("37x21 became %v, %v", odd.Bounds(), err)
	}
	huge := picture.Picture{Name: "huge.png", Image: virtual{}}
	if _, err := e.Apply(last.Generator(), huge); err == nil || !strings.Contains(err.Error(), "the largest size that fits is") {
		t.Errorf("131072x131072: %v", err)
	}
}
