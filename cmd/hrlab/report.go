package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"hrlab/picture"

	"hrlab/report"
	"hrlab/tracker"
)

type reportCmd struct {
	Experiment string `predictor:"experiment" placeholder:"NAME" help:"The experiment to report on; default: that of the newest run."`
	Out        string `placeholder:"FILE" help:"Where the report goes (.html, .md; or a folder); default: report.html, with a number where there is one."`
	Format     string `default:"" enum:",html,markdown" placeholder:"html|markdown" help:"html: one file that needs nothing else; markdown: with a folder of pictures. Default: by the extension of --out."`
	Open       bool   `help:"Open the report when it is written."`
	dbFlags
}

// Help has examples.
func (*reportCmd) Help() string {
	return `Examples:

	hrlab report
	hrlab report --experiment boat --out boat.html
	hrlab report --experiment boat --out boat.md   # Markdown, with a folder of pictures`
}

// Run writes the report. Outputs that cannot be read are left out, and named.
func (r *reportCmd) Run(ctx context.Context, c *console) (err error) {
	store, err := r.openThere(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	out, err := r.place()
	if err != nil {
		return err
	}
	if r.Experiment == "" {
		newest, err := store.Runs(ctx, tracker.Query{Limit: 1})
		if err != nil {
			return err
		}
		if len(newest) == 0 {
			return fmt.Errorf("%s has no runs yet: hrlab sweep makes some", r.DB)
		}
		r.Experiment = newest[0].Experiment
	}
	comparison, err := report.New(ctx, store, r.Experiment)
	if err != nil {
		return err
	}
	write := comparison.HTML
	if strings.EqualFold(filepath.Ext(out.path), ".md") {
		write = comparison.Markdown
	}
	if err := out.write(write); err != nil {
		return err
	}
	for _, p := range comparison.Pairs {
		for _, m := range p.Maps {
			fmt.Fprintf(c.messages, "%s: %s\n", p.Name, m.Suggestion())
		}
		if len(p.Runs) > 0 {
			fmt.Fprintf(c.messages, "%s: %s\n", p.Name, p.Suggestion())
		}
		if command := p.FullSize(); command != "" {
			fmt.Fprintf(c.messages, "at full size: %s%s\n", command, r.asFlag())
		}
	}
	fmt.Fprintln(c.messages, out.path)
	if r.Open {
		c.open(ctx, out.path)
	}
	for _, fault := range comparison.Faults {
		fmt.Fprintln(c.messages, fault)
	}
	if len(comparison.Faults) > 0 {
		return fmt.Errorf("%s: %w", out.path, errLeftOut)
	}
	return nil
}

// place says where the report goes.
func (r *reportCmd) place() (out place, err error) {
	made, allowed := "report.html", []string{".html", ".htm"}
	switch r.Format {
	case "markdown":
		made, allowed = "report.md", []string{".md"}
	case "":
		allowed = append(allowed, ".md")
	}
	if out, err = newPlace(r.Out, made); err == nil {
		err = endsIn(out.path, allowed...)
	}
	if err == nil {
		err = picture.CheckWritable(out.path)
	}
	return out, err
}

var errLeftOut = errors.New("outputs are left out, because their files are missing or damaged; hrlab runs check says more")
