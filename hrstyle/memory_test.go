package hrstyle

import (
	"image"
	"strings"
	"testing"

	"hrlab/hrstyle/device"
	"hrlab/picture"
)

// A style picture at its own size may be far larger than what is fitted.
func TestStyleMemory(t *testing.T) {
	pair, c := small()
	pair.Style, c.StyleSize = picture.Picture{Name: "huge.png", Image: virtual{}}, 0
	_, err := Last(smallEngine(t, device.Go).Fit(t.Context(), pair, c))
	if err == nil || !strings.HasPrefix(err.Error(), "huge.png as style picture: 131072x131072 takes about ") || !strings.Contains(err.Error(), "the largest size that fits is") {
		t.Error(err)
	}
}

// virtual is a large image that takes no memory.
type virtual struct{ *image.Uniform }

func (virtual) Bounds() image.Rectangle { return image.Rect(0, 0, 1<<17, 1<<17) }
