package hrstyle

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"iter"
	"math"
	"time"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// ErrDiverged says that a loss became NaN or infinite.
var ErrDiverged = errors.New("the fit diverged")

// Step is a moment of a fit: after N updates. It stays valid when the fit goes on.
type Step struct {
	N                     int
	Total, Content, Style float64       // Total = ContentWeight·Content + StyleWeight·Style
	Elapsed               time.Duration // since the first step began, earlier parts of a resumed fit included

	pair       Pair // as fitted
	picture    []float32
	generator  *Generator
	checkpoint *Checkpoint
	recorded   *image.NRGBA64
}

// Recorded is a step of a fit that was made elsewhere, as it is on record: losses and a picture, which may be smaller than
// it was, but neither generator nor checkpoint.
func Recorded(n int, total, content, style float64, elapsed time.Duration, picture image.Image) Step {
	p := image.NewNRGBA64(image.Rectangle{Max: picture.Bounds().Size()})
	draw.Draw(p, p.Rect, picture, picture.Bounds().Min, draw.Src)
	return Step{N: n, Total: total, Content: content, Style: style, Elapsed: elapsed, recorded: p}
}

// Picture is the output after N updates, at the fitted size; empty of a step that does not exist.
func (s Step) Picture() *image.NRGBA64 {
	if s.recorded != nil {
		return s.recorded
	}
	if !s.Ok() {
		return &image.NRGBA64{}
	}
	size := s.pair.Content.Bounds()
	return denormalised(s.picture, size.Dx(), size.Dy())
}

// Pair is the pair at the sizes that are fitted; empty of a Recorded step.
func (s Step) Pair() Pair { return s.pair }

// Generator is the generator after N updates; nil of a Recorded step.
func (s Step) Generator() *Generator { return s.generator }

// Checkpoint is the state of the fit after N updates, to go on from; nil of a Recorded step.
func (s Step) Checkpoint() *Checkpoint { return s.checkpoint }

// Describe says in one line how the step came about; it is meant for [picture.Encoding].Comment. A Recorded step does not know.
func (s Step) Describe() string {
	if s.recorded != nil {
		return fmt.Sprintf("hrlab: step %d", s.N)
	}
	c, gain := s.generator.Config, ""
	if c.StyleGain != 1 {
		gain = fmt.Sprintf(", style gain %g", c.StyleGain)
	}
	return fmt.Sprintf("hrlab: content weight %g, style weight %g, Gram %s%s, step %d; VGG19: %s", c.ContentWeight, c.StyleWeight, c.Gram, gain, s.N, s.generator.VGG)
}

// Ok says whether the step exists: a fit that fails at once has none.
func (s Step) Ok() bool { return s.generator != nil || s.recorded != nil }

// Last runs a fit to its end and returns the last step that it yielded, with its error.
func Last(fit iter.Seq2[Step, error]) (last Step, err error) {
	for last, err = range fit {
	}
	return last, err
}

// Fit optimises a generator for pair and yields steps 0, ReportEvery, 2·ReportEvery … and config.Steps.
//
// An error ends it and comes with the last good step, if there was one (Step.Ok): ErrDiverged, wrapped, naming term
// and step, when a loss becomes NaN or infinite; the context's cause when that is cancelled, within a step.
func (e *Engine) Fit(ctx context.Context, pair Pair, config Config) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) {
		first := &Generator{flat: initialParameters(config.Seed)}
		if config.Init != "" {
			var err error
			if first, err = LoadGenerator(config.Init); err != nil {
				yield(Step{}, err)
				return
			}
		}
		e.fit(ctx, pair, first.Start(config), yield)
	}
}

// Resume goes on with the fit of a checkpoint, which must be of the same pictures and VGG19 weights. The result equals
// that of a fit that was never interrupted.
func (e *Engine) Resume(ctx context.Context, pair Pair, from *Checkpoint) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) { e.fit(ctx, pair, from, yield) }
}

// fit is THE loop. It looks at every step's losses, but only once the next step is on its way, so that the device
// never waits for the host except where a step is reported.
func (e *Engine) fit(ctx context.Context, pair Pair, start *Checkpoint, yield func(Step, error) bool) {
	var last Step
	fail := func(err error) { yield(last, err) }
	p, err := e.newProblem(pair, start)
	if err != nil {
		fail(err)
		return
	}
	defer p.close()

	config, due := p.config, func(n, every int) bool { return every > 0 && n%every == 0 || n == p.config.Steps }
	var running *tensors.Tensor // losses of the step that the device is busy with
	for n := start.Step; n <= config.Steps; n++ {
		cause := context.Cause(ctx)
		var out stepOutputs
		if err := try(fmt.Sprintf("step %d", n), func() { out = p.step(n) }); err != nil {
			fail(err)
			return
		}
		if running != nil {
			if _, err := readLosses(running, n-1); err != nil {
				fail(err)
				return
			}
		}
		running = out.losses
		if due(n, config.ReportEvery) || cause != nil {
			losses, err := readLosses(out.losses, n)
			if err != nil {
				fail(err)
				return
			}
			running = nil
			last = p.report(n, losses, out.picture)
			stopped := cause != nil || !yield(last, nil)
			if stopped && config.Checkpoint != "" {
				if err := last.checkpoint.Save(config.Checkpoint); err != nil && cause != nil {
					cause = errors.Join(cause, err)
				}
			}
			if cause != nil {
				fail(cause)
			}
			if stopped {
				return
			}
		}
		if config.Checkpoint != "" && config.CheckpointEvery > 0 && n > start.Step && due(n, config.CheckpointEvery) {
			if running != nil { // a state that diverged replaces no good one
				if _, err := readLosses(running, n); err != nil {
					fail(err)
					return
				}
				running = nil
			}
			if err := p.checkpoint(n).Save(config.Checkpoint); err != nil {
				fail(err)
				return
			}
		}
		free(append(p.state, out.picture)...)
		p.state = out.state
	}
}

// knobs are the numbers that change from step to step or from trial to trial, as one input of the step's graph.
const (
	knobContent = iota
	knobStyle
	knobRate
	knobVariance
	knobDecay
	knobLayers                                  // as many as StyleLayers
	knobTargets = knobLayers + len(StyleLayers) // targetScales
	knobCount   = knobTargets + len(StyleLayers)
)

const beta1, beta2, adamEps = 0.9, 0.999, 1e-8

// knobs of update n (counted from 0). Adam's bias corrections are folded in: knobRate is the learning rate divided by
// 1-β₁ⁿ⁺¹, knobVariance √(1-β₂ⁿ⁺¹).
func (p *problem) knobs(n int) []float64 {
	c := p.config
	rate := c.LearningRate
	if c.DecayEvery > 0 {
		rate *= math.Pow(c.DecayFactor, float64(n/c.DecayEvery))
	}
	t := float64(n + 1)
	values := []float64{c.ContentWeight, c.StyleWeight, rate / (1 - math.Pow(beta1, t)), math.Sqrt(1 - math.Pow(beta2, t)), c.WeightDecay}
	return append(append(values, c.LayerWeights[:]...), p.scales[:]...)
}

// stepInputs are the inputs of the step's graph, in order.
type stepInputs struct {
	state   []*Node // parameters and Adam's two moments, [parameterCount] each
	knobs   *Node   // [knobCount]
	content *Node   // [1,H,W,3]
	map4_2  *Node   // the content target [1,H/8,W/8,512]
	grams   []*Node // of the style picture, FᵀF [C,C]
	vgg     *vggGraph
	engine  *Engine
}

func (e *Engine) stepInputs(in []*Node) stepInputs {
	return stepInputs{in[:3], in[3], in[4], in[5], in[6:11], e.vggGraph(in[11:]), e}
}

func (in stepInputs) knob(i int) *Node { return Reshape(SliceAxis(in.knobs, 0, AxisRange(i, i+1))) }

// losses builds generator, features and losses; gradient is that of the total with respect to the flat parameters.
func (in stepInputs) losses(mode Gram) (g *generator, picture, total, content, style, gradient *Node) {
	g = in.engine.newGenerator(in.state[0])
	picture = g.generate(in.content)
	in.vgg.forward(picture)

	// The losses see copies of the maps, so that their gradients are had one by one and VGG19's is done by hand.
	maps, names, heads := map[string]*Node{}, append(StyleLayers[:], contentLayer), []*Node{}
	for _, name := range names {
		maps[name] = Identity(in.vgg.maps[name])
		heads = append(heads, maps[name])
	}
	content = contentLoss(maps[contentLayer], in.map4_2)
	targets := scaled(in.grams, SliceAxis(in.knobs, 0, AxisRange(knobTargets, knobCount)))
	style = styleLoss(maps, targets, SliceAxis(in.knobs, 0, AxisRange(knobLayers, knobTargets)), mode)
	total = Add(Mul(in.knob(knobContent), content), Mul(in.knob(knobStyle), style))
	gradients := map[string]*Node{}
	for i, d := range Gradient(total, heads...) {
		gradients[names[i]] = d
	}
	d := StopGradient(in.vgg.backward(gradients))
	return g, picture, total, content, style, g.gradient(ReduceAllSum(Mul(picture, d)))
}

// stepGraph is one update: losses and picture of the state that comes in, and the state after Adam (Kingma and Ba,
// arXiv 1412.6980, algorithm 1).
func (e *Engine) stepGraph(mode Gram) func([]*Node) []*Node {
	return func(inputs []*Node) []*Node {
		in := e.stepInputs(inputs)
		_, picture, total, content, style, gradient := in.losses(mode)
		p, m, v := in.state[0], in.state[1], in.state[2]
		gradient = Add(gradient, Mul(in.knob(knobDecay), p))
		m = Add(MulScalar(m, beta1), MulScalar(gradient, 1-beta1))
		v = Add(MulScalar(v, beta2), MulScalar(Square(gradient), 1-beta2))
		p = Sub(p, Mul(in.knob(knobRate), Div(m, AddScalar(Div(Sqrt(v), in.knob(knobVariance)), adamEps))))
		return []*Node{p, m, v, Stack([]*Node{total, content, style}, 0), picture}
	}
}

// targetsGraph returns contentLayer's map of a picture, and FᵀF of the maps of StyleLayers.
func (e *Engine) targetsGraph(in []*Node) []*Node {
	vgg := e.vggGraph(in[1:])
	vgg.forward(in[0])
	out := []*Node{vgg.maps[contentLayer]}
	for _, name := range StyleLayers {
		out = append(out, gram(vgg.maps[name]))
	}
	return out
}

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

// placedPair is a pair's content picture and targets on the device, whatever the fit's settings are. The engine keeps the
// last one: the trials of a sweep and the measures of their outputs share it.
type placedPair struct {
	digest string // of the pictures
	fixed  []*tensors.Tensor
	users  int // problems, and the engine
}

func (p *placedPair) release() {
	if p == nil {
		return
	}
	if p.users--; p.users == 0 {
		free(p.fixed...)
	}
}

// placePair puts a pair of the given digest on the device, unless it is there: content and style are [1,H,W,3], of the
// sizes W x H.
func (e *Engine) placePair(digest string, content, style []float32, sizes [2]image.Point) *placedPair {
	e.prepare()
	if e.pair == nil || e.pair.digest != digest {
		x := upload(e, content, 1, sizes[0].Y, sizes[0].X, 3)
		y := upload(e, style, 1, sizes[1].Y, sizes[1].X, 3)
		ofContent := e.call("targets", e.targetsGraph, append([]any{x}, e.prepared...)...)
		ofStyle := e.call("targets", e.targetsGraph, append([]any{y}, e.prepared...)...)
		free(append(ofContent[1:], ofStyle[0], y)...)
		e.pair.release()
		e.pair = &placedPair{digest, append([]*tensors.Tensor{x, ofContent[0]}, ofStyle[1:]...), 1}
	}
	return e.pair
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

func (p Pair) sizes() [2]image.Point {
	return [2]image.Point{p.Content.Bounds().Size(), p.Style.Bounds().Size()}
}

// pairDigest is that of both pictures' values and shapes.
func pairDigest(pair Pair, content, style []float32) string {
	sizes := pair.sizes()
	return digest(content, style, []float32{float32(sizes[0].X), float32(sizes[1].X)})
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

func free(list ...*tensors.Tensor) {
	for _, t := range list {
		t.MustFinalizeAll()
	}
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
