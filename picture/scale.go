package picture

import (
	"image"

	"golang.org/x/image/draw"
)

// Scale returns img at w x h pixels, on white paper where it is transparent. kernel is the filter, which averages over
// what becomes one pixel where the picture shrinks: draw.BiLinear (as Pillow's BILINEAR), which fits are made with, or
// draw.CatmullRom (as Pillow's BICUBIC), which keeps more detail for the eye.
func Scale(img image.Image, w, h int, kernel *draw.Kernel) *image.RGBA {
	img = bare(img)
	out, op := paper(img, w, h)
	kernel.Scale(out, out.Rect, img, img.Bounds(), op, nil)
	return out
}

// JPEG returns img as pages and thumbnails have it: a JPEG whose longer side is at most side pixels, scaled by
// draw.CatmullRom, on white paper. Its quality is 85; where the file would be larger than limit bytes (0: any size) it
// falls in steps to 40, and no further. It fails where img has no pixels.
func JPEG(img image.Image, side, limit int) (data []byte, err error) {
	w, h := img.Bounds().Dx(), img.Bounds().Dy()
	if longer := max(w, h); longer > side {
		rounded := func(v int) int { return max(1, (v*side+longer/2)/longer) }
		img = Scale(img, rounded(w), rounded(h), draw.CatmullRom)
	}
	for quality := 85; ; quality -= 9 {
		data, err = Encoding{Quality: quality}.Encode(".jpg", img)
		if err != nil || limit == 0 || len(data) <= limit || quality == 40 {
			return data, err
		}
	}
}
