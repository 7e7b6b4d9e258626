package experiments

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"

	"hrlab/picture"

	"hrlab/hrstyle"
	"hrlab/report"
)

// Measures measures an output of pair, by the names that package report gives. pair is at the size that was fitted, and so
// is output. Measures that are not defined for the pair are missing.
func (l Lab) Measures(pair hrstyle.Pair, output image.Image) (map[string]float64, error) {
	size := pair.Content.Bounds()
	if output.Bounds().Size() != size.Size() {
		return nil, fmt.Errorf("an output of %v for a content picture of %v", output.Bounds().Size(), size.Size())
	}
	base, err := l.Engine.Baseline(pair)
	if err != nil {
		return nil, err
	}
	losses, err := l.Engine.Compare(pair, picture.Picture{Name: "output", Image: output})
	if err != nil {
		return nil, err
	}
	of := losses[0]
	a, b := luma(pair.Content), luma(output)
	measures := map[string]float64{
		report.SSIM:           ssim(a, b),
		report.EdgeSSIM:       ssim(a.sobel(), b.sobel()),
		report.StyleMatch:     1 - of.Style/base.Content.Style,
		report.ContentKept:    1 - of.Content/base.Grey.Content,
		report.ColourDistance: colourDistance(output, pair.Style),
	}
	for name := range undefined(pair, base) {
		delete(measures, name)
	}
	return measures, nil
}

// least is the smallest divisor of a measure, as a part of the loss of maps that are zero everywhere. At 1e-4 Gram matrices
// differ by a hundredth (root mean square), which is what saving a picture as JPEG changes in them. Divided by less than
// that, a measure would be noise.
const least = 1e-4

// undefined says which measures are not defined for a pair at the size that was fitted, by name, and why.
func undefined(pair hrstyle.Pair, base hrstyle.Baseline) map[string]string {
	why := map[string]string{}
	if !(base.Content.Style > least*base.Zero.Style) {
		why[report.StyleMatch] = "the content picture has the style picture's look already, so that there is nothing to take from it"
	}
	if flat(pair.Content) || !(base.Grey.Content > least*base.Zero.Content) {
		why[report.ContentKept] = "the content picture is flat, so that there is nothing to keep of it"
	}
	return why
}

// flat says whether a picture has one colour: no channel has a standard deviation above one level of 8 bits, which rounding
// may cause.
func flat(img image.Image) bool {
	b := img.Bounds()
	n := float64(b.Dx() * b.Dy())
	var sum, squares [3]float64
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			r, g, bl, _ := img.At(x, y).RGBA()
			for i, v := range [3]uint32{r, g, bl} {
				level := float64(v) / 0x101
				sum[i] += level
				squares[i] += level * level
			}
		}
	}
	for i := range sum {
		if squares[i]/n-sum[i]/n*sum[i]/n > 1 {
			return false
		}
	}
	return true
}

// plane is one number a pixel, in 0 to 1.
type plane struct {
	w, h int
	v    []float64
}

// luma is Rec. 601's: 0.299 R + 0.587 G + 0.114 B of the gamma-coded values.
func luma(img image.Image) plane {
	b := img.Bounds()
	p := plane{b.Dx(), b.Dy(), make([]float64, 0, b.Dx()*b.Dy())}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			r, g, bl, _ := img.At(x, y).RGBA()
			p.v = append(p.v, (0.299*float64(r)+0.587*float64(g)+0.114*float64(bl))/0xffff)
		}
	}
	return p
}

// at reads a pixel. Borders are mirrored.
func (p plane) at(x, y int) float64 {
	mirror := func(i, n int) int {
		if i < 0 {
			i = -1 - i
		}
		if i >= n {
			i = 2*n - 1 - i
		}
		return min(max(i, 0), n-1)
	}
	return p.v[mirror(y, p.h)*p.w+mirror(x, p.w)]
}

// sobel is the magnitude of the gradient by Sobel's operator, in 0 to 1 (as scikit-image's filters.sobel).
func (p plane) sobel() plane {
	out := plane{p.w, p.h, make([]float64, 0, len(p.v))}
	for y := range p.h {
		for x := range p.w {
			across := p.at(x+1, y-1) + 2*p.at(x+1, y) + p.at(x+1, y+1) - p.at(x-1, y-1) - 2*p.at(x-1, y) - p.at(x-1, y+1)
			down := p.at(x-1, y+1) + 2*p.at(x, y+1) + p.at(x+1, y+1) - p.at(x-1, y-1) - 2*p.at(x, y-1) - p.at(x+1, y-1)
			out.v = append(out.v, math.Sqrt((across*across+down*down)/32)) // each is within ±4
		}
	}
	return out
}

const ssimRadius = 5 // of the Gaussian: 3.5 σ

// blur is a Gaussian filter with σ 1.5. A margin of ssimRadius pixels, where the window is not whole, is left out.
func (p plane) blur() plane {
	var kernel [2*ssimRadius + 1]float64
	sum := 0.0
	for i := range kernel {
		d := float64(i - ssimRadius)
		kernel[i] = math.Exp(-d * d / (2 * 1.5 * 1.5))
		sum += kernel[i]
	}
	w, h := p.w-2*ssimRadius, p.h-2*ssimRadius
	rows := make([]float64, w*p.h)
	for y := range p.h {
		for x := range w {
			for i, k := range kernel {
				rows[y*w+x] += k / sum * p.v[y*p.w+x+i]
			}
		}
	}
	out := plane{w, h, make([]float64, w*h)}
	for y := range h {
		for x := range w {
			for i, k := range kernel {
				out.v[y*w+x] += k / sum * rows[(y+i)*w+x]
			}
		}
	}
	return out
}

func (p plane) times(q plane) plane {
	out := plane{p.w, p.h, make([]float64, len(p.v))}
	for i := range p.v {
		out.v[i] = p.v[i] * q.v[i]
	}
	return out
}

// ssim is the mean structural similarity (Wang et al. 2004, equation 13) of planes of the same size, each side 11 px or more:
// Gaussian window of σ 1.5, biased covariance, K₁ 0.01, K₂ 0.03.
func ssim(a, b plane) float64 {
	ma, mb := a.blur(), b.blur()
	aa, bb, ab := a.times(a).blur(), b.times(b).blur(), a.times(b).blur()
	const c1, c2 = 0.01 * 0.01, 0.03 * 0.03
	total := 0.0
	for i := range ma.v {
		x, y := ma.v[i], mb.v[i]
		total += (2*x*y + c1) * (2*(ab.v[i]-x*y) + c2) / ((x*x + y*y + c1) * (aa.v[i] - x*x + bb.v[i] - y*y + c2))
	}
	return total / float64(len(ma.v))
}

// oklab converts an sRGB colour (Ottosson, "A perceptual color space for image processing", 2020).
func oklab(c color.Color) [3]float64 {
	r, g, b, _ := c.RGBA()
	linear := func(v uint32) float64 {
		x := float64(v) / 0xffff
		if x <= 0.04045 {
			return x / 12.92
		}
		return math.Pow((x+0.055)/1.055, 2.4)
	}
	lr, lg, lb := linear(r), linear(g), linear(b)
	l := math.Cbrt(0.4122214708*lr + 0.5363325363*lg + 0.0514459929*lb)
	m := math.Cbrt(0.2119034982*lr + 0.6806995451*lg + 0.1073969566*lb)
	s := math.Cbrt(0.0883024619*lr + 0.2817188376*lg + 0.6299787005*lb)
	return [3]float64{
		0.2104542553*l + 0.7936177850*m - 0.0040720468*s,
		1.9779984951*l - 2.4285922050*m + 0.4505937099*s,
		0.0259040371*l + 0.7827717662*m - 0.8086757660*s,
	}
}

// colourSamples is the largest number of pixels that are sampled of a picture, colourDirections the number of directions that
// colours are projected on.
const colourSamples, colourDirections = 16384, 32

// colourDistance is the sliced Wasserstein distance of order 1 of two pictures' colours in Oklab (Bonneel et al. 2015).
// Colours are projected on directions that Fibonacci's spiral spreads evenly over the sphere; the distance is the mean, over
// directions, of the differences between the projections' quantiles. Pictures may differ in size.
func colourDistance(a, b image.Image) float64 {
	ca, cb := colours(a), colours(b)
	total := 0.0
	for i := range colourDirections {
		z := 1 - (2*float64(i)+1)/colourDirections
		angle := float64(i) * math.Pi * (3 - math.Sqrt(5))
		direction := [3]float64{z, math.Sqrt(1-z*z) * math.Cos(angle), math.Sqrt(1-z*z) * math.Sin(angle)}
		pa, pb := project(ca, direction), project(cb, direction)
		n := max(len(pa), len(pb))
		sum := 0.0
		for q := range n {
			sum += math.Abs(pa[q*len(pa)/n] - pb[q*len(pb)/n])
		}
		total += sum / float64(n)
	}
	return total / colourDirections
}

// colours samples a picture evenly.
func colours(img image.Image) (list [][3]float64) {
	b := img.Bounds()
	n := b.Dx() * b.Dy()
	for i := range min(n, colourSamples) {
		at := i * n / min(n, colourSamples)
		list = append(list, oklab(img.At(b.Min.X+at%b.Dx(), b.Min.Y+at/b.Dx())))
	}
	return list
}

// project returns the sorted positions of colours along a direction.
func project(colours [][3]float64, d [3]float64) []float64 {
	out := make([]float64, len(colours))
	for i, c := range colours {
		out[i] = c[0]*d[0] + c[1]*d[1] + c[2]*d[2]
	}
	slices.Sort(out)
	return out
}
