package hrstyle

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"hrlab/hrstyle/device"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// Every backward, against finite differences in float64, on both devices.
func TestBackward(t *testing.T) {
	type both = func(d *Node) (dx, dw *Node)
	ofX := func(y *Node, back backward) (*Node, both) { // w plays no part
		return y, func(d *Node) (*Node, *Node) { return back(d), nil }
	}
	upsampled := func(factor int) func(x, _ *Node) (*Node, both) {
		return func(x, _ *Node) (*Node, both) { return ofX(upsample(x, factor)) }
	}
	convolved := func(stride int, native bool) func(x, w *Node) (*Node, both) {
		return func(x, w *Node) (*Node, both) {
			y := convolve(x, w, stride, native)
			return y, func(d *Node) (*Node, *Node) {
				both := autoBackward(y, d, x, w)
				return both[0], both[1]
			}
		}
	}
	odd := func(x *Node) *Node { return SliceAxis(SliceAxis(x, 1, AxisRange(0, 7)), 2, AxisRange(0, 11)) }
	for name, f := range map[string]func(x, w *Node) (*Node, both){
		"upsample 2":        upsampled(2),
		"upsample 4":        upsampled(4),
		"convolution":       convolved(1, false),
		"strided 2":         convolved(2, false),
		"strided 4":         convolved(4, false),
		"native":            convolved(1, true),
		"strided 2, native": convolved(2, true),
		"strided 4, native": convolved(4, true),
		"max pool":          func(x, _ *Node) (*Node, both) { return ofX(maxPool(x)) },
		"instance norm": func(x, _ *Node) (*Node, both) {
			y, back := instanceNorm(x, &norms{}, nil)
			return ofX(y, func(d *Node) *Node { dx, _ := back(d); return dx })
		},
		"instance norm, scale and shift": func(x, w *Node) (*Node, both) {
			y, back := instanceNorm(x, &norms{}, &affine{values(w, 0, 3), values(w, 3, 6)})
			return y, func(d *Node) (*Node, *Node) {
				dx, da := back(d)
				return dx, valuesBackward(w, da.scale, da.shift)
			}
		},
		"ReLU": func(x, _ *Node) (*Node, both) { return ofX(relu(x)) },
		"max pool, odd side": func(x, _ *Node) (*Node, both) {
			y, back := maxPool(odd(x))
			return ofX(y, func(d *Node) *Node {
				return Pad(back(d), ScalarZero(x.Graph(), x.DType()), PadAxis{}, PadAxis{End: 1}, PadAxis{End: 1}, PadAxis{})
			})
		},
		"1x1 convolution": func(x, w *Node) (*Node, both) {
			kernel := first(w)
			return pointwise(x, kernel), func(d *Node) (*Node, *Node) {
				dx, dkernel := pointwiseBackward(x, kernel, d)
				return dx, valuesBackward(w, dkernel)
			}
		},
		"1x1 convolution and instance norm": func(x, w *Node) (*Node, both) {
			n, back := pointwiseNorm(x, first(w), &norms{}, nil)
			return n, func(d *Node) (*Node, *Node) {
				dx, dkernel, _ := back(d)
				return dx, valuesBackward(w, dkernel)
			}
		},
		"1x1 convolution and instance norm, scale and shift": func(x, w *Node) (*Node, both) {
			n, back := pointwiseNorm(x, first(w), &norms{}, &affine{values(w, 6, 8), values(w, 8, 10)})
			return n, func(d *Node) (*Node, *Node) {
				dx, dkernel, da := back(d)
				return dx, valuesBackward(w, dkernel, da.scale, da.shift)
			}
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
				exec := MustNewExec(e.Device.Backend, func(in []*Node) []*Node {
					y, back := f(in[0], in[1])
					weights := Sin(IotaFull(y.Graph(), y.Shape())) // so that no symmetry hides an error
					loss := ReduceAllSum(Mul(weights, Add(Square(y), y)))
					dx, dw := back(Mul(weights, AddScalar(MulScalar(y, 2), 1)))
					if dw == nil {
						dw = ZerosLike(in[1])
					}
					return []*Node{loss, dx, dw}
				})
				defer exec.Finalize()
				run := func(x, w []float64) (out [3][]float64) {
					for i, v := range exec.MustCall(upload(e, x, 1, 8, 12, 3), upload(e, w, 3, 3, 3, 2)) {
						out[i] = download[float64](v)
					}
					return out
				}
				got := run(x, w)
				compareDifferences(t, 1e-6, 1e-6, x, got[1], func(x []float64) float64 { return run(x, w)[0][0] })
				compareDifferences(t, 1e-6, 1e-6, w, got[2], func(w []float64) float64 { return run(x, w)[0][0] })
			})
		}
	}
}

// The norm of a picture with hardly any contrast, a white wall for example, is as good in float32 as its values are: it is
// compared with the norm of a convolution in float64.
func TestNormOfLowContrast(t *testing.T) {
	const h, w, in, out = 64, 64, 3, 8
	random := rand.New(rand.NewPCG(7, 8))
	var x, kernel, d []float64
	for range h * w * in {
		x = append(x, float64(float32(2.4+0.005*random.NormFloat64())))
	}
	for range in * out {
		kernel = append(kernel, float64(float32(random.NormFloat64())))
	}
	for range h * w * out {
		d = append(d, float64(float32(random.NormFloat64())))
	}
	run := func(e *Engine, f func(x, kernel, d *Node) []*Node) (values [][]float64) {
		exec := MustNewExec(e.Device.Backend, func(in []*Node) []*Node { return f(in[0], in[1], in[2]) })
		defer exec.Finalize()
		for _, v := range exec.MustCall(upload(e, x, 1, h, w, in), upload(e, kernel, in, out), upload(e, d, 1, h, w, out)) {
			values = append(values, download[float64](v))
		}
		return values
	}
	want := run(openTest(t, device.Go, dtypes.Float64, nil), func(x, kernel, d *Node) []*Node {
		y := pointwise(x, kernel)
		n, back := instanceNorm(y, &norms{}, nil)
		dy, _ := back(d)
		dx, dkernel := pointwiseBackward(x, kernel, dy)
		return []*Node{n, dx, dkernel}
	})
	for _, kind := range []device.Kind{device.CPU, device.Go} {
		got := run(openTest(t, kind, dtypes.Float32, nil), func(x, kernel, d *Node) []*Node {
			n, back := pointwiseNorm(x, kernel, &norms{}, nil)
			dx, dkernel, _ := back(d)
			return []*Node{n, dx, dkernel}
		})
		for i, name := range []string{"norm", "gradient of the picture", "gradient of the kernel"} {
			reference := convert[float32](want[i])
			if off := distance(got[i], reference) / absMax(reference); !(off <= 1e-3) {
				t.Errorf("%s, %s: off by %.1e of the largest value", kind, name, off)
			}
		}
	}
}

// values are those of w from begin up to end, in a row.
func values(w *Node, begin, end int) *Node {
	return SliceAxis(Reshape(w, -1), 0, AxisRange(begin, end))
}

// first is a kernel [3,2] out of one [3,3,3,2]: its first tap.
func first(w *Node) *Node { return Reshape(values(w, 0, 6), 3, 2) }

// valuesBackward is the gradient with respect to w, of which parts are those of its first values.
func valuesBackward(w *Node, parts ...*Node) *Node {
	n := 0
	for i, p := range parts {
		parts[i] = Reshape(p, -1)
		n += p.Shape().Size()
	}
	others := Zeros(w.Graph(), shapes.Make(w.DType(), w.Shape().Size()-n))
	return Reshape(Concatenate(append(parts, others), 0), w.Shape().Dimensions...)
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
			compiled := func(build func(v *vggGraph) *Node) func(x []float64) []float64 {
				exec := MustNewExec(e.Device.Backend, func(in []*Node) []*Node {
					v := e.vggGraph(in[1:])
					v.forward(in[0])
					return []*Node{build(v)}
				})
				t.Cleanup(exec.Finalize)
				return func(x []float64) []float64 {
					return download[float64](exec.MustCall(append([]any{upload(e, x, 1, h, w, 3)}, e.prepared...)...)[0])
				}
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
			loss := compiled(half)
			compareDifferences(t, 1e-6, 1e-6, x, compiled(backward)(x), func(x []float64) float64 { return loss(x)[0] })
		})
	}
}

// compareDifferences compares a gradient at x with central differences of f over ±h at some places. The tolerance is relative to
// the largest gradient.
func compareDifferences(t *testing.T, h, tolerance float64, x, gradient []float64, f func([]float64) float64) {
	t.Helper()
	if len(gradient) != len(x) {
		t.Fatalf("%d gradients of %d values", len(gradient), len(x))
	}
	scale := 0.0
	for _, v := range gradient {
		scale = max(scale, math.Abs(v))
	}
	for i := 0; i < len(x); i += len(x)/17 + 1 {
		moved := append([]float64(nil), x...)
		moved[i] = x[i] + h
		above := f(moved)
		moved[i] = x[i] - h
		if want := (above - f(moved)) / (2 * h); !(math.Abs(gradient[i]-want) <= tolerance*scale) {
			t.Errorf("value %d: gradient %g, by differences %g", i, gradient[i], want)
		}
	}
}
