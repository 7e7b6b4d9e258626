package hrstyle

import (
	"fmt"
	"image"
	"image/draw"
	"math"
	"time"

	. "github.com/gomlx/gomlx/core/graph"
)

// Step is the state of a fit after N updates. It stays valid when the fit goes on.
type Step struct {
	N                     int
	Total, Content, Style float64       // Total = ContentWeight·Content + StyleWeight·Style
	ContentWeight         float64       // of a weight map it changes from step to step; 0 for a Recorded step
	Elapsed               time.Duration // since the fit began; what came before a Resume counts, the time between does not

	pair       Pair // as fitted
	picture    []float32
	generator  *Generator
	checkpoint *Checkpoint
	recorded   *image.NRGBA64
}

// Recorded returns a step of a fit that ran elsewhere, as it was recorded: with losses and a picture, which may be smaller
// than the output was, but without pair, generator and checkpoint.
func Recorded(n int, total, content, style float64, elapsed time.Duration, picture image.Image) Step {
	p := image.NewNRGBA64(image.Rectangle{Max: picture.Bounds().Size()})
	draw.Draw(p, p.Rect, picture, picture.Bounds().Min, draw.Src)
	return Step{N: n, Total: total, Content: content, Style: style, Elapsed: elapsed, recorded: p}
}

// Picture returns the output after N updates, at the fitted size. It has no pixels if the step does not exist.
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

// Pair returns the pair at the sizes that are fitted, or an empty one for a Recorded step.
func (s Step) Pair() Pair { return s.pair }

// Generator returns the generator after N updates, or nil for a Recorded step.
func (s Step) Generator() *Generator { return s.generator }

// Checkpoint returns the state of the fit after N updates, for [Engine.Resume], or nil for a Recorded step.
func (s Step) Checkpoint() *Checkpoint { return s.checkpoint }

// Describe returns a line about how the output was made, for [picture.Encoding].Comment. Of a Recorded step it is the step's
// number alone.
func (s Step) Describe() string {
	if s.recorded != nil {
		return fmt.Sprintf("hrlab: step %d", s.N)
	}
	c, gain := s.generator.Config, ""
	if c.StyleGain != 1 {
		gain = fmt.Sprintf(", style gain %g", c.StyleGain)
	}
	return fmt.Sprintf("hrlab: content weight %g, style weight %g, Gram %s%s, step %d; VGG19: %s", s.ContentWeight, c.StyleWeight, c.Gram, gain, s.N, s.generator.VGG)
}

// Ok says whether the step exists. A fit that fails before its first step yields one that does not, with the error.
func (s Step) Ok() bool { return s.generator != nil || s.recorded != nil }

// Hyperparameters of a step: what changes from step to step or from trial to trial. They are packed into one input of the
// step's graph, in this order.
const (
	contentWeight      = iota
	styleWeight        // of the whole style loss
	learningRate       // divided by 1-β₁ᵗ, Adam's correction of the first moment, t updates after it began
	varianceCorrection // √(1-β₂ᵗ), that of the second
	weightDecay
	layerWeights                                          // as many as StyleLayers
	targetScales        = layerWeights + len(StyleLayers) // as many
	knotWeights         = targetScales + len(StyleLayers) // of a weight map, as many as it has knots
	hyperparameterCount = knotWeights                     // of a fit
)

// hyperparameters are those of update n, counted from 0.
func (s *session) hyperparameters(n int) []float64 {
	c := s.config
	rate := c.LearningRate
	switch {
	case c.Knots > 0:
		rate *= 1 - float64(n)/float64(max(c.Steps, 1))
	case c.DecayEvery > 0:
		rate *= math.Pow(c.DecayFactor, float64(n/c.DecayEvery))
	}
	t := float64(n - s.fresh + 1)
	values := []float64{s.contentWeight(n), c.StyleWeight, rate / (1 - math.Pow(beta1, t)), math.Sqrt(1 - math.Pow(beta2, t)), c.WeightDecay}
	values = append(append(values, c.LayerWeights[:]...), s.scales[:]...)
	if c.Knots > 0 {
		values = append(values, c.weights(c.drawn(n))...)
	}
	return values
}

// contentWeight is that of update n.
func (s *session) contentWeight(n int) float64 {
	if s.config.Knots > 0 {
		return s.config.drawn(n) * s.config.StyleWeight
	}
	return s.config.ContentWeight
}

// stepInputs are the inputs of the step's graph, in order.
type stepInputs struct {
	state           []*Node // parameters and Adam's two moments: flat vectors, see layout
	hyperparameters *Node   // [hyperparameterCount], and of a weight map as many more as it has knots
	content         *Node   // the content picture [1,H,W,3]
	contentTarget   *Node   // contentLayer's map of it [1,H/8,W/8,512]
	styleTargets    []*Node // FᵀF [C,C] of the style picture's maps
	vgg             *vggGraph
	engine          *Engine
}

func (e *Engine) stepInputs(in []*Node) stepInputs {
	return stepInputs{in[:3], in[3], in[4], in[5], in[6:11], e.vggGraph(in[11:]), e}
}

// hyperparameter is the one at i, a scalar.
func (in stepInputs) hyperparameter(i int) *Node { return Reshape(in.slice(i, i+1)) }

// slice are the hyperparameters from begin up to end.
func (in stepInputs) slice(begin, end int) *Node {
	return SliceAxis(in.hyperparameters, 0, AxisRange(begin, end))
}

// losses builds generator, features and losses; gradient is that of the total with respect to the flat parameters.
func (in stepInputs) losses(mode Gram) (g *generator, picture, total, content, style, gradient *Node) {
	flat, backKnots := in.generator()
	g = in.engine.newGenerator(flat)
	picture, back := g.generate(in.content)
	in.vgg.forward(picture)

	// The losses take copies of the maps: automatic differentiation stops there, and VGG19's gradient is written by hand.
	maps, names, heads := map[string]*Node{}, append(StyleLayers[:], contentLayer), []*Node{}
	for _, name := range names {
		maps[name] = Identity(in.vgg.maps[name])
		heads = append(heads, maps[name])
	}
	content = contentLoss(maps[contentLayer], in.contentTarget)
	targets := scaled(in.styleTargets, in.slice(targetScales, knotWeights))
	style = styleLoss(maps, targets, in.slice(layerWeights, targetScales), mode)
	total = Add(Mul(in.hyperparameter(contentWeight), content), Mul(in.hyperparameter(styleWeight), style))
	gradients := map[string]*Node{}
	for i, d := range Gradient(total, heads...) {
		gradients[names[i]] = d
	}
	return g, picture, total, content, style, backKnots(back(in.vgg.backward(gradients)), total)
}

// generator is the flat vector of the generator of this step: the state itself, or what a weight map has between its knots. back
// takes the gradient of the total loss with respect to it, and returns that with respect to the state of what is minimised: the
// total loss itself, or its logarithm for a weight map, whose totals range over four orders of magnitude.
func (in stepInputs) generator() (flat *Node, back func(d, total *Node) *Node) {
	count := in.hyperparameters.Shape().Dim(0)
	if count == hyperparameterCount {
		return in.state[0], func(d, _ *Node) *Node { return d }
	}
	flat, backKnots := betweenKnots(in.state[0], in.slice(knotWeights, count))
	return flat, func(d, total *Node) *Node { return backKnots(Div(d, total)) } // d log(total) = d total / total
}

// Adam's constants, PyTorch's defaults.
const beta1, beta2, adamEps = 0.9, 0.999, 1e-8

// stepGraph is one update: losses and picture of the state that comes in, and the state after Adam (Kingma and Ba,
// arXiv 1412.6980, algorithm 1).
func (e *Engine) stepGraph(mode Gram) func([]*Node) []*Node {
	return func(inputs []*Node) []*Node {
		in := e.stepInputs(inputs)
		_, picture, total, content, style, gradient := in.losses(mode)
		p, m, v := in.state[0], in.state[1], in.state[2]
		gradient = Add(gradient, Mul(in.hyperparameter(weightDecay), p))
		m = Add(MulScalar(m, beta1), MulScalar(gradient, 1-beta1))
		v = Add(MulScalar(v, beta2), MulScalar(Square(gradient), 1-beta2))
		p = Sub(p, Mul(in.hyperparameter(learningRate), Div(m, AddScalar(Div(Sqrt(v), in.hyperparameter(varianceCorrection)), adamEps))))
		return []*Node{p, m, v, Stack([]*Node{total, content, style}, 0), picture}
	}
}
