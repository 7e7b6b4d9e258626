package main

import (
	"context"
	"fmt"

	"hrlab/tracker"
)

type runsRmCmd struct {
	Runs []string `arg:"" name:"run" predictor:"run" help:"Runs."`
}

// Help has examples.
func (*runsRmCmd) Help() string {
	return `Examples:

	hrlab runs rm 12 13
	hrlab runs rm boat_sunset`
}

// Run deletes.
func (d *runsRmCmd) Run(ctx context.Context, r *runsCmd) error {
	return r.each(ctx, d.Runs, (*tracker.Store).Run, (*tracker.Store).Delete)
}

type runsRestoreCmd struct {
	Runs []string `arg:"" name:"run" predictor:"run" help:"Deleted runs."`
}

// Help has examples.
func (*runsRestoreCmd) Help() string {
	return `Examples:

	hrlab runs restore 12 13`
}

// Run restores.
func (d *runsRestoreCmd) Run(ctx context.Context, r *runsCmd) error {
	return r.each(ctx, d.Runs, (*tracker.Store).Deleted, (*tracker.Store).Restore)
}

type runsGCCmd struct{}

// Help has examples.
func (*runsGCCmd) Help() string {
	return `Examples:

	hrlab runs gc`
}

// Run frees.
func (*runsGCCmd) Run(ctx context.Context, c *console, r *runsCmd) error {
	return r.with(ctx, func(s *tracker.Store) error {
		freed, err := s.GC(ctx)
		if err == nil {
			_, err = fmt.Fprintf(c.out, "freed %d runs, %d files, %.1f MB\n", freed.Runs, freed.Files, float64(freed.Bytes)/1e6)
		}
		return err
	})
}
