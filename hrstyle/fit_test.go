package hrstyle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"hrlab/hrstyle/device"
	"hrlab/hrstyle/sample"
	"hrlab/picture"

	"github.com/gomlx/compute/dtypes"
)

// small is a fit of a few milliseconds a step.
func small() (Pair, Config) {
	c := Default
	c.Size, c.Steps, c.ReportEvery = 32, 6, 1
	return Pair{picture.Picture{Name: "content", Image: sample.Content(64, 48)}, picture.Picture{Name: "style", Image: sample.Style(64, 64)}}, c
}

// smallEngine has VGG19 at a sixteenth of its channels.
func smallEngine(t testing.TB, kind device.Kind) *Engine {
	return openTest(t, kind, dtypes.Float32, openGolden(t, "golden_32x32").vgg())
}

// collect runs a fit and keeps its steps.
func collect(t testing.TB, fit func(yield func(Step, error) bool)) (steps []Step) {
	t.Helper()
	for s, err := range fit {
		if err != nil {
			t.Fatal(err)
		}
		steps = append(steps, s)
	}
	return steps
}

func TestFitReports(t *testing.T) {
	pair, c := small()
	e := smallEngine(t, device.Go)
	c.ReportEvery = 4
	steps := collect(t, e.Fit(t.Context(), pair, c))
	var at []int
	for _, s := range steps {
		at = append(at, s.N)
		if want := c.ContentWeight*s.Content + c.StyleWeight*s.Style; math.Abs(s.Total-want) > 1e-4*want {
			t.Errorf("step %d: total %g, want %g", s.N, s.Total, want)
		}
		if s.Picture().Bounds() != image.Rect(0, 0, 32, 24) {
			t.Errorf("step %d: picture %v, want 32x24", s.N, s.Picture().Bounds())
		}
	}
	if !reflect.DeepEqual(at, []int{0, 4, 6}) {
		t.Errorf("reports at %v, want 0, 4 and 6", at)
	}
	if first, last := steps[0], steps[len(steps)-1]; last.Total >= first.Total || last.Elapsed <= first.Elapsed {
		t.Errorf("no progress: %+v then %+v", first.Total, last.Total)
	}
	c.Steps = 0
	if steps := collect(t, e.Fit(t.Context(), pair, c)); len(steps) != 1 || steps[0].N != 0 {
		t.Errorf("0 steps: %d reports, want one of step 0", len(steps))
	}
}

func TestResumeEqualsUninterrupted(t *testing.T) {
	for _, of := range []struct {
		kind device.Kind
		pair func() (Pair, Config)
	}{{device.Go, small}, {device.CPU, small}, {device.Go, smallMap}, {device.CPU, smallMap}} {
		pair, c := of.pair()
		t.Run(fmt.Sprintf("%s/%d knots", of.kind, c.Knots), func(t *testing.T) {
			e := smallEngine(t, of.kind)
			want := collect(t, e.Fit(t.Context(), pair, c))

			c.Checkpoint = filepath.Join(t.TempDir(), "checkpoint.safetensors")
			for s, err := range e.Fit(t.Context(), pair, c) {
				if err != nil {
					t.Fatal(err)
				}
				if s.N == 3 {
					break
				}
			}
			from, err := LoadCheckpoint(c.Checkpoint)
			if err != nil {
				t.Fatal(err)
			}
			if from.Step != 3 || from.Config != c || from.Elapsed <= 0 {
				t.Errorf("checkpoint: step %d, elapsed %v, config %+v", from.Step, from.Elapsed, from.Config)
			}
			got := collect(t, e.Resume(t.Context(), pair, from))
			for i, s := range got {
				if w := want[3+i]; s.N != w.N || s.Total != w.Total || !reflect.DeepEqual(s.Generator().flat, w.Generator().flat) {
					t.Errorf("step %d: total %v, uninterrupted %v", s.N, s.Total, w.Total)
				}
			}
			if _, err := Last(e.Resume(t.Context(), Pair{pair.Style, pair.Content}, from)); err == nil || !strings.Contains(err.Error(), "other pictures") {
				t.Errorf("other pictures: %v", err)
			}
			e.VGG.Digest = "other"
			if _, err := Last(e.Resume(t.Context(), pair, from)); err == nil || !strings.Contains(err.Error(), "other VGG19 weights") {
				t.Errorf("other weights: %v", err)
			}
		})
	}
}

// A fit whose graphs come from the cache is the same to the last bit as one that compiles them.
func TestCacheKeepsLosses(t *testing.T) {
	pair, c := small()
	var want []Step
	for i, cache := range []string{"off", t.TempDir(), ""} {
		if cache != "" {
			t.Setenv("HRLAB_XLA_CACHE", cache)
		}
		got := collect(t, smallEngine(t, device.CPU).Fit(t.Context(), pair, c))
		if i == 0 {
			want = got
		} else if found := device.FindCache(); found.Entries == 0 {
			t.Skip("the plugin keeps nothing: ", found.Problem)
		} else if found.Problem != "" {
			t.Error(found.Problem)
		}
		for n, s := range got {
			if w := want[n]; s.Total != w.Total || s.Content != w.Content || s.Style != w.Style || !reflect.DeepEqual(s.Generator().flat, w.Generator().flat) {
				t.Errorf("start %d, step %d: total %v, without the cache %v", i, n, s.Total, w.Total)
			}
		}
	}
}

func TestCheckpointEvery(t *testing.T) {
	pair, c := small()
	c.Checkpoint, c.CheckpointEvery, c.ReportEvery = filepath.Join(t.TempDir(), "c.safetensors"), 2, 100
	e := smallEngine(t, device.Go)
	if _, err := Last(e.Fit(t.Context(), pair, c)); err != nil {
		t.Fatal(err)
	}
	from, err := LoadCheckpoint(c.Checkpoint)
	if err != nil || from.Step != c.Steps {
		t.Fatalf("%+v %v", from, err)
	}
	from.Config.Steps = 8 // a finished fit can be carried on
	longer, err := Last(e.Resume(t.Context(), pair, from))
	c.Steps, c.Checkpoint = 8, ""
	straight, err2 := Last(e.Fit(t.Context(), pair, c))
	if err != nil || err2 != nil || longer.Total != straight.Total {
		t.Errorf("carried on: %v %v; straight: %v %v", longer.Total, err, straight.Total, err2)
	}
}

func TestCancel(t *testing.T) {
	pair, c := small()
	c.Steps, c.ReportEvery, c.Checkpoint = 1_000_000, 1, filepath.Join(t.TempDir(), "c.safetensors")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last Step
	var err error
	for last, err = range smallEngine(t, device.Go).Fit(ctx, pair, c) {
		if last.N == 2 {
			cancel()
		}
	}
	if !errors.Is(err, context.Canceled) || last.N != 3 {
		t.Errorf("cancelled at step 2: ended at %d, %v", last.N, err)
	}
	from, err := LoadCheckpoint(c.Checkpoint)
	if err != nil || from.Step != 3 {
		t.Errorf("checkpoint: %+v %v", from, err)
	}
}

func TestDivergence(t *testing.T) {
	pair, c := small()
	c.LearningRate, c.ReportEvery, c.Steps = 1e30, 1, 50
	last, err := Last(smallEngine(t, device.Go).Fit(t.Context(), pair, c))
	if !errors.Is(err, ErrDiverged) || !last.Ok() || math.IsNaN(last.Total) {
		t.Fatalf("%v %+v", err, last.Total)
	}
	if want := fmt.Sprintf("at step %d", last.N+1); !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "the content loss is") {
		t.Errorf("%q; want term and %q", err, want)
	}
	if err := last.Generator().Save(filepath.Join(t.TempDir(), "g.safetensors")); err != nil {
		t.Error(err)
	}
	c.ReportEvery = 40 // divergence is seen at once, not at the next report
	last, again := Last(smallEngine(t, device.Go).Fit(t.Context(), pair, c))
	if again == nil || again.Error() != err.Error() || last.N != 0 {
		t.Errorf("%v after step %d; want %v after step 0", again, last.N, err)
	}
}

// Both devices start from the same generator and agree.
func TestDevicesAgree(t *testing.T) {
	pair, c := small()
	c.Steps = 1
	a := collect(t, smallEngine(t, device.Go).Fit(t.Context(), pair, c))
	b := collect(t, smallEngine(t, device.CPU).Fit(t.Context(), pair, c))
	if !reflect.DeepEqual(a[0].Generator().flat, b[0].Generator().flat) {
		t.Error("the initial generators differ")
	}
	for i, tolerance := range []float64{1e-4, 0.05} { // one update in float32 may flip a ReLU
		if d := math.Abs(a[i].Total-b[i].Total) / a[i].Total; d > tolerance {
			t.Errorf("step %d: pure Go %g, XLA:CPU %g", i, a[i].Total, b[i].Total)
		}
	}
}

// A fit that diverges leaves the checkpoint before that as it is, and comes with the last good step.
func TestDivergedKeepsCheckpoint(t *testing.T) {
	pair, c := small()
	e := smallEngine(t, device.Go)
	c.Steps, c.CheckpointEvery, c.Checkpoint = 2, 1, filepath.Join(t.TempDir(), "checkpoint.safetensors")
	collect(t, e.Fit(t.Context(), pair, c))
	from, err := LoadCheckpoint(c.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	from.Config.Steps, from.Config.LearningRate, from.Config.ReportEvery = 9, 1e30, 2
	last, err := Last(e.Resume(t.Context(), pair, from))
	if !errors.Is(err, ErrDiverged) || last.N != 2 {
		t.Errorf("step %d, %v", last.N, err)
	}
	if kept, err := LoadCheckpoint(c.Checkpoint); err != nil || kept.Step != 2 {
		t.Errorf("the checkpoint is gone: %+v %v", kept, err)
	}
}

func TestInit(t *testing.T) {
	pair, c := small()
	e := smallEngine(t, device.Go)
	first, err := Last(e.Fit(t.Context(), pair, c))
	if err != nil {
		t.Fatal(err)
	}
	c.Init, c.Steps = filepath.Join(t.TempDir(), "g.safetensors"), 0
	if err := first.Generator().Save(c.Init); err != nil {
		t.Fatal(err)
	}
	again, err := Last(e.Fit(t.Context(), pair, c))
	if err != nil || again.Total != first.Total {
		t.Errorf("started from a generator: %v %v, want %v", again.Total, err, first.Total)
	}
	g, err := LoadGenerator(c.Init)
	if err != nil || g.Step != 6 || g.VGG != "golden" || g.Config.Size != 32 {
		t.Errorf("generator file: %+v %v", g, err)
	}
	data, err := first.Generator().Encode()
	if err != nil {
		t.Fatal(err)
	}
	read, err := ReadGenerator("somewhere", bytes.NewReader(data), int64(len(data)))
	if err != nil || !reflect.DeepEqual(read, g) {
		t.Errorf("the generator of a reader: %+v %v", read, err)
	}
	c.Init = ""
	again, err = Last(e.Resume(t.Context(), pair, read.Start(c)))
	if err != nil || again.Total != first.Total || again.N != 0 {
		t.Errorf("started from a generator in memory: %v %v, want %v", again.Total, err, first.Total)
	}
	if reflect.DeepEqual(initialParameters(1), initialParameters(2)) || !reflect.DeepEqual(initialParameters(1), initialParameters(1)) {
		t.Error("the seed does not decide the initial parameters")
	}
}

// The authors' initial generator on real pictures, against curves that PyTorch computed with the same weights.
func TestRealCurves(t *testing.T) {
	const shared = "../../shared/"
	if _, err := os.Stat(shared + "goldens"); err != nil {
		t.Skip("the reference pictures and curves are not here: ", err)
	}
	vgg, err := LoadVGG(shared + "weights/vgg19_features_fp16.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	e := openTest(t, device.CPU, dtypes.Float32, vgg)
	for name, weight := range map[string]float64{"pair": 150, "boat": 8} {
		t.Run(name, func(t *testing.T) {
			files, err := filepath.Glob(shared + "goldens/curve_" + name + "*.json")
			if err != nil || len(files) != 1 {
				t.Fatal(files, err)
			}
			text, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			var want []struct {
				Step                  int
				Total, Content, Style float64
			}
			if err := json.Unmarshal(text, &want); err != nil {
				t.Fatal(err)
			}
			pair, err := LoadPair(shared+"goldens/"+name+"_content_96px.png", shared+"goldens/"+name+"_style_96px.png")
			if err != nil {
				t.Fatal(err)
			}
			c := Reference
			c.Size, c.Steps, c.ContentWeight, c.ReportEvery, c.Init = 96, 100, weight, 100, "testdata/hrnet_init.safetensors"
			for _, s := range collect(t, e.Fit(t.Context(), pair, c)) {
				tolerance := map[int]float64{0: 1e-4, 100: 0.25}[s.N]
				w := want[s.N]
				if w.Step != s.N || tolerance == 0 {
					t.Fatalf("step %d is compared with step %d", s.N, w.Step)
				}
				t.Logf("step %d: total %.6g (PyTorch %.6g), content %.6g (%.6g), style %.6g (%.6g)", s.N, s.Total, w.Total, s.Content, w.Content, s.Style, w.Style)
				for _, d := range []float64{s.Total/w.Total - 1, s.Content/w.Content - 1, s.Style/w.Style - 1} {
					if s.N > 0 && d != s.Total/w.Total-1 {
						continue // the total is what is optimised; its parts trade places
					}
					if !(math.Abs(d) <= tolerance) {
						t.Errorf("step %d is off by %.2g, allowed %.2g", s.N, d, tolerance)
					}
				}
			}
		})
	}
}

// A fit that goes on from its generator alone makes the steps of a fit that begins with it, moments as zeros, also where that is
// interrupted and goes on from a checkpoint.
func TestContinue(t *testing.T) {
	pair, c := small()
	c.ReportEvery = 1
	e := smallEngine(t, device.Go)
	first, err := Last(e.Fit(t.Context(), pair, c))
	if err != nil {
		t.Fatal(err)
	}
	begun := c
	begun.Init = filepath.Join(t.TempDir(), "g.safetensors")
	if err := first.Generator().Save(begun.Init); err != nil {
		t.Fatal(err)
	}
	from := first.Generator().Continue()
	from.Config.Steps = c.Steps + 2
	begun.Steps = 4
	want := collect(t, e.Fit(t.Context(), pair, begun))
	steps := collect(t, e.Resume(t.Context(), pair, from))
	data, err := steps[len(steps)-1].Checkpoint().Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ReadCheckpoint("again", bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	again.Config.Steps = c.Steps + 4
	steps = append(steps, collect(t, e.Resume(t.Context(), pair, again))[1:]...)
	for i, s := range steps {
		if s.N != c.Steps+i || s.Total != want[i].Total {
			t.Errorf("step %d: total %v; want %v, of step %d from the generator", s.N, s.Total, want[i].Total, i)
		}
	}
	if len(steps) != len(want) {
		t.Errorf("%d steps; want %d", len(steps), len(want))
	}
}
