package picture

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"slices"
)

// container is what the header of a picture file says, and how to decode its pixels.
type container struct {
	w, h     int     // of the whole picture; a frame may cover a part of it
	memory   float64 // bytes that decoding takes, with the copy in RGBA
	channels int     // 1 is grey, 3 RGB, 4 CMYK
	decode   func() (image.Image, error)
	place    image.Point // where in the whole picture decode's goes, to be added to its bounds

	exif    []byte // the EXIF block, if there is one
	tags    []byte // what says the orientation: the EXIF block, or a TIFF file itself
	profile []byte // the ICC profile, if there is one
	space   *space // said by other means than a profile
	notes   []string
}

// copied is how many bytes a pixel takes in RGBA.
const copied = 4

// open finds the format of a picture file and reads its header.
func open(data []byte) (c container, err error) {
	defer func() {
		if c.tags == nil {
			c.tags = c.exif
		}
	}()
	is := func(at int, magic string) bool { return len(data) >= at && bytes.HasPrefix(data[at:], []byte(magic)) }
	switch {
	case is(0, "\xff\xd8"):
		return openJPEG(data)
	case is(0, pngSignature):
		return openPNG(data)
	case is(0, "RIFF") && is(8, "WEBP"):
		return openWebP(data)
	case is(0, "GIF8"):
		return openGIF(data)
	case is(0, "II*\x00"), is(0, "MM\x00*"):
		return openTIFF(data)
	case is(0, "BM") && len(data) >= 26:
		return openBMP(data)
	case is(4, "ftyp"):
		return c, errors.New("a HEIC or AVIF picture: export it as JPEG or PNG")
	case is(0, "\xff\x0a"), is(4, "JXL "):
		return c, errors.New("a JPEG XL picture: export it as JPEG or PNG")
	case is(4, "jP  "), is(0, "\xff\x4f\xff\x51"):
		return c, errors.New("a JPEG 2000 picture: export it as JPEG or PNG")
	case is(0, "II+\x00"), is(0, "MM\x00+"):
		return c, unsupported("BigTIFF")
	}
	return c, errors.New("not a picture in a format known here (PNG, JPEG, WebP, TIFF, BMP, GIF)")
}

// errCut says that the end of a file is missing.
var errCut = errors.New("the file is cut short")

// noteCut says that the pixels are there, but not what may follow them: metadata, finer scans.
const noteCut = "is cut short: its end is missing"

// noteProfile says that a profile is there, but is cut or damaged.
const noteProfile = "has an ICC profile that cannot be read"

func unsupported(what string) error {
	return fmt.Errorf("%s is not supported: export it as PNG", what)
}

// note says a thing once, and no more than a person reads.
func (c *container) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); len(c.notes) < 8 && !slices.Contains(c.notes, text) {
		c.notes = append(c.notes, text)
	}
}
