package picture

import (
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/draw"
)

// maxDecode is the memory that reading a picture may take, in bytes. A header that asks for more is refused.
const maxDecode = 900_000_000

// decode makes an opaque, upright sRGB picture of the bytes of a file. notes are for the user, exif is the file's EXIF block
// if it has one.
func decode(data []byte) (pixels *image.RGBA, notes []string, exif []byte, err error) {
	defer func() { // the decoders have many authors
		if p := recover(); p != nil {
			err = fmt.Errorf("damaged picture (%v)", p)
		}
	}()
	c, err := open(data)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := checkSides(c.w, c.h); err != nil {
		return nil, nil, nil, err
	}
	if c.memory > maxDecode {
		return nil, nil, nil, fmt.Errorf("%dx%d takes %.1f GB of memory to read; allowed: %.1f; make it smaller", c.w, c.h, c.memory/1e9, maxDecode/1e9)
	}
	img, err := c.decode()
	if err != nil {
		return nil, nil, nil, explain(err)
	}
	if s := c.colours(); s == nil || s.linear == nil {
		pixels = Flatten(img)
	} else {
		pixels = s.onWhite(img)
		c.note("is brought from %s to sRGB", s.name)
	}
	if whole := image.Rect(0, 0, c.w, c.h); pixels.Rect != whole { // a frame of a part
		frame, place := pixels, img.Bounds().Min.Add(c.place)
		pixels = image.NewRGBA(whole)
		draw.Draw(pixels, whole, image.White, image.Point{}, draw.Src)
		draw.Draw(pixels, frame.Rect.Add(place), frame, image.Point{}, draw.Src)
	}
	pixels = turn(pixels, orientation(c.tags))
	return pixels, c.notes, c.exif, nil
}

// colours finds the colour space of a picture, nil for sRGB. A format's own way of saying it comes first, then an ICC
// profile, then EXIF data.
func (c *container) colours() *space {
	s := c.space
	if s == nil && len(c.profile) > 0 {
		var err error
		if s, err = profileSpace(c.profile); s == nil || err != nil {
			c.note("is taken as sRGB: its ICC profile cannot be read")
			return nil
		}
	}
	if s == nil && c.channels == 3 && exifAdobeRGB(c.tags) {
		s = adobeRGB
	}
	if s != nil && s.channels != c.channels {
		kinds := map[int]string{1: "grey", 3: "RGB", 4: "CMYK"}
		c.note("is taken as sRGB: %s is for %s pictures, and it is %s", s.name, kinds[s.channels], kinds[c.channels])
		return nil
	}
	return s
}

// explain says in a user's words why a decoder gave up.
func explain(err error) error {
	_, inJPEG := errors.AsType[jpeg.UnsupportedError](err)
	_, inPNG := errors.AsType[png.UnsupportedError](err)
	switch {
	case inJPEG, inPNG:
		return fmt.Errorf("%w; export it as PNG", err)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, errCut):
		return errCut
	}
	return fmt.Errorf("damaged picture (%w)", err)
}

// Flatten returns an image as Load does and as Digest sees it: 8 bits per channel, transparent pixels on white, with bounds
// from 0,0. An image that is so already is returned itself.
func Flatten(img image.Image) *image.RGBA {
	w, h := img.Bounds().Dx(), img.Bounds().Dy()
	if rgba, ok := img.(*image.RGBA); ok && rgba.Rect.Min == (image.Point{}) && len(rgba.Pix) == 4*w*h && rgba.Opaque() { // and no part of another
		return rgba
	}
	out, op := paper(img, w, h)
	draw.Draw(out, out.Rect, img, img.Bounds().Min, op)
	return out
}

// paper returns a picture of w x h pixels to draw img on, white unless img is opaque, and the operator to draw it with.
func paper(img image.Image, w, h int) (*image.RGBA, draw.Op) {
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	if known, ok := img.(interface{ Opaque() bool }); ok && known.Opaque() {
		return out, draw.Src
	}
	draw.Draw(out, out.Rect, image.White, image.Point{}, draw.Src)
	return out, draw.Over
}

// fromYCbCr converts to RGB as libjpeg and libwebp do. Where chroma has half the width, or half of both sides, it is
// interpolated with weights 3/4 and 1/4 along each halved side. studio means WebP's range of values, 16 to 235.
func fromYCbCr(in *image.YCbCr, studio bool) *image.RGBA {
	w, h := in.Rect.Dx(), in.Rect.Dy()
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	pixels := map[image.YCbCrSubsampleRatio]image.Point{ // that a chroma value stands for
		image.YCbCrSubsampleRatio444: {1, 1}, image.YCbCrSubsampleRatio422: {2, 1}, image.YCbCrSubsampleRatio420: {2, 2},
		image.YCbCrSubsampleRatio440: {1, 2}, image.YCbCrSubsampleRatio411: {4, 1}, image.YCbCrSubsampleRatio410: {4, 2},
	}[in.SubsampleRatio]
	halfX, halfY := pixels.X == 2, pixels.Y == 2 && pixels.X < 4
	if !studio && halfX && w <= 4 { // as libjpeg does
		halfX, halfY = false, false
	}
	// near and far are the two chroma values beside v, of n values, when each stands for some.
	neighbours := func(v, n, some int, half bool) (near, far int) {
		if !half {
			return v / some, v / some
		}
		return v / 2, min(max(v/2+2*(v%2)-1, 0), (n+1)/2-1)
	}
	type column struct{ near, far int }
	columns := make([]column, w)
	for x := range columns {
		columns[x].near, columns[x].far = neighbours(x, w, pixels.X, halfX)
	}
	for y := range h {
		near, far := neighbours(y, h, pixels.Y, halfY)
		near, far = near*in.CStride, far*in.CStride
		for x, c := range columns {
			round := 8 // of 16: half, or as libjpeg alternates it
			switch {
			case studio:
			case halfX && halfY:
				round -= x % 2
			case halfX:
				round -= 4 * (1 - x%2)
			case halfY:
				round -= 4 * (1 - y%2)
			}
			chroma := func(plane []uint8) int {
				return (9*int(plane[near+c.near])+3*int(plane[near+c.far])+3*int(plane[far+c.near])+int(plane[far+c.far])+round)>>4 - 128
			}
			luma, cb, cr := int(in.Y[y*in.YStride+x]), chroma(in.Cb), chroma(in.Cr)
			pixel := out.Pix[y*out.Stride+4*x:][:4]
			if studio {
				pixel[0], pixel[1], pixel[2] = studioRGB(luma, cb, cr)
			} else {
				pixel[0], pixel[1], pixel[2] = fullRGB(luma, cb, cr)
			}
			pixel[3] = 255
		}
	}
	return out
}

// fullRGB converts from ITU-R BT.601 with values in 0 to 255, and chroma less 128, with the rounding of libjpeg.
func fullRGB(y, cb, cr int) (r, g, b uint8) {
	clip := func(v int) uint8 { return uint8(min(max(v, 0), 255)) }
	return clip(y + (91881*cr+32768)>>16), clip(y + (-22554*cb-46802*cr+32768)>>16), clip(y + (116130*cb+32768)>>16)
}

// studioRGB converts from ITU-R BT.601 with luma in 16 to 235, and chroma less 128 in -112 to 112, which WebP has, with
// the rounding of libwebp.
func studioRGB(y, cb, cr int) (r, g, b uint8) {
	clip := func(v int) uint8 { return uint8(min(max(v>>6, 0), 255)) }
	l, u, v := 19077*y>>8, cb+128, cr+128
	return clip(l + 26149*v>>8 - 14234), clip(l - 6419*u>>8 - 13320*v>>8 + 8708), clip(l + 33050*u>>8 - 17685)
}
