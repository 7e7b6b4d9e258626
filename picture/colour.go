package picture

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/kovidgoyal/imaging/colorconv"
	"github.com/kovidgoyal/imaging/prism/meta/icc"
	"golang.org/x/sync/errgroup"
)

// space is a colour space: what the numbers of a pixel mean.
type space struct {
	name     string
	channels int                     // 1 is grey, 3 RGB, 4 CMYK
	linear   func(in, out []float64) // makes values in [0,1] linear ones of sRGB, three, not clipped; may change in; nil: it is sRGB
}

// xy is a place in the CIE 1931 chromaticity diagram.
type xy [2]float64

// primaries are those of red, green and blue, and the white that they make.
type primaries struct{ red, green, blue, white xy }

// near says whether p and q differ by no more than rounding to two decimals does.
func (p primaries) near(q primaries) bool {
	const rounding = 0.005
	for _, c := range [][2]xy{{p.red, q.red}, {p.green, q.green}, {p.blue, q.blue}, {p.white, q.white}} {
		if math.Abs(c[0][0]-c[1][0]) > rounding || math.Abs(c[0][1]-c[1][1]) > rounding {
			return false
		}
	}
	return true
}

var (
	d65       = xy{0.3127, 0.3290}
	srgbRGB   = primaries{xy{0.64, 0.33}, xy{0.30, 0.60}, xy{0.15, 0.06}, d65}
	adobeRGB  = rgbSpace("Adobe RGB (1998)", primaries{xy{0.64, 0.33}, xy{0.21, 0.71}, xy{0.15, 0.06}, d65}, power(563./256))
	srgbCurve = split(1/1.055, 0.055/1.055, 2.4, 12.92, 0.04045)
)

// codedPrimaries and codedCurves are the primaries and transfer curves of ITU-T H.273, by their code. PQ and HLG, whose white
// is brighter than paper, are not among them, nor are those for scientific use.
var codedPrimaries = map[byte]primaries{
	1:  srgbRGB,
	5:  {xy{0.64, 0.33}, xy{0.29, 0.60}, xy{0.15, 0.06}, d65},
	6:  {xy{0.630, 0.340}, xy{0.310, 0.595}, xy{0.155, 0.070}, d65},
	7:  {xy{0.630, 0.340}, xy{0.310, 0.595}, xy{0.155, 0.070}, d65},
	9:  {xy{0.708, 0.292}, xy{0.170, 0.797}, xy{0.131, 0.046}, d65},
	11: {xy{0.680, 0.320}, xy{0.265, 0.690}, xy{0.150, 0.060}, xy{0.314, 0.351}},
	12: {xy{0.680, 0.320}, xy{0.265, 0.690}, xy{0.150, 0.060}, d65},
	22: {xy{0.630, 0.340}, xy{0.295, 0.605}, xy{0.155, 0.077}, d65},
}

var (
	videoCurve  = split(1/1.099, 0.099/1.099, 1/0.45, 4.5, 0.081)
	codedCurves = map[byte]func(float64) float64{
		1: videoCurve, 6: videoCurve, 14: videoCurve, 15: videoCurve,
		4: power(2.2), 5: power(2.8), 8: power(1), 13: srgbCurve,
	}
)

func power(gamma float64) func(float64) float64 {
	return func(v float64) float64 { return math.Pow(v, gamma) }
}

// split is the curve (a*v+b)^gamma, with the line v/slope below an end.
func split(a, b, gamma, slope, end float64) func(float64) float64 {
	return func(v float64) float64 {
		if v < end {
			return v / slope
		}
		return math.Pow(a*v+b, gamma)
	}
}

// rgbSpace is the space of three primaries, and a curve that makes values linear. It is nil if the primaries make no triangle.
func rgbSpace(name string, p primaries, curve func(float64) float64) *space {
	column := func(c xy) [3]float64 { return [3]float64{c[0] / c[1], 1, (1 - c[0] - c[1]) / c[1]} }
	var m icc.Matrix3
	for c, at := range []xy{p.red, p.green, p.blue} {
		for row, v := range column(at) {
			m[row][c] = v
		}
	}
	white := column(p.white)
	inverse, err := m.Inverted()
	if err != nil || p.red[1] == 0 || p.green[1] == 0 || p.blue[1] == 0 || p.white[1] == 0 {
		return nil
	}
	r, g, b := inverse.Transform(white[0], white[1], white[2])
	for row := range m {
		m[row][0], m[row][1], m[row][2] = m[row][0]*r, m[row][1]*g, m[row][2]*b
	}
	toSRGB := colorconv.NewConvertColor(white[0], white[1], white[2], 1)
	toSRGB.AddPreviousMatrix(m[0], m[1], m[2])
	return &space{name, 3, func(in, out []float64) {
		out[0], out[1], out[2] = toSRGB.XYZToLinearRGB(curve(in[0]), curve(in[1]), curve(in[2]))
	}}
}

// profileSpace reads an ICC profile. The conversion is relative colorimetric, without black point compensation. For profiles
// of every kind it is within 1 of 255 of LittleCMS without its optimisations.
func profileSpace(data []byte) (s *space, err error) {
	defer func() { // the reader trusts a profile
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	if err := checkProfile(data); err != nil {
		return nil, err
	}
	profile, err := icc.DecodeProfile(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	s = &space{name: "its ICC profile", channels: map[icc.ColorSpace]int{icc.ColorSpaceGray: 1, icc.ColorSpaceRGB: 3, icc.ColorSpaceCMYK: 4}[profile.Header.DataColorSpace]}
	if name, err := profile.Description(); err == nil {
		name = strings.Join(strings.FieldsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }), " ")
		s.name = cmp.Or(strings.ToValidUTF8(name[:min(len(name), 80)], ""), s.name)
	}
	pipeline, err := profile.CreateTransformerToPCS(icc.RelativeColorimetricRenderingIntent, s.channels, true)
	if err != nil {
		return s, err
	}
	white := profile.PCSIlluminant
	d50 := colorconv.NewConvertColor(white.X, white.Y, white.Z, 1)
	toRGB := d50.XYZToLinearRGB
	if profile.Header.ProfileConnectionSpace == icc.ColorSpaceLab {
		toRGB = d50.LabToLinearRGB
	}
	if !profile.IsSRGB() {
		s.linear = func(in, out []float64) {
			pipeline.TransformGeneral(out, in)
			out[0], out[1], out[2] = toRGB(out[0], out[1], out[2])
		}
		for corner := range 16 { // a table that is too small
			s.linear([]float64{float64(corner & 1), float64(corner >> 1 & 1), float64(corner >> 2 & 1), float64(corner >> 3)}, make([]float64, 4))
		}
	}
	return s, nil
}

// maxProfile is the largest ICC profile that is read, in bytes. In memory its tables are up to eight times as large.
const maxProfile = 4 << 20

// checkProfile refuses profiles that the reader would take too much memory for or read wrongly: those that count more tags
// than they have bytes, and those with a colour table (lutAToBType) whose sides after the first differ in length.
func checkProfile(data []byte) error {
	const header = 128
	if len(data) < header+4 || len(data) > maxProfile {
		return errors.New("too short or too long")
	}
	count := binary.BigEndian.Uint32(data[header:])
	if int64(count)*12 > int64(len(data))-header-4 {
		return errors.New("too many tags")
	}
	tags := map[string][]byte{}
	for i := range int(count) {
		entry := data[header+4+12*i:][:12]
		at, size := int64(binary.BigEndian.Uint32(entry[4:])), int64(binary.BigEndian.Uint32(entry[8:]))
		if at+size > int64(len(data)) {
			return errors.New("a tag behind the end")
		}
		tags[string(entry[:4])] = data[at : at+size]
	}
	used := tags["A2B1"]
	if used == nil {
		used = tags["A2B0"]
	}
	if len(used) >= 32 && string(used[:4]) == "mAB " {
		if at := int64(binary.BigEndian.Uint32(used[24:])); at > 0 && at+16 <= int64(len(used)) {
			if sides := used[at:][:min(used[8], 16)]; len(sides) > 2 && slices.Max(sides[1:]) != slices.Min(sides[1:]) {
				return errors.New("a table with sides of several sizes")
			}
		}
	}
	return nil
}

// fromLinear is sRGB's value of a linear one, both in [0,1] (IEC 61966-2-1); srgbCurve is its inverse.
func fromLinear(v float64) float64 {
	if v > 0.0031308 {
		return 1.055*math.Pow(v, 1/2.4) - 0.055
	}
	return 12.92 * v
}

// encodedSRGB gives sRGB's value, in [0,1], of each of 65,536 linear ones.
var encodedSRGB = sync.OnceValue(func() []float64 {
	values := make([]float64, math.MaxUint16+1)
	for i := range values {
		values[i] = fromLinear(float64(i) / math.MaxUint16)
	}
	return values
})

// onWhite converts a picture to sRGB, with transparent pixels on white. It changes img.
func (s *space) onWhite(img image.Image) *image.RGBA {
	b := img.Bounds()
	out, ok := img.(*image.RGBA)
	if !ok || !out.Opaque() || b.Min != (image.Point{}) {
		out = image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	}
	deep, _ := img.(image.RGBA64Image)
	inks, _ := img.(*image.CMYK)
	encoded := encodedSRGB()
	var rows errgroup.Group
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		rows.Go(func() (err error) {
			defer func() { // a table of the profile
				if p := recover(); p != nil {
					err = fmt.Errorf("%v", p)
				}
			}()
			// Most colours of a picture come again soon.
			const size = 1 << 15
			known := make([]struct {
				colour uint64
				pixel  [4]uint8 // its last value is 255 where there is one
			}, size)
			var in, to [4]float64
			for y := b.Dy() * w / workers; y < b.Dy()*(w+1)/workers; y++ {
				for x := range b.Dx() {
					var c color.RGBA64
					if inks != nil {
						v := inks.CMYKAt(b.Min.X+x, b.Min.Y+y)
						c = color.RGBA64{uint16(v.C), uint16(v.M), uint16(v.Y), uint16(v.K)}
					} else {
						c = deep.RGBA64At(b.Min.X+x, b.Min.Y+y)
					}
					colour := uint64(c.R)<<48 | uint64(c.G)<<32 | uint64(c.B)<<16 | uint64(c.A)
					old := &known[colour*0x9e3779b97f4a7c15>>49]
					if old.colour != colour || old.pixel[3] == 0 {
						alpha := 1.
						in = [4]float64{float64(c.R), float64(c.G), float64(c.B), float64(c.A)}
						if inks != nil {
							for i := range in {
								in[i] /= 255
							}
						} else {
							alpha = in[3] / math.MaxUint16
							for i := range 3 {
								in[i] /= max(1, in[3])
							}
						}
						s.linear(in[:], to[:])
						old.colour, old.pixel[3] = colour, 255
						for i := range 3 {
							v := 0.
							if to[i] > 0 { // and a number
								v = encoded[int(math.MaxUint16*min(to[i], 1)+0.5)]
							}
							old.pixel[i] = uint8(255*(1-alpha+alpha*v) + 0.5)
						}
					}
					copy(out.Pix[y*out.Stride+4*x:][:4], old.pixel[:])
				}
			}
			return nil
		})
	}
	if err := rows.Wait(); err != nil {
		panic(err)
	}
	return out
}
