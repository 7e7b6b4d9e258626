package experiments

import (
	"bufio"
	"context"
	"errors"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"hrlab/picture"

	"hrlab/hrstyle"
	"hrlab/hrstyle/sample"
	"hrlab/report"
	"hrlab/tracker"
)

var testPair = hrstyle.Pair{
	Content: picture.Picture{Name: "day.png", Image: sample.Content(48, 36)},
	Style:   picture.Picture{Name: "dusk.png", Image: sample.Style(48, 36)},
}

// testLab has a database of its own, pure Go and random filters.
func testLab(t testing.TB) Lab { return onSQLite.lab(t) }

func testConfig() hrstyle.Config {
	c := hrstyle.Default
	c.Size, c.Steps, c.ReportEvery = 32, 4, 1
	return c
}

// A sweep records every trial, goes on past one that fails, and does nothing twice.
func TestSweep(t *testing.T) {
	lab := testLab(t)
	trials := Grid(testConfig(), ContentWeight(1, 100))
	bad := testConfig()
	bad.LearningRate = 1e30
	trials = append([]Trial{trials[0], {Config: bad}}, trials[1])
	steps := 0
	count := func(p Progress) {
		if p.Step.Ok() && !p.Ended {
			steps++
		}
	}
	runs, err := lab.Sweep(t.Context(), "e", testPair, trials, 0, count)
	if !errors.Is(err, ErrTrials) || !errors.Is(err, hrstyle.ErrDiverged) || !strings.HasPrefix(err.Error(), "1 of 3 trials failed: trial 2: ") {
		t.Fatal(err)
	}
	if len(runs) != 3 || runs[0].Status != tracker.Finished || runs[1].Status != tracker.Failed || runs[2].Status != tracker.Finished {
		t.Fatalf("%+v", runs)
	}
	first := runs[0]
	if first.Params["content_weight"].Number != 1 || first.Tags["pair"] != "day_dusk" || first.Experiment != "e" || first.Name != "day_dusk" {
		t.Errorf("%+v", first)
	}
	for _, name := range []string{"total", "content", "style", report.SSIM, report.EdgeSSIM, report.StyleMatch, report.ContentKept, report.ColourDistance} {
		if m, ok := first.Metrics[name]; !ok || m.LastStep != 4 {
			t.Errorf("metric %s: %+v", name, m)
		}
	}
	pictures, err := lab.Tracker.Pictures(t.Context(), first.ID)
	if err != nil || len(pictures) != 7 {
		t.Errorf("%d pictures, want 5 outputs and the pair: %v", len(pictures), err)
	}
	file, err := lab.Tracker.OpenArtifact(t.Context(), first.ID, report.Output)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if img, err := png.Decode(file); err != nil || img.Bounds().Dx() != 32 {
		t.Error(err)
	}
	if g, err := LoadGenerator(t.Context(), lab.Tracker, first.ID); err != nil || g.Step != 4 {
		t.Error(err)
	}
	if c, err := LoadCheckpoint(t.Context(), lab.Tracker, first.ID); err != nil || c.Step != 4 {
		t.Errorf("a finished run keeps its checkpoint: %+v, %v", c, err)
	}

	before := steps
	again, err := lab.Sweep(t.Context(), "e", testPair, Grid(testConfig(), ContentWeight(1, 100)), 0, count)
	if err != nil || steps != before || len(again) != 2 || again[0].ID != first.ID {
		t.Errorf("again: %d steps, %v", steps-before, err)
	}
}

// A sweep that was stopped goes on where it was, and ends as if it had not been.
func TestSweepGoesOn(t *testing.T) {
	lab := testLab(t)
	trials := Grid(testConfig(), ContentWeight(5, 50))
	want, err := lab.Sweep(t.Context(), "whole", testPair, trials, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := lab.Sweep(ctx, "part", testPair, trials, 0, func(p Progress) {
		if p.Trial == 2 && p.Step.N == 2 {
			cancel()
		}
	}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	stopped, err := lab.Tracker.Runs(t.Context(), tracker.Query{Experiment: "part", Where: "status = stopped"})
	if err != nil || len(stopped) != 1 {
		t.Fatalf("%d stopped, %v", len(stopped), err)
	}
	var steps []int
	got, err := lab.Sweep(t.Context(), "part", testPair, trials, 0, func(p Progress) {
		if p.Step.Ok() && !p.Ended {
			steps = append(steps, p.Step.N)
		}
	})
	if err != nil || len(got) != 2 || got[1].ID != stopped[0].ID {
		t.Fatal(got, err)
	}
	if len(steps) == 0 || steps[0] < 2 || steps[len(steps)-1] != 4 {
		t.Errorf("steps %v", steps)
	}
	for i := range want {
		for _, name := range []string{"total", report.SSIM} {
			if a, b := want[i].Metrics[name].Last, got[i].Metrics[name].Last; a != b {
				t.Errorf("trial %d: %s %g, uninterrupted %g", i+1, name, b, a)
			}
		}
	}
}

// Patience ends a fit that gets no better, and that counts as finished.
func TestPatience(t *testing.T) {
	lab := testLab(t)
	c := testConfig()
	c.Steps, c.LearningRate = 50, 0
	runs, err := lab.Sweep(t.Context(), "e", testPair, List(c), 3, nil)
	if err != nil || runs[0].Status != tracker.Finished || runs[0].Metrics["total"].LastStep != 3 {
		t.Errorf("%+v %v", runs, err)
	}
}

func killedTrials() []Trial {
	c := testConfig()
	c.Steps = 12
	return Grid(c, ContentWeight(5, 50, 500))
}

// A sweep that is killed again and again ends as if it had not been, and does nothing twice.
func TestSweepKilled(t *testing.T) {
	lab := testLab(t)
	want, err := lab.Sweep(t.Context(), "whole", testPair, killedTrials(), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, steps := range []int{5, 17} { // killed in the first trial, then in the second
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), "HRLAB_TEST_SWEEP="+lab.Tracker.Path())
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(out); steps > 0 && lines.Scan(); steps-- {
		}
		if steps > 0 {
			t.Fatalf("the sweep ended %d steps early", steps)
		}
		_ = c.Process.Kill()
		_ = c.Wait()
	}
	finished, err := lab.Tracker.Runs(t.Context(), tracker.Query{Experiment: "killed", Where: "status = finished"})
	if err != nil {
		t.Fatal(err)
	}
	skipped := 0
	got, err := lab.Sweep(t.Context(), "killed", testPair, killedTrials(), 0, func(p Progress) {
		if p.Skipped != "" {
			skipped++
		}
	})
	if err != nil || len(got) != len(want) || skipped != len(finished) {
		t.Fatalf("%d runs, %d of %d finished ones skipped: %v", len(got), skipped, len(finished), err)
	}
	for i := range want {
		if want[i].Metrics["total"] != got[i].Metrics["total"] {
			t.Errorf("trial %d: %+v, uninterrupted %+v", i+1, got[i].Metrics["total"], want[i].Metrics["total"])
		}
	}
	if findings, err := lab.Tracker.Check(t.Context(), false); err != nil {
		t.Error(findings, err)
	}
}

// Two sweeps of the same trials on one database share the work.
func TestTwoSweeps(t *testing.T) {
	a := testLab(t)
	store, err := tracker.Open(t.Context(), a.Tracker.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	b := testLab(t)
	b.Tracker = store
	trials := manyTrials(9)
	var wait sync.WaitGroup
	var fitted atomic.Int64
	for _, lab := range []Lab{a, b} {
		wait.Go(func() {
			if _, err := lab.Sweep(t.Context(), "e", testPair, trials, 0, func(p Progress) {
				if p.Ended && p.Skipped == "" {
					fitted.Add(1)
				}
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	runs, err := a.Tracker.Runs(t.Context(), tracker.Query{Where: "status = finished"})
	if err != nil || len(runs) != len(trials) || fitted.Load() != int64(len(trials)) {
		t.Errorf("%d runs, %d fits of %d trials: %v", len(runs), fitted.Load(), len(trials), err)
	}
}

// manyTrials are n trials of one step.
func manyTrials(n int) []Trial {
	c := testConfig()
	c.Steps = 1
	var axis []float64
	for i := range n {
		axis = append(axis, float64(i))
	}
	return Grid(c, ContentWeight(axis...))
}

// Memory stays flat over a thousand trials: what is in use after the last is no more than after the hundredth, when
// everything that is loaded once has been.
func TestMemory(t *testing.T) {
	if os.Getenv("HRLAB_TEST_SOAK") == "" {
		t.Skip("takes minutes: make soak")
	}
	lab := testLab(t)
	const n, slack = 1000, 8 << 20
	inUse := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what the first made free by finalizers
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var early uint64
	_, err := lab.Sweep(t.Context(), "e", testPair, manyTrials(n), 0, func(p Progress) {
		if p.Ended && p.Trial == n/10 {
			early = inUse()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	late := inUse()
	if late > early+slack {
		t.Errorf("%d trials made what is in use grow from %d to %d MB", n, early>>20, late>>20)
	}
}

// The paper's figure of content weights: losses move with the weight, and from 80 on each output is nearest to the paper's of
// the same weight where the fit aims at what the authors' aimed at. The colours of
// their own run, at 500 px and after 300 of its 1,000 steps, are nearest to those of their picture too. It takes an hour: HRLAB_TEST_PAPER names the database to keep the runs in.
func TestPaperFigure(t *testing.T) {
	db, data, weights := os.Getenv("HRLAB_TEST_PAPER"), "../../shared/data/content_weight_table/", "../../shared/weights/vgg19_features_fp16.safetensors"
	if _, err := os.Stat(data); db == "" || err != nil {
		t.Skip("takes an hour and the paper's pictures: set HRLAB_TEST_PAPER to a database")
	}
	engine, err := hrstyle.Open(t.Context(), hrstyle.Options{VGG: weights})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	store, err := tracker.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close() //nolint:errcheck // only read in the end
	pair, err := hrstyle.LoadPair(data+"content.jpg", data+"style.png")
	if err != nil {
		t.Fatal(err)
	}
	weightsOf, paper := []string{"0.8", "8", "80", "800", "8000"}, []picture.Picture{}
	for _, weight := range weightsOf {
		p, err := picture.Load(data + "wc_" + weight + ".jpg")
		if err != nil {
			t.Fatal(err)
		}
		paper = append(paper, p)
	}
	mean, reference := hrstyle.Default, hrstyle.Reference
	mean.Size, mean.Steps, reference.Steps = 160, 250, 300
	for _, s := range []struct {
		name   string
		trials []Trial
		right  int // so many outputs are nearest to the paper's of the same place
	}{
		{"table", Grid(mean, Presets["table"]...), 3}, // from 80 on: below, the content picture has no hold on the output
		{"table-1", Grid(mean, ContentWeight(0.8, 8, 80, 800, 8000)), 0},
		{"reference", Grid(reference, ContentWeight(80)), 0},
	} {
		runs, err := Lab{Engine: engine, Tracker: store}.Sweep(t.Context(), s.name, pair, s.trials, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		var ours, theirs []picture.Picture
		for i, run := range runs {
			if i > 0 {
				before := runs[i-1].Metrics
				if a, b := before["content"].Last, run.Metrics["content"].Last; b > 1.05*a {
					t.Errorf("%s: content loss rises from %g to %g at weight %s", s.name, a, b, run.Params["content_weight"])
				}
				if a, b := before["style"].Last, run.Metrics["style"].Last; b < 0.95*a {
					t.Errorf("%s: style loss falls from %g to %g at weight %s", s.name, a, b, run.Params["content_weight"])
				}
			}
			output, err := fromArtifact(t.Context(), store, run.ID, report.Output, readPicture)
			if err != nil {
				t.Fatal(err)
			}
			ours = append(ours, output)
		}
		for _, p := range paper {
			scaled, err := hrstyle.Pair{Content: p, Style: p}.Fitted(s.trials[0].Config)
			if err != nil {
				t.Fatal(err)
			}
			theirs = append(theirs, scaled.Content)
		}
		right := 0
		for i, row := range distances(ours, theirs) {
			if slices.Index(row, slices.Min(row)) == i {
				right++
			}
		}
		if right < s.right {
			t.Errorf("%s: %d of %d outputs are nearest to the paper's of the same weight, want %d", s.name, right, len(ours), s.right)
		}
		if s.name != "reference" {
			continue
		}
		var colours []float64
		for _, p := range theirs {
			colours = append(colours, colourDistance(ours[0], p))
		}
		if nearest := weightsOf[slices.Index(colours, slices.Min(colours))]; nearest != "80" {
			t.Errorf("the colours at 80 are nearest to the paper's at %s: %.3f", nearest, colours)
		}
	}
}

// distances are 1 − SSIM and the colour distance of every picture of a to every one of b, each divided by its mean, summed up.
func distances(a, b []picture.Picture) [][]float64 {
	sum := make([][]float64, len(a))
	for i := range sum {
		sum[i] = make([]float64, len(b))
	}
	for _, distance := range []func(p, q picture.Picture) float64{
		func(p, q picture.Picture) float64 { return 1 - ssim(luma(p), luma(q)) },
		func(p, q picture.Picture) float64 { return colourDistance(p, q) },
	} {
		each, mean := make([][]float64, len(a)), 0.0
		for i, p := range a {
			for _, q := range b {
				d := distance(p, q)
				each[i] = append(each[i], d)
				mean += d / float64(len(a)*len(b))
			}
		}
		for i := range sum {
			for k := range sum[i] {
				sum[i][k] += each[i][k] / mean
			}
		}
	}
	return sum
}

// A pair is scaled once for a trial: for the fit, its thumbnails and its measures together.
func TestScaledOnce(t *testing.T) {
	content, style := &counted{Image: testPair.Content.Image}, &counted{Image: testPair.Style.Image}
	pair := hrstyle.Pair{Content: picture.Picture{Name: "day.png", Image: content}, Style: picture.Picture{Name: "dusk.png", Image: style}}
	c := testConfig()
	c.Steps = 1
	reads := func(do func()) int {
		before := content.reads + style.reads
		do()
		return content.reads + style.reads - before
	}
	digests := reads(func() { pair.Content.Digest(); pair.Style.Digest() })
	scaling := reads(func() {
		if _, err := pair.Fitted(c); err != nil {
			t.Fatal(err)
		}
	})
	lab := testLab(t)
	if got := reads(func() {
		if _, err := lab.Sweep(t.Context(), "e", pair, Grid(c, ContentWeight(1, 10)), 0, nil); err != nil {
			t.Fatal(err)
		}
	}); got != digests+2*scaling || scaling == 0 {
		t.Errorf("%d pixels read for two trials; want %d once for the digests and %d a trial", got, digests, scaling)
	}
}

// counted counts the pixels that are read of it.
type counted struct {
	image.Image
	reads int
}

func (c *counted) At(x, y int) color.Color {
	c.reads++
	return c.Image.At(x, y)
}
