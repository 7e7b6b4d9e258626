package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"hrlab/report"
	"hrlab/tracker"
)

type runsListCmd struct {
	selection
	Limit   *int   `placeholder:"N" help:"Only the first N runs."`
	Deleted bool   `help:"Deleted runs too."`
	Columns string `predictor:"field" xor:"fields" placeholder:"FIELDS" help:"Comma-separated fields to show: id, name, experiment, status, created, started, ended, params.NAME, tags.NAME, metrics.NAME (or .min, .max)."`
	JSON    bool   `name:"json" xor:"as,fields" help:"Print a JSON array."`
	CSV     bool   `name:"csv" xor:"as" help:"Print CSV, with one column per parameter, tag and metric."`
}

// Help has examples.
func (*runsListCmd) Help() string {
	return `In a terminal, names are shortened and columns left out where the line is too short.

Examples:

	hrlab runs list --limit 10
	hrlab runs list --experiment boat --where 'metrics.style_match > 0.8' --sort=-metrics.content_kept
	hrlab runs list --columns id,name,params.content_weight,metrics.style.min,tags.pair
	hrlab runs list --where 'tags.pair = "boat_sunset" and status != failed' --csv`
}

// Run lists.
func (l *runsListCmd) Run(ctx context.Context, c *console, r *runsCmd) error {
	query := tracker.Query{Experiment: l.Experiment, Where: l.Where, Sort: l.Sort, Deleted: l.Deleted}
	if l.Limit != nil {
		if query.Limit = *l.Limit; query.Limit < 1 {
			return fmt.Errorf("limit %d: allowed: 1 or more", query.Limit)
		}
	}
	var fields []tracker.Field
	if l.Columns != "" {
		var err error
		if fields, err = tracker.Fields(l.Columns); err != nil {
			return err
		}
	}
	return r.with(ctx, func(s *tracker.Store) error {
		runs, err := s.Runs(ctx, query)
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
			if fields == nil {
				if fields, err = allFields(runs, l.Deleted); err != nil {
					return err
				}
			}
			return listCSV(c.out, runs, fields)
		case fields != nil:
			return printTable(c.out, chosen(runs, fields), c.width)
		}
		return printTable(c.out, usual(runs), c.width)
	})
}

// usual are the columns that are shown where none are chosen.
func usual(runs []tracker.Info) []column {
	list := []column{
		{head: "ID"},
		{head: "STATUS"},
		{head: "EXPERIMENT", least: 10, drop: 3},
		{head: "NAME", least: 14},
		{head: "CONTENT W.", least: 10},
		{head: "STYLE W.", least: 8, drop: 1},
		{head: "STEP", drop: 4},
		{head: "CONTENT", drop: 5},
		{head: "STYLE", drop: 6},
		{head: "KEPT", drop: 2},
		{head: "MATCH", drop: 2},
		{head: "WHEN", drop: 7},
	}
	for _, i := range runs {
		status := string(i.Status)
		if !i.Deleted.IsZero() {
			status += ", deleted"
		}
		for n, cell := range []string{
			strconv.FormatInt(i.ID, 10), status, i.Experiment, i.Name, i.Params["content_weight"].Text, i.Params["style_weight"].Text,
			step(i, "total"), last(i, "content"), last(i, "style"), last(i, report.ContentKept), last(i, report.StyleMatch), i.Created.Local().Format("2006-01-02 15:04"),
		} {
			list[n].cells = append(list[n].cells, flat(cell))
		}
	}
	return list
}

// chosen are the columns of fields. All may be shortened but those of numbers.
func chosen(runs []tracker.Info, fields []tracker.Field) (list []column) {
	for _, f := range fields {
		c := column{head: flat(f.Name)}
		for _, i := range runs {
			cell := ""
			switch v := f.Of(i).(type) {
			case nil:
				cell = "-"
			case float64:
				cell = strconv.FormatFloat(v, 'g', 4, 64)
			case time.Time:
				cell = v.Local().Format("2006-01-02 15:04")
			case int64:
				cell = strconv.FormatInt(v, 10)
			default:
				cell, c.least = fmt.Sprint(v), 6
			}
			c.cells = append(c.cells, flat(cell))
		}
		list = append(list, c)
	}
	return list
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

// allFields are those that CSV has where none are chosen.
func allFields(runs []tracker.Info, deleted bool) ([]tracker.Field, error) {
	fields, err := tracker.Fields("id, name, experiment, status, created")
	if err != nil {
		return nil, err
	}
	if deleted {
		fields = append(fields, tracker.Field{Name: "deleted", Of: func(i tracker.Info) any {
			if i.Deleted.IsZero() {
				return nil
			}
			return i.Deleted
		}})
	}
	params, tags, metrics := tracker.Names(runs)
	add := func(kind string, names []string, of func(i tracker.Info, name string) (value any, ok bool)) {
		for _, name := range names {
			fields = append(fields, tracker.Field{Name: kind + "." + name, Of: func(i tracker.Info) any {
				if v, ok := of(i, name); ok {
					return v
				}
				return nil
			}})
		}
	}
	add("params", params, func(i tracker.Info, name string) (any, bool) { v, ok := i.Params[name]; return v, ok })
	add("tags", tags, func(i tracker.Info, name string) (any, bool) { v, ok := i.Tags[name]; return v, ok })
	add("metrics", metrics, func(i tracker.Info, name string) (any, bool) { v, ok := i.Metrics[name]; return v.Last, ok })
	return fields, nil
}

func listCSV(w io.Writer, runs []tracker.Info, fields []tracker.Field) error {
	out := csv.NewWriter(w)
	var head []string
	for _, f := range fields {
		head = append(head, f.Name)
	}
	if err := out.Write(head); err != nil {
		return err
	}
	for _, i := range runs {
		var row []string
		for _, f := range fields {
			cell := ""
			switch v := f.Of(i).(type) {
			case nil:
			case float64:
				cell = strconv.FormatFloat(v, 'g', -1, 64)
			case time.Time:
				cell = v.Format(time.RFC3339)
			default:
				cell = fmt.Sprint(v)
			}
			row = append(row, cell)
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
