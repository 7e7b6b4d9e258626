package picture

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"io"
	"math"
	"strings"
)

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
