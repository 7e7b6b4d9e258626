package hrstyle

import (
	"context"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"reflect"
	"strings"
	"testing"

	"hrlab/hrstyle/device"
	"hrlab/hrstyle/sample"
	"hrlab/picture"

	"github.com/gomlx/compute/dtypes"
	"golang.org/x/image/draw"
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
	applied, err := e.Apply(t.Context(), last.Generator(), scaled.Content, Applying{})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(applied.Pix, last.Picture().Pix) {
		t.Error("Apply differs from the fit's own output")
	}
	odd, err := e.Apply(t.Context(), last.Generator(), picture.Picture{Name: "odd", Image: sample.Content(37, 21)}, Applying{})
	if err != nil || odd.Bounds() != image.Rect(0, 0, 37, 21) {
		t.Errorf("37x21 became %v, %v", odd.Bounds(), err)
	}
	huge := picture.Picture{Name: "huge.png", Image: virtual{}}
	if _, err := e.Apply(t.Context(), last.Generator(), huge, Applying{}); err == nil || !strings.Contains(err.Error(), "the largest size that fits is") {
		t.Errorf("131072x131072: %v", err)
	}
}

// Tiles give what the whole picture gives with the same statistics: at every side of a tile, for sides that are no multiples of 4, for
// slivers. In float64 not one of 16 bits differs. In float32 the last may, because XLA's sums round by the shape of a tile.
func TestTiles(t *testing.T) {
	for _, of := range []struct {
		kind  device.Kind
		dtype dtypes.DType
		sizes []image.Point
		sides []int
		most  int // of 65535
	}{
		{device.Go, dtypes.Float64, []image.Point{{132, 100}, {135, 101}, {16, 150}}, []int{64, 100}, 0},
		{device.CPU, dtypes.Float32, []image.Point{{201, 135}}, []int{68}, 1},
	} {
		t.Run(string(of.kind), func(t *testing.T) {
			e := openTest(t, of.kind, of.dtype, nil)
			flat := upload(e, initialParameters(3), parameterCount)
			for _, size := range of.sizes {
				p := sample.Content(size.X, size.Y)
				apply := func(name string, side int, fixed ...any) *image.NRGBA64 {
					out, err := e.applyTiles(t.Context(), name, p, side, nil, append([]any{flat}, fixed...)...)
					if err != nil {
						t.Fatal(err)
					}
					return out
				}
				statistics := e.statistics(flat, picture.Scale(p, 64, 48, draw.BiLinear))
				whole := apply("tile", 1000, statistics)
				for _, side := range of.sides {
					if off := furthest(whole, apply("tile", side, statistics)); off > of.most {
						t.Errorf("%v, tiles of %d px: off by %d of 65535", size, side, off)
					}
				}
				if size.X%4 == 0 && size.Y%4 == 0 { // the picture's own statistics
					if off := furthest(apply("apply", 1000), apply("tile", of.sides[0], e.statistics(flat, p))); off > of.most {
						t.Errorf("%v, own statistics: off by %d of 65535", size, off)
					}
				}
			}
		})
	}
}

// furthest is the largest difference of two pictures' values in 16 bits.
func furthest(a, b *image.NRGBA64) (off int) {
	for i := 0; i < len(a.Pix); i += 2 {
		d := int(binary.BigEndian.Uint16(a.Pix[i:])) - int(binary.BigEndian.Uint16(b.Pix[i:]))
		off = max(off, d, -d)
	}
	return off
}

// Memory makes tiles and the copy smaller, and where there is too little of it an error. Cancelled, it ends after the current tile.
func TestApplyInTiles(t *testing.T) {
	e := openTest(t, device.Go, dtypes.Float32, nil)
	g := &Generator{flat: initialParameters(3)}
	p := picture.Picture{Name: "day", Image: sample.Content(150, 90)}
	need := applyMemory[device.Go]
	how := Applying{Memory: need.base + heldBytes*150*90 + need.pixel*70*70}
	var calls []int
	how.Progress = func(done, of int) { calls = append(calls, done) }
	out, err := e.Apply(t.Context(), g, p, how)
	if err != nil || out.Rect != image.Rect(0, 0, 150, 90) || len(calls) < 6 || calls[len(calls)-1] != 150*90 {
		t.Errorf("%v, %v, progress %v", out.Rect, err, calls)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("enough")
	how.Progress = func(done, _ int) {
		if done > 3000 {
			cancel(stopped)
		}
	}
	if _, err := e.Apply(ctx, g, p, how); !errors.Is(err, stopped) {
		t.Errorf("cancelled: %v", err)
	}
	how.Memory = need.base
	if _, err := e.Apply(t.Context(), g, p, how); err == nil || !strings.HasPrefix(err.Error(), "day: 150x90 takes about ") {
		t.Errorf("no memory: %v", err)
	}
}

// A picture beyond the fitted size has the change of a copy of at most twice that. One up to the fitted size is as it comes.
func TestApplyGuided(t *testing.T) {
	e := openTest(t, device.Go, dtypes.Float32, nil)
	plain, sized := &Generator{flat: initialParameters(3)}, &Generator{flat: initialParameters(3), Config: Config{Size: 32}}
	apply := func(g *Generator, p *image.RGBA) *image.NRGBA64 {
		out, err := e.Apply(t.Context(), g, picture.Picture{Name: "day", Image: p}, Applying{})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for size, run := range map[image.Point]image.Point{
		{32, 20}: {32, 20}, {50, 30}: {50, 30}, {64, 40}: {64, 40}, {150, 91}: {64, 40}, {100, 160}: {40, 64},
		{300, 40}: {240, 32}, {16, 200}: {16, 200}, // a panorama is not made a strip of a few pixels
	} {
		full := sample.Content(size.X, size.Y)
		copied := picture.Scale(full, run.X, run.Y, draw.BiLinear)
		want := apply(plain, copied)
		if size != (image.Point{32, 20}) {
			want = picture.Guided(full, copied, want)
		}
		if !reflect.DeepEqual(apply(sized, full).Pix, want.Pix) {
			t.Errorf("%v: not the guided change of %v", size, run)
		}
	}
}

// In 16 bits an output has more levels than the 8 bits of its picture.
func TestApplyDeep(t *testing.T) {
	e := openTest(t, device.Go, dtypes.Float32, nil)
	gradient := image.NewRGBA(image.Rect(0, 0, 512, 16))
	for y := range 16 {
		for x := range 512 {
			gradient.SetRGBA(x, y, color.RGBA{uint8(x / 2), uint8(x / 2), uint8(x / 2), 255})
		}
	}
	out, err := e.Apply(t.Context(), &Generator{flat: initialParameters(3)}, picture.Picture{Name: "gradient", Image: gradient}, Applying{})
	if err != nil {
		t.Fatal(err)
	}
	levels := map[uint16]bool{}
	for x := range 512 {
		levels[out.NRGBA64At(x, 8).R] = true
	}
	if len(levels) <= 256 {
		t.Errorf("%d levels", len(levels))
	}
}
