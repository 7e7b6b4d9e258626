package main

import (
	"context"
	"errors"

	"hrlab/tracker"
)

// runsCmd are the verbs on recorded runs.
type runsCmd struct {
	List    runsListCmd    `cmd:"" help:"List runs, newest first."`
	Show    runsShowCmd    `cmd:"" help:"Show a run, with its curves."`
	Diff    runsDiffCmd    `cmd:"" help:"Show what differs between two runs."`
	Get     runsGetCmd     `cmd:"" help:"Get a file of a run: its output, generator or checkpoint, or the thumbnail of a step."`
	Tag     runsTagCmd     `cmd:"" help:"Tag a run; KEY= removes the tag."`
	Note    runsNoteCmd    `cmd:"" help:"Add a note to a run."`
	Rm      runsRmCmd      `cmd:"" help:"Delete runs; restore brings them back, until gc."`
	Restore runsRestoreCmd `cmd:"" help:"Bring deleted runs back."`
	GC      runsGCCmd      `cmd:"" name:"gc" help:"Free the disk space of deleted runs."`
	Check   runsCheckCmd   `cmd:"" help:"Check the database and all its files, and say what is wrong."`
	Backup  runsBackupCmd  `cmd:"" help:"Copy the database and its files, even while runs are recorded."`
	Export  runsExportCmd  `cmd:"" help:"Export runs: CSV, JSON Lines, TensorBoard."`
	Copy    runsCopyCmd    `cmd:"" help:"Copy runs to another database: a file's or a server's."`
	Import  runsImportCmd  `cmd:"" help:"Import an export in JSON Lines."`

	dbFlags
}

// Help has examples.
func (*runsCmd) Help() string {
	return `Examples:

	hrlab runs list --where 'params.content_weight > 10 and status = finished'
	hrlab runs show 12
	hrlab runs get 12 output --out boat.png`
}

// selection says which runs.
type selection struct {
	Experiment string `predictor:"experiment" placeholder:"NAME" help:"Only runs of this experiment."`
	Where      string `placeholder:"FILTER" help:"Only runs that match the filter, such as: params.content_weight > 10 and metrics.style.last < 300 and tags.pair = \"boat\" and status != failed."`
	Sort       string `predictor:"field" placeholder:"FIELDS" help:"Comma-separated fields to sort by; - before a field sorts downwards, as in --sort=-metrics.style_match,id."`
}

func (s selection) runs(ctx context.Context, store *tracker.Store) ([]tracker.Info, error) {
	return store.Runs(ctx, tracker.Query{Experiment: s.Experiment, Where: s.Where, Sort: s.Sort})
}

// each calls do for several runs, after find has found them all.
func (r *runsCmd) each(ctx context.Context, names []string, find func(s *tracker.Store, ctx context.Context, idOrName string) (tracker.Info, error), do func(s *tracker.Store, ctx context.Context, id int64) error) error {
	return r.with(ctx, func(s *tracker.Store) error {
		var ids []int64
		for _, name := range names {
			i, err := find(s, ctx, name)
			if err != nil {
				return err
			}
			ids = append(ids, i.ID)
		}
		for _, id := range ids {
			if err := do(s, ctx, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// errUnsound says that something is missing or damaged, or was.
var errUnsound = errors.New("problems found")
