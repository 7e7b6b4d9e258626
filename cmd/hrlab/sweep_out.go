package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"slices"
	"strconv"

	"hrlab/experiments"
	"hrlab/picture"
	"hrlab/report"
	"hrlab/tracker"
)

// asApply is hrlab apply as it is without flags: pictures of suggested runs are written like its results.
var asApply = applyCmd{encodingFlags: encodingFlags{Bits: 8, Quality: 95}, applyFlags: applyFlags{Strength: 1}}

// place is where the picture of a pair goes.
func (s *sweepCmd) place(pair []string) (place, error) {
	return newPlace(s.Out, stem(pair[0])+"_"+stem(pair[1])+".png")
}

// checkOut checks, before anything is fitted, that the pictures can be written. size is that of the first content picture.
func (s *sweepCmd) checkOut(pairs [][]string, size image.Point) error {
	if s.Out == "" {
		return nil
	}
	if len(pairs) > 1 && !isFolder(s.Out) {
		return fmt.Errorf("--out %s: is one file for %d pairs; name a folder, as %s/", s.Out, len(pairs), s.Out)
	}
	out, err := s.place(pairs[0])
	if err != nil {
		return err
	}
	if err := apart([]string{out.path}, slices.Concat(pairs...)); err != nil {
		return err
	}
	if err := asApply.check(out.path); err != nil {
		return err
	}
	return asApply.encoding("", picture.Picture{}).CheckSize(out.path, size)
}

// writeSuggested writes for each pair the run that the report suggests, at the size of the content picture. runs are those of the
// sweep, by pair.
func (s *sweepCmd) writeSuggested(ctx context.Context, c *console, w *sweeping, runs [][]tracker.Info) error {
	r, err := report.New(ctx, w.store, s.Experiment)
	if errors.Is(err, tracker.ErrNotFound) { // no trial got as far as a run
		r, err = &report.Report{}, nil
	}
	if err != nil {
		return err
	}
	if w.engine == nil { // workers have fitted
		if w.engine, err = (engineFlags{s.Device, "none"}).open(ctx, c); err != nil {
			return err
		}
		defer w.engine.Close()
	}
	var failed error
	for i, of := range runs {
		p := pairOf(r, of)
		if p == nil {
			p = &report.Pair{Name: stem(w.pairs[i][0]) + "_" + stem(w.pairs[i][1])}
		}
		if p.Suggested == nil {
			fmt.Fprintf(c.messages, "%s: %s; nothing is written\n", p.Name, p.Suggestion())
			continue
		}
		out, size, err := s.writeRun(ctx, c, w, i, p.Suggested.ID)
		left := fmt.Sprintf("run %d is suggested", p.Suggested.ID)
		if command := p.FullSize(); command != "" {
			left += ", at full size: " + command + s.asFlag()
		}
		switch {
		case ctx.Err() != nil:
			fmt.Fprintln(c.messages, "stopped:", left)
			return ctx.Err()
		case err != nil:
			failed = errors.Join(failed, fmt.Errorf("%w; %s", err, left))
			continue
		}
		fmt.Fprintf(c.messages, "%s, %dx%d px: %s\n", out, size.X, size.Y, p.Suggestion())
	}
	return failed
}

// pairOf is the pair of a report that these runs are on, or nil.
func pairOf(r *report.Report, runs []tracker.Info) *report.Pair {
	for _, run := range runs {
		for _, p := range r.Pairs {
			if slices.ContainsFunc(p.Runs, func(other report.Run) bool { return other.ID == run.ID }) {
				return p
			}
		}
	}
	return nil
}

// writeRun applies the generator of a run to the content picture of its pair.
func (s *sweepCmd) writeRun(ctx context.Context, c *console, w *sweeping, pair int, run int64) (path string, size image.Point, err error) {
	content, err := w.content(pair, run)
	if err == nil {
		err = experiments.SameContent(ctx, w.store, run, content)
	}
	if err != nil {
		return "", size, err
	}
	a := asApply
	a.RunName = strconv.FormatInt(run, 10)
	l := look{engine: w.engine}
	if l.generator, err = experiments.LoadGenerator(ctx, w.store, run); err != nil {
		return "", size, err
	}
	out, err := s.place(w.pairs[pair])
	if err != nil {
		return "", size, err
	}
	bar := c.newCounter(1)
	defer bar.close()
	err = a.write(ctx, l, content, &out, bar)
	return out.path, content.Bounds().Size(), err
}
