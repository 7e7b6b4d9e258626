package report

import (
	"math"
	"slices"
	"strconv"

	"hrlab/tracker"
)

// Names of a run's artifacts.
const (
	Output     = "output"     // a PNG
	Generator  = "generator"  // a safetensors file, see hrstyle.LoadGenerator
	Content    = "content"    // the content picture of a trial that was queued: its file, or a PNG of it
	Style      = "style"      // its style picture, likewise
	Init       = "init"       // its initial generator, where it has one
	Checkpoint = "checkpoint" // the latest saved state of the fit, see hrstyle.LoadCheckpoint
)

// Names of the measures. Losses of fits with other weights, Gram modes or sizes cannot be compared; measures can. Each is a
// metric of a run at its last step, computed from its output picture, whose colours are clipped to what can be shown.
//
// The style and content losses in them are those of package hrstyle with GramMean, a style gain of 1 and the default layer
// weights, whatever the settings of the fit; flat grey is sRGB 128. A fit with a style gain aims beyond the style picture:
// its style match still says how near the output is to the style picture itself.
//
// A measure is not defined where its denominator is 0 or noise: [StyleMatch] where the content picture has the style
// picture's look already, [ContentKept] where the content picture is flat. Such a run lacks the measure, and is left out where
// runs are compared by it.
const (
	// StyleMatch is 1 − style(output) / style(content picture): 0 for the content picture itself, 1 where the Gram matrices
	// equal the style picture's. Below 0 the output is further from the style picture than the content picture is.
	StyleMatch = "style_match"
	// ContentKept is 1 − content(output) / content(flat grey): 1 for the content picture itself, 0 for flat grey. It may be
	// below 0.
	ContentKept = "content_kept"
	// SSIM is the structural similarity of the luma to the content picture's, −1 to 1 (Wang, Bovik, Sheikh, Simoncelli,
	// "Image Quality Assessment", IEEE TIP 13, 2004): Gaussian window σ 1.5, biased covariance, Rec. 601 luma.
	SSIM = "ssim"
	// EdgeSSIM is the structural similarity of the magnitudes of Sobel gradients, −1 to 1, as in the literature on
	// photorealistic style transfer: whether edges stay where they were.
	EdgeSSIM = "edge_ssim"
	// ColourDistance is the distance from the style picture's colours in Oklab, 0 or more: sliced Wasserstein distance
	// (Bonneel, Rabin, Peyré, Pfister, "Sliced and Radon Wasserstein Barycenters", JMIV 51, 2015), 32 fixed directions.
	ColourDistance = "colour_distance"
)

// At is the name that a loss, a measure or an output of a weight map has at a ratio of the weights: "ssim_at_80".
func At(name string, ratio float64) string {
	return name + "_at_" + strconv.FormatFloat(ratio, 'g', -1, 64)
}

// NotDefined is a suffix: the tag NAME_not_defined of a run says why the measure NAME is not defined for its pair.
const NotDefined = "_not_defined"

// Measure is what outputs are compared by.
type Measure struct {
	Name  string // of the metric
	Title string // for people
	Best  string // which values are best: high or low
}

// Measures are the measures in the order of a report.
func Measures() []Measure { return slices.Clone(measures) }

var measures = []Measure{
	{ContentKept, "content kept", "high"},
	{StyleMatch, "style match", "high"},
	{SSIM, "SSIM", "high"},
	{EdgeSSIM, "edge SSIM", "high"},
	{ColourDistance, "colour distance", "low"},
}

// gainNote explains the measures where a style gain is used.
const gainNote = "Measures compare with the style picture itself (a style gain of 1), whatever the gain of a fit was. A fit with a gain aims beyond the style picture: where it has stronger colours than that, its style match falls, even below 0. The suggestion goes by these measures; with a gain, look at the outputs."

func measureTitle(name string) string {
	for _, m := range measures {
		if m.Name == name {
			return m.Title
		}
	}
	return name
}

// Measured is the last value of a run's measure; NaN where it is missing or not defined. Earlier versions recorded measures
// that are not defined too: they are infinite, or far below what pictures can have.
func Measured(run tracker.Info, name string) float64 {
	const possible = -1e9
	if m, ok := run.Metrics[name]; ok && m.Last > possible && !math.IsInf(m.Last, 0) {
		return m.Last
	}
	return math.NaN()
}
