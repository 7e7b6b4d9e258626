// Package hrstyle transfers the look of one photograph to another: a small generator (HRNet) that keeps full
// resolution throughout is optimised for one pair of pictures, so that its output has the content picture's structure
// and the style picture's colours and textures, both measured through VGG19.
//
//	pair, err := hrstyle.LoadPair("content.png", "style.png")
//	engine, err := hrstyle.Open(ctx, hrstyle.Options{})
//	for step, err := range engine.Fit(ctx, pair, hrstyle.Default) { … }
//
// The method is that of "High-Resolution Network for Photorealistic Style Transfer" (arXiv 1904.11617). What is hard
// is choosing the weights of the content loss and the style loss. One compares feature maps, the other Gram matrices, and
// their values have nothing in common. With [GramMean] the same two weights mean the same at every picture size.
//
// A fit is an iterator: recording, early stopping and display are ordinary loop bodies. Weights and learning rate are
// inputs of the compiled graph, so an [Engine] compiles once per picture size, whatever else changes. An Engine is for
// one goroutine at a time.
//
// The files follow the data. pair.go makes tensors of pictures. generator.go is HRNet, vgg.go is VGG19 with weights.go for
// its files, and both are made of layers.go; loss.go compares their maps. step.go is the graph of one step, session.go and
// place.go are what a fit has on the device, fit.go is the loop over steps. checkpoint.go keeps generators and unfinished
// fits in files, map.go makes one generator for all weights, apply.go runs a generator on other pictures, compare.go has losses that are comparable between fits.
package hrstyle

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"hrlab/hrstyle/device"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/support/exceptions"
)

// Options choose what an Engine runs on.
type Options struct {
	// Device is auto, cuda, cpu or go (see package device). Empty means auto.
	Device string
	// VGG says where VGG19's weights come from: auto (the user's cache directory), random (random filters instead), none
	// (for an engine that only applies generators), or the path of a file that LoadVGG reads. Empty means auto.
	VGG string
}

// Engine holds an open device, VGG19's weights and compiled graphs. Close it when done. It is for one goroutine at a time.
type Engine struct {
	Device *device.Device
	VGG    *VGG // nil with Options.VGG none

	dtype    dtypes.DType
	compiled []compiled  // the graphs used last, the most recent at the end
	prepared []any       // VGG19's kernels, flipped kernels and biases on the device, once a fit needed them
	pair     *placedPair // of the last fit
	baseline Baseline    // of the last pair that was asked for
}

// Open opens the device and reads VGG19's weights: ErrNoVGG, wrapped, where auto finds none. It never touches the network.
func Open(ctx context.Context, options Options) (*Engine, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var vgg *VGG
	var missing error
	var reading sync.WaitGroup // meanwhile: each takes a few tenths of a second
	reading.Go(func() { vgg, missing = OpenVGG(options.VGG) })
	dev, err := device.Open(device.Kind(cmp.Or(options.Device, "auto")))
	reading.Wait()
	if err != nil { // before missing: weights may have to be fetched
		return nil, err
	}
	if missing != nil {
		dev.Finalize()
		return nil, missing
	}
	return &Engine{Device: dev, VGG: vgg, dtype: dtypes.Float32}, nil
}

// Close frees everything on the device, and the device itself.
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

// compiled is a graph, compiled for inputs of certain shapes.
type compiled struct {
	key  string // name and shapes
	exec *graph.Exec
}

// maxCompiled is how many compiled graphs an engine keeps. A fit has four, and as many at another size; a folder of
// pictures may have hundreds of sizes.
const maxCompiled = 32

// call runs the graph called name, which build makes, on inputs. The graph is compiled for their shapes, unless it is among
// the maxCompiled graphs that were used last.
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

// native says whether the backend's own convolution is fast. Pure Go's is not: it is a plain loop.
func (e *Engine) native() bool { return e.Device.Kind != device.Go }

// try runs f and turns a panic of GoMLX into an error of one line.
func try(what string, f func()) error {
	if err := exceptions.TryCatch[error](f); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
