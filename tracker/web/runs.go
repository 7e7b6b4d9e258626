package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"hrlab/tracker"
)

// pageLength is how many runs a page of the table has.
const pageLength = 50

// table is the page of runs.
type table struct {
	Query       tracker.Query
	FilterFault string // what is wrong with the filter
	SortFault   string // what is wrong with the order or the columns
	Columns     []column
	Choices     []choice // columns that there might be
	Usual       []string // the columns of an address that names none
	Rows        []row
	Cursor      int64
	First, Next string // addresses; empty where there is no such page
	Here        string // the address of the page
}

// column is a field; Label is it without params. and the like, and Sort the address with the order by it.
type column struct{ Field, Label, Sort, Arrow string }

type choice struct {
	Field string
	Shown bool
}

type row struct {
	shownRun
	Cells  []string
	Listed map[string]string // tags
}

// LastNote is the latest note of a run, or empty: all of them would make its row as tall as the page.
func (r row) LastNote() string {
	if len(r.Notes) == 0 {
		return ""
	}
	return r.Notes[len(r.Notes)-1].Text
}

// query is the query that an address stands for.
func query(q url.Values) (tracker.Query, error) {
	t := tracker.Query{Where: strings.TrimSpace(q.Get("where")), Sort: strings.TrimSpace(q.Get("sort")), Experiment: q.Get("experiment"), Deleted: q.Get("deleted") != "", Limit: pageLength}
	for name, to := range map[string]*int64{"after": &t.After} {
		if text := q.Get(name); text != "" {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil || n < 1 {
				return t, Bad(fmt.Errorf("%s: %q; allowed: the id of a run", name, text))
			}
			*to = n
		}
	}
	if text := q.Get("limit"); text != "" {
		const most = 1000
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > most {
			return t, Bad(fmt.Errorf("limit: %q; allowed: 1 to %d", text, most))
		}
		t.Limit = n
	}
	return t, nil
}

// with is an address with a parameter changed; an empty value removes it. A page of the list is left for its first.
func with(u *url.URL, name, value string) string {
	q := u.Query()
	q.Del("after")
	q.Set(name, value)
	if value == "" {
		q.Del(name)
	}
	return (&url.URL{Path: u.Path, RawQuery: q.Encode()}).String()
}

func (s *Server) runsPage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	q, err := query(r.URL.Query())
	if err != nil {
		return err
	}
	t := table{Query: q, Here: r.URL.RequestURI(), Usual: s.options.Columns}
	if t.Cursor, err = s.store.Cursor(ctx); err != nil {
		return err
	}
	q.Limit++ // to see whether there are more
	runs, err := s.store.Runs(ctx, q)
	if fault, ok := errors.AsType[*tracker.QueryError](err); ok {
		if fault.What == "filter" {
			t.FilterFault = fault.Error()
		} else {
			t.SortFault = fault.Error()
		}
	} else if err != nil {
		return err
	}
	if q.Limit--; len(runs) > q.Limit {
		runs = runs[:q.Limit]
		u := *r.URL
		values := u.Query()
		values.Set("after", strconv.FormatInt(runs[q.Limit-1].ID, 10))
		t.Next = "/runs?" + values.Encode()
	}
	if q.After > 0 {
		t.First = with(r.URL, "after", "")
	}
	shown := r.URL.Query()["column"]
	if len(shown) == 0 {
		shown = s.options.Columns
	}
	var fields []tracker.Field
	if len(shown) > 0 {
		if fields, err = tracker.Fields(strings.Join(shown, ",")); err != nil {
			t.SortFault = err.Error()
		}
	}
	sorted := strings.TrimSpace(strings.Split(q.Sort, ",")[0])
	for _, f := range fields {
		c := column{Field: f.Name, Label: f.Name[strings.IndexByte(f.Name, '.')+1:], Sort: with(r.URL, "sort", "-"+f.Name)}
		switch sorted {
		case f.Name:
			c.Arrow = "↑"
		case "-" + f.Name:
			c.Arrow, c.Sort = "↓", with(r.URL, "sort", f.Name)
		}
		t.Columns = append(t.Columns, c)
	}
	t.Choices = choices(runs, fields)
	withPictures, err := s.withPictures(r, runs)
	if err != nil {
		return err
	}
	for _, run := range withPictures {
		one := row{shownRun: run, Listed: maps.Clone(run.Tags)}
		for _, name := range s.options.Unlisted {
			delete(one.Listed, name)
		}
		for _, f := range fields {
			one.Cells = append(one.Cells, text(f.Of(run.Info)))
		}
		t.Rows = append(t.Rows, one)
	}
	title := "Runs"
	if q.Experiment != "" {
		title = q.Experiment
	}
	s.Show(w, r, Page{Title: title, Experiment: q.Experiment, Template: body("runs"), Data: t, Scripts: []string{"/assets/runs.js"}})
	return nil
}

// choices are the columns that runs could have, those that are shown first.
func choices(runs []tracker.Info, shown []tracker.Field) (list []choice) {
	for _, f := range shown {
		list = append(list, choice{f.Name, true})
	}
	names := map[string]bool{"created": true, "started": true, "ended": true, "experiment": true}
	for _, run := range runs {
		for key := range run.Params {
			names["params."+quoted(key)] = true
		}
		for key := range run.Metrics {
			names["metrics."+quoted(key)] = true
		}
		for key := range run.Tags {
			names["tags."+quoted(key)] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !slices.ContainsFunc(shown, func(f tracker.Field) bool { return f.Name == name }) {
			list = append(list, choice{name, false})
		}
	}
	return list
}

// quoted is a name as the filter has it.
func quoted(name string) string {
	if name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == "" {
		return name
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}

// text is the value of a field.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case float64:
		if math.IsNaN(v) {
			return "NaN"
		}
		return number(v)
	case time.Time:
		return when(v)
	}
	return fmt.Sprint(v)
}

// change changes the runs that a form names by run, as do says: delete, restore, tag and untag (key, value), note (text).
// Then it leads back.
func (s *Server) change(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return err
		}
		return Bad(err)
	}
	do, err := s.changing(r.PostForm)
	if err != nil {
		return Bad(err)
	}
	list, err := runIDs(r.PostForm["run"])
	if err != nil {
		return err
	}
	for _, id := range list { // all of them are there, or nothing is done
		if _, err := s.store.Run(r.Context(), strconv.FormatInt(id, 10)); err != nil {
			return err
		}
	}
	for _, id := range list {
		if err := do(r.Context(), id); err != nil {
			return err
		}
	}
	http.Redirect(w, r, back(r.PostForm.Get("back")), http.StatusSeeOther)
	return nil
}

// changing is what a form does with a run.
func (s *Server) changing(form url.Values) (func(ctx context.Context, run int64) error, error) {
	key, value, text := strings.TrimSpace(form.Get("key")), form.Get("value"), strings.TrimSpace(form.Get("text"))
	switch do := form.Get("do"); do {
	case "delete":
		return s.store.Delete, nil
	case "restore":
		return s.store.Restore, nil
	case "tag", "untag":
		if key == "" {
			return nil, errors.New("a tag needs a name")
		}
		if do == "untag" {
			return func(ctx context.Context, run int64) error { return s.store.Untag(ctx, run, key) }, nil
		}
		return func(ctx context.Context, run int64) error { return s.store.Tag(ctx, run, key, value) }, nil
	case "note":
		if text == "" {
			return nil, errors.New("the note is empty")
		}
		return func(ctx context.Context, run int64) error { return s.store.Note(ctx, run, text) }, nil
	default:
		return nil, fmt.Errorf("do: %q; allowed: delete, restore, tag, untag, note", do)
	}
}

// back is an address of this server to go on with.
func back(to string) string {
	if u, err := url.Parse(to); err == nil && u.Scheme == "" && u.Host == "" && strings.HasPrefix(u.Path, "/") && !strings.HasPrefix(to, "//") && !strings.Contains(to, `\`) {
		return cmp.Or(to, "/")
	}
	return "/"
}

// maxChosen is how many runs one request may name.
const maxChosen = 1000

// runIDs are the ids that a request names.
func runIDs(texts []string) (list []int64, err error) {
	for _, text := range texts {
		for part := range strings.SplitSeq(text, ",") {
			id, err := strconv.ParseInt(strings.TrimSpace(part), 10, 64)
			if err != nil || id < 1 {
				return nil, Bad(fmt.Errorf("run: %q; allowed: the id of a run", part))
			}
			if !slices.Contains(list, id) {
				list = append(list, id)
			}
		}
	}
	if len(list) == 0 || len(list) > maxChosen {
		return nil, Bad(fmt.Errorf("%d runs are chosen; allowed: 1 to %d", len(list), maxChosen))
	}
	return list, nil
}
