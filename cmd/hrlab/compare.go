package main

import (
	"context"
	"fmt"
	"image"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"hrlab/picture"

	"hrlab/report"
	"hrlab/tracker"
)

type compareCmd struct {
	Which []string `arg:"" name:"run" predictor:"run" help:"Two runs or more, by id or name."`
	Out   string   `placeholder:"FILE" help:"Where it goes: a page (.html), or a picture of the outputs side by side (.png, .jpg, .webp); default: compare_A_B.html, with a number where there is one."`
	Open  bool     `help:"Open it when it is written."`
	dbFlags
}

// Help has examples.
func (*compareCmd) Help() string {
	return `Two outputs are shown under a slider, more side by side; weights and measures stand below.

Examples:

	hrlab compare 12 15
	hrlab compare 12 15 --open
	hrlab compare 12 15 --out both.png`
}

// Run compares.
func (v *compareCmd) Run(ctx context.Context, c *console) error {
	if len(v.Which) < 2 {
		return fmt.Errorf("%s: is one run; name two or more", v.Which[0])
	}
	return v.with(ctx, func(s *tracker.Store) error {
		var runs []tracker.Info
		var ids []string
		for _, name := range v.Which {
			i, err := s.Run(ctx, name)
			if err != nil {
				return err
			}
			runs = append(runs, i)
			ids = append(ids, strconv.FormatInt(i.ID, 10))
		}
		out, err := newPlace(v.Out, "compare_"+strings.Join(ids, "_")+".html")
		if err != nil {
			return err
		}
		if slices.Contains([]string{".html", ".htm"}, strings.ToLower(filepath.Ext(out.path))) {
			err = v.page(ctx, s, runs, &out)
		} else {
			err = v.picture(ctx, s, runs, &out)
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(c.messages, out.path)
		if v.Open {
			c.open(ctx, out.path)
		}
		return nil
	})
}

func (*compareCmd) page(ctx context.Context, s *tracker.Store, runs []tracker.Info, out *place) error {
	if err := picture.CheckWritable(out.path); err != nil {
		return err
	}
	comparison, err := report.Compare(ctx, s, runs)
	if err != nil {
		return err
	}
	return out.write(comparison.HTML)
}

func (*compareCmd) picture(ctx context.Context, s *tracker.Store, runs []tracker.Info, out *place) error {
	var names []string
	for _, i := range runs {
		names = append(names, strconv.FormatInt(i.ID, 10))
	}
	how := picture.Encoding{Comment: "hrlab: outputs of runs " + strings.Join(names, ", ")}
	if err := how.Check(out.path); err != nil {
		if picture.Format(out.path) == "" {
			return endsIn(out.path, ".html", ".htm", ".png", ".jpg", ".jpeg", ".webp")
		}
		return err
	}
	var outputs []image.Image
	for _, i := range runs {
		output, err := readOutput(ctx, s, i.ID)
		if err != nil {
			return err
		}
		outputs = append(outputs, output)
	}
	return out.write(func(path string) error { return picture.Save(path, report.SideBySide(outputs...), how) })
}
