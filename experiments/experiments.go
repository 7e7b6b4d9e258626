// Package experiments helps to choose weights: it fits a pair of pictures with many settings, records every fit,
// measures the results and compares them.
//
//	lab := experiments.Lab{Engine: engine, Tracker: store}
//	trials := experiments.Grid(hrstyle.Default, experiments.ContentWeight(0.8, 8, 80), experiments.StyleWeight(1, 10))
//	runs, err := lab.Sweep(ctx, "boat", pair, trials, 0, nil)
//	suggested := experiments.Knee(experiments.Front(runs))
//
// # Measures
//
// Losses under different weights, Gram modes or sizes cannot be compared; these can. Each is a metric of a run at its
// last step, of the picture as it is shown:
//
//	style_match      1 − style(output) / style(content picture): 0 where nothing was done, 1 where the Gram matrices
//	                 are the style picture's; below 0 is worse than nothing
//	content_kept     1 − content(output) / content(flat grey): 1 for the content picture itself, 0 for no content at
//	                 all; may be below 0
//	ssim             structural similarity of the luma to the content picture's, −1 to 1 (Wang, Bovik, Sheikh,
//	                 Simoncelli, "Image Quality Assessment", IEEE TIP 13, 2004): Gaussian window σ 1.5, biased
//	                 covariance, Rec. 601 luma
//	edge_ssim        the same of the magnitudes of Sobel's gradients, as in photorealistic style transfer's literature:
//	                 whether edges stay where they were
//	colour_distance  from the style picture's colours in Oklab, 0 or more: sliced Wasserstein distance (Bonneel, Rabin,
//	                 Peyré, Pfister, "Sliced and Radon Wasserstein Barycenters", JMIV 51, 2015), 32 fixed directions
//
// style and content are the losses of package hrstyle under GramMean, a style gain of 1 and the default layer weights, whatever
// the fit's were; flat grey is sRGB 128. So with a style gain the style match says how near the output is to the style
// picture, and not to what the fit aimed at, which is beyond.
//
// Where there is nothing to divide by a measure is not defined, and the run has none: style_match where the content picture
// has the style picture's look already, content_kept where it is flat. Such a run takes no part in what compares it.
//
// # Comparison
//
// [Front] finds the runs than which none keeps more content and matches more style, [Knee] the one of them where giving
// more of either costs most of the other, which is what is suggested. [Effects] says how much each setting moves each
// measure, [Spread] how much the seed does.
package experiments
