package tracker

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"slices"
	"strconv"
)

// line is a line of an export: a run, or one of the other fields and the run that it belongs to.
type line struct {
	Run      *exported     `json:"run,omitempty"`
	Of       int64         `json:"of,omitempty"` // the id of the run, as exported
	Metric   *metricLine   `json:"metric,omitempty"`
	Samples  []Sample      `json:"samples,omitempty"`
	Picture  *pictureLine  `json:"picture,omitempty"`
	Artifact *artifactLine `json:"artifact,omitempty"`
}

type exported struct {
	Info
	Environment map[string]string `json:"environment"`
}

type metricLine struct {
	Name   string  `json:"name"`
	Steps  []int64 `json:"steps"`
	Values []Float `json:"values"`
}

type pictureLine struct {
	Picture
	JPEG []byte `json:"jpeg"`
}

type artifactLine struct {
	Artifact
	Data []byte `json:"data"`
}

// ExportJSON writes runs and everything they have as JSON Lines, one object per line, which [Store.Import] reads. What
// is missing or damaged is left out, and named by an [IncompleteError].
func (s *Store) ExportJSON(ctx context.Context, w io.Writer, runs []Info) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	var missing []error
	for _, r := range runs {
		env, err := s.Environment(ctx, r.ID)
		if err != nil {
			return err
		}
		if err := out.Encode(line{Run: &exported{r, env}}); err != nil {
			return err
		}
		series, err := s.Series(ctx, []int64{r.ID}, nil, 0)
		if err != nil {
			return err
		}
		for _, c := range series {
			m := &metricLine{Name: c.Metric, Steps: c.Steps}
			for _, v := range c.Values {
				m.Values = append(m.Values, Float(v))
			}
			if err := out.Encode(line{Of: r.ID, Metric: m}); err != nil {
				return err
			}
		}
		samples, err := s.Samples(ctx, r.ID)
		if err != nil {
			return err
		}
		if len(samples) > 0 {
			if err := out.Encode(line{Of: r.ID, Samples: samples}); err != nil {
				return err
			}
		}
		damaged, err := s.eachPicture(ctx, r.ID, func(p Picture, jpeg []byte, _ image.Config) error {
			return out.Encode(line{Of: r.ID, Picture: &pictureLine{p, jpeg}})
		})
		if err != nil {
			return err
		}
		missing = append(missing, damaged...)
		artifacts, err := s.Artifacts(ctx, r.ID)
		if err != nil {
			return err
		}
		for _, a := range artifacts {
			a, data, err := s.readArtifact(ctx, r.ID, a.Name)
			switch {
			case errors.Is(err, ErrNotFound): // the run has dropped it meanwhile
				continue
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				missing = append(missing, err)
				continue
			}
			if err := out.Encode(line{Of: r.ID, Artifact: &artifactLine{a, data}}); err != nil {
				return err
			}
		}
	}
	return incomplete(missing)
}

// eachPicture calls f for the pictures of a run. It returns what is wrong with thumbnails that are damaged.
func (s *Store) eachPicture(ctx context.Context, run int64, f func(p Picture, jpeg []byte, size image.Config) error) (damaged []error, err error) {
	pictures, err := s.Pictures(ctx, run)
	if err != nil {
		return nil, err
	}
	for _, p := range pictures {
		jpeg, err := s.Thumbnail(ctx, p.Digest)
		if errors.Is(err, ErrNotFound) { // the run was removed meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		size, _, err := image.DecodeConfig(bytes.NewReader(jpeg))
		if err != nil {
			damaged = append(damaged, fmt.Errorf("run %d: thumbnail of %q at step %d: %w", run, p.Name, p.Step, err))
			continue
		}
		if err := f(p, jpeg, size); err != nil {
			return nil, err
		}
	}
	return damaged, nil
}

// Import adds the runs of an export by [Store.ExportJSON] and returns their ids, which are new. A run that was running
// or queued becomes a stopped one.
//
// An error names the line. The runs before it are kept; of the run that the line belongs to nothing is. Until a run is
// complete it counts as deleted, so that [Store.GC] removes what an import leaves that was killed.
func (s *Store) Import(ctx context.Context, r io.Reader) (ids []int64, err error) {
	if err := s.ReadOnly(); err != nil {
		return nil, err
	}
	var run *Run // the one being imported
	var of *exported
	defer func() {
		if run != nil {
			err = errors.Join(err, s.discard(context.WithoutCancel(ctx), run.ID))
		}
	}()
	finish := func() error {
		if run == nil {
			return nil
		}
		if err := run.imported(ctx, of); err != nil {
			return err
		}
		ids, run = append(ids, run.ID), nil
		return nil
	}
	in := bufio.NewReader(r)
	for number := 1; ; number++ {
		text, readErr := in.ReadBytes('\n')
		if len(bytes.TrimSpace(text)) > 0 {
			var l line
			if err = json.Unmarshal(text, &l); err == nil {
				switch {
				case l.Run != nil:
					if err = finish(); err == nil {
						of = l.Run
						if run, err = s.importRun(ctx, of); err != nil {
							run = nil
						}
					}
				case run == nil || l.Of != of.ID:
					err = errors.New("belongs to no run before it")
				default:
					err = run.importLine(ctx, l)
				}
			}
			if err != nil {
				return ids, fmt.Errorf("line %d: %w", number, err)
			}
		}
		if readErr != nil {
			if !errors.Is(readErr, io.EOF) {
				return ids, readErr
			}
			return ids, finish()
		}
	}
}

// imported ends an imported run: it gets the status and the times that it had when it was exported.
func (r *Run) imported(ctx context.Context, of *exported) error {
	status := of.Status
	if status == Running || status == Queued || !slices.Contains(statuses, status) {
		status = Stopped
	}
	return r.write(ctx, func(t tx) error {
		return t.all([]any{r.ID, status, timeOrNull(of.Created), timeOrNull(of.Started), timeOrNull(of.Ended), clean(of.Error)}, sqlImported)
	})
}

// discard removes the part of a run that was imported.
func (s *Store) discard(ctx context.Context, run int64) error {
	artifacts, err := s.Artifacts(ctx, run)
	if err == nil {
		err = s.write(ctx, func(t tx) error { return t.purge(run) })
	}
	if err != nil {
		return err
	}
	var digests []string
	for _, a := range artifacts {
		digests = append(digests, a.Digest)
	}
	s.freeArtifacts(ctx, digests...)
	return nil
}

func (s *Store) importRun(ctx context.Context, e *exported) (*Run, error) {
	r := s.newRun()
	return r, s.write(ctx, func(t tx) (err error) {
		if r.ID, err = s.enqueue(t, NewRun{Experiment: e.Experiment, Name: e.Name, Tags: e.Tags}, e.Environment, e.Command); err != nil {
			return err
		}
		if err := errors.Join(t.take(r), t.all([]any{r.ID, micros(r.now())}, sqlDelete)); err != nil {
			return err
		}
		for _, n := range e.Notes {
			at := n.Time
			if at.IsZero() {
				at = r.now()
			}
			if err := t.all([]any{r.ID, micros(at), clean(n.Text)}, sqlAddNote); err != nil {
				return err
			}
		}
		return t.setParams(r.ID, e.Params)
	})
}

func (r *Run) importLine(ctx context.Context, l line) error {
	switch {
	case l.Metric != nil:
		if len(l.Metric.Steps) != len(l.Metric.Values) {
			return fmt.Errorf("metric %q: %d steps and %d values", l.Metric.Name, len(l.Metric.Steps), len(l.Metric.Values))
		}
		points := make([]Point, len(l.Metric.Steps))
		for i, step := range l.Metric.Steps {
			points[i] = Point{l.Metric.Name, step, float64(l.Metric.Values[i])}
		}
		return r.LogBatch(ctx, points)
	case l.Samples != nil:
		return r.write(ctx, func(t tx) error {
			for _, sample := range l.Samples {
				if err := t.addSample(r.ID, sample); err != nil {
					return err
				}
			}
			return nil
		})
	case l.Picture != nil:
		p := l.Picture
		if _, _, err := image.DecodeConfig(bytes.NewReader(p.JPEG)); err != nil {
			return fmt.Errorf("picture %q of step %d: no JPEG: %w", p.Name, p.Step, err)
		} else if p.Digest == "" || p.Step < 0 {
			return fmt.Errorf("picture %q of step %d: digest %q; allowed: a digest, and step 0 or more", p.Name, p.Step, p.Digest)
		}
		return r.write(ctx, func(t tx) error {
			return t.addPicture(r.ID, p.Step, p.Name, clean(p.Digest), image.Pt(p.Width, p.Height), p.JPEG)
		})
	case l.Artifact != nil:
		return r.addArtifact(ctx, l.Artifact.Artifact, bytes.NewReader(l.Artifact.Data))
	}
	return errors.New("neither run, metric, samples, picture nor artifact")
}

// ExportCSV writes the curves of runs as CSV with the columns run, experiment, name, metric, step and value.
func (s *Store) ExportCSV(ctx context.Context, w io.Writer, runs []Info) error {
	out := csv.NewWriter(w)
	if err := out.Write([]string{"run", "experiment", "name", "metric", "step", "value"}); err != nil {
		return err
	}
	for _, r := range runs {
		series, err := s.Series(ctx, []int64{r.ID}, nil, 0)
		if err != nil {
			return err
		}
		for _, c := range series {
			for i, step := range c.Steps {
				row := []string{strconv.FormatInt(r.ID, 10), r.Experiment, r.Name, c.Metric, strconv.FormatInt(step, 10), strconv.FormatFloat(c.Values[i], 'g', -1, 64)}
				if err := out.Write(row); err != nil {
					return err
				}
			}
		}
	}
	out.Flush()
	return out.Error()
}
