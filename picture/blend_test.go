package picture

import (
	"image"
	"image/color"
	"testing"
)

// The ends are the pictures themselves. Half of black and half of white is 188 of 255, as bright as a chessboard of both.
func TestBlend(t *testing.T) {
	from := image.NewRGBA(image.Rect(0, 0, 256, 1))
	out := image.NewNRGBA64(from.Rect)
	for v := range 256 {
		from.SetRGBA(v, 0, color.RGBA{uint8(v), 0, 255 - uint8(v), 255})
		out.SetNRGBA64(v, 0, color.NRGBA64{0xffff, 0x1234, 0, 0xffff})
	}
	blended := func(strength float64) *image.NRGBA64 {
		copied := image.NewNRGBA64(out.Rect)
		copy(copied.Pix, out.Pix)
		Blend(copied, from, strength)
		return copied
	}
	for v := range 256 {
		level := uint16(v) * 257
		if got, want := blended(0).NRGBA64At(v, 0), (color.NRGBA64{level, 0, 0xffff - level, 0xffff}); got != want {
			t.Errorf("strength 0: %v is not %v", got, want)
		}
		if got, want := blended(1).NRGBA64At(v, 0), (color.NRGBA64{0xffff, 0x1234, 0, 0xffff}); got != want {
			t.Errorf("strength 1: %v is not %v", got, want)
		}
	}
	if got := blended(0.5).NRGBA64At(0, 0).R; got/257 != 187 && got/257 != 188 { // 255·(1.055·0.5^(1/2.4) − 0.055) = 187.5
		t.Errorf("half of black and white is %d of 65535", got)
	}
}

// A blended LUT gives what blending its output gives, as far as a line between nodes goes with the curve of sRGB.
func TestBlended(t *testing.T) {
	const size = 33
	cube := &Cube{Size: size, Max: [3]float32{1, 1, 1}}
	for i := range size * size * size {
		cube.Nodes = append(cube.Nodes, [3]float32{1 - float32(i%size)/(size-1), float32(i/size%size) / (size - 1), 0.2})
	}
	p := image.NewRGBA(image.Rect(0, 0, 256, 64))
	for i := range p.Pix {
		p.Pix[i] = max(uint8(i/4), uint8(255*(i%4/3))) //nolint:gosec // a level
	}
	for _, strength := range []float64{0, 0.3, 1} {
		want := cube.Apply(p)
		Blend(want, p, strength)
		if off := furthest(Picture{Image: Flatten(eightBits(want))}, Picture{Image: Flatten(eightBits(cube.Blended(strength).Apply(p)))}); off > 2 {
			t.Errorf("strength %g: off by %d of 255", strength, off)
		}
	}
}
