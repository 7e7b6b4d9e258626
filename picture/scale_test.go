package picture

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"path/filepath"
	"testing"

	"golang.org/x/image/draw"
)

// Scaling shows what Pillow shows, within 2 of 255, on white paper where a picture is transparent, whatever type holds it.
func TestScale(t *testing.T) {
	plain, err := Load("testdata/pictures/rgb.png")
	if err != nil {
		t.Fatal(err)
	}
	file, _, err := image.Decode(bytes.NewReader(fixtures(t)["alpha.png"])) // with its transparency
	if err != nil {
		t.Fatal(err)
	}
	deep := image.NewNRGBA64(plain.Bounds())
	draw.Draw(deep, deep.Rect, plain, image.Point{}, draw.Src)
	moved := image.NewRGBA(image.Rect(-3, 5, 40, 40))
	draw.Draw(moved, moved.Rect, plain, image.Pt(-1, -2), draw.Src)
	part := moved.SubImage(image.Rectangle{Max: plain.Bounds().Size()}.Add(image.Pt(-2, 7)))
	for name, images := range map[string]map[string]image.Image{
		"rgb": {"RGBA": plain.Image, "Picture": plain, "16 bits": deep, "part": part}, "alpha": {"NRGBA": file, "Picture": Picture{Image: file}},
	} {
		for _, kernel := range []struct {
			name string
			*draw.Kernel
		}{{"bilinear", draw.BiLinear}, {"bicubic", draw.CatmullRom}} {
			for _, size := range []image.Point{{13, 8}, {64, 50}, {1, 21}} {
				want, err := Load(filepath.Join("testdata/pictures/expected", fmt.Sprintf("%s-%s-%dx%d.png", name, kernel.name, size.X, size.Y)))
				if err != nil {
					t.Fatal(err)
				}
				for kind, img := range images {
					got := Scale(img, size.X, size.Y, kernel.Kernel)
					if got.Rect != want.Bounds() || !got.Opaque() || furthest(Picture{Image: got}, want) > 2 {
						t.Errorf("%s in %s, %s at %v: %d from Pillow's", name, kind, kernel.name, size, furthest(Picture{Image: got}, want))
					}
				}
			}
		}
	}
}

// A copy keeps the proportions, is no larger than the picture, never empty, and on white paper.
func TestJPEG(t *testing.T) {
	for _, c := range []struct{ w, h, side, wantW, wantH int }{
		{640, 480, 320, 320, 240},
		{500, 333, 320, 320, 213},
		{333, 500, 320, 213, 320},
		{321, 3, 320, 320, 3},
		{1000, 1, 320, 320, 1},
		{1, 5000, 320, 1, 320},
		{320, 200, 320, 320, 200},
		{20, 30, 320, 20, 30},
		{1, 1, 320, 1, 1},
	} {
		img := image.NewNRGBA(image.Rect(7, -2, 7+c.w, -2+c.h))
		draw.Draw(img, img.Rect, image.NewUniform(color.NRGBA{200, 40, 90, 255}), image.Point{}, draw.Src)
		img.SetNRGBA(7, -2, color.NRGBA{}) // one that is transparent
		data, err := JPEG(img, c.side, 0)
		if err != nil {
			t.Fatal(err)
		}
		got, err := jpeg.Decode(bytes.NewReader(data))
		if err != nil || got.Bounds() != image.Rect(0, 0, c.wantW, c.wantH) {
			t.Errorf("%dx%d at %d: %v %v", c.w, c.h, c.side, got.Bounds(), err)
			continue
		}
		want := color.NRGBA{200, 40, 90, 255}
		if c.w*c.h == 1 {
			want = color.NRGBA{255, 255, 255, 255}
		}
		r, g, b, _ := got.At(c.wantW-1, c.wantH-1).RGBA()
		if d := max(math.Abs(float64(r>>8)-float64(want.R)), math.Abs(float64(g>>8)-float64(want.G)), math.Abs(float64(b>>8)-float64(want.B))); d > 6 {
			t.Errorf("%dx%d: %d %d %d, want %v", c.w, c.h, r>>8, g>>8, b>>8, want)
		}
	}
	if _, err := JPEG(image.NewRGBA(image.Rectangle{}), 320, 0); err == nil {
		t.Error("a JPEG of no pixels")
	}
}

// The quality falls only where the limit asks for it, and not below what still shows the picture.
func TestJPEGLimit(t *testing.T) {
	noise := image.NewRGBA(image.Rect(0, 0, 200, 200))
	for i := range noise.Pix {
		noise.Pix[i] = uint8(i*i*2654435761>>16) | uint8(255*(i%4/3))
	}
	size := func(limit int) int {
		data, err := JPEG(noise, 512, limit)
		if err != nil {
			t.Fatal(err)
		}
		return len(data)
	}
	free, least := size(0), size(1)
	if least >= free*2/3 || size(free) != free || size(free-1) >= free || size(least) != least || size((free+least)/2) > (free+least)/2 {
		t.Errorf("%d bytes without a limit, %d at least; at limits between: %d, %d, %d", free, least, size(free), size(free-1), size((free+least)/2))
	}
}

// Pictures with the same pixels have the same digest, whatever type holds them, a part of another included.
func TestDigest(t *testing.T) {
	whole := drawn(40, 30)
	for _, r := range []image.Rectangle{whole.Rect, image.Rect(0, 0, 40, 20), image.Rect(0, 0, 20, 30), image.Rect(5, 6, 30, 30)} {
		part, deep := whole.SubImage(r), image.NewNRGBA64(r)
		copied := image.NewRGBA(image.Rectangle{Max: r.Size()})
		draw.Draw(copied, copied.Rect, part, r.Min, draw.Src)
		draw.Draw(deep, r, part, r.Min, draw.Src)
		want := Picture{Image: copied}.Digest()
		for name, img := range map[string]image.Image{"part": part, "16 bits": deep} {
			if got := (Picture{Image: img}).Digest(); got != want {
				t.Errorf("%s %v: %.8s, want %.8s", name, r, got, want)
			}
		}
	}
}
