// Package hrstyle transfers the look of one photograph to another: a small generator (HRNet) that keeps full
// resolution throughout is optimised for one pair of pictures, so that its output has the content picture's structure
// and the style picture's colours and textures, both measured through VGG19.
//
//	pair, err := hrstyle.LoadPair("content.png", "style.png")
//	engine, err := hrstyle.Open(ctx, hrstyle.Options{})
//	for step, err := range engine.Fit(ctx, pair, hrstyle.Default) { … }
//
// The method is that of "High-Resolution Network for Photorealistic Style Transfer" (arXiv 1904.11617). What is hard
// is choosing the two weights: the content loss compares feature maps, the style loss Gram matrices, and their sizes
// have nothing in common. With [GramMean] a pair of weights means the same at every picture size.
//
// A fit is an iterator: recording, early stopping and display are ordinary loop bodies. Weights and learning rate are
// inputs of the compiled graph, so one [Engine] compiles once a picture size, whatever else changes. An Engine is for
// one goroutine at a time.
//
// The files follow the data: pair.go, generator.go (HRNet), vgg.go, loss.go, fit.go (the loop), apply.go.
package hrstyle

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"hrlab/hrstyle/device"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/support/exceptions"
)

// Config says how a pair is fitted. Start from [Default] or [Reference] and change fields: zero is a value, not a
// default. The JSON names are those of the command line's flags.
type Config struct {
	// Size is the longer side of the fitted picture in pixels, 32 to 8192; the shorter one follows, and both are
	// rounded to multiples of 4. With Square both sides are Size.
	Size   int  `json:"size"`
	Square bool `json:"square"`
	// StyleSize is the longer side of the style picture (with Square both sides), 32 to 8192; 0 keeps the picture's
	// own size, AsContent takes Size.
	StyleSize int `json:"style_size"`
	// Gram is how Gram matrices are taken.
	Gram Gram `json:"gram"`
	// StyleGain multiplies the style picture's Gram matrices, which are what the style loss aims at: above 1 at colours
	// and contrasts beyond the style picture's. It is finite and above 0.
	StyleGain float64 `json:"style_gain"`

	// Steps is the number of updates, 0 or more; losses and pictures exist for steps 0 to Steps.
	Steps int `json:"steps"`
	// ContentWeight and StyleWeight multiply the two losses; LayerWeights the terms of the style loss, in the order
	// of StyleLayers. All are finite and at least 0.
	ContentWeight float64    `json:"content_weight"`
	StyleWeight   float64    `json:"style_weight"`
	LayerWeights  [5]float64 `json:"layer_weights"`
	// LearningRate is Adam's (betas 0.9 and 0.999, eps 1e-8), multiplied by DecayFactor after every DecayEvery
	// updates (0: never).
	LearningRate float64 `json:"learning_rate"`
	DecayFactor  float64 `json:"decay_factor"`
	DecayEvery   int     `json:"decay_every"`
	// WeightDecay times the parameters is added to the gradient (L2, as in PyTorch's Adam).
	WeightDecay float64 `json:"weight_decay"`
	// Seed draws the initial parameters; Init, a generator file, replaces them.
	Seed int64  `json:"seed"`
	Init string `json:"init,omitempty"`

	// ReportEvery is the number of steps from one yielded Step to the next, at least 1.
	ReportEvery int `json:"report_every"`
	// Checkpoint is the file to save the fit's state to, on stopping early and every CheckpointEvery steps (0: on
	// stopping early alone); empty: never.
	Checkpoint      string `json:"-"`
	CheckpointEvery int    `json:"checkpoint_every"`
}

// AsContent is the StyleSize that is the same as Size.
const AsContent = -1

// UnmarshalJSON reads what Config is written as; what was written before there was a StyleGain has a gain of 1.
func (c *Config) UnmarshalJSON(text []byte) error {
	type fields Config
	read := fields(*c)
	read.StyleGain = 1
	err := json.Unmarshal(text, &read)
	*c = Config(read)
	return err
}

// Reference is the authors' run: 500x500 whatever the aspect ratio, the style picture at its own size, Gram sums.
var Reference = Config{
	Size: 500, Square: true, StyleSize: 0, Gram: GramSum, StyleGain: 1,
	Steps: 1000, ContentWeight: 150, StyleWeight: 1, LayerWeights: [5]float64{0.1, 0.2, 0.4, 0.8, 1.6},
	LearningRate: 5e-3, DecayFactor: 0.9, DecayEvery: 200,
	ReportEvery: 10,
}

// AuthorsGain is the StyleGain that Reference hides: the authors' style pictures, 600x1067 or 800x800, have this many times
// the pixels of the output, and GramSum sums over them. With it, GramMean aims at what their runs aim at, at every size.
const AuthorsGain = 2.56

// Default is Reference with the aspect ratio kept and no hidden weights: Gram matrices a pixel, both pictures of the
// same size.
var Default = func() Config {
	c := Reference
	c.Square, c.StyleSize, c.Gram = false, AsContent, GramMean
	return c
}()

const minSize, maxSize = 32, 8192

// Validate names the first field that is out of range, its value and what is allowed.
func (c Config) Validate() error {
	size := func(v int) bool { return v >= minSize && v <= maxSize }
	weight := func(v float64) bool { return v >= 0 && !math.IsInf(v, 0) }
	sizes, weights := fmt.Sprintf("%d to %d", minSize, maxSize), "a finite number, at least 0"
	for _, f := range []struct {
		ok      bool
		name    string
		value   any
		allowed string
	}{
		{size(c.Size), "size", c.Size, sizes},
		{size(c.StyleSize) || c.StyleSize == 0 || c.StyleSize == AsContent, "style-size", c.StyleSize, sizes + ", 0 (the picture's own) or -1 (as size)"},
		{c.Gram == GramSum || c.Gram == GramMean, "gram", c.Gram, "sum, mean"},
		{weight(c.StyleGain) && c.StyleGain > 0, "style-gain", c.StyleGain, "a finite number above 0"},
		{c.Steps >= 0, "steps", c.Steps, "0 or more"},
		{weight(c.ContentWeight), "content-weight", c.ContentWeight, weights},
		{weight(c.StyleWeight), "style-weight", c.StyleWeight, weights},
		{weight(c.LayerWeights[0]) && weight(c.LayerWeights[1]) && weight(c.LayerWeights[2]) && weight(c.LayerWeights[3]) && weight(c.LayerWeights[4]), "layer-weights", c.LayerWeights, "finite numbers, at least 0"},
		{weight(c.LearningRate), "learning-rate", c.LearningRate, weights},
		{weight(c.DecayFactor), "decay-factor", c.DecayFactor, weights},
		{c.DecayEvery >= 0, "decay-every", c.DecayEvery, "0 or more"},
		{weight(c.WeightDecay), "weight-decay", c.WeightDecay, weights},
		{c.ReportEvery >= 1, "report-every", c.ReportEvery, "1 or more"},
		{c.CheckpointEvery >= 0, "checkpoint-every", c.CheckpointEvery, "0 or more"},
	} {
		if !f.ok {
			return fmt.Errorf("%s %v: allowed: %s", f.name, f.value, f.allowed)
		}
	}
	return nil
}

// Options choose what an Engine runs on.
type Options struct {
	// Device is auto (or empty), cuda, cpu or go: see package device.
	Device string
	// VGG is auto (or empty) for the weights in the user's cache directory, random, a safetensors file, or none for
	// an engine that only applies generators.
	VGG string
}

// Engine holds an open device, VGG19's weights and what was compiled. Close it when done.
type Engine struct {
	Device *device.Device
	VGG    *VGG // nil with Options.VGG none

	dtype    dtypes.DType
	compiled []compiled  // those used last, the very last at the end
	prepared []any       // VGG19's kernels, flipped kernels and biases on the device, once a fit needed them
	pair     *placedPair // of the last fit
	baseline Baseline    // of the last pair that was asked for
}

// ErrNoVGG says that there are no VGG19 weights in the user's cache directory.
var ErrNoVGG = errors.New("no VGG19 weights")

// Open opens the device and reads the weights. It never touches the network.
func Open(ctx context.Context, options Options) (*Engine, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dev, err := device.Open(device.Kind(cmp.Or(options.Device, "auto"))) // first: weights may have to be fetched
	if err != nil {
		return nil, err
	}
	vgg, err := OpenVGG(options.VGG)
	if err != nil {
		dev.Finalize()
		return nil, err
	}
	return &Engine{Device: dev, VGG: vgg, dtype: dtypes.Float32}, nil
}

// OpenVGG reads the weights that Options.VGG names, without a device; none are nil.
func OpenVGG(source string) (*VGG, error) {
	switch source {
	case "none":
		return nil, nil
	case "random":
		return RandomVGG(), nil
	case "", "auto":
		return loadCachedVGG()
	}
	return LoadVGG(source)
}

// Close frees the device.
func (e *Engine) Close() {
	for _, c := range e.compiled {
		c.exec.Finalize()
	}
	for _, t := range e.prepared {
		t.(*tensors.Tensor).MustFinalizeAll()
	}
	e.pair.release()
	e.Device.Finalize()
}

// compiled is a graph that is compiled for inputs of certain shapes.
type compiled struct {
	key  string // name and shapes
	exec *graph.Exec
}

// maxCompiled is how many compiled graphs an engine keeps. A fit has four, and as many at another size; a folder of
// pictures may have hundreds of sizes.
const maxCompiled = 32

// call runs the graph called name, which build makes, on inputs. It is compiled for their shapes, unless it is among the
// maxCompiled that were used last.
func (e *Engine) call(name string, build func(inputs []*graph.Node) []*graph.Node, inputs ...any) []*tensors.Tensor {
	shapes := []string{name}
	for _, in := range inputs {
		shapes = append(shapes, in.(*tensors.Tensor).Shape().String())
	}
	key := strings.Join(shapes, " ")
	var this compiled
	if at := slices.IndexFunc(e.compiled, func(c compiled) bool { return c.key == key }); at >= 0 {
		this = e.compiled[at]
		e.compiled = slices.Delete(e.compiled, at, at+1)
	} else {
		this = compiled{key, graph.MustNewExec(e.Device.Backend, build).WithName(name)}
	}
	if len(e.compiled) == maxCompiled {
		e.compiled[0].exec.Finalize()
		e.compiled = slices.Delete(e.compiled, 0, 1)
	}
	e.compiled = append(e.compiled, this)
	return this.exec.MustCall(inputs...)
}

// upload puts values on the device, in the engine's type.
func upload[S float32 | float64](e *Engine, values []S, dims ...int) *tensors.Tensor {
	var t *tensors.Tensor
	if e.dtype == dtypes.Float64 {
		t = tensors.FromFlatDataAndDimensions(convert[float64](values), dims...)
	} else {
		t = tensors.FromFlatDataAndDimensions(convert[float32](values), dims...)
	}
	t.MustMaterializeOnDevice(e.Device.Backend, false, 0)
	t.FinalizeLocal()
	return t
}

// download reads a tensor as values of type T; the device is waited for.
func download[T float32 | float64](t *tensors.Tensor) []T {
	if t.DType() == dtypes.Float64 {
		return convert[T](tensors.MustCopyFlatData[float64](t))
	}
	return convert[T](tensors.MustCopyFlatData[float32](t))
}

func convert[T, S float32 | float64](values []S) []T {
	out := make([]T, len(values))
	for i, v := range values {
		out[i] = T(v)
	}
	return out
}

// prepare puts VGG19's weights on the device as vggGraph wants them.
func (e *Engine) prepare() {
	if e.prepared != nil {
		return
	}
	var kernels, biases []any
	for i := 0; i < len(e.VGG.weights); i += 2 {
		kernels = append(kernels, upload(e, e.VGG.weights[i].Data, e.VGG.weights[i].Shape...))
		biases = append(biases, upload(e, e.VGG.weights[i+1].Data, e.VGG.weights[i+1].Shape...))
	}
	prepared, err := graph.CallOnceN(e.Device.Backend, prepareVGG, kernels...)
	if err != nil {
		panic(err) // try turns it into an error again
	}
	for _, t := range prepared {
		e.prepared = append(e.prepared, t)
	}
	for _, t := range kernels {
		t.(*tensors.Tensor).MustFinalizeAll()
	}
	e.prepared = append(e.prepared, biases...)
}

// vggGraph makes the graph of VGG19 from the inputs that prepare made.
func (e *Engine) vggGraph(inputs []*graph.Node) *vggGraph {
	n := len(inputs) / 3
	return &vggGraph{kernels: inputs[:n], flipped: inputs[n : 2*n], biases: inputs[2*n:], native: e.native()}
}

// native says whether the backend's own convolution is good: pure Go's is a plain loop.
func (e *Engine) native() bool { return e.Device.Kind != device.Go }

// try runs f and turns a panic of GoMLX into an error of one line.
func try(what string, f func()) error {
	if err := exceptions.TryCatch[error](f); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
