package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"hrlab/tracker"
)

type runsCopyCmd struct {
	From  dbURL  `required:"" placeholder:"URL" help:"The database to copy from."`
	To    dbURL  `required:"" placeholder:"URL" help:"The database to copy to. A file is made where there is none."`
	Where string `placeholder:"FILTER" help:"Only runs that match the filter, as of runs list."`
}

// Help has examples.
func (*runsCopyCmd) Help() string {
	return `Examples:

	hrlab runs copy --from hrlab.db --to postgres://lab@server/hrlab
	hrlab runs copy --from postgres://lab@server/hrlab --to mine.db --where 'experiment = boat'   # again: nothing twice`
}

// Run copies runs that have ended, with everything they have. Those that are there already stay as they are. The exit code is 1
// where files are missing or damaged, which the copies then lack.
func (m *runsCopyCmd) Run(ctx context.Context, c *console, r *runsCmd) error {
	from, to := dbFlags{DB: m.From, Artifacts: r.Artifacts}, dbFlags{DB: m.To, Artifacts: r.Artifacts}
	for _, d := range []*dbFlags{&from, &to} {
		if !tracker.IsServer(string(d.DB)) {
			d.Artifacts = ""
		}
	}
	return from.with(ctx, func(source *tracker.Store) error {
		runs, err := source.Runs(ctx, tracker.Query{Where: m.Where, Sort: "id"})
		if err != nil {
			return err
		}
		all := len(runs)
		runs = slices.DeleteFunc(runs, func(i tracker.Info) bool { return i.Status == tracker.Queued || i.Status == tracker.Running })
		target, err := to.openToWrite(ctx)
		if err != nil {
			return err
		}
		ids, there, err := source.Copy(ctx, target, runs)
		text := fmt.Sprintf("%d runs copied", len(ids))
		if len(there) > 0 {
			text += fmt.Sprintf(", %d there already", len(there))
		}
		if open := all - len(runs); open > 0 {
			text += fmt.Sprintf(", %d left for another time: queued or running", open)
		}
		fmt.Fprintln(c.messages, text)
		return errors.Join(incomplete(c, m.To.String(), err), target.Close())
	})
}
