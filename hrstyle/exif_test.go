package hrstyle

import (
	"encoding/binary"
	"testing"
)

// adobeBlock is an EXIF block with ColorSpace (of a type and value) and InteroperabilityIndex.
func adobeBlock(order binary.AppendByteOrder, kind uint16, space uint32, index string) []byte {
	b := []byte("II*\x00")
	if order == binary.BigEndian {
		b = []byte("MM\x00*")
	}
	entry := func(tag, kind uint16, count uint32, value []byte) {
		b = order.AppendUint32(order.AppendUint16(order.AppendUint16(b, tag), kind), count)
		b = append(b, value...)
	}
	long := func(v uint32) []byte { return order.AppendUint32(nil, v) }
	b = order.AppendUint16(order.AppendUint32(b, 8), 1)
	entry(0x8769, 4, 1, long(26))
	b = order.AppendUint16(append(b, 0, 0, 0, 0), 2)
	value := long(space)
	if kind == 3 {
		value = append(order.AppendUint16(nil, uint16(space)), 0, 0)
	}
	entry(0xa001, kind, 1, value)
	entry(0xa005, 4, 1, long(56))
	b = order.AppendUint16(append(b, 0, 0, 0, 0), 1)
	entry(1, 2, 4, []byte(index))
	return append(b, 0, 0, 0, 0)
}

func TestExifAdobeRGB(t *testing.T) {
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, c := range []struct {
			kind  uint16
			space uint32
			index string
			want  bool
		}{
			{3, 1, "R98\x00", false}, {3, 2, "R98\x00", true}, {3, 0xffff, "R98\x00", false}, {3, 0xffff, "R03\x00", true},
			{3, 1, "R03\x00", false}, {4, 2, "R98\x00", true}, {4, 0xffff, "R03\x00", true},
		} {
			block := adobeBlock(order, c.kind, c.space, c.index)
			if got := exifAdobeRGB(block); got != c.want {
				t.Errorf("%v type %d ColorSpace %d %q: %v", order, c.kind, c.space, c.index, got)
			}
			for n := range block { // cut blocks are no reason to panic
				exifAdobeRGB(block[:n])
			}
		}
	}
}
