package picture

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Cube is a 3D LUT: a table that gives a colour for a colour. Between its nodes it is interpolated.
type Cube struct {
	Title    string
	Size     int          // nodes along an axis, 2 to 256
	Min, Max [3]float32   // red, green and blue of the first and the last node, the domain; inputs beyond are clipped to it
	Nodes    [][3]float32 // Size³ outputs, red changing fastest, then green; 0 to 1 is what a picture shows, more is clipped
}

// Sizes of a 3D LUT that the specification allows, and the largest number in one.
const leastCube, mostCube, mostNode = 2, 256, 1e37

// LoadCube reads a 3D LUT from a .cube file (Adobe, Cube LUT Specification 1.0), and the line LUT_3D_INPUT_RANGE that DaVinci Resolve
// writes in place of the domain. A 1D LUT is refused. Errors are one line that begins with the path.
func LoadCube(path string) (*Cube, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadCube(path, f)
}

// ReadCube reads a 3D LUT as LoadCube does, from r. Errors begin with name.
func ReadCube(name string, r io.Reader) (*Cube, error) {
	p := cubeParser{cube: Cube{Max: [3]float32{1, 1, 1}}, lines: bufio.NewScanner(r), known: map[string]bool{}}
	switch err := p.parse(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("%s: line %d is longer than any of a .cube file", name, p.line+1)
	case p.lines.Err() != nil:
		return nil, unread(name, err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &p.cube, nil
}

type cubeParser struct {
	cube  Cube
	lines *bufio.Scanner
	line  int             // its number
	known map[string]bool // the keywords so far
}

func (p *cubeParser) parse() error {
	for p.lines.Scan() {
		p.line++
		line := strings.TrimSpace(strings.TrimPrefix(p.lines.Text(), "\ufeff")) // some programs begin with a byte order mark
		if line == "" || line[0] == '#' {
			continue
		}
		if err := p.parseLine(line); err != nil {
			return fmt.Errorf("line %d: %w", p.line, err)
		}
	}
	if err := p.lines.Err(); err != nil {
		return err
	}
	c := &p.cube
	switch n := len(c.Nodes); {
	case c.Size == 0:
		return errors.New("no line LUT_3D_SIZE: no 3D LUT in a .cube file")
	case n < p.wanted():
		return fmt.Errorf("%d colours; LUT_3D_SIZE %d needs %d", n, c.Size, p.wanted())
	}
	for i, low := range c.Min {
		if !(low < c.Max[i]) {
			return fmt.Errorf("the domain is from %g to %g; allowed: DOMAIN_MIN below DOMAIN_MAX", c.Min, c.Max)
		}
	}
	return nil
}

func (p *cubeParser) wanted() int { return p.cube.Size * p.cube.Size * p.cube.Size }

func (p *cubeParser) parseLine(line string) error {
	c := &p.cube
	if strings.IndexByte("+-.0123456789", line[0]) >= 0 {
		switch {
		case c.Size == 0:
			return errors.New("a colour before LUT_3D_SIZE")
		case len(c.Nodes) == p.wanted():
			return fmt.Errorf("more than the %d colours of LUT_3D_SIZE %d", p.wanted(), c.Size)
		}
		v, err := numbers(line, 3)
		if err == nil {
			c.Nodes = append(c.Nodes, [3]float32(v))
		}
		return err
	}
	keyword, value := line, ""
	if i := strings.IndexAny(line, " \t"); i >= 0 {
		keyword, value = line[:i], strings.TrimSpace(line[i:])
	}
	switch {
	case len(c.Nodes) > 0:
		return fmt.Errorf("%.40q among the colours; allowed: three numbers", line)
	case p.known[keyword]:
		return fmt.Errorf("a second %s", keyword)
	}
	p.known[keyword] = true
	switch keyword {
	case "TITLE":
		c.Title = strings.Trim(value, `"`)
	case "LUT_3D_SIZE":
		n, err := strconv.Atoi(value)
		if err != nil || n < leastCube || n > mostCube {
			return fmt.Errorf("LUT_3D_SIZE %.40s; allowed: %d to %d", value, leastCube, mostCube)
		}
		c.Size = n
	case "DOMAIN_MIN", "DOMAIN_MAX":
		v, err := numbers(value, 3)
		if err != nil {
			return fmt.Errorf("%s: %w", keyword, err)
		}
		*map[string]*[3]float32{"DOMAIN_MIN": &c.Min, "DOMAIN_MAX": &c.Max}[keyword] = [3]float32(v)
	case "LUT_3D_INPUT_RANGE":
		v, err := numbers(value, 2)
		if err != nil {
			return fmt.Errorf("%s: %w", keyword, err)
		}
		c.Min, c.Max = [3]float32{v[0], v[0], v[0]}, [3]float32{v[1], v[1], v[1]}
	case "LUT_1D_SIZE":
		return errors.New("LUT_1D_SIZE: a 1D LUT; allowed: a 3D LUT, with LUT_3D_SIZE")
	default:
		return fmt.Errorf("%.40q; allowed: TITLE, LUT_3D_SIZE, DOMAIN_MIN, DOMAIN_MAX, LUT_3D_INPUT_RANGE and colours, three numbers each", line)
	}
	return nil
}

// numbers reads n numbers.
func numbers(text string, n int) (values []float32, err error) {
	for field := range strings.FieldsSeq(text) {
		v, err := strconv.ParseFloat(field, 32)
		if err != nil || !(math.Abs(v) <= mostNode) {
			return nil, fmt.Errorf("%.40q; allowed: numbers from -1e37 to 1e37", field)
		}
		values = append(values, float32(v))
	}
	if len(values) != n {
		return nil, fmt.Errorf("%d numbers; allowed: %d", len(values), n)
	}
	return values, nil
}

// Encode returns the LUT as a .cube file (Adobe, Cube LUT Specification 1.0), with six digits after the point. Of the title it keeps
// printable ASCII other than quotation marks, as much as fits a line.
func (c *Cube) Encode() []byte {
	title := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' {
			return '_'
		}
		return r
	}, c.Title)
	const longest = 240 // a line has at most 250 bytes
	var file bytes.Buffer
	fmt.Fprintf(&file, "TITLE \"%s\"\nLUT_3D_SIZE %d\nDOMAIN_MIN %g %g %g\nDOMAIN_MAX %g %g %g\n", // FFmpeg takes no domain before the size
		title[:min(len(title), longest)], c.Size, c.Min[0], c.Min[1], c.Min[2], c.Max[0], c.Max[1], c.Max[2])
	data := slices.Grow(file.Bytes(), 27*len(c.Nodes))
	for _, node := range c.Nodes {
		for i, v := range node {
			data = append(strconv.AppendFloat(data, float64(v), 'f', 6, 32), " \n"[i/2])
		}
	}
	return data
}

// Hald returns the LUT as a HALD CLUT (Eskil Steenberg, quelsolaar.com/technology/clut.html): a square picture whose pixels are the
// nodes in their order, in 16 bits. That of a LUT of 36³ is 216x216 and called level 6, that of 64³ is 512x512, level 8. The
// size must be the square of a level and the domain 0 to 1, otherwise the result is nil.
func (c *Cube) Hald() *image.NRGBA64 {
	level := int(math.Sqrt(float64(c.Size)))
	if level*level != c.Size || c.Min != [3]float32{} || c.Max != [3]float32{1, 1, 1} {
		return nil
	}
	out := image.NewNRGBA64(image.Rect(0, 0, level*c.Size, level*c.Size))
	for i, node := range c.Nodes {
		pixel := binary.BigEndian.AppendUint64(out.Pix[:8*i], math.MaxUint16)
		for k, v := range node {
			binary.BigEndian.PutUint16(pixel[8*i+2*k:], uint16(math.Round(math.MaxUint16*min(max(float64(v), 0), 1))))
		}
	}
	return out
}
