package report

import (
	"context"
	"math"
	"slices"
	"strings"

	"hrlab/tracker"
)

// Pair compares the runs on one pair of pictures, with one set of VGG19 weights.
type Pair struct {
	Name           string
	Content, Style []byte // JPEGs at the fitted size; nil where not recorded
	Runs           []Run  // by content weight, style weight and seed
	Maps           []*Map // the weight maps
	// Rows and Columns are the heads of the matrix of finished runs. Rows are content weights, with the other settings
	// that vary; columns are style weights. Where there is only one style weight they are swapped.
	Rows, Columns []string
	Matrix        [][]*Run           // [row][column], nil where there is no run
	Suggested     *Run               // the knee of the Pareto front; nil where nothing may be suggested, see Suggestion
	Finished      int                // number of finished runs
	Front         int                // how many of them are on the Pareto front
	Effects       []Effect           // of every setting that varies on every measure
	Spread        map[string]float64 // of the seed, by measure; only where runs were repeated
	NotDefined    []string           // which measures are not defined, and why
	Others        bool               // settings other than the weights vary
	Gain          bool               // some runs have a style gain other than 1
	curves        []tracker.Series
	missing       []string // for a suggestion
	sure          string   // how sure the suggestion is
}

// NewPair compares runs on one pair of pictures, without their outputs.
func NewPair(ctx context.Context, store *tracker.Store, runs []tracker.Info) (*Pair, error) {
	p := &Pair{Spread: map[string]float64{}}
	for _, info := range runs {
		p.Runs = append(p.Runs, Run{Info: info, Seeds: 1})
	}
	return p, p.gather(ctx, store)
}

func (p *Pair) files() string {
	of := p.any()
	return of.Params["content"].Text + ", " + of.Params["style"].Text
}

// any is one of the runs on the pair.
func (p *Pair) any() tracker.Info { return p.infos()[0] }

// infos are the runs and the maps.
func (p *Pair) infos() (list []tracker.Info) {
	for _, r := range p.Runs {
		list = append(list, r.Info)
	}
	for _, m := range p.Maps {
		list = append(list, m.Run)
	}
	return list
}

func (p *Pair) gather(ctx context.Context, store *tracker.Store) (err error) {
	if p.Content, err = thumbnail(ctx, store, p.infos(), "content"); err != nil {
		return err
	}
	if p.Style, err = thumbnail(ctx, store, p.infos(), "style"); err != nil {
		return err
	}
	for _, m := range p.Maps {
		if err := m.gather(ctx, store); err != nil {
			return err
		}
	}
	var finished []tracker.Info
	var ids []int64
	first := map[string]*Run{} // by settings
	for i := range p.Runs {
		run := &p.Runs[i]
		if run.Status != tracker.Finished {
			continue
		}
		finished, ids = append(finished, run.Info), append(ids, run.ID)
		if other := first[settings(run.Info)]; other != nil {
			other.Seeds++
			continue
		}
		first[settings(run.Info)] = run
	}
	styles := values(finished, "style_weight")
	for _, weight := range styles {
		p.Columns = append(p.Columns, "style "+weight)
	}
	others := slices.DeleteFunc(Varied(finished), func(name string) bool { return rank(name) < 2 })
	p.Others = len(others) > 0
	for i := range p.Runs { // in the order of the content weight
		run := &p.Runs[i]
		var other []string
		for _, name := range others {
			other = append(other, strings.ReplaceAll(name, "_", " ")+" "+run.Param(name))
		}
		run.Other = strings.Join(other, ", ")
		p.Gain = p.Gain || run.Param("style_gain") != "1"
		if run.Status != tracker.Finished {
			continue
		}
		row := slices.Index(p.Rows, run.row())
		if row < 0 {
			row = len(p.Rows)
			p.Rows, p.Matrix = append(p.Rows, run.row()), append(p.Matrix, make([]*Run, len(p.Columns)))
		}
		if cell := &p.Matrix[row][slices.Index(styles, run.Param("style_weight"))]; *cell == nil {
			*cell = run
		}
	}
	if len(p.Columns) == 1 {
		var row []*Run
		for _, cells := range p.Matrix {
			row = append(row, cells[0])
		}
		p.Rows, p.Columns, p.Matrix = p.Columns, p.Rows, [][]*Run{row}
	}
	for _, m := range measures {
		for _, info := range finished {
			if why := info.Tags[m.Name+NotDefined]; why != "" {
				p.NotDefined = appendNew(p.NotDefined, m.Title+" is not defined: "+why)
			}
		}
	}
	front := Front(finished)
	p.Finished, p.Front = len(finished), len(front)
	for _, r := range front {
		p.run(r.ID).OnFront = true
	}
	var names []string
	for _, m := range measures {
		names = append(names, m.Name)
		if s := Spread(finished, m.Name); !math.IsNaN(s) {
			p.Spread[m.Name] = s
		}
	}
	p.Effects = Effects(finished, names...)
	if p.curves, err = store.Series(ctx, ids, []string{"content", "style"}, 200); err != nil {
		return err
	}
	p.suggest(front)
	return nil
}

// within says whether a measure differs from the suggested run's by no more than two standard deviations of the seed.
func (p *Pair) within(run *Run, name string) bool {
	spread, ok := p.Spread[name]
	return ok && p.Suggested != nil && run.ID != p.Suggested.ID && math.Abs(Measured(run.Info, name)-Measured(p.Suggested.Info, name)) <= 2*spread
}

// Shown is a measure of the i-th run as text. It is marked by ≈ where it differs from the suggested run's no more than other
// seeds make it.
func (p *Pair) Shown(i int, name string) string {
	text := p.Runs[i].Measure(name)
	if p.within(&p.Runs[i], name) {
		text = "≈ " + text
	}
	return text
}

// appendNew appends text unless it is empty or in the list already.
func appendNew(list []string, text string) []string {
	if text == "" || slices.Contains(list, text) {
		return list
	}
	return append(list, text)
}
