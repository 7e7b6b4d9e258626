package main

import (
	"image"
	"strings"
	"testing"

	"hrlab/hrstyle"
	"hrlab/hrstyle/device"
	"hrlab/picture"
)

// sized is a picture of any size that takes no memory.
type sized struct {
	image.Uniform
	size image.Point
}

func (s *sized) Bounds() image.Rectangle { return image.Rectangle{Max: s.size} }

// The fitted size grows with the picture, so that no fit with it is warned about, and by no more than it takes.
func TestGoodSize(t *testing.T) {
	for size, want := range map[image.Point]int{
		{}: 500, {6000, 4000}: 500, {8000, 5333}: 500, {8001, 5333}: 504, {5000, 8001}: 504, {8064, 8064}: 504, {8065, 8064}: 508, {10000, 10000}: 628, {20000, 500}: 500, {40000, 6000}: 752, {65500, 65500}: 4096,
	} {
		got := goodSize(size)
		if got != want || farLarger(got, "x", size) != "" || got > 500 && farLarger(got-4, "x", size) == "" {
			t.Errorf("%v: %d, want %d", size, got, want)
		}
	}
}

// Where memory is too short for the good size the largest is taken that it suffices for, and it is said.
func TestChooseSize(t *testing.T) {
	for _, kind := range []device.Kind{device.CPU, device.Go, device.CUDA} {
		engine := &hrstyle.Engine{Device: &device.Device{Kind: kind}}
		for _, side := range []int{4000, 9000, 20000, 65500} {
			full := image.Pt(side, side)
			p := picture.Picture{Name: "a.jpg", Image: &sized{size: full}}
			pair, config := hrstyle.Pair{Content: p, Style: p}, hrstyle.Default
			size, line := chooseSize(engine, pair, config, full)
			if side == 4000 && (size != 500 || line != "") {
				t.Errorf("%d px: %d, %q", side, size, line)
			}
			if size < 500 || size > goodSize(full) || (line == "") != (size == 500) || strings.Contains(line, "memory") != (size > 500 && size < goodSize(full)) {
				t.Errorf("%s, %d px: %d of %d, %q", kind, side, size, goodSize(full), line)
			}
			if kind == device.CUDA && size != goodSize(full) {
				t.Errorf("%d px: %d where memory is not known", side, size)
			}
			const spare = 1.1 // of the pixels, since other programs take memory meanwhile
			config.Size = int(float64(size) / spare)
			if err := engine.Fits(pair, config); size > 500 && err != nil {
				t.Errorf("%s, %d px: %d does not fit: %v", kind, side, size, err)
			}
			config.Size = int(float64(size) * spare)
			if size < goodSize(full) && config.Size < goodSize(full) && engine.Fits(pair, config) == nil {
				t.Errorf("%s, %d px: more than %d fits", kind, side, size)
			}
		}
	}
}
