package main

import (
	"context"
	"fmt"
	"strings"

	"hrlab/tracker"
)

type runsTagCmd struct {
	Which string   `arg:"" name:"run" predictor:"run" help:"The run."`
	Tags  []string `arg:"" name:"key=value" help:"Tags; KEY= removes one."`
}

// Help has examples.
func (*runsTagCmd) Help() string {
	return `Examples:

	hrlab runs tag 12 keep=yes 'why=best sky'
	hrlab runs tag 12 keep=   # remove the tag`
}

// Run tags.
func (t *runsTagCmd) Run(ctx context.Context, r *runsCmd) error {
	return r.with(ctx, func(s *tracker.Store) error {
		i, err := s.Run(ctx, t.Which)
		if err != nil {
			return err
		}
		for _, tag := range t.Tags {
			key, value, ok := strings.Cut(tag, "=")
			switch {
			case !ok || key == "":
				return fmt.Errorf("tag %q: allowed: KEY=VALUE, or KEY= to remove it", tag)
			case value == "":
				err = s.Untag(ctx, i.ID, key)
			default:
				err = s.Tag(ctx, i.ID, key, value)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

type runsNoteCmd struct {
	Which string `arg:"" name:"run" predictor:"run" help:"The run."`
	Text  string `arg:"" help:"The note."`
}

// Help has examples.
func (*runsNoteCmd) Help() string {
	return `Examples:

	hrlab runs note 12 'the water is too dark'`
}

// Run adds the note.
func (n *runsNoteCmd) Run(ctx context.Context, r *runsCmd) error {
	return r.with(ctx, func(s *tracker.Store) error {
		i, err := s.Run(ctx, n.Which)
		if err != nil {
			return err
		}
		return s.Note(ctx, i.ID, n.Text)
	})
}
