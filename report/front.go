package report

import (
	"cmp"
	"math"
	"slices"

	"hrlab/tracker"
)

// Front is the Pareto front of [ContentKept] against [StyleMatch], from the most content kept to the best style match.
func Front(runs []tracker.Info) []tracker.Info {
	return FrontOf(runs, both)
}

// both are the measures that runs are suggested by.
func both(r tracker.Info) (content, style float64) {
	return Measured(r, ContentKept), Measured(r, StyleMatch)
}

// FrontOf is the Pareto front of two numbers of runs, from the highest x to the highest y: the runs for which no other run is
// higher in one and at least as high in the other. Of equal runs it has the first. Runs of which a number is NaN are left out.
func FrontOf[Run any](runs []Run, of func(r Run) (x, y float64)) (front []Run) {
	sorted := slices.DeleteFunc(slices.Clone(runs), func(r Run) bool {
		x, y := of(r)
		return math.IsNaN(x + y)
	})
	slices.SortStableFunc(sorted, func(a, b Run) int {
		ax, ay := of(a)
		bx, by := of(b)
		return cmp.Or(cmp.Compare(bx, ax), cmp.Compare(by, ay))
	})
	best := math.Inf(-1)
	for _, r := range sorted {
		if _, y := of(r); y > best {
			front, best = append(front, r), y
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
	for i, d := range distances(front, both) {
		if d > best+1e-12 {
			knee, best = front[i], d
		}
	}
	return knee, true
}

// Best are the runs of a front (see [FrontOf]) by how far they are above the line between its ends, so that the knee is first.
func Best[Run any](front []Run, of func(r Run) (content, style float64)) []Run {
	if len(front) < 3 { // no knee: see Knee
		return front
	}
	far := distances(front, of)
	order := make([]int, len(front))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(far[b], far[a]) })
	best := make([]Run, len(front))
	for i, at := range order {
		best[i] = front[at]
	}
	return best
}

// distances are how far each run of a front is above the line between the front's ends, with both measures scaled to 0 to 1.
func distances[Run any](front []Run, of func(r Run) (content, style float64)) []float64 {
	firstContent, firstStyle := of(front[0])
	lastContent, lastStyle := of(front[len(front)-1])
	far := make([]float64, len(front))
	for i, r := range front {
		// on the line the two scaled measures add up to 1
		content, style := of(r)
		far[i] = (content-lastContent)/(firstContent-lastContent) + (style-firstStyle)/(lastStyle-firstStyle) - 1
	}
	return far
}
