package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"hrlab/report"
	"hrlab/tracker"
)

type runsListCmd struct {
	selection
	JSON bool `name:"json" xor:"as" help:"Print a JSON array."`
	CSV  bool `name:"csv" xor:"as" help:"Print CSV, with one column per parameter and metric."`
}

// Help has examples.
func (*runsListCmd) Help() string {
	return `Examples:

	hrlab runs list
	hrlab runs list --experiment boat --where 'metrics.style_match > 0.8' --sort=-metrics.content_kept
	hrlab runs list --where 'tags.pair = "boat_sunset" and status != failed' --csv`
}

// Run lists.
func (l *runsListCmd) Run(ctx context.Context, c *console, r *runsCmd) error {
	return r.with(ctx, func(s *tracker.Store) error {
		runs, err := l.runs(ctx, s)
		if err != nil {
			return err
		}
		switch {
		case l.JSON:
			out := json.NewEncoder(c.out)
			out.SetEscapeHTML(false)
			out.SetIndent("", " ")
			return out.Encode(runs)
		case l.CSV:
			return listCSV(c.out, runs)
		}
		t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "ID\tSTATUS\tEXPERIMENT\tNAME\tCONTENT W.\tSTYLE W.\tSTEP\tCONTENT\tSTYLE\tKEPT\tMATCH\tWHEN")
		for _, i := range runs {
			fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", i.ID, i.Status, short(i.Experiment), short(i.Name), short(i.Params["content_weight"].Text), short(i.Params["style_weight"].Text),
				step(i, "total"), last(i, "content"), last(i, "style"), last(i, report.ContentKept), last(i, report.StyleMatch), i.Created.Local().Format("2006-01-02 15:04"))
		}
		return t.Flush()
	})
}

func last(i tracker.Info, metric string) string {
	if m, ok := i.Metrics[metric]; ok {
		return strconv.FormatFloat(m.Last, 'g', 4, 64)
	}
	return "-"
}

func step(i tracker.Info, metric string) string {
	if m, ok := i.Metrics[metric]; ok {
		return strconv.FormatInt(m.LastStep, 10)
	}
	return "-"
}

func listCSV(w io.Writer, runs []tracker.Info) error {
	params, metrics := map[string]bool{}, map[string]bool{}
	for _, i := range runs {
		for name := range i.Params {
			params[name] = true
		}
		for name := range i.Metrics {
			metrics[name] = true
		}
	}
	out := csv.NewWriter(w)
	head := []string{"id", "name", "experiment", "status", "created"}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		head = append(head, "params."+name)
	}
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		head = append(head, "metrics."+name)
	}
	if err := out.Write(head); err != nil {
		return err
	}
	for _, i := range runs {
		row := []string{strconv.FormatInt(i.ID, 10), i.Name, i.Experiment, string(i.Status), i.Created.Format(time.RFC3339)}
		for _, name := range slices.Sorted(maps.Keys(params)) {
			row = append(row, i.Params[name].Text)
		}
		for _, name := range slices.Sorted(maps.Keys(metrics)) {
			text := ""
			if m, ok := i.Metrics[name]; ok {
				text = strconv.FormatFloat(m.Last, 'g', -1, 64)
			}
			row = append(row, text)
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
