package picture

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"slices"
	"strings"

	"golang.org/x/image/webp"
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

const pngSignature = "\x89PNG\r\n\x1a\n"

// openPNG reads the chunks (PNG specification, third edition, 5, 11 and 4.3 for the order of colour chunks). The
// decoder gets those that make pixels.
func openPNG(data []byte) (c container, err error) {
	parts := []io.Reader{strings.NewReader(pngSignature)}
	chunks := map[string][]byte{}
	each, whole := 4., false
	for at := len(pngSignature); at+8 <= len(data); {
		name, size := string(data[at+4:at+8]), int64(binary.BigEndian.Uint32(data[at:]))
		end := int64(at) + 12 + size
		if whole = name == "IEND"; whole || end > int64(len(data)) {
			break
		}
		chunk := data[at:end]
		body := chunk[8 : 8+size]
		at = int(end)
		sum := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(chunk[4:8+size]))
		switch {
		case bytes.Equal(sum, chunk[8+size:]):
		case name == "IDAT": // pixels have a second checksum, of all of them
			c.note("has a wrong checksum in a chunk %q", name)
		case name[0]&0x20 == 0: // the picture needs it
			return c, fmt.Errorf("damaged picture (the checksum of its chunk %q is wrong)", name)
		default:
			c.note("has a damaged chunk %q, which is left out", name)
			continue
		}
		switch name {
		case "IHDR":
			if size != 13 {
				return c, errors.New("damaged picture (its header)")
			}
			w, h := binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:])
			c.w, c.h, c.channels = int(min(w, 1<<30)), int(min(h, 1<<30)), 1
			if body[9]&2 != 0 {
				c.channels = 3
			}
			if body[8] == 16 {
				each = 8
			}
			parts = append(parts, bytes.NewReader(chunk))
		case "IDAT":
			if chunks["IDAT"] == nil && chunks["acTL"] != nil {
				what := "its first frame"
				if chunks["fcTL"] == nil { // the frames come after
					what = "the picture that stands before its frames"
				}
				c.note("is animated: %s is taken", what)
			}
			parts = append(parts, bytes.NewReader(chunk[:8+size]), bytes.NewReader(sum))
		case "tRNS":
			if header := chunks["IHDR"]; header == nil || header[9] >= 4 { // it has alpha of its own
				break
			}
			parts = append(parts, bytes.NewReader(chunk))
		case "PLTE":
			parts = append(parts, bytes.NewReader(chunk))
		}
		if chunks[name] == nil {
			chunks[name] = body
		}
	}
	if c.channels == 0 || chunks["IDAT"] == nil {
		return c, errCut
	}
	if !whole {
		c.note(noteCut)
	}
	c.memory = float64(c.w) * float64(c.h) * (copied + each)
	c.exif = chunks["eXIf"]
	c.pngColours(chunks)
	parts = append(parts, strings.NewReader("\x00\x00\x00\x00IEND\xaeB`\x82"))
	c.decode = func() (image.Image, error) {
		img, err := png.Decode(io.MultiReader(parts...))
		if err != nil && !whole {
			err = errCut
		}
		return img, err
	}
	return c, nil
}

func (c *container) pngColours(chunks map[string][]byte) {
	srgb := &space{name: "sRGB", channels: c.channels}
	if code := chunks["cICP"]; len(code) == 4 {
		p, curve := codedPrimaries[code[0]], codedCurves[code[1]]
		if p != (primaries{}) && curve != nil && code[2] == 0 && code[3] == 1 {
			if c.space = srgb; code[0] != 1 || code[1] != 13 {
				c.space = rgbSpace(fmt.Sprintf("cICP %d-%d", code[0], code[1]), p, curve)
				c.space.channels = c.channels
			}
			return
		}
		c.note("has a colour code that is not supported (cICP %d-%d-%d-%d), which is left out", code[0], code[1], code[2], code[3])
	}
	if body, name, found := chunks["iCCP"], 0, false; body != nil {
		if name = bytes.IndexByte(body, 0); name >= 0 && name+2 <= len(body) {
			if r, err := zlib.NewReader(bytes.NewReader(body[name+2:])); err == nil {
				c.profile, err = io.ReadAll(io.LimitReader(r, maxProfile+1))
				found = err == nil
			}
		}
		if found {
			return
		}
		c.profile = nil
		c.note(noteProfile)
	}
	if chunks["sRGB"] != nil {
		c.space = srgb
		return
	}
	curve, p, name, near := srgbCurve, srgbRGB, "", true
	if gamma := chunks["gAMA"]; len(gamma) == 4 && binary.BigEndian.Uint32(gamma) > 0 {
		value := float64(binary.BigEndian.Uint32(gamma)) / 100_000
		curve, name = power(1/value), fmt.Sprintf("gamma %.5g", value)
		near = math.Abs(value*2.2-1) < 0.05 // sRGB's nearest power; libpng takes that for the same
	}
	if places := chunks["cHRM"]; len(places) == 32 {
		at := func(i int) xy {
			return xy{float64(binary.BigEndian.Uint32(places[8*i:])) / 100_000, float64(binary.BigEndian.Uint32(places[8*i+4:])) / 100_000}
		}
		p = primaries{white: at(0), red: at(1), green: at(2), blue: at(3)}
		name = strings.TrimPrefix(name+" and its own primaries", " and ")
		near = near && p.near(srgbRGB)
	}
	if name == "" {
		return
	}
	if near { // the older way to say sRGB, which browsers and Pillow show as it is
		c.space = srgb
		return
	}
	if c.space = rgbSpace(name, p, curve); c.space == nil {
		c.note("has primaries that make no colours, which are left out")
		return
	}
	c.space.channels = c.channels
}

// openWebP reads the chunks (RFC 9649). The decoder gets a file of the picture's own chunks, or of those of the first
// frame.
func openWebP(data []byte) (c container, err error) {
	var frame []byte                                     // chunks of pixels
	end := 8 + int(binary.LittleEndian.Uint32(data[4:])) // what follows is no part of it
	all, cut := webPChunks(data[12:max(12, min(end, len(data)))])
	if len(data) < end {
		cut = errCut
	}
	c.channels = 3
	var animated bool
	for _, part := range all {
		body := part.body
		switch part.name {
		case "VP8X":
			if len(body) == 10 {
				c.w, c.h = 1+int24(body[4:]), 1+int24(body[7:])
			}
		case "ICCP":
			c.profile = body
		case "EXIF":
			c.exif = body
		case "ANMF":
			if !animated && len(body) > 16 {
				animated = true
				c.place = image.Pt(2*int24(body), 2*int24(body[3:]))
				frame = body[16:]
				c.note("is animated: its first frame is taken")
			}
		}
	}
	pixels, inFrame := all, error(nil)
	if animated {
		pixels, inFrame = webPChunks(frame)
	}
	var alpha, coded []byte
	var name string
	for _, part := range pixels {
		switch part.name {
		case "ALPH":
			alpha = part.body
		case "VP8 ", "VP8L":
			if coded == nil {
				name, coded = part.name, part.body
			}
		}
	}
	if coded == nil {
		return c, cmp.Or(cut, inFrame, errors.New("damaged picture (no pixels)"))
	}
	if cut != nil {
		c.note(noteCut)
	}
	file := riff(webPChunk{name, coded})
	size, err := webp.DecodeConfig(bytes.NewReader(file))
	if err != nil {
		return c, explain(err)
	}
	if name == "VP8 " && alpha != nil {
		header := append([]byte{0x10, 0, 0, 0}, put24(put24(nil, size.Width-1), size.Height-1)...)
		file = riff(webPChunk{"VP8X", header}, webPChunk{"ALPH", alpha}, webPChunk{name, coded})
	}
	if !animated {
		c.w, c.h = size.Width, size.Height
	}
	// Beside the picture, what the transforms of the lossless kind take.
	c.memory = copied*float64(c.w)*float64(c.h) + (copied+4)*float64(size.Width)*float64(size.Height)
	c.decode = func() (image.Image, error) {
		img, err := webp.Decode(bytes.NewReader(file))
		switch coded := img.(type) {
		case *image.YCbCr:
			return fromYCbCr(coded, true), err
		case *image.NYCbCrA:
			colours := fromYCbCr(&coded.YCbCr, true)
			for i := range len(colours.Pix) / 4 {
				colours.Pix[4*i+3] = coded.A[i/coded.Rect.Dx()*coded.AStride+i%coded.Rect.Dx()]
			}
			return &image.NRGBA{Pix: colours.Pix, Stride: colours.Stride, Rect: colours.Rect}, err
		}
		return img, err
	}
	return c, nil
}

type webPChunk struct {
	name string
	body []byte
}

func webPChunks(data []byte) (all []webPChunk, err error) {
	for len(data) >= 8 {
		name, size := string(data[:4]), int64(binary.LittleEndian.Uint32(data[4:]))
		if 8+size > int64(len(data)) {
			return all, errCut
		}
		all = append(all, webPChunk{name, data[8 : 8+size]})
		data = data[min(8+size+size%2, int64(len(data))):]
	}
	return all, nil
}

// riff makes a WebP file of chunks.
func riff(chunks ...webPChunk) []byte {
	file := []byte("RIFF\x00\x00\x00\x00WEBP")
	for _, c := range chunks {
		file = binary.LittleEndian.AppendUint32(append(file, c.name...), uint32(len(c.body)))
		file = append(append(file, c.body...), make([]byte, len(c.body)%2)...)
	}
	binary.LittleEndian.PutUint32(file[4:], uint32(len(file)-8))
	return file
}

func int24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

func put24(to []byte, v int) []byte { return append(to, byte(v), byte(v>>8), byte(v>>16)) }

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
