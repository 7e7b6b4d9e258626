package hrstyle

import (
	"bytes"
	"encoding/binary"
	"image"
	"slices"
)

// tag is a number that stands at offset in an EXIF block.
type tag struct {
	offset, value int
	order         binary.ByteOrder
}

// orientation finds the tag Orientation, 1 to 8, in the first directory of an EXIF block (EXIF 2.32, 4.6.2 and 4.6.4).
func orientation(exif []byte) (o tag, ok bool) {
	at, count, order := firstDirectory(exif)
	for i := range count {
		entry := exif[at+12*i:][:12]
		if order.Uint16(entry) == 0x0112 && order.Uint16(entry[2:]) == 3 { // a SHORT
			value := int(order.Uint16(entry[8:]))
			return tag{at + 12*i + 8, value, order}, value >= 1 && value <= 8
		}
	}
	return tag{}, false
}

// firstDirectory finds the entries of 12 bytes of an EXIF block's first directory.
func firstDirectory(exif []byte) (at, count int, order binary.ByteOrder) {
	switch {
	case bytes.HasPrefix(exif, []byte("II*\x00")):
		order = binary.LittleEndian
	case bytes.HasPrefix(exif, []byte("MM\x00*")):
		order = binary.BigEndian
	default:
		return 0, 0, nil
	}
	if len(exif) < 8 || int64(order.Uint32(exif[4:]))+2 > int64(len(exif)) {
		return 0, 0, nil
	}
	at = int(order.Uint32(exif[4:]))
	count = min(int(order.Uint16(exif[at:])), (len(exif)-at-2)/12)
	return at + 2, count, order
}

// exifAdobeRGB says whether an EXIF block says that the picture's colours are Adobe RGB (1998): ColorSpace 2, as many
// cameras write, or ColorSpace 65535 (uncalibrated) with InteroperabilityIndex R03 (EXIF 2.32, 4.6.5 and 4.6.7; DCF 2.0).
func exifAdobeRGB(block []byte) bool {
	at, count, order := firstDirectory(block)
	entry := func(at, count int, tag uint16) []byte {
		for i := range count {
			if e := block[at+12*i:][:12]; order.Uint16(e) == tag {
				return e
			}
		}
		return nil
	}
	pointed := func(e []byte) (at, count int) { // the directory that an entry points to
		if e == nil || int64(order.Uint32(e[8:]))+2 > int64(len(block)) {
			return 0, 0
		}
		at = int(order.Uint32(e[8:]))
		return at + 2, min(int(order.Uint16(block[at:])), (len(block)-at-2)/12)
	}
	at, count = pointed(entry(at, count, 0x8769)) // the Exif directory
	space := entry(at, count, 0xa001)
	if space == nil {
		return false
	}
	value := uint32(order.Uint16(space[8:])) // a SHORT
	if order.Uint16(space[2:]) == 4 {        // a LONG
		value = order.Uint32(space[8:])
	}
	at, count = pointed(entry(at, count, 0xa005)) // the Interoperability directory
	index := entry(at, count, 1)
	return value == 2 || value == 0xffff && index != nil && bytes.HasPrefix(index[8:], []byte("R03"))
}

// upright is an EXIF block for the picture as turn made it: orientation 1, and without the thumbnail of what it was.
func upright(exif []byte) []byte {
	exif = slices.Clone(exif)
	if o, ok := orientation(exif); ok {
		o.order.PutUint16(exif[o.offset:], 1)
	}
	if at, count, order := firstDirectory(exif); count > 0 && at+12*count+4 <= len(exif) {
		order.PutUint32(exif[at+12*count:], 0) // the next directory, which is the thumbnail's
	}
	return exif
}

// turn brings a picture stored with an EXIF orientation upright.
func turn(p *image.RGBA, orientation int) *image.RGBA {
	if orientation < 2 || orientation > 8 {
		return p
	}
	w, h := p.Rect.Dx(), p.Rect.Dy()
	if orientation >= 5 {
		w, h = h, w
	}
	flipX, flipY := slices.Contains([]int{2, 3, 7, 8}, orientation), slices.Contains([]int{3, 4, 6, 7}, orientation)
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			fromX, fromY := x, y
			if orientation >= 5 { // rows were columns
				fromX, fromY = y, x
			}
			if flipX {
				fromX = p.Rect.Dx() - 1 - fromX
			}
			if flipY {
				fromY = p.Rect.Dy() - 1 - fromY
			}
			copy(out.Pix[y*out.Stride+4*x:][:4], p.Pix[fromY*p.Stride+4*fromX:][:4])
		}
	}
	return out
}
