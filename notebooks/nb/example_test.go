package nb_test

import (
	"fmt"
	"os"

	"hrlab/hrstyle"
	"hrlab/notebooks/nb"
	"hrlab/report"
	"hrlab/tracker"
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
	nb.Slider(nb.Must(pair.Fitted(config)).Content, last.Picture())
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
