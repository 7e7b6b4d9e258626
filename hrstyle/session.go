package hrstyle

import (
	"errors"
	"fmt"
	"image"
	"math"
	"time"

	"github.com/gomlx/gomlx/core/tensors"
)

// problem is what a fit needs on the device.
type problem struct {
	engine *Engine
	config Config
	scaled Pair   // as fitted
	digest string // of it
	w, h   int
	state  []*tensors.Tensor // parameters and Adam's moments
	pair   *placedPair
	fixed  []any                     // pair, then VGG19
	scales [len(StyleLayers)]float64 // of the style targets
	began  time.Time
}

func (e *Engine) newProblem(pair Pair, start *Checkpoint) (*problem, error) {
	c := start.Config
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if e.VGG == nil {
		return nil, errors.New("this engine was opened without VGG19 weights (vgg none): it can only apply generators")
	}
	pair, err := pair.Fitted(c)
	if err != nil {
		return nil, err
	}
	p := &problem{engine: e, config: c, scaled: pair, w: pair.Content.Bounds().Dx(), h: pair.Content.Bounds().Dy()}
	if err := e.checkMemory("fitting", p.w, p.h, fitMemory); err != nil {
		return nil, err
	}
	style := pair.Style.Bounds()
	if err := e.checkMemory(pair.Style.Name+" as style picture", style.Dx(), style.Dy(), styleMemory); err != nil {
		return nil, err
	}
	x, y := normalised(pair.Content), normalised(pair.Style)
	p.digest = pairDigest(pair, x, y)
	if err := start.matches(p.digest, e.VGG); err != nil {
		return nil, err
	}
	err = try(fmt.Sprintf("preparing a fit of %dx%d", p.w, p.h), func() {
		p.place(start, x, y, pair.sizes())
	})
	p.began = time.Now().Add(-start.Elapsed)
	return p, err
}

// place puts state and pair on the device.
func (p *problem) place(start *Checkpoint, content, style []float32, sizes [2]image.Point) {
	e := p.engine
	p.pair, p.scales = e.placePair(p.digest, content, style, sizes), p.config.targetScales(sizes[1])
	p.pair.users++
	for _, t := range p.pair.fixed {
		p.fixed = append(p.fixed, t)
	}
	p.fixed = append(p.fixed, e.prepared...)
	for _, values := range [][]float32{start.flat, start.moments[0], start.moments[1]} {
		p.state = append(p.state, upload(e, values, parameterCount))
	}
}

type stepOutputs struct {
	state           []*tensors.Tensor
	losses, picture *tensors.Tensor
}

// step starts update n and does not wait for it.
func (p *problem) step(n int) stepOutputs {
	knobs, mode := upload(p.engine, p.knobs(n), knobCount), p.config.Gram
	defer free(knobs) // the device keeps it as long as it needs it
	out := p.engine.call("step "+string(mode), p.engine.stepGraph(mode), append([]any{p.state[0], p.state[1], p.state[2], knobs}, p.fixed...)...)
	return stepOutputs{out[:3], out[3], out[4]}
}

func (p *problem) report(n int, losses [3]float64, picture *tensors.Tensor) Step {
	state := p.checkpoint(n)
	return Step{
		N: n, Total: losses[0], Content: losses[1], Style: losses[2], Elapsed: time.Since(p.began),
		pair: p.scaled, picture: download[float32](picture),
		generator:  &Generator{Step: n, Config: p.config, VGG: p.engine.VGG.Label, flat: state.flat},
		checkpoint: state,
	}
}

func (p *problem) checkpoint(n int) *Checkpoint {
	return &Checkpoint{
		Config: p.config, Step: n, Elapsed: time.Since(p.began), Content: p.scaled.Content.Name, Style: p.scaled.Style.Name,
		flat: download[float32](p.state[0]), moments: [2][]float32{download[float32](p.state[1]), download[float32](p.state[2])},
		pair: p.digest, vgg: p.engine.VGG.Digest,
	}
}

func (p *problem) close() {
	free(p.state...)
	p.pair.release()
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
