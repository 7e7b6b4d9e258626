package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// identity is the LUT that changes nothing.
func identity(size int) *Cube {
	c := &Cube{Size: size, Max: [3]float32{1, 1, 1}}
	at := func(i int) float32 { return float32(i) / float32(size-1) }
	for i := range size * size * size {
		c.Nodes = append(c.Nodes, [3]float32{at(i % size), at(i / size % size), at(i / size / size)})
	}
	return c
}

// wild is a LUT of random colours, also of ones that a picture cannot show.
func wild(size int) *Cube {
	c := identity(size)
	random := rand.New(rand.NewPCG(uint64(size), 0))
	for i := range c.Nodes {
		for k := range 3 {
			c.Nodes[i][k] = float32(1.4*random.Float64() - 0.2)
		}
	}
	return c
}

// manyColours has random colours, all greys, and all mixtures of channels that are 0, 128 and 255.
func manyColours() *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, 256, 64))
	random := rand.New(rand.NewPCG(1, 1))
	for i := 0; i < len(img.Pix); i += 4 {
		v := [3]uint8{uint8(random.Uint32()), uint8(random.Uint32()), uint8(random.Uint32())}
		if n := i / 4; n < 256 {
			v = [3]uint8{uint8(n), uint8(n), uint8(n)}
		} else if n -= 256; n < 27 {
			v = [3]uint8{uint8(min(n%3*128, 255)), uint8(min(n/3%3*128, 255)), uint8(min(n/9*128, 255))}
		}
		copy(img.Pix[i:], []uint8{v[0], v[1], v[2], 255})
	}
	return img
}

// ffmpeg runs a filter of FFmpeg on pixels, in a folder with LUTs, and returns the pixels that it gives. Both have the format
// rgba or rgba64le, which its filters for LUTs take as they are. Where FFmpeg is missing the test is skipped, unless
// HRLAB_TEST_REQUIRE_FFMPEG is set.
func ffmpeg(t *testing.T, dir string, pixels []byte, size image.Point, format, filter string) []byte {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		if os.Getenv("HRLAB_TEST_REQUIRE_FFMPEG") == "" {
			t.Skip("no ffmpeg to compare with: apt-get install ffmpeg")
		}
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", format, "-s", fmt.Sprintf("%dx%d", size.X, size.Y),
		"-i", "-", "-vf", filter, "-pix_fmt", format, "-f", "rawvideo", "-") //nolint:gosec // of the test
	command.Dir, command.Stdin, command.Stderr = dir, bytes.NewReader(pixels), os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// deep is a picture in 16 bits as FFmpeg has them, little-endian.
func deep(img *image.RGBA) (pixels []byte) {
	for _, v := range img.Pix {
		pixels = append(pixels, v, v)
	}
	return pixels
}

// swapped has the bytes of 16-bit numbers in the other order.
func swapped(pixels []byte) []byte {
	out := make([]byte, len(pixels))
	for i, v := range pixels {
		out[i^1] = v
	}
	return out
}

// A LUT gives what FFmpeg's lut3d gives, in 8 and in 16 bits. FFmpeg cuts off where a level should be rounded.
func TestCubeAsFFmpeg(t *testing.T) {
	dir, img := t.TempDir(), manyColours()
	wide := wild(9)
	wide.Max = [3]float32{1, 2, 1.5}
	for name, c := range map[string]*Cube{"wild.cube": wild(9), "least.cube": wild(2), "identity.cube": identity(33), "wide.cube": wide} {
		if err := os.WriteFile(filepath.Join(dir, name), c.Encode(), 0o666); err != nil {
			t.Fatal(err)
		}
		read, err := LoadCube(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		filter := "lut3d=file=" + name + ":interp=tetrahedral"
		out := read.Apply(img)
		if d := levelsApart(out.Pix, swapped(ffmpeg(t, dir, deep(img), img.Rect.Size(), "rgba64le", filter)), 2); d > 2 {
			t.Errorf("%s: 16 bits: %d levels from FFmpeg's", name, d)
		}
		if d := levelsApart(eightBits(out).Pix, ffmpeg(t, dir, img.Pix, img.Rect.Size(), "rgba", filter), 1); d > 1 {
			t.Errorf("%s: 8 bits: %d levels from FFmpeg's", name, d)
		}
	}
}

// A HALD CLUT does the same in FFmpeg's haldclut as the LUT. That filter has the level of 36³ and of 64³ from the picture's size.
func TestHald(t *testing.T) {
	dir, img := t.TempDir(), manyColours()
	for _, size := range []int{36, 64} {
		c := wild(size)
		if err := Save(filepath.Join(dir, "clut.png"), c.Hald(), Encoding{Bits: 16}); err != nil {
			t.Fatal(err)
		}
		for i := range c.Nodes { // as a picture has them
			for k, v := range c.Nodes[i] {
				c.Nodes[i][k] = min(max(v, 0), 1)
			}
		}
		want := swapped(ffmpeg(t, dir, deep(img), img.Rect.Size(), "rgba64le", "[in]format=rgba64le[a];movie=clut.png,format=rgba64le[b];[a][b]haldclut=interp=tetrahedral[out]"))
		if d := levelsApart(c.Apply(img).Pix, want, 2); d > 3 {
			t.Errorf("size %d: %d levels of 65535 from FFmpeg's", size, d)
		}
	}
	wide := identity(36)
	wide.Max[1] = 2
	if identity(33).Hald() != nil || wide.Hald() != nil {
		t.Error("a HALD CLUT of a size or a domain that it has not")
	}
}

// A picture of 24 megapixels, by Apply in 16 bits and FFmpeg's lut3d in 8, which does it again and again in one
// process.
func BenchmarkCube(b *testing.B) {
	img := image.NewRGBA(image.Rect(0, 0, 6000, 4000))
	for i := range img.Pix { // slow gradients with noise
		x, y := i/4%6000, i/4/6000
		img.Pix[i] = uint8([]int{x / 25, y / 17, (x + y) / 42, 255}[i%4] | rand.IntN(8))
	}
	c, dir := wild(33), b.TempDir()
	b.Run("Apply", func(b *testing.B) {
		for b.Loop() {
			c.Apply(img)
		}
	})
	b.Run("FFmpeg", func(b *testing.B) {
		frame := filepath.Join(dir, "frame")
		if err := errors.Join(os.WriteFile(frame, img.Pix, 0o666), os.WriteFile(filepath.Join(dir, "a.cube"), c.Encode(), 0o666)); err != nil {
			b.Fatal(err)
		}
		filter := fmt.Sprintf("loop=loop=%d:size=1,lut3d=file=a.cube:interp=tetrahedral", b.N-1)
		command := exec.CommandContext(b.Context(), "ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgba", "-s", "6000x4000", "-i", frame, "-vf", filter, "-f", "null", "-") //nolint:gosec // of the benchmark
		command.Dir = dir
		if out, err := command.CombinedOutput(); err != nil {
			b.Skipf("no FFmpeg: %v %s", err, out)
		}
	})
}

// levelsApart is the largest difference between numbers of so many bytes, big-endian.
func levelsApart(a, b []byte, bytes int) (most int) {
	if len(a) != len(b) {
		return math.MaxInt
	}
	at := func(p []byte, i int) int {
		if bytes == 1 {
			return int(p[i])
		}
		return int(binary.BigEndian.Uint16(p[i:]))
	}
	for i := 0; i < len(a); i += bytes {
		most = max(most, at(a, i)-at(b, i), at(b, i)-at(a, i))
	}
	return most
}

// The LUT that changes nothing changes nothing, whatever its size.
func TestCubeIdentity(t *testing.T) {
	img := manyColours()
	for _, size := range []int{2, 3, 17, 33, 36, 65} {
		out := identity(size).Apply(img)
		if got := eightBits(out).Pix; !bytes.Equal(got, img.Pix) {
			t.Errorf("size %d: %d levels off", size, levelsApart(got, img.Pix, 1))
		}
	}
}

// A slow gradient that a LUT makes steeper has more levels than 8 bits can tell.
func TestCubeDeep(t *testing.T) {
	c := identity(17)
	for i := range c.Nodes {
		for k, v := range c.Nodes[i] {
			c.Nodes[i][k] = v / 2
		}
	}
	grey := manyColours().SubImage(image.Rect(0, 0, 256, 1)).(*image.RGBA)
	out := c.Apply(grey)
	levels := map[uint16]bool{}
	for x := range 256 {
		levels[out.NRGBA64At(x, 0).G] = true
	}
	if len(levels) != 256 {
		t.Errorf("%d levels of 256", len(levels))
	}
}

// A part of a picture is done as the whole is.
func TestCubePart(t *testing.T) {
	img, c, part := manyColours(), wild(5), image.Rect(7, 3, 60, 41)
	whole := c.Apply(img).SubImage(part).(*image.NRGBA64)
	alone := c.Apply(img.SubImage(part).(*image.RGBA))
	for y := range part.Dy() {
		for x := range part.Dx() {
			if a, b := alone.NRGBA64At(x, y), whole.NRGBA64At(part.Min.X+x, part.Min.Y+y); a != b {
				t.Fatalf("%d,%d: %v, want %v", x, y, a, b)
			}
		}
	}
}

// Files of the specification and of programs are read: with comments, in any order of keywords, with other ends of lines.
func TestReadCube(t *testing.T) {
	colours := "0 0 0\n1 0 0\n0 1 0\n1 1 0\n0 0 1\n1 0 1\n0 1 1\n1 1 1\n"
	want := identity(2)
	for _, text := range []string{
		"LUT_3D_SIZE 2\n" + colours,
		"# comment\nTITLE \"a b\"\n\nLUT_3D_SIZE 2\nDOMAIN_MIN 0 0 0\nDOMAIN_MAX 1 1 1\n# more\n" + colours + "\n# end",
		"\ufeffLUT_3D_SIZE\t2\r\n" + strings.ReplaceAll(colours, "\n", "\r\n"),
		"DOMAIN_MAX 1.0 1e0 +1\nLUT_3D_SIZE 2\nLUT_3D_INPUT_RANGE 0.0 1.0\n" + strings.ReplaceAll(colours, " ", "  \t"),
	} {
		c, err := ReadCube("a.cube", strings.NewReader(text))
		if err != nil || c.Size != 2 || c.Max != want.Max || c.Min != want.Min || !slices.Equal(c.Nodes, want.Nodes) {
			t.Errorf("%q: %v, %v", text, c, err)
		}
	}
	named := identity(3)
	named.Title, named.Min, named.Max = "\"Föhr\"\nat 8", [3]float32{-0.5, 0, 0.25}, [3]float32{1.5, 2, 1}
	c, err := ReadCube("b.cube", bytes.NewReader(named.Encode()))
	if err != nil || c.Title != "_F_hr__at 8" || c.Min != named.Min || c.Max != named.Max || !slices.Equal(c.Nodes, named.Nodes) {
		t.Errorf("%v, %v", c, err)
	}
}

// Damaged and hostile files are refused in one line, without memory for what they only announce.
func TestHostileCube(t *testing.T) {
	colours := strings.Repeat("0 0.5 1\n", 8)
	for text, want := range map[string]string{
		"":                                            "x.cube: no line LUT_3D_SIZE: no 3D LUT in a .cube file",
		"\x89PNG\r\n\x1a\n":                           `x.cube: line 1: "\x89PNG"; allowed: TITLE, LUT_3D_SIZE, DOMAIN_MIN, DOMAIN_MAX, LUT_3D_INPUT_RANGE and colours, three numbers each`,
		"LUT_3D_SIZE 100000\n" + colours:              "x.cube: line 1: LUT_3D_SIZE 100000; allowed: 2 to 256",
		"LUT_3D_SIZE 1\n0 0 0\n":                      "x.cube: line 1: LUT_3D_SIZE 1; allowed: 2 to 256",
		"LUT_3D_SIZE -2\n":                            "x.cube: line 1: LUT_3D_SIZE -2; allowed: 2 to 256",
		"LUT_3D_SIZE 256\n" + colours:                 "x.cube: 8 colours; LUT_3D_SIZE 256 needs 16777216",
		"LUT_3D_SIZE 2\n" + colours[8:]:               "x.cube: 7 colours; LUT_3D_SIZE 2 needs 8",
		"LUT_3D_SIZE 2\n" + colours + "1 1 1":         "x.cube: line 10: more than the 8 colours of LUT_3D_SIZE 2",
		"LUT_3D_SIZE 2\n0 0 nan\n":                    `x.cube: line 2: "nan"; allowed: numbers from -1e37 to 1e37`,
		"LUT_3D_SIZE 2\n0 0 +Inf\n":                   `x.cube: line 2: "+Inf"; allowed: numbers from -1e37 to 1e37`,
		"LUT_3D_SIZE 2\n0 0 1e99\n":                   `x.cube: line 2: "1e99"; allowed: numbers from -1e37 to 1e37`,
		"LUT_3D_SIZE 2\nNaN 0 0\n":                    `x.cube: line 2: "NaN 0 0"; allowed: TITLE, LUT_3D_SIZE, DOMAIN_MIN, DOMAIN_MAX, LUT_3D_INPUT_RANGE and colours, three numbers each`,
		"LUT_3D_SIZE 2\n0 0\n":                        "x.cube: line 2: 2 numbers; allowed: 3",
		"LUT_3D_SIZE 2\n0 0 0 0\n":                    "x.cube: line 2: 4 numbers; allowed: 3",
		"0 0 0\n":                                     "x.cube: line 1: a colour before LUT_3D_SIZE",
		"LUT_1D_SIZE 2\n0 0 0\n1 1 1\n":               "x.cube: line 1: LUT_1D_SIZE: a 1D LUT; allowed: a 3D LUT, with LUT_3D_SIZE",
		"LUT_3D_SIZE 2\nLUT_3D_SIZE 3\n":              "x.cube: line 2: a second LUT_3D_SIZE",
		"DOMAIN_MIN 0 0\n":                            "x.cube: line 1: DOMAIN_MIN: 2 numbers; allowed: 3",
		"LUT_3D_INPUT_RANGE 0 inf\n":                  `x.cube: line 1: LUT_3D_INPUT_RANGE: "inf"; allowed: numbers from -1e37 to 1e37`,
		"LUT_3D_SIZE 2\n0 0 0\nTITLE \"a\"\n":         `x.cube: line 3: "TITLE \"a\"" among the colours; allowed: three numbers`,
		"DOMAIN_MIN 0 1 0\nLUT_3D_SIZE 2\n" + colours: "x.cube: the domain is from [0 1 0] to [1 1 1]; allowed: DOMAIN_MIN below DOMAIN_MAX",
		"# " + strings.Repeat("x", 1<<20):             "x.cube: line 1 is longer than any of a .cube file",
	} {
		c, err := ReadCube("x.cube", strings.NewReader(text))
		if c != nil || err == nil || err.Error() != want {
			t.Errorf("%.60q: %v\nwant %s", text, err, want)
		}
	}
	if _, err := LoadCube(t.TempDir()); err == nil || !strings.HasSuffix(err.Error(), ": not a regular file") {
		t.Error(err)
	}
}

// What is read can be applied, and is read again from what is written.
func FuzzReadCube(f *testing.F) {
	f.Add(wild(2).Encode())
	f.Add([]byte("# a\r\nTITLE \"b\"\r\nLUT_3D_SIZE 2\r\nLUT_3D_INPUT_RANGE -1e37 1e37\r\n" + strings.Repeat("-1e37 1e37 1e-30\n", 8)))
	f.Add([]byte("LUT_1D_SIZE 2\n0 0 0\n1 1 1"))
	img := manyColours()
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ReadCube("a.cube", bytes.NewReader(data))
		if err != nil {
			if c != nil || strings.Contains(err.Error(), "\n") || len(err.Error()) > 400 {
				t.Errorf("%v, %q", c, err)
			}
			return
		}
		c.Apply(img)
		again, err := ReadCube("b.cube", bytes.NewReader(c.Encode()))
		if err != nil || again.Size != c.Size || len(again.Nodes) != len(c.Nodes) {
			t.Errorf("%v", err)
		}
	})
}
