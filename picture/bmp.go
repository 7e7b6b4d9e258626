package picture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"math/bits"
	"slices"
)

// bmp is a Windows or OS/2 bitmap. golang.org/x/image/bmp does not read run lengths, 16 bits, masks, old headers and gaps.
type bmp struct {
	data       []byte
	w, h, bits int
	topDown    bool
	lengths    bool // the pixels are run lengths
	palette    [][3]byte
	masks      [4]uint32 // of red, green, blue and alpha, for 16 and 32 bits
	pixels     int       // where they begin
}

// openBMP reads a header of any version in use: OS/2 1 and 2, Windows 3, 4 and 5, and those between.
func openBMP(data []byte) (c container, err error) {
	number := func(at int) int {
		if at+4 > len(data) {
			return 0
		}
		return int(int32(binary.LittleEndian.Uint32(data[at:])))
	}
	short := func(at int) int { return number(at) & 0xffff }
	b := bmp{data: data, pixels: number(10)}
	const file = 14 // bytes of the header before the header
	size, compression, colours, entry := number(file), 0, 0, 4
	if size > 0 && size <= 256 && file+size > len(data) {
		return c, errCut
	}
	switch {
	case size == 12:
		b.w, b.h, b.bits, entry = short(18), short(20), short(24), 3
	case size >= 16 && size <= 256:
		b.w, b.h, b.bits = number(18), number(22), short(28)
		if size >= 40 {
			compression, colours = number(30), number(46)
		}
	default:
		return c, errors.New("damaged picture (its header)")
	}
	if b.h < 0 {
		b.h, b.topDown = -b.h, true
	}
	masks := size >= 52
	switch what := [2]int{compression, b.bits}; {
	case compression == 0 && slices.Contains([]int{1, 2, 4, 8, 16, 24, 32}, b.bits):
		b.masks = [4]uint32{0xff0000, 0xff00, 0xff, 0}
		if b.bits == 16 {
			b.masks = [4]uint32{0x7c00, 0x3e0, 0x1f, 0}
		} else if b.bits == 32 && size >= 56 && size != 64 {
			b.masks[3] = 0xff000000
		}
	case what == [2]int{1, 8}, what == [2]int{2, 4}:
		b.lengths = true
	case (compression == 3 || compression == 6) && (b.bits == 16 || b.bits == 32) && size != 64:
		for i := range b.masks[:3] {
			b.masks[i] = uint32(number(file + 40 + 4*i))
		}
		if size >= 56 || compression == 6 {
			b.masks[3] = uint32(number(file + 52))
		}
		if !masks {
			size += 12 + 4*(compression/6)
		}
	default:
		return c, unsupported(fmt.Sprintf("BMP with %d bits per pixel and compression %d", b.bits, compression))
	}
	if b.bits <= 8 {
		if colours <= 0 || colours > 1<<b.bits {
			colours = 1 << b.bits
		}
		for at := file + size; len(b.palette) < colours && at+3 <= min(b.pixels, len(data)); at += entry {
			b.palette = append(b.palette, [3]byte{data[at+2], data[at+1], data[at]})
		}
	}
	c.w, c.h, c.channels = b.w, b.h, 3
	c.memory = float64(b.w) * float64(b.h) * (copied + 5)             // with what run lengths become
	if size == 124 && number(file+56) == 'M'<<24|'B'<<16|'E'<<8|'D' { // a profile stands in the file
		if from, length := file+number(file+112), number(file+116); from > 0 && length > 0 && from+length <= len(data) {
			c.profile = data[from : from+length]
		} else {
			c.note(noteProfile)
		}
	}
	if b.pixels < file || b.pixels > len(data) {
		return c, errCut
	}
	c.decode = b.decode
	return c, nil
}

func (b bmp) decode() (image.Image, error) {
	rows, stride := b.data[b.pixels:], (b.w*b.bits+31)/32*4
	if b.lengths {
		var whole bool
		if rows, whole = b.runs(rows); !whole {
			return nil, errCut
		}
		stride, b.bits = b.w, 8
	}
	if len(rows) < stride*b.h {
		return nil, errCut
	}
	img := image.NewNRGBA(image.Rect(0, 0, b.w, b.h))
	seen := false // an alpha that is not zero
	for y := range b.h {
		row := rows[stride*y:][:stride]
		to := y
		if !b.topDown {
			to = b.h - 1 - y
		}
		for x := range b.w {
			pixel := img.Pix[img.Stride*to+4*x:][:4]
			pixel[3] = 255
			switch b.bits {
			case 24:
				pixel[0], pixel[1], pixel[2] = row[3*x+2], row[3*x+1], row[3*x]
			case 16, 32:
				v := uint32(binary.LittleEndian.Uint16(row[b.bits/8*x:]))
				if b.bits == 32 {
					v = binary.LittleEndian.Uint32(row[4*x:])
				}
				for i, mask := range b.masks {
					if mask != 0 {
						shift := bits.TrailingZeros32(mask)
						pixel[i] = uint8(uint64(v&mask>>shift) * 255 / uint64(mask>>shift))
					}
				}
				seen = seen || b.masks[3] != 0 && pixel[3] != 0
			default:
				bit := b.bits * x
				if i := int(row[bit/8] >> (8 - b.bits - bit%8) & (1<<b.bits - 1)); i < len(b.palette) {
					copy(pixel, b.palette[i][:])
				}
			}
		}
	}
	if b.masks[3] != 0 && !seen { // as browsers do: such an alpha was never set
		for i := range len(img.Pix) / 4 {
			img.Pix[4*i+3] = 255
		}
	}
	if b.masks[3] == 0 || !seen {
		return &image.RGBA{Pix: img.Pix, Stride: img.Stride, Rect: img.Rect}, nil
	}
	return img, nil
}

// runs decodes run lengths into indices of 8 bits, in the file's order of rows. Pixels that are left out are 0. whole says
// whether the run lengths reach the end of the picture.
func (b bmp) runs(data []byte) (out []byte, whole bool) {
	out = make([]byte, b.w*b.h)
	x, y := 0, 0
	put := func(v byte) {
		if x < b.w && y < b.h {
			out[y*b.w+x] = v
		}
		x++
	}
	half := func(v byte, i int) byte { // of two indices in a byte, the first is the upper
		if b.bits == 8 {
			return v
		}
		return v >> (4 - 4*(i%2)) & 15
	}
	for len(data) >= 2 && y < b.h {
		count, v := int(data[0]), data[1]
		data = data[2:]
		switch {
		case count > 0:
			for i := range count {
				put(half(v, i))
			}
		case v == 0: // end of row
			x, y = 0, y+1
		case v == 1: // end of picture
			return out, true
		case v == 2 && len(data) >= 2: // step right and up
			x, y, data = x+int(data[0]), y+int(data[1]), data[2:]
		case v > 2: // that many indices, padded to 16 bits
			each := 8 / b.bits
			size := (int(v) + each - 1) / each
			for i := range min(int(v), len(data)*each) {
				put(half(data[i/each], i))
			}
			data = data[min(size+size%2, len(data)):]
		}
	}
	return out, y >= b.h-1 && x >= b.w || y >= b.h
}
