package hrstyle

import (
	"image"
	"image/color"
	"testing"

	"hrlab/hrstyle/sample"
	"hrlab/picture"
)

func TestFittedSizes(t *testing.T) {
	for _, c := range []struct{ w, h, size, square, wantW, wantH int }{
		{600, 400, 500, 0, 500, 332},
		{400, 600, 500, 0, 332, 500},
		{500, 500, 500, 0, 500, 500},
		{600, 400, 500, 1, 500, 500},
		{100, 50, 130, 0, 132, 64},
		{1000, 1, 128, 0, 128, 4},
	} {
		if w, h := fitted(c.w, c.h, c.size, c.square == 1); w != c.wantW || h != c.wantH {
			t.Errorf("%dx%d at %d: %dx%d, want %dx%d", c.w, c.h, c.size, w, h, c.wantW, c.wantH)
		}
	}
	wide := Pair{picture.Picture{Name: "wide.png", Image: sample.Content(400, 20)}, picture.Picture{Name: "s", Image: sample.Style(32, 32)}}
	c := Default
	c.Size = 128
	if _, err := wide.Fitted(c); err == nil || err.Error() != "wide.png: 400x20 becomes too small: 128x8 is smaller than 16 px" {
		t.Error(err)
	}
}

// Checkpoints of every version are of the same values: the digest is that of pictures which version 0.1.0 scaled.
func TestFittedValues(t *testing.T) {
	c := Default
	c.Size, c.StyleSize = 64, 100
	pair, err := Pair{picture.Picture{Name: "content", Image: sample.Content(120, 83)}, picture.Picture{Name: "style", Image: sample.Style(61, 90)}}.Fitted(c)
	if err != nil {
		t.Fatal(err)
	}
	const want = "8eb8792020b840fcb8830618b2bcdcbf8fb450731427af4f56f8479a0fa11458"
	if got := pairDigest(pair, normalised(pair.Content), normalised(pair.Style)); got != want {
		t.Errorf("%s of %v and %v", got, pair.Content.Bounds(), pair.Style.Bounds())
	}
}

// A picture goes to a tensor and back without loss, whatever image type holds it.
func TestNormalised(t *testing.T) {
	want := sample.Content(20, 16)
	grey := image.NewGray(image.Rect(3, 5, 20, 21)) // bounds that do not begin at 0
	grey.SetGray(4, 6, color.Gray{77})
	for name, img := range map[string]image.Image{"RGBA": want, "part": want.SubImage(image.Rect(2, 2, 18, 16)), "rows": want.SubImage(image.Rect(0, 0, 20, 9)), "grey": grey} {
		p := picture.Picture{Name: name, Image: img}
		b := p.Bounds()
		got := denormalised(normalised(p), b.Dx(), b.Dy())
		for y := range b.Dy() {
			for x := range b.Dx() {
				r, g, bl, _ := img.At(b.Min.X+x, b.Min.Y+y).RGBA()
				if c := got.NRGBA64At(x, y); c != (color.NRGBA64{uint16(r), uint16(g), uint16(bl), 0xffff}) {
					t.Fatalf("%s at %d,%d: %v", name, x, y, c)
				}
			}
		}
	}
}
