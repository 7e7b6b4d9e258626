package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"strings"
)

// openJPEG reads the segments up to the first scan (ITU-T T.81, annex B; ICC.1:2022, annex B.4).
func openJPEG(data []byte) (c container, err error) {
	parts, count := map[byte][]byte{}, byte(0)
	var adobe, restarts, single bool // single: scans may have one colour
	at := 2
	for at+4 <= len(data) {
		marker := data[at+1]
		switch {
		case data[at] != 0xff, marker == 0xff: // a fill byte
			at++
			continue
		case marker < 2, marker >= 0xd0 && marker < 0xd9: // stands alone
			at += 2
			continue
		}
		size := int(binary.BigEndian.Uint16(data[at+2:]))
		if marker == 0xda || size < 2 || at+2+size > len(data) { // the scan begins
			break
		}
		body := data[at+4 : at+2+size]
		at += 2 + size
		frame := marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc
		switch {
		case frame && len(body) >= 6:
			switch {
			case marker == 0xc3:
				return c, unsupported("lossless JPEG")
			case marker >= 0xc9:
				return c, unsupported("JPEG with arithmetic coding")
			case marker > 0xc2:
				return c, unsupported("hierarchical JPEG")
			case body[0] != 8:
				return c, unsupported(fmt.Sprintf("JPEG with %d bits per sample", body[0]))
			}
			c.h, c.w, c.channels = int(binary.BigEndian.Uint16(body[1:])), int(binary.BigEndian.Uint16(body[3:])), int(body[5])
			each := 1.
			if single = marker == 0xc2; single { // progressive: all coefficients, four bytes each
				each = 5
			}
			c.memory = float64(c.w) * float64(c.h) * (copied + each*float64(c.channels))
		case marker == 0xdd:
			restarts = true
		case marker == 0xee && bytes.HasPrefix(body, []byte("Adobe")):
			adobe = true
		case marker == 0xe1 && bytes.HasPrefix(body, exifPrefix) && c.exif == nil:
			c.exif = body
		case marker == 0xe2 && bytes.HasPrefix(body, []byte("ICC_PROFILE\x00")) && len(body) > 14:
			if parts[body[12]] == nil { // its number, and how many there are
				parts[body[12]], count = body[14:], max(count, body[13])
			}
		}
	}
	if c.channels == 0 {
		return c, errCut
	}
	for i := range count {
		if parts[i+1] == nil {
			c.note("is taken as sRGB: a part of its ICC profile is missing")
			c.profile = nil
			break
		}
		c.profile = append(c.profile, parts[i+1]...)
	}
	single = single || at+4 < len(data) && int(data[at+4]) < c.channels
	whole := bytes.Contains(data[at:], []byte("\xff\xd9"))
	if !whole {
		c.note(noteCut)
	}
	c.decode = func() (image.Image, error) {
		img, err := decodeJPEG(data, c.channels == 4 && !adobe)
		if err != nil && !whole {
			return nil, errCut
		}
		if _, malformed := errors.AsType[jpeg.FormatError](err); malformed && restarts && single { // the decoder miscounts them
			return nil, jpeg.UnsupportedError("restart markers in scans of one colour")
		}
		if coded, ok := img.(*image.YCbCr); ok {
			return fromYCbCr(coded, false), err
		}
		return img, err
	}
	return c, nil
}

// decodeJPEG decodes a JPEG file, whose end may be missing. With inks, an Adobe segment is put in, which the decoder
// needs to know that they are inks; it takes them as Adobe writes them, 255 for none.
func decodeJPEG(data []byte, inks bool) (image.Image, error) {
	start := "\xff\xd8"
	if inks {
		start += "\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
	}
	return jpeg.Decode(io.MultiReader(strings.NewReader(start), bytes.NewReader(data[2:]), strings.NewReader("\xff\xd9")))
}
