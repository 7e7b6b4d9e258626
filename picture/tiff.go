package picture

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"math/bits"
	"slices"

	"golang.org/x/image/ccitt"
	"golang.org/x/image/tiff/lzw"
)

// tiff is the first picture of a TIFF file (TIFF 6.0 and its supplements). golang.org/x/image/tiff shows faxes with black and
// white exchanged, and does not read CMYK, separate planes, JPEG, and samples other than colours.
type tiff struct {
	exifBlock
	entries map[uint16]exifEntry
	cut     bool // a value lies behind the end

	w, h, bits, samples                 int
	photometric, compression, predictor int
	planar                              bool
	blockW, blockH, across, down        int // of tiles or strips
	offsets, counts, palette            []int
	tables                              []byte // that strips or tiles of JPEG share
	colours                             int    // samples that are not alpha or unknown
	alpha                               int    // the sample that is, or -1
	premultiplied                       bool
}

// Tags, and values of the tag PhotometricInterpretation and Compression.
const (
	whiteIsZero, blackIsZero, inRGB, inPalette, inInks, inYCbCr = 0, 1, 2, 3, 5, 6

	asIs, fax3, fax4, asLZW, asJPEG, deflate, packBits, oldDeflate = 1, 3, 4, 5, 7, 8, 32773, 32946
)

var tiffCompressions = map[int]string{2: "CCITT run lengths", 6: "old JPEG", 34661: "JBIG", 34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL"}

var tiffColours = map[int]string{4: "a mask", 8: "L*a*b*", 9: "L*a*b*", 10: "L*a*b*", 32803: "a camera's raw samples", 32844: "LogLuv", 32845: "LogLuv", 34892: "a camera's raw samples"}

// bytes gives the value of a tag as it stands in the file.
func (t *tiff) bytes(tag uint16) []byte {
	e, there := t.entries[tag]
	if there && !e.readable {
		t.cut = true
	}
	return t.data[e.value:][:e.size]
}

// numbers gives the values of a tag of any integer type.
func (t *tiff) numbers(tag uint16) (values []int) {
	e := t.entries[tag]
	each := int(typeSize[e.kind])
	for at := range len(t.bytes(tag)) / max(1, each) {
		v, ok := t.integer(exifEntry{kind: e.kind, readable: true, value: e.value + at*each, size: each})
		if !ok || v < 0 {
			return nil
		}
		values = append(values, int(v))
	}
	return values
}

func (t *tiff) number(tag uint16, otherwise int) int {
	if values := t.numbers(tag); len(values) > 0 {
		return values[0]
	}
	return otherwise
}

func openTIFF(data []byte) (c container, err error) {
	file, _ := openExif(data) // which is made like a TIFF file
	if len(file.data) < 8 {
		return c, errCut
	}
	t := tiff{exifBlock: file, entries: map[uint16]exifEntry{}}
	at := int64(t.order.Uint32(data[4:])) // the first directory: a count, then entries
	if at+2 > int64(len(data)) || at+2+12*int64(t.order.Uint16(data[at:])) > int64(len(data)) {
		return c, errCut
	}
	for i := range int(t.order.Uint16(data[at:])) {
		e := t.entry(int(at) + 2 + 12*i)
		if _, known := t.entries[e.tag]; !known {
			t.entries[e.tag] = e
		}
	}
	if err = t.open(&c); t.cut {
		return c, errCut
	}
	c.tags = data
	if c.profile = t.bytes(34675); t.cut {
		c.note(noteProfile)
	}
	return c, err
}

// open reads the tags that say how pixels are stored.
func (t *tiff) open(c *container) error {
	t.w, t.h, t.photometric, t.compression = t.number(256, 0), t.number(257, 0), t.number(262, whiteIsZero), t.number(259, asIs)
	t.samples, t.planar, t.predictor, t.bits = t.number(277, max(1, len(t.numbers(258)))), t.number(284, 1) == 2, t.number(317, 1), t.number(258, 1)
	c.w, c.h = t.w, t.h
	if err := checkSides(t.w, t.h); err != nil {
		return err
	}
	if err := t.supported(); err != nil {
		return err
	}
	c.channels = t.colours
	if t.photometric == inPalette {
		c.channels = 3
	}
	t.palette, t.tables = t.numbers(320), t.bytes(347)
	t.blockW, t.blockH, t.offsets, t.counts = t.w, min(t.number(278, t.h), t.h), t.numbers(273), t.numbers(279)
	if t.tiled() {
		t.blockW, t.blockH, t.offsets, t.counts = t.number(322, 0), t.number(323, 0), t.numbers(324), t.numbers(325)
	}
	if t.blockW < 1 || t.blockH < 1 || t.blockW > max(1<<16, t.w) || t.blockH > max(1<<16, t.h) {
		return errors.New("damaged picture (the size of its strips or tiles)")
	}
	t.across, t.down = (t.w+t.blockW-1)/t.blockW, (t.h+t.blockH-1)/t.blockH
	blocks := t.across * t.down
	if t.planar {
		blocks *= t.samples
	}
	if len(t.counts) == 0 && blocks == 1 && len(t.offsets) == 1 && t.offsets[0] <= len(t.data) { // some writers leave it out
		t.counts = []int{len(t.data) - t.offsets[0]}
	}
	if len(t.offsets) < blocks || len(t.counts) < blocks {
		return errors.New("damaged picture (strips or tiles are missing)")
	}
	each := copied + 4.
	if t.bits == 16 {
		each += 4
	}
	c.memory = each * float64(t.w) * float64(t.h)
	block := float64(t.blockW) * float64(t.blockH) * float64(t.samples*t.bits) / 8
	switch {
	case t.compression == asJPEG: // coded, in RGBA, and as samples
		c.memory += 5 * block
	case t.compression != asIs || t.predictor != 1:
		c.memory += block
	}
	c.decode = t.decode
	return nil
}

func (t *tiff) tiled() bool { return len(t.numbers(322)) > 0 }

// supported finds out what each sample of a pixel means, and refuses what is not read here.
func (t *tiff) supported() error {
	for _, v := range t.numbers(258) {
		if v != t.bits {
			return unsupported("TIFF with samples of several sizes")
		}
	}
	switch t.number(339, 1) {
	case 2:
		return unsupported("TIFF with signed samples")
	case 3:
		return unsupported("TIFF with floating point samples")
	}
	if t.samples < 1 || t.samples > 16 {
		return unsupported(fmt.Sprintf("TIFF with %d samples per pixel", t.samples))
	}
	switch t.photometric {
	case whiteIsZero, blackIsZero, inPalette:
		t.colours = 1
	case inRGB:
		t.colours = 3
	case inYCbCr:
		t.colours = 3
		switch {
		case t.compression != asJPEG:
			return unsupported("TIFF in YCbCr that is not JPEG")
		case t.samples != t.colours:
			return unsupported("TIFF in YCbCr with alpha")
		}
	case inInks:
		t.colours = 4
		if t.number(332, 1) != 1 {
			return unsupported("TIFF with inks that are not cyan, magenta, yellow, black")
		}
	default:
		if name := tiffColours[t.photometric]; name != "" {
			return unsupported("TIFF with " + name)
		}
		return unsupported(fmt.Sprintf("TIFF with PhotometricInterpretation %d", t.photometric))
	}
	if t.samples < t.colours {
		return errors.New("damaged picture (too few samples per pixel)")
	}
	switch {
	case t.bits == 8, t.bits == 16 && t.photometric != inPalette && t.compression != asJPEG:
	case (t.bits == 1 || t.bits == 2 || t.bits == 4) && t.colours == 1 && t.predictor == 1:
	default:
		return unsupported(fmt.Sprintf("TIFF with %d bits per sample", t.bits))
	}
	if !slices.Contains([]int{asIs, fax3, fax4, asLZW, asJPEG, deflate, packBits, oldDeflate}, t.compression) {
		name := tiffCompressions[t.compression]
		if name == "" {
			name = fmt.Sprintf("compression %d", t.compression)
		}
		return unsupported("TIFF with " + name)
	}
	if fax := t.compression == fax3 || t.compression == fax4; fax && (t.bits != 1 || t.samples != 1) || t.compression == fax3 && t.number(292, 0)&1 != 0 {
		return unsupported("TIFF with this kind of fax")
	}
	if t.predictor > 2 {
		return unsupported(fmt.Sprintf("TIFF with predictor %d", t.predictor))
	}
	t.alpha = -1
	if extra := t.numbers(338); t.samples > t.colours && t.photometric != inInks {
		switch {
		case len(extra) == 0 || extra[0] == 2:
			t.alpha = t.colours
		case extra[0] == 1:
			t.alpha, t.premultiplied = t.colours, true
		}
	}
	return nil
}

// decode makes an RGBA or NRGBA picture of 8 or 16 bits, or one of inks.
func (t *tiff) decode() (image.Image, error) {
	r := image.Rect(0, 0, t.w, t.h)
	deep := t.bits == 16 && t.photometric != inInks
	width := 4 // bytes per pixel
	if deep {
		width = 8
	}
	pix := make([]byte, width*t.w*t.h)
	set := t.setter(pix, deep)
	planes, inBlock := 1, t.samples
	if t.planar {
		planes, inBlock = t.samples, 1
	}
	for i := range planes * t.across * t.down {
		plane, x0, y0 := i/(t.across*t.down), i%t.across*t.blockW, i/t.across%t.down*t.blockH
		rows := t.blockH
		if !t.tiled() { // strips end with the picture
			rows = min(rows, t.h-y0)
		}
		stride := (t.blockW*inBlock*t.bits + 7) / 8
		block, err := t.block(i, rows, stride, inBlock)
		if err != nil {
			return nil, err
		}
		for y := range min(rows, t.h-y0) {
			row := block[stride*y:][:stride]
			for x := range min(t.blockW, t.w-x0) {
				for s := range inBlock {
					var v int
					switch n := x*inBlock + s; t.bits {
					case 8:
						v = int(row[n])
					case 16:
						v = int(t.order.Uint16(row[2*n:]))
					default:
						bit := n * t.bits
						v = int(row[bit/8]) >> (8 - t.bits - bit%8) & (1<<t.bits - 1)
					}
					set((y0+y)*t.w+x0+x, plane+s, v)
				}
			}
		}
	}
	switch {
	case t.photometric == inInks:
		return &image.CMYK{Pix: pix, Stride: 4 * t.w, Rect: r}, nil
	case deep && t.alpha >= 0 && !t.premultiplied:
		return &image.NRGBA64{Pix: pix, Stride: 8 * t.w, Rect: r}, nil
	case deep:
		return &image.RGBA64{Pix: pix, Stride: 8 * t.w, Rect: r}, nil
	case t.alpha >= 0 && !t.premultiplied:
		return &image.NRGBA{Pix: pix, Stride: 4 * t.w, Rect: r}, nil
	}
	return &image.RGBA{Pix: pix, Stride: 4 * t.w, Rect: r}, nil
}

// setter puts a sample's value into the pixel with a number.
func (t *tiff) setter(pix []byte, deep bool) func(pixel, sample, v int) {
	if t.alpha < 0 && t.photometric != inInks {
		width := len(pix) / (t.w * t.h)
		for i := width * 3 / 4; i < len(pix); i += width {
			pix[i] = 255
			if deep {
				pix[i+1] = 255
			}
		}
	}
	most := 1<<t.bits - 1
	put := func(pixel, channel, v int) {
		if deep {
			binary.BigEndian.PutUint16(pix[8*pixel+2*channel:], uint16(v))
		} else {
			pix[4*pixel+channel] = uint8(v)
		}
	}
	return func(pixel, sample, v int) {
		switch {
		case sample == t.alpha:
			put(pixel, 3, v)
		case sample >= t.colours:
		case t.photometric == inPalette:
			if n := len(t.palette) / 3; v < n {
				for c := range 3 {
					put(pixel, c, t.palette[c*n+v]>>8)
				}
			}
		case t.colours == 1:
			if t.photometric == whiteIsZero {
				v = most - v
			}
			if !deep {
				v = v * 255 / most
			}
			for c := range 3 {
				put(pixel, c, v)
			}
		case t.photometric == inInks && t.bits == 16:
			put(pixel, sample, v>>8)
		default:
			put(pixel, sample, v)
		}
	}
}

// block gives the samples of a strip or tile, rows of stride bytes.
func (t *tiff) block(i, rows, stride, samples int) ([]byte, error) {
	at, size := t.offsets[i], t.counts[i]
	if t.compression == asIs { // what some writers say is not so
		size = rows * stride
	}
	if at+size > len(t.data) {
		return nil, errCut
	}
	raw := t.data[at : at+size]
	if t.number(266, 1) == 2 && t.compression != asJPEG { // FillOrder: the bits of each byte are the other way round
		raw = slices.Clone(raw)
		for i := range raw {
			raw[i] = bits.Reverse8(raw[i])
		}
	}
	var from io.Reader
	switch t.compression {
	case asIs:
		if t.predictor == 2 {
			raw = slices.Clone(raw)
		}
	case fax3:
		var err error
		if raw, err = faxRows(raw, t.blockW, stride, rows*stride); err != nil {
			return nil, fmt.Errorf("strip or tile %d: %w", i+1, err)
		}
	case fax4:
		from = ccitt.NewReader(bytes.NewReader(raw), ccitt.MSB, ccitt.Group4, t.blockW, rows, &ccitt.Options{Invert: true})
	case asLZW:
		from = lzw.NewReader(bytes.NewReader(raw), lzw.MSB, 8)
	case deflate, oldDeflate:
		r, err := zlib.NewReader(bytes.NewReader(raw))
		if err != nil {
			return nil, err
		}
		from = r
	case packBits:
		raw = unpackBits(raw, rows*stride)
	case asJPEG:
		var err error
		if raw, err = t.jpegBlock(raw, rows, samples); err != nil {
			return nil, err
		}
	}
	if from != nil {
		raw = make([]byte, rows*stride)
		if n, err := io.ReadFull(from, raw); err != nil {
			return nil, fmt.Errorf("strip or tile %d has %d of %d bytes", i+1, n, len(raw))
		}
	}
	if len(raw) < rows*stride {
		return nil, errCut
	}
	if t.predictor == 2 && t.compression != asJPEG { // each sample is the difference to the one before
		for y := range rows {
			row := raw[stride*y:][:stride]
			if t.bits == 8 {
				for x := samples; x < len(row); x++ {
					row[x] += row[x-samples]
				}
				continue
			}
			for x := 2 * samples; x < len(row); x += 2 {
				t.order.PutUint16(row[x:], t.order.Uint16(row[x:])+t.order.Uint16(row[x-2*samples:]))
			}
		}
	}
	return raw, nil
}

// faxRows decodes the rows of a Group 3 fax one by one, up to size bytes. Each begins with an end of line, which is 11 zeros
// and a one. More zeros may stand before it to fill up a byte (T.4, 4.1.2), which the decoder does not expect.
func faxRows(raw []byte, width, stride, size int) (out []byte, err error) {
	var row []byte
	zeros, n := 0, 0 // in a row, and bits of row
	decode := func() error {
		at := len(out)
		out = append(out, make([]byte, stride)...)
		_, err := io.ReadFull(ccitt.NewReader(bytes.NewReader(row), ccitt.MSB, ccitt.Group3, width, 1, &ccitt.Options{Invert: true}), out[at:])
		return err
	}
	const begin = "\x00\x10" // an end of line
	ones := false            // whether there is more in row: six ends of lines end the picture
	for i := 0; i < 8*len(raw) && len(out) < size; i++ {
		bit := raw[i/8] >> (7 - i%8) & 1
		end := bit == 1 && zeros >= 11
		if zeros++; bit == 1 {
			zeros = 0
		}
		if end {
			if ones {
				if err := decode(); err != nil {
					return nil, err
				}
			}
			row, n, ones = append(row[:0], begin...), 12, false
			continue
		}
		if n == 0 { // before the first row
			continue
		}
		if n%8 == 0 {
			row = append(row, 0)
		}
		row[n/8] |= bit << (7 - n%8)
		n, ones = n+1, ones || bit == 1
	}
	if ones && len(out) < size {
		err = decode()
	}
	return out, err
}

// unpackBits is Apple's PackBits, up to size bytes.
func unpackBits(raw []byte, size int) (out []byte) {
	out = make([]byte, 0, size)
	for len(raw) > 1 && len(out) < size {
		n := int(int8(raw[0]))
		raw = raw[1:]
		switch {
		case n >= 0:
			n = min(n+1, len(raw))
			out, raw = append(out, raw[:n]...), raw[n:]
		case n > -128:
			out, raw = append(out, bytes.Repeat(raw[:1], 1-n)...), raw[1:]
		}
	}
	return out
}

// jpegBlock decodes a strip or tile of JPEG. Its tables may be in a tag.
func (t *tiff) jpegBlock(raw []byte, rows, samples int) ([]byte, error) {
	if len(t.tables) > 4 && len(raw) > 2 {
		raw = slices.Concat(t.tables[:len(t.tables)-2], raw[2:])
	}
	if len(raw) < 2 {
		return nil, errCut
	}
	size, err := jpeg.DecodeConfig(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	if size.Width != t.blockW || size.Height < rows || size.Height > t.blockH+16 {
		return nil, errors.New("a strip or tile of another size")
	}
	img, err := decodeJPEG(raw, samples == 4) // inks, or colours and alpha: as they stand
	if err != nil {
		return nil, err
	}
	coded, isCoded := img.(*image.YCbCr)
	if isCoded && t.photometric == inYCbCr {
		img = fromYCbCr(coded, false)
	}
	out := make([]byte, 0, t.blockW*rows*samples)
	for y := range rows {
		for x := range t.blockW {
			switch img := img.(type) {
			case *image.Gray:
				out = append(out, img.GrayAt(x, y).Y)
			case *image.YCbCr: // red, green and blue that the decoder does not know to be so
				c := img.YCbCrAt(x, y)
				out = append(out, c.Y, c.Cb, c.Cr)
			case *image.RGBA:
				c := img.RGBAAt(x, y)
				out = append(out, c.R, c.G, c.B)
			case *image.CMYK:
				c := img.CMYKAt(x, y)
				out = append(out, 255-c.C, 255-c.M, 255-c.Y, 255-c.K) // in TIFF 255 is all of an ink
			}
		}
	}
	if len(out) != t.blockW*rows*samples {
		return nil, errors.New("a strip or tile with another number of samples")
	}
	return out, nil
}
