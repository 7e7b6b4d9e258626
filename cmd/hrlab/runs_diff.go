package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"

	"hrlab/picture"

	"hrlab/report"
	"hrlab/tracker"
)

type runsDiffCmd struct {
	A    string `arg:"" predictor:"run" help:"A run."`
	B    string `arg:"" predictor:"run" help:"Another run."`
	Out  string `placeholder:"FILE" help:"Write a picture of the difference of their outputs, four times as strong; a folder gets diff_A_B.png."`
	JSON bool   `name:"json" help:"Print a JSON array."`
}

// Help has examples.
func (*runsDiffCmd) Help() string {
	return `Examples:

	hrlab runs diff 12 15
	hrlab runs diff 12 15 --out diff.png`
}

// Run compares.
func (d *runsDiffCmd) Run(ctx context.Context, c *console, r *runsCmd) error {
	return r.with(ctx, func(s *tracker.Store) error {
		a, err := s.Run(ctx, d.A)
		if err != nil {
			return err
		}
		b, err := s.Run(ctx, d.B)
		if err != nil {
			return err
		}
		diff, err := s.Diff(ctx, a.ID, b.ID)
		if err != nil {
			return err
		}
		if d.Out != "" {
			if err := differencePicture(ctx, s, a.ID, b.ID, d.Out); err != nil {
				return err
			}
		}
		if d.JSON {
			return json.NewEncoder(c.out).Encode(diff)
		}
		t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		fmt.Fprintf(t, "\trun %d\trun %d\n", a.ID, b.ID)
		for _, d := range diff {
			fmt.Fprintf(t, "%s %s\t%s\t%s\n", d.What, flat(d.Key), cmp.Or(flat(d.A), "-"), cmp.Or(flat(d.B), "-"))
		}
		return t.Flush()
	})
}

func differencePicture(ctx context.Context, s *tracker.Store, a, b int64, out string) error {
	where, err := newPlace(out, fmt.Sprintf("diff_%d_%d.png", a, b))
	if err != nil {
		return err
	}
	how := picture.Encoding{Comment: fmt.Sprintf("hrlab: four times the difference of the outputs of runs %d and %d", a, b)}
	if err := how.Check(where.path); err != nil {
		return err
	}
	var pictures [2]picture.Picture
	for i, id := range []int64{a, b} {
		if pictures[i], err = readOutput(ctx, s, id); err != nil {
			return err
		}
	}
	if p, q := pictures[0].Bounds().Size(), pictures[1].Bounds().Size(); p != q {
		return fmt.Errorf("the outputs of runs %d and %d differ in size: %v and %v", a, b, p, q)
	}
	return where.write(func(path string) error {
		return picture.Save(path, report.Difference(pictures[0], pictures[1]), how)
	})
}

// readOutput reads the output of a run.
func readOutput(ctx context.Context, s *tracker.Store, run int64) (p picture.Picture, err error) {
	file, err := s.OpenArtifact(ctx, run, report.Output)
	if errors.Is(err, tracker.ErrNotFound) {
		err = fmt.Errorf("run %d has no %s%s", run, report.Output, having(ctx, s, run))
	}
	if err != nil {
		return p, err
	}
	p, err = picture.Read(fmt.Sprintf("run %d: artifact %q", run, report.Output), file)
	return p, errors.Join(err, file.Close())
}
