package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

type runsImportCmd struct {
	File string `arg:"" help:"An export in JSON Lines; - is standard input."`
}

// Help has examples.
func (*runsImportCmd) Help() string {
	return `Examples:

	hrlab runs import runs.jsonl
	zcat runs.jsonl.gz | hrlab runs import - --db copy.db`
}

// Run imports. Where there is no database it makes one.
func (m *runsImportCmd) Run(ctx context.Context, c *console, r *runsCmd) (err error) {
	in := os.Stdin
	if m.File != "-" {
		if in, err = os.Open(m.File); err != nil {
			return fmt.Errorf("%s: %w", m.File, errors.Unwrap(err))
		}
		defer in.Close()
	}
	s, err := r.openToWrite(ctx)
	if err != nil {
		return err
	}
	ids, err := s.Import(ctx, in)
	if err != nil {
		err = fmt.Errorf("%s: %w; %d runs were imported", filepath.Base(m.File), err, len(ids))
	} else {
		fmt.Fprintf(c.messages, "%d runs imported\n", len(ids))
	}
	return errors.Join(err, s.Close())
}
