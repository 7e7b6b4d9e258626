package hrstyle

import (
	"image"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// upload puts a tensor with these values and dimensions on the device, in the engine's type.
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

// download copies the values of a tensor from the device, as type T. It waits until they are computed.
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

// prepare puts VGG19's weights on the device, in the layouts that vggGraph takes.
func (e *Engine) prepare() {
	if e.prepared != nil {
		return
	}
	var kernels, biases []any
	for i := 0; i < len(e.VGG.weights); i += 2 {
		kernels = append(kernels, upload(e, e.VGG.weights[i].Data, e.VGG.weights[i].Shape...))
		biases = append(biases, upload(e, e.VGG.weights[i+1].Data, e.VGG.weights[i+1].Shape...))
	}
	prepared, err := CallOnceN(e.Device.Backend, prepareVGG, kernels...)
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

// placedPair is a pair on the device: the content picture and the targets of the losses. None of it depends on the settings
// of a fit but its sizes. The engine keeps the last pair, for the trials of a sweep and the measures of their outputs.
type placedPair struct {
	digest string // of the pictures
	fixed  []*tensors.Tensor
	users  int // sessions, and the engine
}

func (p *placedPair) release() {
	if p == nil {
		return
	}
	if p.users--; p.users == 0 {
		free(p.fixed...)
	}
}

// placePair puts the pair with this digest on the device, unless it is there. content and style are the values [1,H,W,3] of
// its pictures, which have these sizes.
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

// targetsGraph returns the map of contentLayer of a picture, and FᵀF of its maps of StyleLayers.
func (e *Engine) targetsGraph(in []*Node) []*Node {
	vgg := e.vggGraph(in[1:])
	vgg.forward(in[0])
	out := []*Node{vgg.maps[contentLayer]}
	for _, name := range StyleLayers {
		out = append(out, gram(vgg.maps[name]))
	}
	return out
}

// pairDigest is the sha256 of the values and sizes of both pictures. Checkpoints hold it, so it must never change.
func pairDigest(pair Pair, content, style []float32) string {
	sizes := pair.sizes()
	return digest(content, style, []float32{float32(sizes[0].X), float32(sizes[1].X)})
}

// free frees tensors on the device; nil ones are passed over.
func free(list ...*tensors.Tensor) {
	for _, t := range list {
		if t != nil {
			t.MustFinalizeAll()
		}
	}
}
