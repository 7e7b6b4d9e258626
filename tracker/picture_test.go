package tracker

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"testing"
)

// Pictures are thumbnails, on white; those with the same pixels are kept once, whatever type holds them.
func (db suite) pictures(t *testing.T) {
	s, ctx := db.fresh(t), t.Context()
	r := start(t, s, NewRun{})
	colours := image.NewRGBA(image.Rect(0, 0, 400, 100))
	for i := range colours.Pix {
		colours.Pix[i] = 9
		if i%4 == 3 {
			colours.Pix[i] = 255
		}
	}
	clear := image.NewNRGBA(image.Rect(0, 0, 3, 1000))
	part := image.NewGray(image.Rect(0, 0, 500, 200))
	for i := range part.Pix {
		part.Pix[i] = 9
	}
	must(t, r.LogPicture(ctx, 0, "grey", grey(9)), r.LogPicture(ctx, 0, "colours", colours), r.LogPicture(ctx, 1, "part", part.SubImage(image.Rect(50, 50, 450, 150))),
		r.LogPicture(ctx, 2, "clear", clear), r.LogPicture(ctx, 2, "clear", clear), r.LogPicture(ctx, 3, "grey", grey(8)), r.LogPicture(ctx, 3, "grey", grey(7)))
	pictures, err := s.Pictures(ctx, r.ID)
	if err != nil || len(pictures) != 5 {
		t.Fatal(pictures, err)
	}
	for i, want := range []string{"colours", "grey", "part", "clear", "grey"} {
		if pictures[i].Name != want {
			t.Errorf("picture %d: %+v, want %s", i, pictures[i], want)
		}
	}
	if pictures[0].Digest != pictures[1].Digest || pictures[1].Digest != pictures[2].Digest || pictures[4].Digest == pictures[1].Digest {
		t.Errorf("%+v", pictures)
	}
	for i, want := range map[int]struct {
		size image.Point
		grey uint8
	}{0: {image.Pt(320, 80), 9}, 3: {image.Pt(1, 320), 255}, 4: {image.Pt(320, 80), 7}} {
		data, err := s.Thumbnail(ctx, pictures[i].Digest)
		must(t, err)
		img, err := jpeg.Decode(bytes.NewReader(data))
		must(t, err)
		if got := color.GrayModel.Convert(img.At(0, 0)).(color.Gray).Y; img.Bounds().Size() != want.size || got < want.grey-1 || got > min(254, want.grey)+1 {
			t.Errorf("%+v: %v of %d", pictures[i], img.Bounds(), got)
		}
	}
	for what, err := range map[string]error{"picture p: step -1; allowed: 0 or more": r.LogPicture(ctx, -1, "p", clear), "picture p: 0x5 pixels; allowed: 1x1 or more": r.LogPicture(ctx, 0, "p", image.NewGray(image.Rect(0, 0, 0, 5)))} {
		if err == nil || err.Error() != what {
			t.Errorf("%v, want %s", err, what)
		}
	}
	if _, err := s.Thumbnail(ctx, "none"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	whole(t, s)
}
