package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

type runsImportCmd struct {
	File string `arg:"" help:"An export in JSON Lines; - is standard input."`
}

// Help has examples.
func (*runsImportCmd) Help() string {
	return `Examples:

	hrlab runs import runs.jsonl   # again: runs that are there already stay as they are
	zcat runs.jsonl.gz | hrlab runs import - --db copy.db`
}

// Run imports. Where there is no database it makes one. Runs that are there already stay as they are.
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
	ids, there, err := s.Import(ctx, in)
	if err != nil {
		err = fmt.Errorf("%s: %w; %d runs were imported", filepath.Base(m.File), err, len(ids))
	} else {
		text := fmt.Sprintf("%d runs imported", len(ids))
		if len(there) > 0 {
			text += fmt.Sprintf(", %d there already", len(there))
		}
		fmt.Fprintln(c.messages, text)
		for _, id := range there {
			i, err := s.Run(ctx, strconv.FormatInt(id, 10))
			if err == nil && !i.Deleted.IsZero() {
				fmt.Fprintf(c.messages, "run %d is deleted: hrlab runs restore %d%s\n", id, id, r.asFlag())
			}
		}
	}
	return errors.Join(err, s.Close())
}
