package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"hrlab/picture"

	"hrlab/report"
	"hrlab/tracker"

	"github.com/google/renameio/v2"
)

type runsExportCmd struct {
	selection
	Format string `default:"" enum:",csv,jsonl,tensorboard" placeholder:"jsonl|csv|tensorboard" help:"jsonl: everything, for import; csv: the curves; tensorboard: event files, with parameters for HParams. Default: by the extension of --out, else jsonl."`
	Out    string `required:"" placeholder:"FILE|DIR|-" help:"A file, or a folder that gets runs.jsonl or runs.csv; - for standard output; for tensorboard a directory."`
}

// Help has examples.
func (*runsExportCmd) Help() string {
	return `Examples:

	hrlab runs export --out runs.jsonl
	hrlab runs export --experiment boat --format csv --out - | head
	hrlab runs export --format tensorboard --out events`
}

// Run exports. The exit code is 1 where files are missing or damaged, which the export then lacks.
func (e *runsExportCmd) Run(ctx context.Context, c *console, r *runsCmd) error {
	return r.with(ctx, func(s *tracker.Store) error {
		runs, err := e.runs(ctx, s)
		if err != nil {
			return err
		}
		switch {
		case e.Format == "tensorboard" && e.Out == "-":
			return errors.New("--out -: event files are many; name a directory")
		case e.Format == "tensorboard":
			if err := incomplete(c, e.Out, s.ExportTensorBoard(ctx, e.Out, runs, telling(runs)...)); err != nil {
				return err
			}
			fmt.Fprintf(c.messages, "%d runs; look at them: tensorboard --logdir %s\n", len(runs), quote(e.Out))
			return nil
		}
		out, err := e.place()
		if err != nil {
			return err
		}
		write := s.ExportJSON
		if e.Format == "csv" {
			write = s.ExportCSV
		}
		if e.Out == "-" {
			return incomplete(c, "the export", write(ctx, c.out, runs))
		}
		if err := picture.CheckWritable(out.path); err != nil {
			return err
		}
		var partial error // the file is there all the same
		err = out.write(func(path string) error {
			file, err := renameio.NewPendingFile(linked(path), renameio.WithPermissions(0o666), renameio.WithTempDir(filepath.Dir(linked(path))))
			if err != nil {
				return err
			}
			defer file.Cleanup() //nolint:errcheck // after CloseAtomicallyReplace it does nothing
			partial = incomplete(c, path, write(ctx, file, runs))
			if partial != nil && !errors.Is(partial, errUnsound) {
				return partial
			}
			return file.CloseAtomicallyReplace()
		})
		if err != nil {
			return err
		}
		return partial
	})
}

// place says where the export goes, and in which format: that of the extension, unless --format says another.
func (e *runsExportCmd) place() (out place, err error) {
	extension := strings.ToLower(filepath.Ext(e.Out))
	switch folder := isFolder(e.Out); {
	case e.Format == "" && extension == ".csv" && !folder:
		e.Format = "csv"
	case e.Format == "":
		e.Format = "jsonl"
	}
	if out, err = newPlace(e.Out, "runs."+e.Format); err == nil {
		err = endsIn(out.path, "."+e.Format)
	}
	return out, err
}

// telling are the parameters that tell runs apart: the two weights, and what else differs.
func telling(runs []tracker.Info) []string {
	names := []string{"content_weight", "style_weight"}
	for _, name := range append(report.Varied(runs), "seed") {
		different := func(r tracker.Info) bool { return r.Params[name].Text != runs[0].Params[name].Text }
		if !slices.Contains(names, name) && slices.ContainsFunc(runs, different) {
			names = append(names, name)
		}
	}
	return names
}

type runsBackupCmd struct {
	Out string `required:"" placeholder:"FILE" help:"The copy, which must not be there yet; its files go to FILE.artifacts. A folder gets one with the database's name, and a number where there is one."`
}

// Help has examples.
func (*runsBackupCmd) Help() string {
	return `Examples:

	hrlab runs backup --out /media/disk/hrlab.db`
}

// Run copies. The exit code is 1 where files are missing or damaged, which the backup then lacks.
func (b *runsBackupCmd) Run(ctx context.Context, c *console, r *runsCmd) error {
	return r.with(ctx, func(s *tracker.Store) error {
		out, err := newPlace(b.Out, filepath.Base(s.Name()))
		if err != nil {
			return err
		}
		return incomplete(c, out.path, s.Backup(ctx, out.path)) // which writes over nothing
	})
}

// incomplete prints the files that the export or backup at out lacks. It returns other errors as they are.
func incomplete(c *console, out string, err error) error {
	partial, ok := errors.AsType[*tracker.IncompleteError](err)
	if !ok {
		return err
	}
	for _, missing := range partial.Missing {
		fmt.Fprintln(c.messages, oneLine(missing))
	}
	return fmt.Errorf("%s: %w: these %d files of runs are missing or damaged; everything else is there", out, errUnsound, len(partial.Missing))
}
