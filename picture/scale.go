package picture

import (
	"image"

	"golang.org/x/image/draw"
)

// Scale returns img scaled to w x h pixels, with transparent pixels on white. When it shrinks, the filter averages over all
// pixels that become one. draw.BiLinear (Pillow's BILINEAR) is what fits are made with. draw.CatmullRom (Pillow's BICUBIC)
// keeps more detail: it is for copies that people look at.
func Scale(img image.Image, w, h int, filter *draw.Kernel) *image.RGBA {
	img = bare(img)
	out, op := paper(img, w, h)
	filter.Scale(out, out.Rect, img, img.Bounds(), op, nil)
	return out
}

// JPEG returns a small copy of img for a page or a thumbnail, as a JPEG file. Its longer side is at most side pixels; a larger
// picture is scaled by draw.CatmullRom. Transparent pixels are white. The quality is 85 of 100; if the file is larger than
// limit bytes, the quality falls in steps, down to 40. A limit of 0 is none. An image without pixels is an error.
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
