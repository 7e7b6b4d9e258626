package report

import (
	"bytes"
	"context"
	_ "embed" // the page
	"fmt"
	"html/template"
	"image"
	"slices"
	"strconv"
	"strings"

	"hrlab/picture"
	"hrlab/tracker"

	"golang.org/x/image/draw"
)

// Comparison shows the outputs of two or more runs beside each other.
type Comparison struct {
	Runs    []Run
	Content []byte   // a JPEG of the content picture of the first run; nil where it is not recorded
	Varied  []string // names of the settings that differ
}

// Compare compares runs. One without an output is an error, which names the run.
func Compare(ctx context.Context, store *tracker.Store, runs []tracker.Info) (*Comparison, error) {
	c := &Comparison{}
	for _, info := range runs {
		output, err := outputJPEG(ctx, store, info.ID, len(runs))
		if err == nil && output == nil {
			err = fmt.Errorf("run %d is %s and has no output", info.ID, info.Status)
		}
		if err != nil {
			return nil, err
		}
		c.Runs = append(c.Runs, Run{Info: info, Output: output, Seeds: 1})
	}
	c.Varied = slices.DeleteFunc(Varied(runs), func(name string) bool { return name == "content_weight" || name == "style_weight" })
	var err error
	c.Content, err = thumbnail(ctx, store, []tracker.Info{c.Runs[0].Info}, Content)
	return c, err
}

// Title names the runs: "runs 3, 7, 9".
func (c *Comparison) Title() string {
	var ids []string
	for _, run := range c.Runs {
		ids = append(ids, strconv.FormatInt(run.ID, 10))
	}
	return "runs " + strings.Join(ids, ", ")
}

//go:embed compare.html
var comparePage string

// HTML writes the comparison as one file, which needs no other file and no network: under a slider for two runs, side by side for
// more, with weights and measures below.
func (c *Comparison) HTML(path string) error {
	t, err := template.New("compare").Funcs(pageFuncs).Parse(comparePage)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	if err := t.Execute(&buf, c); err != nil {
		return err
	}
	return picture.WriteFile(path, buf.Bytes())
}

// SideBySide puts pictures side by side at their own sizes, with a gap of 4 px, on white.
func SideBySide(pictures ...image.Image) image.Image {
	const gap = 4
	w, h := -gap, 0
	for _, p := range pictures {
		w, h = w+gap+p.Bounds().Dx(), max(h, p.Bounds().Dy())
	}
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(out, out.Bounds(), image.White, image.Point{}, draw.Src)
	x := 0
	for _, p := range pictures {
		draw.Draw(out, p.Bounds().Sub(p.Bounds().Min).Add(image.Pt(x, 0)), p, p.Bounds().Min, draw.Src)
		x += gap + p.Bounds().Dx()
	}
	return out
}
