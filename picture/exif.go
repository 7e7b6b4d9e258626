package picture

import (
	"bytes"
	"encoding/binary"
	"image"
	"math"
	"slices"
)

// Tags and types of an EXIF block that are named here (EXIF 3.0, 4.6).
const (
	tagWidth, tagHeight         = 0x0100, 0x0101
	tagOrientation              = 0x0112
	tagYCbCrPositioning         = 0x0213
	tagExif, tagGPS, tagInterop = 0x8769, 0x8825, 0xa005 // their values are offsets of directories
	tagComponents               = 0x9101
	tagMakerNote                = 0x927c
	tagColorSpace               = 0xa001
	tagPixelX, tagPixelY        = 0xa002, 0xa003

	// in the directory of interoperability
	tagInteropIndex                   = 0x0001
	tagRelatedWidth, tagRelatedHeight = 0x1001, 0x1002

	typeASCII, typeShort, typeLong, typeUndefined = 2, 3, 4, 7
)

// typeSize is how many bytes a value of each type takes.
var typeSize = map[uint16]int64{1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}

// aboutShot are ranges of tags, first and last, that stay true when a picture is made from another: who took it, when, where
// and how. Tags about pixels, their coding and their colours are not among them, nor are previews and unknown tags.
var aboutShot = [][2]uint16{
	{0x0100, 0x0101},                                     // width, height: corrected
	{0x010d, 0x0110}, {0x0112, 0x0112}, {0x011a, 0x011b}, // name, description, make, model, orientation, resolution
	{0x0128, 0x0128}, {0x0131, 0x0132}, {0x013b, 0x013c}, // its unit, software, date, artist, host
	{0x0213, 0x0213},                                                       // YCbCrPositioning: corrected
	{0x4746, 0x4746}, {0x4749, 0x4749}, {0x8298, 0x8298}, {0x83bb, 0x83bb}, // rating, copyright, IPTC
	{0x829a, 0x829d}, {tagExif, tagExif}, {0x8822, 0x8835}, // exposure, GPS, sensitivity
	{0x9000, 0x9101}, {0x9201, 0x9214}, // version, components (corrected), dates, exposure
	{0x927c, 0x9292}, {0x9400, 0x9406}, {0x9c9b, 0x9c9f}, // maker note, comment, weather, Windows' titles
	{0xa000, 0xa005},                                                                         // FlashPix version, colour space and size: corrected
	{0xa20b, 0xa217}, {0xa300, 0xa302}, {0xa401, 0xa40c}, {0xa430, 0xa43f}, {0xa460, 0xa462}, // camera, lens, scene
	{0xc4a5, 0xc4a5}, {0xea1c, 0xea1d}, // printing, padding
}

// onPixels are those among them that count pixels. They stay true only if the picture is neither turned nor scaled.
var onPixels = []uint16{0x9214, 0xa20e, 0xa20f, 0xa210, 0xa214} // subject's area and location, focal plane's resolution

// exifBlock is an EXIF block: the header of a TIFF file, then directories (EXIF 3.0, 4.5.2; TIFF 6.0, section 2).
type exifBlock struct {
	data  []byte
	order binary.ByteOrder
}

// exifDirectory is a directory of entries of 12 bytes each, from at+2 to end.
type exifDirectory struct {
	tag     uint16 // of the entry that points to it; 0: the first directory
	pointer int    // where that entry is
	at, end int
	entries []exifEntry
}

type exifEntry struct {
	tag, kind uint16
	at        int  // of the entry
	readable  bool // its type is known and its value lies within the block
	value     int  // where the value is: in the entry, up to four bytes, or elsewhere
	size      int  // of the value, in bytes
}

func (e exifEntry) inside() bool { return e.size <= 4 }

// openExif reads the header. Some writers put the prefix of JPEG's segment before it, or swap the bytes of its magic number.
func openExif(data []byte) (b exifBlock, ok bool) {
	for bytes.HasPrefix(data, exifPrefix) {
		data = data[len(exifPrefix):]
	}
	if len(data) < 8 {
		return b, false
	}
	switch string(data[:4]) {
	case "II*\x00", "II\x00*":
		return exifBlock{data, binary.LittleEndian}, true
	case "MM\x00*", "MM*\x00":
		return exifBlock{data, binary.BigEndian}, true
	}
	return b, false
}

var exifPrefix = []byte("Exif\x00\x00")

// directories lists the first directory and those for Exif, GPS and interoperability, parents first. damaged says that one is
// missing, cut off, or overlaps another.
func (b exifBlock) directories() (all []exifDirectory, damaged bool) {
	var add func(tag uint16, pointer int, offset int64)
	add = func(tag uint16, pointer int, offset int64) {
		if offset < 8 || offset+2 > int64(len(b.data)) || slices.ContainsFunc(all, func(d exifDirectory) bool { return d.tag == tag }) {
			damaged = true
			return
		}
		d := exifDirectory{tag: tag, pointer: pointer, at: int(offset)}
		count, room := int(b.order.Uint16(b.data[offset:])), (len(b.data)-d.at-2)/12
		d.end = d.at + 2 + 12*min(count, room)
		if overlaps(all, d.at, d.end) {
			damaged = true
			return
		}
		damaged = damaged || count > room
		for at := d.at + 2; at < d.end; at += 12 {
			d.entries = append(d.entries, b.entry(at))
		}
		all = append(all, d)
		for _, e := range d.entries {
			if isPointer(e.tag) && (tag == 0 || tag == tagExif) {
				offset, _ := b.integer(e)
				add(e.tag, e.at, offset)
			}
		}
	}
	add(0, 0, int64(b.order.Uint32(b.data[4:])))
	return all, damaged
}

func (b exifBlock) entry(at int) exifEntry {
	e := exifEntry{tag: b.order.Uint16(b.data[at:]), kind: b.order.Uint16(b.data[at+2:]), at: at}
	size, value := typeSize[e.kind]*int64(b.order.Uint32(b.data[at+4:])), int64(at+8)
	if size > 4 {
		value = int64(b.order.Uint32(b.data[at+8:]))
	}
	if typeSize[e.kind] > 0 && value+size <= int64(len(b.data)) {
		e.readable, e.value, e.size = true, int(value), int(size)
	}
	return e
}

// overlaps says whether the bytes from at to end overlap a directory, or the first one's link to the next.
func overlaps(all []exifDirectory, at, end int) bool {
	return slices.ContainsFunc(all, func(d exifDirectory) bool {
		stop := d.end
		if d.tag == 0 {
			stop += 4
		}
		return at < stop && end > d.at
	})
}

// integer returns the value of an entry of any integer type, the first if there are several.
func (b exifBlock) integer(e exifEntry) (v int64, ok bool) {
	if !e.readable || e.size == 0 {
		return 0, false
	}
	value := b.data[e.value:]
	switch e.kind {
	case 1:
		return int64(value[0]), true
	case typeShort:
		return int64(b.order.Uint16(value)), true
	case typeLong, 13: // 13 is an offset of a directory
		return int64(b.order.Uint32(value)), true
	case 6:
		return int64(int8(value[0])), true
	case 8:
		return int64(int16(b.order.Uint16(value))), true
	case 9:
		return int64(int32(b.order.Uint32(value))), true
	}
	return 0, false
}

// orientation returns the value of the first tag Orientation in the first directory, 1 (upright) to 8. It is 1 if there is no
// such tag, or one with another value. The block may be a TIFF file.
func orientation(block []byte) int {
	b, ok := openExif(block)
	if !ok {
		return 1
	}
	all, _ := b.directories()
	for _, d := range all[:min(1, len(all))] {
		for _, e := range d.entries {
			if v, ok := b.integer(e); ok && e.tag == tagOrientation {
				if v < 1 || v > 8 {
					v = 1
				}
				return int(v)
			}
		}
	}
	return 1
}

// exifAdobeRGB says whether an EXIF block says that the picture's colours are Adobe RGB (1998): ColorSpace 2, as many
// cameras write, or ColorSpace 65535 (uncalibrated) with InteroperabilityIndex R03 (DCF 2.0).
func exifAdobeRGB(block []byte) bool {
	b, ok := openExif(block)
	if !ok {
		return false
	}
	var space int64
	r03 := false
	all, _ := b.directories()
	for _, d := range all {
		for _, e := range d.entries {
			switch v, ok := b.integer(e); {
			case d.tag == tagInterop && e.tag == tagInteropIndex && e.readable:
				r03 = bytes.HasPrefix(b.data[e.value:][:e.size], []byte("R03"))
			case ok && e.tag == tagColorSpace:
				space = v
			}
		}
	}
	return space == 2 || space == 0xffff && r03
}

// upright returns what an upright sRGB picture of w x h px keeps of the EXIF block of the picture that it was made from, or
// nil. Sizes, colour space and orientation are corrected. What describes other pixels is overwritten by zeros or cut off:
// thumbnails, previews in maker notes, coding. So is what cannot be read; damaged says that there was some. The rest stays
// at its offset, because only a camera's maker knows the offsets in a maker note.
func upright(block []byte, w, h int) (out []byte, damaged bool) {
	b, ok := openExif(block)
	if !ok {
		return nil, len(block) > 0
	}
	all, damaged := b.directories()
	var had [2]int64 // width and height as the block has them
	for _, d := range all {
		for _, e := range d.entries {
			if v, ok := b.integer(e); ok && (e.tag == tagPixelX || e.tag == tagPixelY) {
				had[e.tag-tagPixelX] = v
			}
		}
	}
	same := had == [2]int64{int64(w), int64(h)} && orientation(block) == 1

	out = make([]byte, len(b.data), len(b.data)+4)
	copy(out, b.data[:4])
	b.order.PutUint16(out[2:], 42)
	end := 8
	kept := map[int]int{} // where directories are that are kept, by where the entries that point to them are
	var values [][]byte
	for _, d := range slices.Backward(all) {
		to := d.at + 2
		for _, e := range d.entries {
			entry := [12]byte(b.data[e.at:])
			switch {
			case !keeps(d.tag, e.tag) || !same && slices.Contains(onPixels, e.tag):
				continue
			case isPointer(e.tag):
				if kept[e.at] == 0 {
					continue
				}
				b.set(entry[:], typeLong, kept[e.at])
			case b.correct(entry[:], d.tag, w, h):
			case !e.readable || !e.inside() && overlaps(all, e.value, e.value+e.size):
				damaged = true
				continue
			case !e.inside():
				values = append(values, out[e.value:][:copy(out[e.value:], b.data[e.value:][:e.size])])
				end = max(end, e.value+e.size)
			}
			to += copy(out[to:], entry[:])
		}
		count := (to - d.at - 2) / 12
		b.order.PutUint16(out[d.at:], uint16(count))
		if d.tag == 0 && count > 0 {
			b.order.PutUint32(out[4:], uint32(d.at))
			to += 4 // no next directory
		}
		if count > 0 {
			kept[d.pointer] = d.at
			end = max(end, to)
		}
	}
	if end == 8 {
		return nil, damaged
	}
	for _, value := range values { // which may overlap
		blankJPEG(value)
	}
	return out[:end], damaged
}

// exifOfTIFF makes an EXIF block of what upright keeps of a TIFF file, or nil if file is none. The first directory of a TIFF
// file has EXIF's tags among those of its coding. The maker note is left out, since its offsets may count from the file.
func exifOfTIFF(file []byte) []byte {
	b, ok := openExif(file)
	if !ok {
		return nil
	}
	all, _ := b.directories()
	if len(all) == 0 {
		return nil
	}
	at, end := map[int]int{}, 8 // where directories go, by where the entries that point to them are
	for i := range all {
		d := &all[i]
		d.entries = slices.DeleteFunc(d.entries, func(e exifEntry) bool {
			pointed := slices.ContainsFunc(all, func(d exifDirectory) bool { return d.pointer == e.at })
			coded := d.tag == 0 && (e.tag == tagWidth || e.tag == tagHeight) // which other formats have elsewhere
			return !keeps(d.tag, e.tag) || coded || !e.readable || e.tag == tagMakerNote || isPointer(e.tag) && !pointed
		})
		at[d.pointer] = end
		end += 2 + 12*len(d.entries) + 4
	}
	out := make([]byte, end)
	copy(out, b.data[:4])
	b.order.PutUint32(out[4:], 8)
	for _, d := range all {
		to := at[d.pointer]
		b.order.PutUint16(out[to:], uint16(len(d.entries)))
		for i, e := range d.entries {
			entry := out[to+2+12*i:][:12]
			copy(entry, b.data[e.at:])
			switch {
			case isPointer(e.tag):
				b.set(entry, typeLong, at[e.at])
			case !e.inside():
				out = append(out, make([]byte, len(out)%2)...) // values begin at even bytes (TIFF 6.0, section 2)
				entry = out[to+2+12*i:]
				b.order.PutUint32(entry[8:], uint32(len(out)))
				out = append(out, b.data[e.value:][:e.size]...)
			}
		}
	}
	return out
}

func isPointer(tag uint16) bool { return tag == tagExif || tag == tagGPS || tag == tagInterop }

// keeps says whether upright keeps a tag of a directory.
func keeps(directory, tag uint16) bool {
	switch directory {
	case tagGPS:
		return tag <= 0x1f
	case tagInterop: // index, version, width and height
		return tag == tagInteropIndex || tag == 2 || tag == tagRelatedWidth || tag == tagRelatedHeight
	}
	return slices.ContainsFunc(aboutShot, func(tags [2]uint16) bool { return tag >= tags[0] && tag <= tags[1] })
}

// correct writes the true value into an entry about size, orientation or colour space. ok says whether it is such an entry.
func (b exifBlock) correct(entry []byte, directory uint16, w, h int) (ok bool) {
	value, tag := 0, b.order.Uint16(entry)
	switch {
	case directory == tagInterop && tag == tagInteropIndex:
		b.fill(entry, typeASCII, "R98\x00") // of sRGB
		return true
	case directory != tagGPS && tag == tagComponents:
		b.fill(entry, typeUndefined, "\x01\x02\x03\x00") // Y, Cb, Cr
		return true
	case directory == tagInterop && tag == tagRelatedWidth, directory != tagGPS && (tag == tagWidth || tag == tagPixelX):
		value = w
	case directory == tagInterop && tag == tagRelatedHeight, directory != tagGPS && (tag == tagHeight || tag == tagPixelY):
		value = h
	case directory != tagGPS && (tag == tagOrientation || tag == tagColorSpace || tag == tagYCbCrPositioning):
		value = 1 // upright; sRGB; centred
	default:
		return false
	}
	kind := uint16(typeShort)
	if value > math.MaxUint16 {
		kind = typeLong
	}
	b.set(entry, kind, value)
	return true
}

// set gives an entry a number.
func (b exifBlock) set(entry []byte, kind uint16, value int) {
	clear(entry[4:])
	b.order.PutUint16(entry[2:], kind)
	b.order.PutUint32(entry[4:], 1)
	if kind == typeShort {
		b.order.PutUint16(entry[8:], uint16(value))
	} else {
		b.order.PutUint32(entry[8:], uint32(value))
	}
}

// fill gives an entry a value of four bytes.
func (b exifBlock) fill(entry []byte, kind uint16, value string) {
	b.order.PutUint16(entry[2:], kind)
	b.order.PutUint32(entry[4:], 4)
	copy(entry[8:], value)
}

// blankJPEG overwrites the JPEG files in a value by zeros.
func blankJPEG(value []byte) {
	begin, stop := []byte{0xff, 0xd8, 0xff}, []byte{0xff, 0xd9}
	for {
		at := bytes.Index(value, begin)
		if at < 0 {
			return
		}
		value = value[at:]
		end, depth := 0, 0
		for end < len(value) { // a JPEG file may have others within
			switch rest := value[end:]; {
			case bytes.HasPrefix(rest, begin):
				depth++
				end += 2
			case bytes.HasPrefix(rest, stop):
				depth--
				end += 2
			default:
				end++
			}
			if depth == 0 {
				break
			}
		}
		clear(value[:end])
		value = value[end:]
	}
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
