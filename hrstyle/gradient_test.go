package hrstyle

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"hrlab/hrstyle/device"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

// Every gradient that is not GoMLX's own in one piece, against finite differences in float64, on both devices.
func TestGradients(t *testing.T) {
	upsampleBy := func(k int) func(x, _ *Node) *Node { return func(x, _ *Node) *Node { return upsample(x, k) } }
	strided := func(stride int, native bool) func(x, w *Node) *Node {
		return func(x, w *Node) *Node { return convolve(x, w, stride, native) }
	}
	for name, f := range map[string]func(x, w *Node) *Node{
		"upsample 2":        upsampleBy(2),
		"upsample 4":        upsampleBy(4),
		"convolution":       strided(1, false),
		"strided 2":         strided(2, false),
		"strided 4":         strided(4, false),
		"strided 2, native": strided(2, true),
		"strided 4, native": strided(4, true),
		"max pool":          func(x, _ *Node) *Node { return maxPool(x) },
		"instance norm":     func(x, _ *Node) *Node { return instanceNorm(x) },
		"ReLU":              func(x, _ *Node) *Node { return relu(x) },
		"max pool, odd side": func(x, _ *Node) *Node {
			return maxPool(SliceAxis(SliceAxis(x, 1, AxisRange(0, 7)), 2, AxisRange(0, 11)))
		},
	} {
		for _, kind := range []device.Kind{device.CPU, device.Go} {
			t.Run(fmt.Sprintf("%s/%s", name, kind), func(t *testing.T) {
				e := openTest(t, kind, dtypes.Float64, nil)
				random := rand.New(rand.NewPCG(1, 2))
				draw := func(n int) []float64 {
					v := make([]float64, n)
					for i := range v {
						v[i] = random.NormFloat64()
					}
					return v
				}
				x, w := draw(8*12*3), draw(3*3*3*2)
				loss := func(x, w *Node) *Node { // weighted, so that no symmetry hides an error
					y := f(x, w)
					weights := Sin(IotaFull(x.Graph(), y.Shape()))
					return ReduceAllSum(Mul(weights, Add(Square(y), y)))
				}
				value := MustNewExec(e.Device.Backend, func(in []*Node) []*Node { return []*Node{loss(in[0], in[1])} })
				defer value.Finalize()
				at := func(x []float64) float64 {
					return download[float64](value.MustCall(upload(e, x, 1, 8, 12, 3), upload(e, w, 3, 3, 3, 2))[0])[0]
				}
				gradient := MustNewExec(e.Device.Backend, func(in []*Node) []*Node { return Gradient(loss(in[0], in[1]), in[0]) })
				defer gradient.Finalize()
				got := download[float64](gradient.MustCall(upload(e, x, 1, 8, 12, 3), upload(e, w, 3, 3, 3, 2))[0])
				compareDifferences(t, x, got, at)
			})
		}
	}
}

// VGG19's gradient is written by hand.
func TestVGGGradient(t *testing.T) {
	g := openGolden(t, "golden_32x32")
	for _, kind := range []device.Kind{device.CPU, device.Go} {
		t.Run(string(kind), func(t *testing.T) {
			e := openTest(t, kind, dtypes.Float64, g.vgg())
			e.prepare()
			const h, w = 32, 36
			random := rand.New(rand.NewPCG(3, 4))
			x := make([]float64, h*w*3)
			for i := range x {
				x[i] = random.NormFloat64()
			}
			run := func(x []float64, build func(v *vggGraph) *Node) []float64 {
				exec := MustNewExec(e.Device.Backend, func(in []*Node) []*Node {
					v := e.vggGraph(in[1:])
					v.forward(in[0])
					return []*Node{build(v)}
				})
				return download[float64](exec.MustCall(append([]any{upload(e, x, 1, h, w, 3)}, e.prepared...)...)[0])
			}
			names := append(StyleLayers[:], contentLayer)
			half := func(v *vggGraph) *Node { // half the sum of squares: its gradient with respect to a map is the map
				var sum *Node
				for _, name := range names {
					s := DivScalar(ReduceAllSum(Square(v.maps[name])), 2)
					if sum == nil {
						sum = s
					} else {
						sum = Add(sum, s)
					}
				}
				return sum
			}
			backward := func(v *vggGraph) *Node {
				gradients := map[string]*Node{}
				for _, name := range names {
					gradients[name] = v.maps[name]
				}
				return v.backward(gradients)
			}
			compareDifferences(t, x, run(x, backward), func(x []float64) float64 { return run(x, half)[0] })
		})
	}
}

// compareDifferences compares a gradient at x with central differences of f at some places.
func compareDifferences(t *testing.T, x, gradient []float64, f func([]float64) float64) {
	t.Helper()
	if len(gradient) != len(x) {
		t.Fatalf("%d gradients of %d values", len(gradient), len(x))
	}
	scale := 0.0
	for _, v := range gradient {
		scale = max(scale, math.Abs(v))
	}
	const h = 1e-6
	for i := 0; i < len(x); i += len(x)/17 + 1 {
		moved := append([]float64(nil), x...)
		moved[i] = x[i] + h
		above := f(moved)
		moved[i] = x[i] - h
		if want := (above - f(moved)) / (2 * h); !(math.Abs(gradient[i]-want) <= 1e-6*scale) {
			t.Errorf("value %d: gradient %g, by differences %g", i, gradient[i], want)
		}
	}
}
