package picture

import (
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"testing"

	xdraw "golang.org/x/image/draw"
)

// At one size Guided is the guided filter of OpenCV 5.0.0 on the change, added to content:
// cv2.ximgproc.guidedFilter(255*content, changed - content, 2, 1e-3*255**2), with content and changed in 0 to 1. OpenCV mirrors the
// picture at borders, so they are left out. Where colours are in 0 to 1 it takes matrices for singular that are not.
func TestGuided(t *testing.T) {
	content, changed, want := golden(t, "content"), golden(t, "changed"), golden(t, "filtered")
	got := Guided(Flatten(content), Flatten(content), changed)
	for y := 2 * guidedRadius; y < got.Rect.Dy()-2*guidedRadius; y++ {
		for x := 2 * guidedRadius; x < got.Rect.Dx()-2*guidedRadius; x++ {
			if a, b := got.NRGBA64At(x, y), want.NRGBA64At(x, y); offBy(a, b) > 16 { // of 65535
				t.Fatalf("%d,%d: %v is not %v", x, y, a, b)
			}
		}
	}
}

func golden(t *testing.T, name string) *image.NRGBA64 {
	file, err := os.Open("testdata/guided/" + name + ".png")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	img, err := png.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	out := image.NewNRGBA64(img.Bounds())
	draw.Draw(out, out.Rect, img, image.Point{}, draw.Src)
	return out
}

func offBy(a, b color.NRGBA64) (off int) {
	for _, d := range []int{int(a.R) - int(b.R), int(a.G) - int(b.G), int(a.B) - int(b.B)} {
		off = max(off, d, -d)
	}
	return off
}

// A change that is none, or the same everywhere, is so in the larger picture, also where a side of the smaller is a few pixels. A
// smooth change stays smooth: in 16 bits it has more levels than the 8 bits of its picture.
func TestGuidedLarger(t *testing.T) {
	for _, of := range []struct{ full, small image.Point }{{image.Pt(70, 45), image.Pt(20, 12)}, {image.Pt(101, 16), image.Pt(40, 1)}, {image.Pt(3, 300), image.Pt(1, 64)}} {
		full := Scale(golden(t, "content"), of.full.X, of.full.Y, xdraw.BiLinear)
		small := Scale(full, of.small.X, of.small.Y, xdraw.BiLinear)
		for _, shift := range []int{0, 257 * 10} {
			changed := image.NewNRGBA64(small.Rect)
			for i := range of.small.X * of.small.Y {
				x, y := i%of.small.X, i/of.small.X
				c := small.RGBAAt(x, y)
				deep := func(v uint8) uint16 { return uint16(int(v)*257 + shift) }
				changed.SetNRGBA64(x, y, color.NRGBA64{deep(c.R), deep(c.G), deep(c.B), 0xffff})
			}
			out := Guided(full, small, changed)
			for i := range of.full.X * of.full.Y {
				x, y := i%of.full.X, i/of.full.X
				c := full.RGBAAt(x, y)
				deep := func(v uint8) uint16 { return uint16(int(v)*257 + shift) }
				if got, want := out.NRGBA64At(x, y), (color.NRGBA64{deep(c.R), deep(c.G), deep(c.B), 0xffff}); offBy(got, want) > 1 || got.A != 0xffff {
					t.Fatalf("%v, shifted by %d, %d,%d: %v is not %v", of, shift, x, y, got, want)
				}
			}
		}
	}
	flat, small := image.NewRGBA(image.Rect(0, 0, 2000, 4)), image.NewRGBA(image.Rect(0, 0, 100, 1))
	draw.Draw(flat, flat.Rect, image.NewUniform(color.Gray{100}), image.Point{}, draw.Src)
	draw.Draw(small, small.Rect, flat, image.Point{}, draw.Src)
	ramp := image.NewNRGBA64(small.Rect)
	for x := range 100 {
		v := uint16(x * 600)
		ramp.SetNRGBA64(x, 0, color.NRGBA64{v, v, v, 0xffff})
	}
	out := Guided(flat, small, ramp)
	levels := map[uint16]bool{}
	for x := range 2000 {
		levels[out.NRGBA64At(x, 2).R] = true
	}
	if len(levels) < 1800 {
		t.Errorf("a ramp over 2000 px has %d levels", len(levels))
	}
}

func BenchmarkGuided(b *testing.B) { // 6 megapixels from what a fit at 256 px is run at
	full, small := image.NewRGBA(image.Rect(0, 0, 3000, 2000)), image.NewRGBA(image.Rect(0, 0, 512, 340))
	changed := image.NewNRGBA64(small.Rect)
	for b.Loop() {
		Guided(full, small, changed)
	}
}
