package hrstyle

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/gomlx/gomlx/core/tensors"
)

// session is the state of a running fit on the device.
type session struct {
	engine *Engine
	config Config
	pair   Pair   // as fitted
	digest string // of it
	began  time.Time
	fresh  int // the step at which Adam's moments began

	placed *placedPair
	fixed  []any                     // what every step takes: the placed pair, then VGG19
	scales [len(StyleLayers)]float64 // of the style targets
	state  []*tensors.Tensor         // parameters and Adam's moments

	// Of the step that was begun last:
	next    []*tensors.Tensor // the state after it
	picture *tensors.Tensor   // [1,H,W,3], of the state before it, as losses are
	losses  *tensors.Tensor   // total, content and style; nil once they are read
}

// newSession checks everything that a fit needs, and puts it on the device.
func (e *Engine) newSession(pair Pair, start *Checkpoint) (*session, error) {
	c := start.Config
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if err := start.fits(c); err != nil {
		return nil, err
	}
	if e.VGG == nil {
		return nil, errors.New("this engine was opened without VGG19 weights (vgg none): it can only apply generators")
	}
	if err := e.Fits(pair, c); err != nil {
		return nil, err
	}
	pair, err := pair.Fitted(c)
	if err != nil {
		return nil, err
	}
	x, y := normalised(pair.Content), normalised(pair.Style)
	s := &session{engine: e, config: c, pair: pair, digest: pairDigest(pair, x, y), fresh: start.fresh}
	if err := start.matches(s.digest, e.VGG); err != nil {
		return nil, err
	}
	size := pair.Content.Bounds()
	if err := try(fmt.Sprintf("preparing a fit of %dx%d", size.Dx(), size.Dy()), func() { s.place(start, x, y) }); err != nil {
		s.close()
		return nil, err
	}
	s.began = time.Now().Add(-start.Elapsed)
	return s, nil
}

// place puts the pair, whose values are content and style, and the state on the device.
func (s *session) place(start *Checkpoint, content, style []float32) {
	e, sizes := s.engine, s.pair.sizes()
	s.placed, s.scales = e.placePair(s.digest, content, style, sizes), s.config.targetScales(sizes[1])
	s.placed.users++
	for _, t := range s.placed.fixed {
		s.fixed = append(s.fixed, t)
	}
	s.fixed = append(s.fixed, e.prepared...)
	list := layout(len(start.flat))
	for _, values := range [][]float32{start.flat, start.moments[0], start.moments[1]} {
		s.state = append(s.state, upload(e, values, list[len(list)-1].end)) // fails for any other number
	}
}

// step begins update n. It does not wait for it, but for the losses of the update before, unless they are read.
func (s *session) step(n int) error {
	before := s.losses
	err := try(fmt.Sprintf("step %d", n), func() {
		list, mode := s.hyperparameters(n), s.config.Gram
		values := upload(s.engine, list, len(list))
		defer free(values) // the device keeps it as long as it needs it
		out := s.engine.call("step "+string(mode), s.engine.stepGraph(mode), append([]any{s.state[0], s.state[1], s.state[2], values}, s.fixed...)...)
		s.next, s.losses, s.picture = out[:3], out[3], out[4]
	})
	if err == nil && before != nil {
		_, err = readLosses(before, n-1)
	}
	return err
}

// advance makes the state after the step that was begun last the current one.
func (s *session) advance() {
	free(append(s.state, s.picture)...)
	s.state, s.next, s.picture = s.next, nil, nil
}

// readLosses waits for the losses of step n, the one that was begun last.
func (s *session) readLosses(n int) ([3]float64, error) {
	losses, err := readLosses(s.losses, n)
	s.losses = nil
	return losses, err
}

// report is what a fit yields of step n.
func (s *session) report(n int, losses [3]float64) Step {
	state := s.checkpoint(n)
	return Step{
		N: n, Total: losses[0], Content: losses[1], Style: losses[2], ContentWeight: s.contentWeight(n), Elapsed: state.Elapsed,
		pair: s.pair, picture: download[float32](s.picture),
		generator:  &Generator{Step: n, Config: s.config, VGG: s.engine.VGG.Label, flat: state.flat},
		checkpoint: state,
	}
}

func (s *session) checkpoint(n int) *Checkpoint {
	return &Checkpoint{
		Config: s.config, Step: n, Elapsed: time.Since(s.began), Content: s.pair.Content.Name, Style: s.pair.Style.Name,
		flat: download[float32](s.state[0]), moments: [2][]float32{download[float32](s.state[1]), download[float32](s.state[2])},
		pair: s.digest, vgg: s.engine.VGG.Digest, fresh: s.fresh,
	}
}

// stop saves the checkpoint of a fit that ends early, by cause or, where that is nil, by its consumer.
func (s *session) stop(last Step, cause error) error {
	if s.config.Checkpoint == "" {
		return cause
	}
	if err := last.checkpoint.Save(s.config.Checkpoint); err != nil && cause != nil {
		return errors.Join(cause, err)
	}
	return cause
}

func (s *session) close() {
	free(append(append(s.state, s.next...), s.picture, s.losses)...)
	s.placed.release()
}

// readLosses waits for the losses of step n, and frees them.
func readLosses(t *tensors.Tensor, n int) (losses [3]float64, err error) {
	losses = [3]float64(download[float64](t))
	free(t)
	for _, i := range []int{1, 2, 0} {
		if v := losses[i]; math.IsNaN(v) || math.IsInf(v, 0) {
			return losses, fmt.Errorf("%w: the %s loss is %v at step %d", ErrDiverged, [3]string{"total", "content", "style"}[i], v, n)
		}
	}
	return losses, nil
}
