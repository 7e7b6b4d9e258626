package report

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"hrlab/report/prefer"
	"hrlab/tracker"
)

// Liking is what a person's choices tell about runs on one pair of pictures, and what they are to look at next.
type Liking struct {
	Runs    []Liked // best first
	Choices int     // how many choices it learned from
	Show    []Liked // those to choose from next
	Next    Weights // to fit next; zero where all that lie near are fitted
	Better  float64 // by how much Next is expected to be better than the best run, see Liked.Utility
}

// Liked is a run and how much it is liked.
type Liked struct {
	tracker.Info
	Utility float64 // expected; of two runs the one with 1 more is chosen 73 times of 100
	Sure    float64 // how probable it is that it is the best of all, 0 to 1
	Shown   int     // in how many choices it was
}

// Weights are what the look of an output depends on.
type Weights struct {
	Content float64 `json:"content_weight"`
	Style   float64 `json:"style_weight"`
	Gain    float64 `json:"style_gain"`
}

// String is the weights as "content weight 30, style weight 1, style gain 2".
func (w Weights) String() string {
	text := "content weight " + short(w.Content) + ", style weight " + short(w.Style)
	if w.Gain != 1 {
		text += ", style gain " + short(w.Gain)
	}
	return text
}

func short(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

// WeightsOf are the weights of a run.
func WeightsOf(run tracker.Info) Weights {
	gain, _ := Param(run, "style_gain")
	return Weights{run.Params["content_weight"].Number, run.Params["style_weight"].Number, gain.Number}
}

// point is where the preference model has the weights: only the ratio of the two weights counts, since Adam divides by the
// size of the gradient.
func (w Weights) point() []float64 { return []float64{math.Log(w.Content / w.Style), math.Log(w.Gain)} }

// finite says whether the weights have logarithms, with room around them.
func (w Weights) finite() bool {
	const least, most = 1e-12, 1e12
	return min(w.Content, w.Style, w.Gain) >= least && max(w.Content, w.Style, w.Gain) <= most // NaN is neither
}

// Like learns from choices which runs a person likes, by the model of package prefer over the logarithms of the weights, and
// proposes show runs to choose from next. It leaves out runs that are not finished, those with a weight of 0, which has no
// logarithm, and choices with a run that is not among the others. It is nil where fewer than two runs are left.
func Like(runs []tracker.Info, choices []tracker.Choice, show int) *Liking {
	l := &Liking{}
	known := map[Weights]bool{} // which need no other fit
	var points [][]float64
	at := map[int64]int{}
	for _, run := range runs {
		w := WeightsOf(run)
		if !w.finite() || run.Status == tracker.Failed {
			continue
		}
		known[w.rounded(1)] = true
		if run.Status != tracker.Finished {
			continue
		}
		at[run.ID] = len(points)
		l.Runs, points = append(l.Runs, Liked{Info: run}), append(points, w.point())
	}
	if len(points) < 2 {
		return nil
	}
	var of []prefer.Choice
	for _, c := range choices {
		one := prefer.Choice{Best: -1}
		for _, id := range c.Runs {
			if i, ok := at[id]; ok {
				one.Shown = append(one.Shown, i)
			}
		}
		if len(one.Shown) < len(c.Runs) {
			continue
		}
		if c.Best != 0 {
			one.Best = at[c.Best]
		}
		for _, i := range one.Shown {
			l.Runs[i].Shown++
		}
		of = append(of, one)
	}
	l.Choices = len(of)
	candidates := l.candidates(known)
	var there [][]float64
	for _, w := range candidates {
		there = append(there, w.point())
	}
	model := prefer.Fit(points, of, there)
	utilities, sure := model.Utilities(), model.Sure()
	for i := range l.Runs {
		l.Runs[i].Utility, l.Runs[i].Sure = utilities[i], sure[i]
	}
	for _, i := range model.Show(show) {
		l.Show = append(l.Show, l.Runs[i])
	}
	if len(candidates) > 0 {
		i, better := model.Next()
		l.Next, l.Better = candidates[i], better
	}
	slices.SortStableFunc(l.Runs, func(a, b Liked) int { return cmp.Compare(b.Utility, a.Utility) })
	return l
}

// candidates are weights that are not known: content weights from half to twice those of the runs, style gains between theirs,
// and the style weight of the first run.
func (l *Liking) candidates(known map[Weights]bool) (list []Weights) {
	first := WeightsOf(l.Runs[0].Info)
	low, high := first, first // content weights for the first run's style weight
	for _, run := range l.Runs {
		w := WeightsOf(run.Info).rounded(first.Style)
		low.Content, high.Content = min(low.Content, w.Content), max(high.Content, w.Content)
		low.Gain, high.Gain = min(low.Gain, w.Gain), max(high.Gain, w.Gain)
	}
	gains := []float64{low.Gain}
	if low.Gain < high.Gain {
		gains = between(low.Gain, high.Gain, 7)
	}
	for _, content := range between(low.Content/2, high.Content*2, 24) {
		for _, gain := range gains {
			if w := (Weights{content, first.Style, gain}); !known[w.rounded(1)] {
				known[w.rounded(1)] = true
				list = append(list, w)
			}
		}
	}
	return list
}

// rounded are the same weights for this style weight, with two digits.
func (w Weights) rounded(style float64) Weights {
	return Weights{rounded(w.Content / w.Style * style), style, rounded(w.Gain)}
}

// between are n numbers from low to high at equal distances of their logarithms.
func between(low, high float64, n int) (list []float64) {
	for i := range n {
		list = append(list, rounded(low*math.Pow(high/low, float64(i)/float64(n-1))))
	}
	return list
}

// rounded is v with two digits.
func rounded(v float64) float64 {
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'e', 1, 64), 64)
	return v
}
