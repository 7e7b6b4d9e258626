package hrstyle

import (
	"context"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"math"
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

// Tiles follow one another without a gap and see as far as they must; there are no more than the largest would need, and none is
// larger than it has to be: 1080 px are done as 3 tiles of 384 px and not of 512.
func TestSpans(t *testing.T) {
	for side := leastTile; side <= tileSide; side += 28 {
		for n := 4; n < 2500; n += 4 {
			list := tiles(n, side)
			at := 0
			for _, s := range list {
				if s.first != at || s.last <= s.first || s.begin > max(0, s.first-margin) || s.end < min(n, s.last+margin) || s.begin < 0 || s.end > n || s.end-s.begin > side {
					t.Fatalf("%d px by %d: %v", n, side, list)
				}
				at = s.last
			}
			if at != n {
				t.Fatalf("%d px by %d: ends at %d", n, side, at)
			}
		}
	}
	if list := tiles(1080, tileSide); len(list) != 3 || list[0].end != 384 {
		t.Error(list)
	}
}

// With statistics that were measured before, two frames that differ in a corner have the same output elsewhere, to the last bit,
// in tiles too. With statistics of their own they differ everywhere.
func TestStatistics(t *testing.T) {
	for kind, dtype := range map[device.Kind]dtypes.DType{device.Go: dtypes.Float64, device.CPU: dtypes.Float32} {
		t.Run(string(kind), func(t *testing.T) {
			e := openTest(t, kind, dtype, nil)
			g := &Generator{flat: initialParameters(3)}
			still, moved := sample.Content(150, 90), sample.Content(150, 90)
			draw.Draw(moved, image.Rect(0, 0, 30, 20), image.White, image.Point{}, draw.Src)
			frames := []picture.Picture{{Name: "0", Image: still}, {Name: "1", Image: moved}}
			all, err := e.Statistics(t.Context(), g, frames, 0)
			if err != nil {
				t.Fatal(err)
			}
			first, second := measure(t, e, g, frames[0]), measure(t, e, g, frames[1])
			for i := range all {
				if own := 0.5 * (first[i] + second[i]); math.Abs(float64(all[i]-own)) > 1e-6*math.Abs(float64(own)) {
					t.Fatalf("statistic %d is %g, and the mean of both %g", i, all[i], own)
				}
			}
			tiled := applyMemory[kind].base + heldBytes*150*90 + applyMemory[kind].pixel*100*100
			for _, memory := range []float64{0, tiled} {
				same := Applying{Memory: memory, Statistics: all}
				if alike := alikeBut(applied(t, e, g, frames[0], same), applied(t, e, g, frames[1], same), image.Rect(0, 0, 30+margin, 20+margin)); alike != 1 {
					t.Errorf("memory %g: of the pixels that do not change %g are alike", memory, alike)
				}
			}
			if alike := alikeBut(applied(t, e, g, frames[0], Applying{}), applied(t, e, g, frames[1], Applying{}), image.Rect(0, 0, 30+margin, 20+margin)); alike > 0.1 {
				t.Errorf("with their own statistics %g of the pixels are alike", alike)
			}
		})
	}
}

func measure(t *testing.T, e *Engine, g *Generator, p picture.Picture) Statistics {
	t.Helper()
	s, err := e.Statistics(t.Context(), g, []picture.Picture{p}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func applied(t *testing.T, e *Engine, g *Generator, p picture.Picture, how Applying) *image.NRGBA64 {
	t.Helper()
	out, err := e.Apply(t.Context(), g, p, how)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// alikeBut is the part of two pictures' pixels outside of changed that are alike.
func alikeBut(a, b *image.NRGBA64, changed image.Rectangle) float64 {
	alike, of := 0, 0
	for y := range a.Rect.Dy() {
		for x := range a.Rect.Dx() {
			if image.Pt(x, y).In(changed) {
				continue
			}
			of++
			if a.NRGBA64At(x, y) == b.NRGBA64At(x, y) {
				alike++
			}
		}
	}
	return float64(alike) / float64(of)
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
