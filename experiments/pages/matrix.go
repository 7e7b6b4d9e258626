package pages

import (
	"cmp"
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strings"

	"hrlab/report"
	"hrlab/tracker"
	"hrlab/tracker/web"
)

var matrixBody = body("matrix.html")

// matrix is the page of outputs by two settings.
type matrix struct {
	*subject
	Settings, Metrics   []field
	Row, Column, Colour string
	Title               string // of the metric that colours
	Low, High           float64
	Suggested           int64    // the run that is suggested, or 0
	Suggestion          string   // what is suggested, and why or why not
	Columns             []string // values of the column's setting
	Lines               []line
	Empty               []cell
	States              []state
	Here                string
}

type line struct {
	Value string
	Cells []cell
}

// cell is a place of the matrix. Without runs it has what would fill it: the settings of From but for Set.
type cell struct {
	Runs []shown
	From int64
	Set  string // a JSON object
}

// shown is a run in a cell: of several the suggested one is first, or else the newest finished one.
type shown struct {
	tracker.Info
	Picture string // the digest of its latest output, or empty
	Value   float64
	Shade   int // by Value, 0 to less than shades; -1 without one
}

// state is what scripts know of a run.
type state struct {
	ID    int64    `json:"id"`
	Text  string   `json:"text"`
	Steps [][2]any `json:"steps"` // step and digest of its outputs
	Full  bool     `json:"full"`  // the last is there at full size
}

func (s site) matrix(w http.ResponseWriter, r *http.Request) error {
	about, err := s.subject(r)
	if err != nil {
		return err
	}
	m := matrix{subject: about, Settings: about.settings(), Metrics: about.metrics(), Here: r.URL.RequestURI()}
	m.Row = chosen(r, "row", m.Settings, m.Settings[0].Name)
	m.Column = chosen(r, "column", slices.DeleteFunc(slices.Clone(m.Settings), func(f field) bool { return f.Name == m.Row }), m.Settings[1].Name, m.Settings[0].Name)
	if query := r.URL.Query(); query.Get("row") == "" && query.Get("column") == "" && len(different(m.Runs, m.Column)) < 2 {
		m.Row, m.Column = m.Column, m.Row // across, as in the report, where only one setting varies
	}
	m.Colour = chosen(r, "colour", m.Metrics, report.StyleMatch)
	for _, f := range m.Metrics {
		if f.Name == m.Colour {
			m.Title = f.Title
		}
	}
	if len(m.Runs) > 0 {
		pair, err := report.NewPair(r.Context(), s.Store(), m.Runs)
		if err != nil {
			return err
		}
		m.Suggestion = pair.Suggestion()
		if pair.Suggested != nil {
			m.Suggested = pair.Suggested.ID
		}
	}
	m.fill()
	s.Show(w, r, web.Page{
		Title: "Matrix", Experiment: m.Experiment, Template: matrixBody, Data: &m,
		Scripts: []string{"/matrix/matrix.js"}, Styles: []string{"/assets/slider.css", "/matrix/pages.css"},
	})
	return nil
}

// fill puts the runs into cells.
func (m *matrix) fill() {
	m.Low, m.High = math.Inf(1), math.Inf(-1)
	for _, run := range m.Runs {
		if v := report.Measured(run, m.Colour); !math.IsNaN(v) {
			m.Low, m.High = min(m.Low, v), max(m.High, v)
		}
		m.States = append(m.States, m.state(run))
	}
	rows := different(m.Runs, m.Row)
	m.Columns = different(m.Runs, m.Column)
	for _, row := range rows {
		l := line{Value: row}
		for _, column := range m.Columns {
			var c cell
			for _, run := range m.Runs {
				if value(run, m.Row) == row && value(run, m.Column) == column {
					c.Runs = append(c.Runs, m.shown(run))
				}
			}
			slices.SortStableFunc(c.Runs, func(a, b shown) int {
				switch m.Suggested {
				case a.ID:
					return -1
				case b.ID:
					return 1
				}
				return cmp.Or(cmp.Compare(rank[b.Status], rank[a.Status]), cmp.Compare(b.ID, a.ID))
			})
			if len(c.Runs) == 0 && !m.ReadOnly {
				c.From, c.Set = m.like(row, column), m.set(row, column)
				m.Empty = append(m.Empty, c)
			}
			l.Cells = append(l.Cells, c)
		}
		m.Lines = append(m.Lines, l)
	}
}

// shades is the number of colours.
const shades = 10

// rank puts runs first that have something to show.
var rank = map[tracker.Status]int{tracker.Finished: 3, tracker.Running: 2, tracker.Stopped: 1}

func (m *matrix) shown(run tracker.Info) shown {
	v := report.Measured(run, m.Colour)
	c := shown{Info: run, Picture: m.last(run.ID).Digest, Value: v, Shade: -1}
	if !math.IsNaN(v) {
		c.Shade = shades - 1
		if m.High > m.Low {
			c.Shade = min(shades-1, int(shades*(v-m.Low)/(m.High-m.Low)))
		}
	}
	return c
}

// like is the run whose settings a new one in an empty cell has: the newest in its row, or in its column.
func (m *matrix) like(row, column string) (id int64) {
	for _, run := range m.Runs {
		if value(run, m.Column) == column {
			id = run.ID
		}
	}
	for _, run := range m.Runs {
		if value(run, m.Row) == row {
			id = run.ID
		}
	}
	return id
}

func (m *matrix) set(row, column string) string {
	text, _ := json.Marshal(map[string]json.RawMessage{m.Row: raw(row), m.Column: raw(column)}) // all valid
	return string(text)
}

// raw is a parameter's text as a JSON value.
func raw(text string) json.RawMessage {
	if json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	quoted, _ := json.Marshal(text) // a text
	return quoted
}

// state is what the script needs to show a run.
func (s *subject) state(run tracker.Info) state {
	st := state{ID: run.ID, Text: label(run), Steps: [][2]any{}, Full: run.Status == tracker.Finished}
	for _, p := range s.steps(run.ID, report.Output) {
		st.Steps = append(st.Steps, [2]any{p.Step, p.Digest})
	}
	return st
}

// label names a run by its weights.
func label(run tracker.Info) string { return report.WeightsOf(run).String() }

func value(run tracker.Info, name string) string {
	v, _ := report.Param(run, name)
	return v.Text
}

// different are the different values of a setting, numbers by size.
func different(runs []tracker.Info, name string) []string {
	numbers := map[string]float64{}
	for _, run := range runs {
		v, _ := report.Param(run, name)
		numbers[v.Text] = v.Number
	}
	var list []string
	for text := range numbers {
		list = append(list, text)
	}
	slices.SortFunc(list, func(a, b string) int {
		return cmp.Or(cmp.Compare(numbers[a], numbers[b]), strings.Compare(a, b))
	})
	return list
}
