package report

import (
	"cmp"
	"math"
	"slices"

	"hrlab/tracker"
)

// Front is the Pareto front of [ContentKept] against [StyleMatch], from the most content kept to the best style match: the
// runs for which no other run is better in one measure and at least as good in the other. Of equal runs it has the first. Runs
// that lack one of the measures are left out.
func Front(runs []tracker.Info) (front []tracker.Info) {
	sorted := slices.DeleteFunc(slices.Clone(runs), func(r tracker.Info) bool {
		return math.IsNaN(measure(r, ContentKept)) || math.IsNaN(measure(r, StyleMatch))
	})
	slices.SortStableFunc(sorted, func(a, b tracker.Info) int {
		return cmp.Or(cmp.Compare(measure(b, ContentKept), measure(a, ContentKept)), cmp.Compare(measure(b, StyleMatch), measure(a, StyleMatch)))
	})
	best := math.Inf(-1)
	for _, r := range sorted {
		if s := measure(r, StyleMatch); s > best {
			front, best = append(front, r), s
		}
	}
	return front
}

// Knee is the run of a front that is furthest from the straight line between the front's ends, with both measures
// scaled to 0 to 1 over the front (Satopää, Albrecht, Irwin, Raghavan, "Finding a 'Kneedle' in a Haystack", ICDCSW 2011).
// For a front of one or two runs, which has no knee, it is the first. ok is false for an empty front.
func Knee(front []tracker.Info) (knee tracker.Info, ok bool) {
	if len(front) == 0 {
		return knee, false
	}
	knee = front[0]
	best := 0.0
	for i, d := range distances(front) {
		if d > best+1e-12 {
			knee, best = front[i], d
		}
	}
	return knee, true
}

// distances are how far each run of a front is above the line between the front's ends, with both measures scaled to 0 to 1.
func distances(front []tracker.Info) []float64 {
	first, last := front[0], front[len(front)-1]
	content := measure(first, ContentKept) - measure(last, ContentKept)
	style := measure(last, StyleMatch) - measure(first, StyleMatch)
	far := make([]float64, len(front))
	for i, r := range front {
		// on the line the two scaled measures add up to 1
		far[i] = (measure(r, ContentKept)-measure(last, ContentKept))/content + (measure(r, StyleMatch)-measure(first, StyleMatch))/style - 1
	}
	return far
}
