package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"hrlab/tracker"
)

// enough is the number of different settings from which on one may be suggested: a curve through fewer points has no knee.
const enough = 3

// suggest decides whether a run may be suggested, which, and how sure that is. It is the only place that does. The knee of the
// Pareto front is suggested where
//
//   - no run is queued or running, and every setting has a finished run, apart from those that failed;
//   - at least three finished settings differ and have both measures. Weights of the same ratio count once, since Adam divides by
//     the size of the gradient: they are the same fit;
//   - every finished run is past the first fall of its loss, see pastFall.
//
// Otherwise p.missing says what is missing.
func (p *Pair) suggest(front []tracker.Info) {
	finished := map[string]bool{} // settings
	different := map[string]bool{}
	var early, failed []int64
	unfinished := map[tracker.Status][]int64{}
	for _, run := range p.Runs {
		if run.Status != tracker.Finished {
			continue
		}
		finished[settings(run.Info)] = true
		if !math.IsNaN(Measured(run.Info, ContentKept) + Measured(run.Info, StyleMatch)) {
			different[ratio(run.Info)] = true
		}
		if run.Param("init")+run.Param("map") == "" && !p.pastFall(run.Info) { // what begins with a fitted generator is past it already
			early = append(early, run.ID)
		}
	}
	if len(finished) == 0 {
		return
	}
	for _, run := range p.Runs {
		switch {
		case finished[settings(run.Info)] && run.Status != tracker.Running && run.Status != tracker.Queued:
		case run.Status == tracker.Failed:
			failed = append(failed, run.ID)
		default:
			unfinished[run.Status] = append(unfinished[run.Status], run.ID)
		}
	}
	switch n := len(different); {
	case n == 0 && len(p.NotDefined) > 0:
		p.missing = slices.Clone(p.NotDefined)
	case n == 0:
		p.missing = []string{"no run has both content kept and style match"}
	case n < enough:
		p.missing = []string{fmt.Sprintf("%d of the %d finished settings that it takes %s there, where weights of the same ratio count once", n, enough, are(n))}
	}
	for _, status := range slices.Sorted(maps.Keys(unfinished)) {
		ids := unfinished[status]
		p.missing = append(p.missing, fmt.Sprintf("%s %s %s", runsNamed(ids), are(len(ids)), status))
	}
	if len(early) > 0 {
		p.missing = append(p.missing, fmt.Sprintf("%s %s not past the first fall of the loss: more steps are needed", runsNamed(early), are(len(early))))
	}
	knee, ok := Knee(front)
	if len(p.missing) > 0 || !ok {
		return
	}
	p.Suggested = p.run(knee.ID)
	p.Suggested.Suggested = true
	p.sure = p.howSure(front)
	if len(failed) > 0 {
		p.sure += "; without " + runsNamed(failed) + ", which failed"
	}
}

// howSure says how sure the knee of a front is: whether the seed alone may make another setting the knee.
func (p *Pair) howSure(front []tracker.Info) string {
	content, ok := p.Spread[ContentKept]
	style, ok2 := p.Spread[StyleMatch]
	switch {
	case len(front) == 2:
		return "not sure, since a knee takes three: try weights between and beyond the two"
	case !ok || !ok2:
		return "how sure that is cannot be said, since no setting was repeated with another seed (hrlab sweep --repeats 3)"
	case len(front) == 1:
		return "sure, since no other run is better in either measure"
	}
	// The distances of two runs from the line differ by chance with this standard deviation.
	spread := math.Sqrt2 * math.Hypot(content/(Measured(front[0], ContentKept)-Measured(front[len(front)-1], ContentKept)),
		style/(Measured(front[len(front)-1], StyleMatch)-Measured(front[0], StyleMatch)))
	far := distances(front, both)
	best := slices.Max(far)
	var rivals []string
	for i, r := range front {
		if ratio(r) != ratio(p.Suggested.Info) && best-far[i] <= 2*spread {
			rivals = appendNew(rivals, p.run(r.ID).Label())
		}
	}
	if len(rivals) == 0 {
		return "sure among these settings, since with other seeds it would be the same (two standard deviations)"
	}
	return "not sure, since with other seeds it may be " + strings.Join(rivals, " or ") + " (two standard deviations)"
}

// pastFall says whether a run is past the first fall of its total loss: the loss fell, and over the last fifth of the steps no
// more than half as fast as on average. A loss that falls on nearly as fast as it began tells how quickly the optimiser
// moves, and not yet what the weights do. Where no losses are recorded there is none to fall.
func (p *Pair) pastFall(run tracker.Info) bool {
	curve := map[string]tracker.Series{}
	for _, c := range p.curves {
		if c.Run == run.ID {
			curve[c.Metric] = c
		}
	}
	content, style := curve["content"], curve["style"]
	n := min(len(content.Values), len(style.Values))
	if n == 0 {
		return true
	}
	total := make([]float64, n)
	for i := range total {
		total[i] = run.Params["content_weight"].Number*content.Values[i] + run.Params["style_weight"].Number*style.Values[i]
	}
	steps := content.Steps[:n]
	first, last := float64(steps[0]), float64(steps[n-1])
	from := last - (last-first)/5
	i, _ := slices.BinarySearchFunc(steps, from, func(step int64, from float64) int { return cmp.Compare(float64(step), from) })
	if i == 0 {
		return false // a single report
	}
	at := total[i-1] + (total[i]-total[i-1])*(from-float64(steps[i-1]))/float64(steps[i]-steps[i-1])
	fall := total[0] - total[n-1]
	return fall > 0 && at-total[n-1] <= fall/10*(1+1e-9)
}

// NoSuggestion says what is missing for a suggestion. It is empty where there is one, and where no run is finished yet.
func (p *Pair) NoSuggestion() string {
	if len(p.missing) == 0 {
		return ""
	}
	return "nothing is suggested: " + strings.Join(p.missing, "; ")
}

// Suggestion is one sentence: which run is suggested, why, and how sure that is; or what is missing for a suggestion.
func (p *Pair) Suggestion() string {
	if p.Suggested == nil {
		return cmp.Or(p.NoSuggestion(), "nothing is suggested: no run is finished")
	}
	return fmt.Sprintf("suggested: %s (run %d), %s; %s", p.Suggested.Settings(), p.Suggested.ID, p.WhySuggested(), p.sure)
}

// WhySuggested says why the suggested run was chosen.
func (p *Pair) WhySuggested() string {
	switch p.Front {
	case 1:
		return "which keeps most content and matches most style"
	case 2:
		return "which keeps most content: a Pareto front of two runs has no knee"
	}
	return "the knee of the Pareto front"
}

func (p *Pair) run(id int64) *Run {
	return &p.Runs[slices.IndexFunc(p.Runs, func(r Run) bool { return r.ID == id })]
}

// ratio is a key made of the ratio of a run's weights and of its other settings.
func ratio(r tracker.Info) string {
	of := r.Params["content_weight"].Number / r.Params["style_weight"].Number
	return strconv.FormatFloat(of, 'g', 4, 64) + " " + settings(r, "content_weight", "style_weight")
}

func are(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// runsNamed names runs: "run 3", "runs 3, 4 and 5", "runs 3, 4, 5 and 12 others".
func runsNamed(ids []int64) string {
	const most = 3
	var names []string
	for _, id := range ids[:min(len(ids), most)] {
		names = append(names, strconv.FormatInt(id, 10))
	}
	if more := len(ids) - most; more > 0 {
		names = append(names, strconv.Itoa(more)+" more")
	}
	if len(names) == 1 {
		return "run " + names[0]
	}
	return "runs " + strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
