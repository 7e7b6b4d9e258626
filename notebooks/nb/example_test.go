package nb_test

import (
	"fmt"
	"image/color"
	"os"

	"hrlab/hrstyle"
	"hrlab/notebooks/nb"
	"hrlab/report"
	"hrlab/tracker"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
)

// elsewhere makes a folder the working directory, as that of a notebook, and returns what goes back and removes it.
func elsewhere() (back func()) {
	here, err := os.Getwd()
	nb.Check(err)
	dir := nb.Must(os.MkdirTemp("", "hrlab-"))
	nb.Check(os.Chdir(dir))
	return func() {
		nb.Check(os.Chdir(here))
		nb.Check(os.RemoveAll(dir))
	}
}

// A fit, as a cell has it; what is shown needs a notebook.
func Example() {
	defer elsewhere()()
	nb.Check(os.Setenv("HRLAB_DEVICE", "go"))   // by itself it takes the best
	nb.Check(os.Setenv("HRLAB_DB", "hrlab.db")) // as by itself
	ctx := nb.Context()
	lab := nb.LabHere(ctx, "random")
	config := hrstyle.Default
	config.Size, config.Steps = 64, 1

	pair := nb.Pair("", "") // the built-in one
	last := nb.Must(hrstyle.Last(nb.Curves(lab.Fit(ctx, "first fit", pair, config))))
	nb.Slider(nb.Must(pair.Fitted(config)).Content, last.Picture(), "content", "output")
	fmt.Println(last.N, last.Picture().Bounds().Size())

	store := nb.Tracker(ctx)
	runs := nb.Must(store.Runs(ctx, tracker.Query{Experiment: "first fit"}))
	nb.Table(runs, "id", "status", "params.size", "metrics."+report.SSIM)
	fmt.Println(len(runs), runs[0].Status, runs[0].Params["size"])
	nb.Check(store.Close())
	// Output:
	// 1 (64,48)
	// 1 finished 64
}

// hrlab notebook run -p size=256 -p styles=1,10 gives other values.
func ExampleParam() {
	size, styles := nb.Param("size", 128), nb.Values("styles", "log:0.1:10:3")
	fmt.Println(size, styles)
	// Output: 128 [0.1 1 10]
}

// A chart of your own, by gonum's plot, and the curves of runs in one line. Lines have colours that can be told apart on white and
// on black.
func ExampleChart() {
	chart := report.NewChart("how much is kept", "content weight", "content kept")
	chart.X.Scale = plot.LogScale{}
	nb.Check(plotutil.AddLinePoints(chart,
		"style weight 1", plotter.XYs{{X: 3, Y: 0.2}, {X: 30, Y: 0.7}, {X: 300, Y: 0.95}},
		"style weight 10", plotter.XYs{{X: 3, Y: 0.05}, {X: 30, Y: 0.2}, {X: 300, Y: 0.7}}))
	own, err := plotter.NewLine(plotter.XYs{{X: 3, Y: 0.5}, {X: 300, Y: 0.5}})
	nb.Check(err)
	own.Color = color.RGBA{R: 0xcc, G: 0x79, B: 0xa7, A: 0xff} // a colour of your own
	chart.Add(own)
	nb.Chart(chart)
	fmt.Println(plotutil.Color(0) == report.Colours[0])
	// Output: true
}

// The style loss of every run of an experiment, in one chart.
func ExampleRunCurves() {
	defer elsewhere()()
	nb.Check(os.Setenv("HRLAB_DB", "hrlab.db"))
	ctx := nb.Context()
	store := nb.Tracker(ctx)
	for _, weight := range []float64{3, 300} {
		run := nb.Must(store.Start(ctx, tracker.NewRun{Experiment: "boat", Params: map[string]any{"content_weight": weight}}))
		nb.Check(run.Log(ctx, 0, map[string]float64{"style": 20 * weight}))
		nb.Check(run.Log(ctx, 10, map[string]float64{"style": weight}))
		nb.Check(run.Finish(ctx, nil))
	}

	nb.RunCurves(ctx, "style", nb.Must(store.Runs(ctx, tracker.Query{Experiment: "boat", Sort: "id"}))...)
	nb.Check(store.Close())
	// Output:
}
