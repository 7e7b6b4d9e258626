package hrstyle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	_ "image/jpeg" // registers JPEG
	_ "image/png"  // registers PNG
	"slices"

	"github.com/kovidgoyal/imaging"
	"github.com/kovidgoyal/imaging/prism/meta"
	"github.com/kovidgoyal/imaging/prism/meta/autometa"
	"github.com/kovidgoyal/imaging/prism/meta/icc"
	_ "golang.org/x/image/bmp" // registers BMP
	"golang.org/x/image/draw"
	_ "golang.org/x/image/tiff" // registers TIFF
	_ "golang.org/x/image/webp" // registers WebP
)

// minSide is the smallest side of a picture: VGG19 halves it four times. maxDecode is the memory that reading one may
// take, in bytes; more is refused by the header.
const minSide, maxDecode = 16, 900_000_000

// decode makes an opaque, upright sRGB picture of a file's bytes. notes say what was done to it that a user should
// know; exif is the file's EXIF block, if it has one.
func decode(data []byte) (pixels *image.RGBA, notes []string, exif []byte, err error) {
	defer func() { // the decoders are of many hands
		if p := recover(); p != nil {
			err = fmt.Errorf("damaged picture (%v)", p)
		}
	}()
	if len(data) >= 12 && string(data[4:8]) == "ftyp" {
		return nil, nil, nil, errors.New("a HEIC or AVIF picture: export it as JPEG or PNG")
	}
	whole, animated := data, false
	if frame, ok := firstWebPFrame(data); ok {
		data, animated = frame, true
	}
	config, format, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, nil, nil, fmt.Errorf("not a picture in a format known here (PNG, JPEG, WebP, TIFF, BMP, GIF): %w", err)
	}
	if err := checkSides(config.Width, config.Height); err != nil {
		return nil, nil, nil, err
	}
	if need := float64(config.Width) * float64(config.Height) * decodeBytes(config.ColorModel, format, data); need > maxDecode {
		return nil, nil, nil, fmt.Errorf("%dx%d takes %.1f GB of memory to read; allowed: %.1f; make it smaller", config.Width, config.Height, need/1e9, maxDecode/1e9)
	}
	reader := bytes.NewReader(data)
	var img image.Image
	if format == "gif" { // ends after the first frame, and reads no further
		img, err = gif.Decode(reader)
	} else {
		img, _, err = image.Decode(reader)
	}
	if err != nil {
		return nil, nil, nil, fmt.Errorf("damaged picture (%w)", err)
	}
	if animated || format == "gif" && moreGIF(data[len(data)-reader.Len():]) || format == "png" && moreAPNG(data) {
		notes = append(notes, "is animated: its first frame is taken")
	}
	switch coded := img.(type) {
	case *image.YCbCr:
		img = fromYCbCr(coded, format == "webp")
	case *image.NYCbCrA: // WebP with transparency
		colours := fromYCbCr(&coded.YCbCr, true)
		for i := range colours.Pix[:len(colours.Pix)/4] {
			colours.Pix[4*i+3] = coded.A[i/coded.Rect.Dx()*coded.AStride+i%coded.Rect.Dx()]
		}
		img = &image.NRGBA{Pix: colours.Pix, Stride: colours.Stride, Rect: colours.Rect}
	}
	md, damaged := metadata(whole)
	if damaged != nil {
		notes = append(notes, "has metadata that cannot be read: taken as upright and sRGB")
	}
	if profile := md.profile; profile != nil && !profile.IsSRGB() {
		name, err := profile.Description()
		if err != nil || name == "" {
			name = "its ICC profile"
		}
		if converted, err := toSRGB(profile, img); err == nil {
			img, notes = converted, append(notes, "is brought from "+name+" to sRGB")
		} else {
			notes = append(notes, fmt.Sprintf("is taken as sRGB: %s cannot be read", name))
		}
	}
	pixels = flatten(img)
	block := md.exif
	if format == "tiff" {
		block = data // a TIFF file is what an EXIF block is made like; its tags are about its own coding
	} else {
		exif = block
	}
	pixels = turn(pixels, orientation(block))
	return pixels, notes, exif, nil
}

// decodeBytes is how many bytes a pixel takes while it is decoded and copied to RGBA.
func decodeBytes(model color.Model, format string, data []byte) float64 {
	const copied = 4
	switch {
	case format == "jpeg":
		samples := map[color.Model]float64{color.GrayModel: 1, color.CMYKModel: 4}[model]
		if samples == 0 {
			samples = 3
		}
		if progressive(data) { // all coefficients, four bytes each
			return copied + 5*samples
		}
		return copied + samples
	case model == color.RGBA64Model || model == color.NRGBA64Model || model == color.Gray16Model:
		return copied + 8
	case format == "webp": // with the transforms of the lossless kind
		return copied + 8
	}
	return copied + 4
}

// progressive says whether a JPEG file's frame is progressive (SOF2).
func progressive(data []byte) bool {
	for at := 2; at+4 < len(data) && data[at] == 0xff; {
		switch data[at+1] {
		case 0xff:
			at++
		case 0xc2:
			return true
		case 0xda: // the scan begins
			return false
		default:
			at += 2 + int(binary.BigEndian.Uint16(data[at+2:]))
		}
	}
	return false
}

// firstWebPFrame makes a file of an animated WebP file's first frame (WebP container specification, "Animation").
func firstWebPFrame(data []byte) ([]byte, bool) {
	if len(data) < 30 || string(data[:4]) != "RIFF" || string(data[8:16]) != "WEBPVP8X" || data[20]&2 == 0 {
		return nil, false
	}
	for at := 12; at+8 <= len(data); {
		name, size := string(data[at:at+4]), int(binary.LittleEndian.Uint32(data[at+4:]))
		at += 8
		if size > len(data)-at {
			return nil, false
		}
		if name == "ANMF" && size > 16+8 {
			frame := data[at : at+size]
			head := slices.Clone(data[12:30]) // VP8X: canvas becomes frame, no animation
			head[8] &^= 2
			copy(head[12:], frame[6:12]) // width and height, less 1
			file := append([]byte("RIFF\x00\x00\x00\x00WEBP"), head...)
			file = append(file, frame[16:]...)
			binary.LittleEndian.PutUint32(file[4:], uint32(len(file)-8))
			return file, true
		}
		at += size + size%2
	}
	return nil, false
}

// moreGIF says whether another frame follows in what a GIF file has after its first.
func moreGIF(rest []byte) bool {
	for len(rest) > 2 && rest[0] == '!' { // an extension: its label, then blocks
		rest = rest[2:]
		for len(rest) > 0 && rest[0] > 0 && int(rest[0]) < len(rest) {
			rest = rest[1+int(rest[0]):]
		}
		rest = rest[min(1, len(rest)):]
	}
	return len(rest) > 0 && rest[0] == ','
}

// moreAPNG says whether a PNG file has frames beside its picture: a chunk acTL before the pixels (PNG specification, third
// edition, 11.3.6).
func moreAPNG(data []byte) bool {
	for at := 8; at+8 <= len(data); {
		switch string(data[at+4 : at+8]) {
		case "acTL":
			return true
		case "IDAT":
			return false
		}
		at += 12 + int(binary.BigEndian.Uint32(data[at:]))
	}
	return false
}

type pictureMetadata struct {
	profile *icc.Profile // nil: sRGB
	exif    []byte
}

// metadata reads what a picture file says about itself. A damaged block is no reason to refuse the picture.
func metadata(data []byte) (m pictureMetadata, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	var md *meta.Data
	if md, _, err = autometa.Load(bytes.NewReader(data)); err != nil || md == nil {
		return m, err
	}
	m.exif = bytes.TrimPrefix(md.ExifData(), []byte("Exif\x00\x00"))
	m.profile, err = md.ICCProfile()
	return m, err
}

func toSRGB(profile *icc.Profile, img image.Image) (out image.Image, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return imaging.ConvertToSRGB(profile, icc.PerceptualRenderingIntent, true, img)
}

// flatten puts a picture on white paper.
func flatten(img image.Image) *image.RGBA {
	opaque, known := img.(interface{ Opaque() bool })
	solid := known && opaque.Opaque()
	if rgba, ok := img.(*image.RGBA); ok && solid && rgba.Rect.Min == (image.Point{}) {
		return rgba
	}
	out := image.NewRGBA(image.Rect(0, 0, img.Bounds().Dx(), img.Bounds().Dy()))
	op := draw.Src
	if !solid {
		draw.Draw(out, out.Rect, image.White, image.Point{}, draw.Src)
		op = draw.Over
	}
	draw.Draw(out, out.Rect, img, img.Bounds().Min, op)
	return out
}

// fromYCbCr converts to RGB as libjpeg and libwebp do: where chroma has half the width, or half of both sides, it is
// interpolated with weights 3/4 and 1/4 along each halved side. studio is WebP's range of values, 16 to 235.
func fromYCbCr(in *image.YCbCr, studio bool) *image.RGBA {
	w, h := in.Rect.Dx(), in.Rect.Dy()
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	halfX := in.SubsampleRatio == image.YCbCrSubsampleRatio420 || in.SubsampleRatio == image.YCbCrSubsampleRatio422
	halfY := in.SubsampleRatio == image.YCbCrSubsampleRatio420
	if in.Rect.Min != (image.Point{}) || !halfX && in.SubsampleRatio != image.YCbCrSubsampleRatio444 {
		draw.Draw(out, out.Rect, in, in.Rect.Min, draw.Src)
		return out
	}
	// near and far are the two chroma values beside v, of n, when each stands for two pixels.
	neighbours := func(v, n int, half bool) (near, far int) {
		if !half {
			return v, v
		}
		return v / 2, min(max(v/2+2*(v%2)-1, 0), n-1)
	}
	cw, ch := w, h
	if halfX {
		cw = (w + 1) / 2
	}
	if halfY {
		ch = (h + 1) / 2
	}
	type column struct{ near, far, round int }
	columns := make([]column, w)
	for x := range columns {
		columns[x].near, columns[x].far = neighbours(x, cw, halfX)
		columns[x].round = 8 - x%2 // of 16, as libjpeg
	}
	for y := range h {
		near, far := neighbours(y, ch, halfY)
		near, far = near*in.CStride, far*in.CStride
		for x, c := range columns {
			chroma := func(plane []uint8) int {
				return (9*int(plane[near+c.near]) + 3*int(plane[near+c.far]) + 3*int(plane[far+c.near]) + int(plane[far+c.far]) + c.round) >> 4
			}
			luma, cb, cr := in.Y[y*in.YStride+x], chroma(in.Cb), chroma(in.Cr)
			pixel := out.Pix[y*out.Stride+4*x:][:4]
			if studio {
				pixel[0], pixel[1], pixel[2] = studioRGB(int(luma), cb, cr)
			} else {
				pixel[0], pixel[1], pixel[2] = color.YCbCrToRGB(luma, uint8(cb), uint8(cr))
			}
			pixel[3] = 255
		}
	}
	return out
}

// studioRGB converts from ITU-R BT.601 with luma in 16 to 235 and chroma in 16 to 240, which WebP has.
func studioRGB(y, cb, cr int) (r, g, b uint8) {
	l := 298.082 * float64(y-16) / 256
	u, v := float64(cb-128)/256, float64(cr-128)/256
	clip := func(f float64) uint8 { return uint8(min(max(f+0.5, 0), 255)) }
	return clip(l + 408.583*v), clip(l - 100.291*u - 208.120*v), clip(l + 516.411*u)
}
