package picture

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/gif"
	"io"
	"slices"
)

// openGIF reads the blocks up to a second frame (GIF89a specification, 17 to 26).
func openGIF(data []byte) (c container, err error) {
	if len(data) < 13 {
		return c, errCut
	}
	header := slices.Clone(data[:13])
	c.w, c.h, c.channels = int(binary.LittleEndian.Uint16(header[6:])), int(binary.LittleEndian.Uint16(header[8:])), 3
	palette := func(flags byte) int {
		if flags&0x80 == 0 {
			return 0
		}
		return 3 << (flags&7 + 1)
	}
	rest := data[min(13+palette(data[10]), len(data)):]
	blocks := func() (all [][]byte) {
		for len(rest) > 0 && rest[0] > 0 && int(rest[0]) < len(rest) {
			all, rest = append(all, rest[1:1+int(rest[0])]), rest[1+int(rest[0]):]
		}
		if len(rest) > 0 && rest[0] > 0 { // cut
			rest = nil
		}
		rest = rest[min(1, len(rest)):]
		return all
	}
	frames, whole := 0, false
	for len(rest) > 10 && frames < 2 {
		switch rest[0] {
		case '!':
			label := rest[1]
			rest = rest[2:]
			if all := blocks(); label == 0xff && len(all) > 1 && string(all[0]) == "ICCRGBG1012" && c.profile == nil {
				c.profile = slices.Concat(all[1:]...)
			}
		case ',':
			if frames++; frames == 1 { // a first frame that is larger makes the whole larger
				at := func(i int) int { return int(binary.LittleEndian.Uint16(rest[i:])) }
				c.w, c.h = max(c.w, min(at(1)+at(5), 65535)), max(c.h, min(at(3)+at(7), 65535))
				c.memory = copied*float64(c.w)*float64(c.h) + (copied+1)*float64(at(5))*float64(at(7))
			}
			rest = rest[min(10+palette(rest[9])+1, len(rest)):]
			blocks()
			whole = whole || len(rest) > 0
		default:
			rest = nil
		}
	}
	if frames == 0 {
		return c, errCut
	}
	if frames > 1 {
		c.note("is animated: its first frame is taken")
	}
	binary.LittleEndian.PutUint16(header[6:], uint16(c.w))
	binary.LittleEndian.PutUint16(header[8:], uint16(c.h))
	c.decode = func() (image.Image, error) { // ends after the first frame, and reads no further
		img, err := gif.Decode(io.MultiReader(bytes.NewReader(header), bytes.NewReader(data[13:])))
		if err != nil && !whole {
			err = errCut
		}
		return img, err
	}
	return c, nil
}
