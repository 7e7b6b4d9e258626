package main

import (
	"fmt"
	"image"
	"math"

	"hrlab/hrstyle"
)

// few is the number of steps below which a fit is warned about: by step 200 most of the change is done.
const few = 100

// course is how the total loss of a fit went.
type course struct {
	first, last hrstyle.Step
	least       float64 // of the steps after the first
}

// note takes a step that was reported.
func (l *course) note(step hrstyle.Step) {
	if !l.first.Ok() {
		l.first, l.least = step, math.Inf(1)
	} else {
		l.least = min(l.least, step.Total)
	}
	l.last = step
}

// warnings are lines about a fit that came to its end, in which something looks wrong. One that began with a weight map takes few
// steps.
func (l *course) warnings(c hrstyle.Config, withMap bool) (lines []string) {
	if c.Steps < few && !withMap {
		lines = append(lines, fmt.Sprintf("warning: %d steps are few: after 200 most of the change is done", c.Steps))
	}
	switch first, last := l.first.Total, l.last.Total; {
	case l.first.N > 0 || l.last.N == 0 || c.ContentWeight == 0 && c.StyleWeight == 0:
	case l.least >= first:
		lines = append(lines, fmt.Sprintf("warning: the total loss never fell: from %.3g it came to %.3g; a smaller --learning-rate than %g or more steps may help", first, last, c.LearningRate))
	case last > first:
		lines = append(lines, fmt.Sprintf("warning: the total loss rose, from %.3g to %.3g: a smaller --learning-rate than %g may help", first, last, c.LearningRate))
	}
	return lines
}

// noWeights is the warning of a fit that has nothing to do; empty for others.
func noWeights(c hrstyle.Config) string {
	if c.ContentWeight == 0 && c.StyleWeight == 0 {
		return "warning: both weights are 0: nothing is fitted, and the output stays as it begins"
	}
	return ""
}

// far is how many times the longer side that a generator was fitted at a picture may have before fit and apply warn:
// docs/full-size.md has what was seen.
const far = 16

// effectiveSide is the side of a picture that counts: the longer, but of a panorama twice the shorter, as hrstyle reduces it.
func effectiveSide(size image.Point) int { return min(max(size.X, size.Y), 2*size.X, 2*size.Y) }

// farLarger is the warning about a picture that is far larger than the size that the generator was fitted at; empty for others.
func farLarger(fitted int, name string, size image.Point) string {
	if side := effectiveSide(size); fitted > 0 && side > far*fitted {
		return fmt.Sprintf("warning: %s has %dx%d px, %.0f times the %d px of the fit: at 100%% colours reach over edges by up to %d px; fit with a larger --size", name, size.X, size.Y, float64(side)/float64(fitted), fitted, 2*side/fitted)
	}
	return ""
}
