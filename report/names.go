package report

import (
	"math"

	"hrlab/tracker"
)

// Names of a run's artifacts.
const (
	Output     = "output"     // a PNG
	Generator  = "generator"  // a safetensors file, see hrstyle.LoadGenerator
	Checkpoint = "checkpoint" // the latest saved state of an unfinished run, see hrstyle.LoadCheckpoint
)

// Names of the measures. Losses under different weights, Gram modes or sizes cannot be compared; these can. Each is a
// metric of a run at its last step, of the picture as it is shown.
//
// Style and content are the losses of package hrstyle under GramMean, a style gain of 1 and the default layer weights,
// whatever the fit's were; flat grey is sRGB 128. So with a style gain the style match says how near the output is to the
// style picture, and not to what the fit aimed at, which is beyond.
//
// Where there is nothing to divide by a measure is not defined, and the run has none: [StyleMatch] where the content
// picture has the style picture's look already, [ContentKept] where it is flat. Such a run takes no part in what compares
// it.
const (
	// StyleMatch is 1 − style(output) / style(content picture): 0 where nothing was done, 1 where the Gram matrices are the
	// style picture's; below 0 is worse than nothing.
	StyleMatch = "style_match"
	// ContentKept is 1 − content(output) / content(flat grey): 1 for the content picture itself, 0 for no content at all;
	// it may be below 0.
	ContentKept = "content_kept"
	// SSIM is the structural similarity of the luma to the content picture's, −1 to 1 (Wang, Bovik, Sheikh, Simoncelli,
	// "Image Quality Assessment", IEEE TIP 13, 2004): Gaussian window σ 1.5, biased covariance, Rec. 601 luma.
	SSIM = "ssim"
	// EdgeSSIM is the same of the magnitudes of Sobel's gradients, as in photorealistic style transfer's literature: whether
	// edges stay where they were.
	EdgeSSIM = "edge_ssim"
	// ColourDistance is the distance from the style picture's colours in Oklab, 0 or more: sliced Wasserstein distance
	// (Bonneel, Rabin, Peyré, Pfister, "Sliced and Radon Wasserstein Barycenters", JMIV 51, 2015), 32 fixed directions.
	ColourDistance = "colour_distance"
)

// NotDefined after the name of a measure is the tag of a run for whose pair it is not defined; it says why.
const NotDefined = "_not_defined"

// measures are those that a report shows, in its order, with the words it has for them.
var measures = []struct{ Name, Title, Best string }{
	{ContentKept, "content kept", "high"},
	{StyleMatch, "style match", "high"},
	{SSIM, "SSIM", "high"},
	{EdgeSSIM, "edge SSIM", "high"},
	{ColourDistance, "colour distance", "low"},
}

// gainNote says what measures mean where a style gain is used.
const gainNote = "Measures are against the style picture itself (a style gain of 1), whatever the gain of a fit was: a fit with a gain aims beyond the style picture, so that its style match falls, even below 0, where it takes more of the style's colours than the style picture has. What is suggested goes by these measures: with a gain, look at the outputs."

func measureTitle(name string) string {
	for _, m := range measures {
		if m.Name == name {
			return m.Title
		}
	}
	return name
}

// measure is the last value of a run's measure; NaN where it has none, or one that is not defined: infinite, or so far below
// what pictures can have that it was divided by noise, which was recorded once.
func measure(run tracker.Info, name string) float64 {
	const possible = -1e9
	if m, ok := run.Metrics[name]; ok && m.Last > possible && !math.IsInf(m.Last, 0) {
		return m.Last
	}
	return math.NaN()
}
