package experiments

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/jpeg"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"hrlab/hrstyle"
	"hrlab/picture"
	"hrlab/report"
	"hrlab/tracker"
)

// checkpointPause is the time from one checkpoint of a run to the next. A process that is killed loses so much work.
const checkpointPause = 10 * time.Second

// Record yields the steps of fit, each after it was recorded in run: its losses, the seconds since the fit began and a
// thumbnail. Every ten seconds the run gets a checkpoint. While the server of the database is away the fit goes on all the same:
// up to 64 MiB of what it reports are kept in memory, and recorded in order when the server is back.
//
// When the fit ends, however it does, so does the run. It keeps output, generator and checkpoint. A fit that came to its end
// gets measures. Where something of this cannot be kept the run has failed. A run that is cancelled in the queue ends at its
// next step.
func (l Lab) Record(ctx context.Context, run *tracker.Run, fit iter.Seq2[hrstyle.Step, error]) iter.Seq2[hrstyle.Step, error] {
	return func(yield func(hrstyle.Step, error) bool) {
		always := context.WithoutCancel(ctx) // the step at which a fit is stopped is recorded too
		var last hrstyle.Step
		var outputs []mapOutput // of last, where it is a weight map's
		var saved time.Time
		var cancelled atomic.Bool
		reports := newBacklog(always, l.Tracker.Server())
		recorded, ended := -1, false
		finish := func(err error) error {
			if ended {
				return nil
			}
			ended = true
			if err != nil && !errors.Is(err, context.Canceled) && ctx.Err() != nil {
				why := context.Cause(ctx) // a worker may have to give the run back
				if !errors.Is(why, context.Canceled) {
					why = context.Canceled
				}
				err = errors.Join(err, why)
			}
			unrecorded := reports.drain()
			if errors.Is(err, unrecorded) {
				unrecorded = nil
			}
			kept := last
			if reports.lost > 0 { // who goes on from an earlier checkpoint makes them again
				kept = hrstyle.Step{}
			}
			return errors.Join(unrecorded, l.finish(always, run, kept, outputs, errors.Join(err, unrecorded)))
		}
		defer func() {
			if p := recover(); p != nil { // of the loop's body
				_ = finish(fmt.Errorf("panic: %v", p))
				panic(p)
			}
		}()
		for step, err := range fit {
			if step.Ok() {
				last = step
			}
			if step.Ok() && step.N > recorded { // the one that a stop ends with, too
				batch, of, reportErr := l.report(always, step, recorded < 0)
				outputs = of
				if reportErr == nil {
					reportErr = reports.add(batch.Bytes(), func(ctx context.Context) error {
						if err := run.Record(ctx, batch); err != nil {
							return err
						}
						if is, err := run.Cancelled(ctx); err == nil && is {
							cancelled.Store(true)
						}
						return nil
					})
				}
				err = errors.Join(err, reportErr)
				recorded = step.N
			}
			if err == nil && cancelled.Load() {
				err = errCancelled
			}
			if err == nil && time.Since(saved) >= checkpointPause {
				var data []byte
				if data, err = step.Checkpoint().Encode(); err == nil {
					err = reports.add(len(data), func(ctx context.Context) error { return logArtifact(ctx, run, report.Checkpoint, data) })
				}
				saved = time.Now()
			}
			if err != nil {
				yield(last, errors.Join(err, finish(err)))
				return
			}
			if !yield(step, nil) {
				_ = finish(context.Canceled) // nobody is there to be told
				return
			}
		}
		if err := finish(nil); err != nil {
			yield(last, err)
		}
	}
}

// report is what a run keeps of a step: losses, seconds and thumbnails. With the first come those of the pair as fitted, which the
// runs of a sweep share. outputs are those of a weight map.
func (l Lab) report(ctx context.Context, step hrstyle.Step, first bool) (batch tracker.Batch, outputs []mapOutput, err error) {
	values := map[string]float64{"total": step.Total, "content": step.Content, "style": step.Style}
	pictures := []picture.Picture{{Name: report.Output, Image: step.Picture()}}
	if step.Generator().IsMap() {
		if outputs, err = l.mapOutputs(ctx, step); err != nil {
			return batch, nil, err
		}
		if values, pictures, err = l.mapReport(step, outputs); err != nil {
			return batch, nil, err
		}
	}
	values["seconds"] = step.Elapsed.Seconds()
	for name, v := range values {
		batch.Points = append(batch.Points, tracker.Point{Metric: name, Step: int64(step.N), Value: v})
	}
	add := func(step int64, pictures ...picture.Picture) {
		for _, p := range pictures {
			thumbnail, failed := tracker.NewThumbnail(step, p.Name, p.Image)
			batch.Pictures = append(batch.Pictures, thumbnail)
			err = errors.Join(err, failed)
		}
	}
	add(int64(step.N), pictures...)
	if pair := step.Pair(); first {
		add(0, picture.Picture{Name: report.Content, Image: pair.Content}, picture.Picture{Name: report.Style, Image: pair.Style})
	}
	return batch, outputs, err
}

// errOpen says that the end of a run could not be recorded: it counts as running until this process ends.
var errOpen = errors.New("the run could not be ended")

// finish ends the run of a fit that ended with err at step last, of which a weight map has these outputs. It returns what could not
// be recorded, and not err.
func (l Lab) finish(ctx context.Context, run *tracker.Run, last hrstyle.Step, outputs []mapOutput, err error) error {
	kept := l.keep(ctx, run, last, outputs, err)
	ended := error(nil)
	switch {
	case err == nil && kept == nil:
		if kept = run.Finish(ctx, nil); kept != nil {
			ended = run.Finish(ctx, kept)
		}
	case kept == nil || errors.Is(err, tracker.ErrGivenBack):
		ended = run.Finish(ctx, err)
	case err == nil || errors.Is(err, context.Canceled): // it says why, which a run that was only stopped does not
		ended = run.Finish(ctx, errors.New(kept.Error()))
	default: // most likely for the same reason
		kept, ended = nil, run.Finish(ctx, err)
	}
	switch {
	case ended == nil || errors.Is(kept, tracker.ErrTaken):
		return kept
	case errors.Is(ended, tracker.ErrTaken):
		return errors.Join(kept, ended)
	}
	if err != nil && strings.Contains(err.Error(), ended.Error()) { // the caller has it
		return errors.Join(kept, errOpen)
	}
	if kept != nil && strings.Contains(ended.Error(), kept.Error()) {
		kept = nil
	}
	return errors.Join(kept, fmt.Errorf("%w: %w", errOpen, ended))
}

// keep keeps the files of a fit that ended with err at step last: output, generator and checkpoint. It records the measures of
// a finished one. It returns the first error.
func (l Lab) keep(ctx context.Context, run *tracker.Run, last hrstyle.Step, outputs []mapOutput, err error) error {
	if !last.Ok() {
		return nil
	}
	kept := keepArtifact(ctx, run, report.Output, func() ([]byte, error) {
		img, comment := output(last, outputs)
		return picture.Encoding{Comment: comment}.Encode(".png", img)
	})
	if kept == nil {
		kept = keepArtifact(ctx, run, report.Generator, last.Generator().Encode)
	}
	saved := keepArtifact(ctx, run, report.Checkpoint, last.Checkpoint().Encode)
	if kept == nil {
		kept = saved
	}
	if kept == nil && err == nil {
		kept = l.measure(ctx, run, last, outputs)
	}
	return kept
}

// measure records the measures of a fit's output.
func (l Lab) measure(ctx context.Context, run *tracker.Run, last hrstyle.Step, outputs []mapOutput) error {
	var measures map[string]float64
	var err error
	if last.Generator().IsMap() {
		measures, err = l.measureMap(last, outputs)
	} else {
		measures, err = l.Measures(last.Pair(), last.Picture())
	}
	if err != nil {
		return err
	}
	base, err := l.Engine.Baseline(last.Pair())
	if err != nil {
		return err
	}
	for name, why := range undefined(last.Pair(), base) {
		err = errors.Join(err, run.Tag(ctx, name+report.NotDefined, why))
	}
	return errors.Join(err, run.Log(ctx, int64(last.N), measures))
}

// keepArtifact makes an artifact of what encode returns. It goes through memory: a folder for temporary files may be missing or
// full.
func keepArtifact(ctx context.Context, run *tracker.Run, name string, encode func() ([]byte, error)) error {
	data, err := encode()
	if err != nil {
		return err
	}
	return logArtifact(context.WithoutCancel(ctx), run, name, data)
}

func logArtifact(ctx context.Context, run *tracker.Run, name string, data []byte) error {
	if err := run.LogArtifact(ctx, name, bytes.NewReader(data)); err != nil {
		return fmt.Errorf("%s could not be kept: %w", name, err)
	}
	return nil
}

// LoadCheckpoint reads the checkpoint of a run.
func LoadCheckpoint(ctx context.Context, store *tracker.Store, run int64) (*hrstyle.Checkpoint, error) {
	return fromArtifact(ctx, store, run, report.Checkpoint, hrstyle.ReadCheckpoint)
}

// Continue makes a checkpoint of the generator of a run that has no checkpoint, as finished runs of earlier versions: the moments
// of Adam begin anew. Unlike others it fits with every pair and VGG19: see [Lab.SameInputs].
func Continue(ctx context.Context, store *tracker.Store, run tracker.Info) (*hrstyle.Checkpoint, error) {
	g, err := LoadGenerator(ctx, store, run.ID)
	if err != nil {
		return nil, err
	}
	c := g.Continue()
	c.Elapsed = time.Duration(run.Metrics["seconds"].Last * float64(time.Second))
	c.Content, c.Style = run.Params["content"].Text, run.Params["style"].Text
	return c, nil
}

// LoadGenerator reads the generator of a run.
func LoadGenerator(ctx context.Context, store *tracker.Store, run int64) (*hrstyle.Generator, error) {
	return fromArtifact(ctx, store, run, report.Generator, hrstyle.ReadGenerator)
}

// LoadPair reads the pictures of a run that was queued. Where it was not the error wraps [tracker.ErrNotFound].
func LoadPair(ctx context.Context, store *tracker.Store, run int64) (pair hrstyle.Pair, err error) {
	info, err := store.Run(ctx, strconv.FormatInt(run, 10))
	if err != nil {
		return pair, err
	}
	if pair.Content, err = fromArtifact(ctx, store, run, report.Content, readPicture); err == nil {
		pair.Style, err = fromArtifact(ctx, store, run, report.Style, readPicture)
	}
	pair.Content.Name, pair.Style.Name = info.Params["content"].Text, info.Params["style"].Text
	return pair, err
}

func readPicture(name string, r io.ReaderAt, size int64) (picture.Picture, error) {
	return picture.Read(name, io.NewSectionReader(r, 0, size))
}

func fromArtifact[T any](ctx context.Context, store *tracker.Store, run int64, name string, read func(name string, r io.ReaderAt, size int64) (T, error)) (value T, err error) {
	data, err := store.ReadArtifact(ctx, run, name)
	if err != nil {
		return value, err
	}
	return read(fmt.Sprintf("run %d: artifact %q", run, name), bytes.NewReader(data), int64(len(data)))
}

// Recorded are the steps of a run that have a picture, as they are on record.
func Recorded(ctx context.Context, store *tracker.Store, run tracker.Info) ([]hrstyle.Step, error) {
	return stepsAfter(ctx, store, run, hrstyle.Step{}, true)
}

// stepsAfter are the steps on record after last that have both metrics and a picture. The picture of the last step is the
// output at its full size if the run is over; other pictures are thumbnails.
func stepsAfter(ctx context.Context, store *tracker.Store, info tracker.Info, last hrstyle.Step, over bool) (steps []hrstyle.Step, err error) {
	series, err := store.Series(ctx, []int64{info.ID}, []string{"content", "seconds", "style", "total"}, 0)
	if err != nil {
		return nil, err
	}
	values := map[int64]map[string]float64{}
	for _, s := range series {
		for i, n := range s.Steps {
			if values[n] == nil {
				values[n] = map[string]float64{}
			}
			values[n][s.Metric] = s.Values[i]
		}
	}
	pictures, err := store.Pictures(ctx, info.ID)
	if err != nil {
		return nil, err
	}
	pictures = slices.DeleteFunc(pictures, func(p tracker.Picture) bool {
		return p.Name != report.Output || last.Ok() && p.Step <= int64(last.N) || len(values[p.Step]) < 4
	})
	for i, p := range pictures {
		v := values[p.Step]
		data, err := store.Thumbnail(ctx, p.Digest)
		if err != nil {
			return nil, err
		}
		img, err := jpeg.Decode(bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("run %d, picture of step %d: %w", info.ID, p.Step, err)
		}
		if over && i == len(pictures)-1 {
			output, err := fromArtifact(ctx, store, info.ID, report.Output, readPicture)
			switch {
			case err == nil:
				img = output.Image
			case !errors.Is(err, tracker.ErrNotFound):
				return nil, err
			}
		}
		steps = append(steps, hrstyle.Recorded(int(p.Step), v["total"], v["content"], v["style"], time.Duration(v["seconds"]*float64(time.Second)), img))
	}
	return steps, nil
}
