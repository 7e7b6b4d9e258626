package picture

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"image"

	"golang.org/x/image/webp"
)

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
