package picture

import (
	"encoding/binary"
	"image"
	"math"
	"runtime"

	"golang.org/x/sync/errgroup"
	"gonum.org/v1/gonum/mat"
)

// guidedRadius is the radius of a window in pixels of the small picture. guidedEpsilon is the variance of colours, in [0,1], above
// which the change may differ with the colour; where they vary less, as in a smooth sky, it is nearly the same for all.
const guidedRadius, guidedEpsilon = 2, 1e-3

// Guided carries a change over to a larger picture: small is a reduced copy of full, changed has the size of small. The result is
// full, changed alike, in 16 bits.
//
// It is the fast guided filter with colours as guide: He, Sun, "Fast Guided Filter" (arXiv 1505.00996), algorithm 2, and He, Sun,
// Tang, "Guided Image Filtering" (PAMI 2013), equations 19 to 21, on the change of each channel. In every window of small the
// change is fitted by an affine function of the colour. The functions are averaged over the windows that a pixel lies in, and
// interpolated bilinearly to the pixels of full. So edges stay where full has them, and smooth parts smooth.
func Guided(full, small *image.RGBA, changed *image.NRGBA64) *image.NRGBA64 {
	w, h := small.Rect.Dx(), small.Rect.Dy()
	maps := windowMeans(changeMaps(small, changed), mapLength, w, h)
	out := image.NewNRGBA64(image.Rect(0, 0, full.Rect.Dx(), full.Rect.Dy()))
	columns, rows := sources(out.Rect.Dx(), w), sources(out.Rect.Dy(), h)
	inParallel(len(rows), func(y int) {
		line := make([]float32, w*mapLength) // the maps of this row
		above, below := maps[rows[y].first*len(line):][:len(line)], maps[rows[y].second*len(line):][:len(line)]
		for i, v := range above {
			line[i] = v + rows[y].weight*(below[i]-v)
		}
		from, to := full.Pix[y*full.Stride:], out.Pix[y*out.Stride:]
		for x, at := range columns {
			left, right := line[at.first*mapLength:][:mapLength], line[at.second*mapLength:][:mapLength]
			var m [mapLength]float32
			for i, v := range left {
				m[i] = v + at.weight*(right[i]-v)
			}
			r, g, b := float32(from[4*x])/255, float32(from[4*x+1])/255, float32(from[4*x+2])/255
			for c, v := range [3]float32{r, g, b} {
				v += m[4*c]*r + m[4*c+1]*g + m[4*c+2]*b + m[4*c+3]
				binary.BigEndian.PutUint16(to[8*x+2*c:], uint16(math.MaxUint16*min(max(v, 0), 1)+0.5))
			}
			to[8*x+6], to[8*x+7] = 255, 255
		}
	})
	return out
}

// mapLength is the number of values of a map, the change of a colour as an affine function of it: for each channel the factors of
// red, green and blue, and what is added.
const mapLength = 3 * 4

// momentLength is the number of values that a map is computed from, as means over a window: of 3 colours, 3 changes, 9 products of
// two colours and 9 of a colour and a change.
const momentLength = 3 + 3 + 9 + 9

// changeMaps returns the map of every pixel's window.
func changeMaps(small *image.RGBA, changed *image.NRGBA64) []float32 {
	w, h := small.Rect.Dx(), small.Rect.Dy()
	moments := make([]float32, 0, w*h*momentLength)
	for y := range h {
		for x := range w {
			var colour, change [3]float32
			for c := range 3 {
				colour[c] = float32(small.Pix[small.PixOffset(x, y)+c]) / 255
				change[c] = float32(binary.BigEndian.Uint16(changed.Pix[changed.PixOffset(x, y)+2*c:]))/math.MaxUint16 - colour[c]
			}
			moments = append(append(moments, colour[:]...), change[:]...)
			for _, values := range [][3]float32{colour, change} {
				for _, a := range colour {
					for _, b := range values {
						moments = append(moments, a*b)
					}
				}
			}
		}
	}
	moments = windowMeans(moments, momentLength, w, h)
	maps := make([]float32, w*h*mapLength)
	inParallel(h, func(y int) {
		covariance, cross, factors := mat.NewSymDense(3, nil), mat.NewDense(3, 3, nil), mat.NewDense(3, 3, nil)
		var cholesky mat.Cholesky
		for i := y * w; i < (y+1)*w; i++ {
			m := moments[i*momentLength:][:momentLength]
			colour, change, products, crossed := m[:3], m[3:6], m[6:15], m[15:]
			for a := range 3 {
				for b := range 3 {
					covariance.SetSym(a, b, float64(products[3*a+b]-colour[a]*colour[b]))
					cross.Set(a, b, float64(crossed[3*a+b]-colour[a]*change[b]))
				}
				covariance.SetSym(a, a, max(covariance.At(a, a), 0)+guidedEpsilon)
			}
			cholesky.Factorize(covariance)
			if cholesky.SolveTo(factors, cross) != nil {
				factors.Zero() // cannot be: epsilon is far above what rounding takes
			}
			for c := range 3 {
				row := maps[i*mapLength+4*c:][:4]
				row[3] = change[c]
				for a := range 3 {
					row[a] = float32(factors.At(a, c))
					row[3] -= row[a] * colour[a]
				}
			}
		}
	})
	return maps
}

// windowMeans returns the means of vectors of n values over the window around every pixel. At a border the window ends there.
func windowMeans(vectors []float32, n, w, h int) []float32 {
	across, means := make([]float32, len(vectors)), make([]float32, len(vectors))
	mean := func(to, from []float32, i, position, end, step int) {
		first, last := max(0, position-guidedRadius), min(end-1, position+guidedRadius)
		out := to[i*n:][:n]
		for p := first; p <= last; p++ {
			for k, v := range from[(i+(p-position)*step)*n:][:n] {
				out[k] += v / float32(last-first+1)
			}
		}
	}
	inParallel(h, func(y int) {
		for x := range w {
			mean(across, vectors, y*w+x, x, w, 1)
		}
	})
	inParallel(h, func(y int) {
		for x := range w {
			mean(means, across, y*w+x, y, h, w)
		}
	})
	return means
}

// source says between which pixels of a small picture one of a large picture lies: weight is how near to the second, in [0,1].
type source struct {
	first, second int
	weight        float32
}

// sources are those of n pixels in an axis of small ones. Centres of pixels are set against each other.
func sources(n, small int) []source {
	list := make([]source, n)
	for i := range list {
		at := min(max((float64(i)+0.5)*float64(small)/float64(n)-0.5, 0), float64(small-1))
		first := int(at)
		list[i] = source{first, min(first+1, small-1), float32(at - float64(first))}
	}
	return list
}

// inParallel calls f with 0 to n-1, on all cores.
func inParallel(n int, f func(i int)) {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range n {
		group.Go(func() error { f(i); return nil })
	}
	_ = group.Wait() // none fails
}
