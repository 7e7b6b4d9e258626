package main

import (
	"context"
	"fmt"

	"hrlab/tracker"
)

type runsCheckCmd struct {
	DropMissing bool `help:"Replace what is missing or damaged by notes. Without this it is only named, for a disk may not be mounted."`
}

// Help has examples.
func (*runsCheckCmd) Help() string {
	return `Examples:

	hrlab runs check
	hrlab runs check --drop-missing`
}

// Run checks. The exit code is 1 where anything was wrong, repaired or not.
func (k *runsCheckCmd) Run(ctx context.Context, c *console, r *runsCmd) error {
	return r.with(ctx, func(s *tracker.Store) error {
		findings, err := s.Check(ctx, k.DropMissing)
		wrong, missing, repaired := 0, 0, 0
		for _, f := range findings {
			fmt.Fprintln(c.out, flat(f.String()))
			switch {
			case f.Leftover:
			case f.Repair != "":
				repaired++
			case f.Missing:
				missing++
			default:
				wrong++
			}
		}
		switch {
		case err != nil:
			return err
		case wrong > 0:
			return fmt.Errorf("%s: %w: it is damaged; go on with a backup, or with what sqlite3's .recover saves", r.DB, errUnsound)
		case missing > 0:
			return fmt.Errorf("%s: %w: what is missing or damaged was left as it is; put it back, or let --drop-missing replace it by notes", r.DB, errUnsound)
		case repaired > 0:
			return fmt.Errorf("%s: %w: repaired as printed above; another check finds nothing", r.DB, errUnsound)
		}
		_, err = fmt.Fprintf(c.out, "%s: no problems found\n", r.DB)
		return err
	})
}
