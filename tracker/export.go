package tracker

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"slices"
	"strconv"
)

// line is a line of an export: a run, or one of the other fields and the run that it belongs to. Choices come after all runs.
type line struct {
	Run      *exported     `json:"run,omitempty"`
	Of       int64         `json:"of,omitempty"` // the id of the run, as exported
	Metric   *metricLine   `json:"metric,omitempty"`
	Samples  []Sample      `json:"samples,omitempty"`
	Picture  *pictureLine  `json:"picture,omitempty"`
	Artifact *artifactLine `json:"artifact,omitempty"`
	Choice   *Choice       `json:"choice,omitempty"` // between runs by their ids, as exported
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

// pictureLine and artifactLine are without their content where a line before has it, of the same digest: runs share pictures
// and files.
type pictureLine struct {
	Picture
	JPEG []byte `json:"jpeg,omitempty"`
}

type artifactLine struct {
	Artifact
	Data []byte `json:"data,omitempty"`
}

// ExportJSON writes runs and everything they have as JSON Lines, one object per line, which [Store.Import] reads; and the
// choices between them where all of their runs are among these. Files and pictures that several runs share are written once. What is missing or damaged is left out, and named by an
// [IncompleteError].
func (s *Store) ExportJSON(ctx context.Context, w io.Writer, runs []Info) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	var missing []error
	files, pictures := map[string]bool{}, map[string]bool{} // digests of those that are written
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
			if pictures[p.Digest] {
				jpeg = nil
			}
			pictures[p.Digest] = true
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
			if files[a.Digest] {
				if err := out.Encode(line{Of: r.ID, Artifact: &artifactLine{a, nil}}); err != nil {
					return err
				}
				continue
			}
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
			files[a.Digest] = true
			if err := out.Encode(line{Of: r.ID, Artifact: &artifactLine{a, data}}); err != nil {
				return err
			}
		}
	}
	if err := s.exportChoices(ctx, out, runs); err != nil {
		return err
	}
	return incomplete(missing)
}

// exportChoices writes the choices between runs that are all exported.
func (s *Store) exportChoices(ctx context.Context, out *json.Encoder, runs []Info) error {
	exported := map[int64]bool{}
	for _, r := range runs {
		exported[r.ID] = true
	}
	const atOnce = 500
	for chunk := range slices.Chunk(runs, atOnce) {
		ids := make([]any, len(chunk))
		for i, r := range chunk {
			ids[i] = r.ID
		}
		choices, err := s.choices(ctx, sqlChoices+fmt.Sprintf(sqlChoicesFrom, list(1, len(ids))), ids...)
		if err != nil {
			return err
		}
		for _, c := range choices {
			if slices.ContainsFunc(c.Runs, func(id int64) bool { return !exported[id] }) {
				continue
			}
			if err := out.Encode(line{Choice: &c}); err != nil {
				return err
			}
		}
	}
	return nil
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
// A run that is there already stays as it is, and is not added again: there has the ids of those, deleted ones too. A run
// is known in every database by what never changes: experiment, name, command, and the time, to the microsecond, when it
// was created.
//
// An error names the line. The runs before it are kept; of the run that the line belongs to nothing is. Until a run is
// complete it counts as deleted, so that [Store.GC] removes what an import leaves that was killed.
func (s *Store) Import(ctx context.Context, r io.Reader) (ids, there []int64, err error) {
	if err := s.ReadOnly(); err != nil {
		return nil, nil, err
	}
	m := &importing{store: s, became: map[int64]int64{}, files: map[string][]byte{}, pictures: map[string][]byte{}}
	defer func() {
		ids, there = m.ids, m.there
		if m.run != nil {
			err = errors.Join(err, s.discard(context.WithoutCancel(ctx), m.run.ID))
		}
	}()
	in := bufio.NewReader(r)
	for number := 1; ; number++ {
		text, readErr := in.ReadBytes('\n')
		if len(bytes.TrimSpace(text)) > 0 {
			var l line
			if err = json.Unmarshal(text, &l); err == nil {
				err = m.line(ctx, l)
			}
			if err != nil {
				return nil, nil, fmt.Errorf("line %d: %w", number, err)
			}
		}
		if readErr != nil {
			if !errors.Is(readErr, io.EOF) {
				return nil, nil, readErr
			}
			return nil, nil, m.finish(ctx)
		}
	}
}

// importing is the state of an import.
type importing struct {
	store      *Store
	ids, there []int64

	of  *exported // the run that lines belong to; nil before the first
	run *Run      // what becomes of it; nil if it is there already

	became map[int64]int64 // the ids of runs here, by those they were exported with

	// What lines had that later ones may share, by digest: nil where the store has it, else the content.
	files, pictures map[string][]byte
}

// line imports a line.
func (m *importing) line(ctx context.Context, l line) (err error) {
	switch {
	case l.Run != nil:
		if err := m.finish(ctx); err != nil {
			return err
		}
		m.of = l.Run
		if id, err := m.known(ctx, m.store.db.reads(), 0); err != nil || id != 0 {
			return err
		}
		m.run, err = m.store.importRun(ctx, m.of)
		return err
	case l.Choice != nil:
		return m.choice(ctx, *l.Choice)
	case m.of == nil || l.Of != m.of.ID:
		return errors.New("belongs to no run before it")
	case l.Picture != nil:
		return m.picture(ctx, l.Picture)
	case l.Artifact != nil:
		return m.artifact(ctx, l.Artifact)
	case m.run == nil:
		return nil
	}
	return m.run.importLine(ctx, l)
}

// known is the id of a run, other than the one given, that is the same as m.of; 0 if there is none.
func (m *importing) known(ctx context.Context, q querier, other int64) (id int64, err error) {
	of := m.of
	if of.Created.IsZero() {
		return 0, nil
	}
	err = each(ctx, q, sqlSameRun, []any{clean(of.Name), micros(of.Created), clean(of.Command), clean(cmp.Or(of.Experiment, "default")), other}, func(scan func(...any) error) error {
		return scan(&id)
	})
	if id != 0 {
		m.there, m.became[of.ID] = append(m.there, id), id
	}
	return id, m.store.plain(err)
}

// finish ends the run that is being imported: it gets the status and the times that it had when it was exported. If
// another process has imported the same meanwhile, it is dropped.
func (m *importing) finish(ctx context.Context) error {
	if m.run == nil {
		return nil
	}
	of, id, same := m.of, m.run.ID, int64(0)
	status := of.Status
	if status == Running || status == Queued || !slices.Contains(statuses, status) {
		status = Stopped
	}
	err := m.run.write(ctx, func(t tx) (err error) {
		if same, err = m.known(t.ctx, t, id); err != nil || same != 0 {
			return err
		}
		return t.all([]any{id, status, timeOrNull(of.Created), timeOrNull(of.Started), timeOrNull(of.Ended), clean(of.Error)}, sqlImported)
	})
	switch {
	case err != nil:
		return err
	case same != 0:
		err = m.store.discard(ctx, id)
	default:
		m.ids, m.became[of.ID] = append(m.ids, id), id
	}
	m.run = nil
	return err
}

// choice imports a choice. It belongs to no run, so the run before it is complete.
func (m *importing) choice(ctx context.Context, c Choice) error {
	if err := m.finish(ctx); err != nil {
		return err
	}
	m.of = nil
	if err := c.Validate(); err != nil {
		return err
	}
	for i, exported := range c.Runs {
		id, ok := m.became[exported]
		if !ok {
			return fmt.Errorf("a choice with run %d, which no line before it has", exported)
		}
		c.Runs[i] = id
	}
	if c.Best != 0 {
		c.Best = m.became[c.Best]
	}
	return m.store.write(ctx, func(t tx) error { return t.addChoice(c) })
}

// picture imports a picture.
func (m *importing) picture(ctx context.Context, p *pictureLine) error {
	digest := clean(p.Digest)
	jpeg, shared := m.pictures[digest]
	if shared = shared && len(p.JPEG) == 0; !shared {
		jpeg = p.JPEG
		if _, _, err := image.DecodeConfig(bytes.NewReader(jpeg)); err != nil {
			return fmt.Errorf("picture %q of step %d: no JPEG: %w", p.Name, p.Step, err)
		}
	}
	if digest == "" || p.Step < 0 {
		return fmt.Errorf("picture %q of step %d: digest %q; allowed: a digest, and step 0 or more", p.Name, p.Step, p.Digest)
	}
	if m.run == nil {
		var one int
		if err := value(ctx, m.store.db.reads(), []any{&one}, sqlHasThumbnail, digest); err == nil {
			jpeg = nil
		}
		m.pictures[digest] = jpeg
		return nil
	}
	m.pictures[digest] = nil
	return m.run.write(ctx, func(t tx) error {
		return t.addPicture(m.run.ID, Thumbnail{p.Name, p.Step, digest, image.Pt(p.Width, p.Height), jpeg})
	})
}

// artifact imports an artifact.
func (m *importing) artifact(ctx context.Context, a *artifactLine) error {
	data, before := m.files[a.Digest]
	shared := len(a.Data) == 0 && a.Size > 0
	switch {
	case shared && !before:
		return fmt.Errorf("artifact %q: no line before it has its content", a.Name)
	case !shared:
		data = a.Data
	}
	switch {
	case m.run == nil && shared:
		return nil
	case m.run == nil:
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) == a.Digest {
			if _, err := m.store.files.size(ctx, m.store.db.reads(), a.Digest); err == nil {
				data = nil
			}
			m.files[a.Digest] = data
		}
		return nil
	case shared && data == nil:
		return m.run.shareArtifact(ctx, a.Artifact)
	}
	err := m.run.addArtifact(ctx, a.Artifact, bytes.NewReader(data))
	if err == nil && a.Digest != "" {
		m.files[a.Digest] = nil
	}
	return err
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
	err := s.write(ctx, func(t tx) (err error) {
		if r.ID, err = s.enqueueOne(t, NewRun{Experiment: e.Experiment, Name: e.Name, Tags: e.Tags}, e.Environment, e.Command); err != nil {
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
	if err != nil {
		return nil, err // there is no run to go on with
	}
	return r, nil
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
