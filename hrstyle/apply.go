package hrstyle

import (
	"cmp"
	"context"
	"image"
	"math"
	"slices"

	"hrlab/picture"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"golang.org/x/image/draw"
)

// Applying says how a generator is applied. The zero value is good for most.
type Applying struct {
	Memory   float64            // bytes that the process may take in all; 0 means what is free
	Progress func(done, of int) // called after every tile, with pixels of what the generator is run at; may be nil

	// Statistics are those of other pictures, such as other frames of a video; nil means the picture's own. With them a pixel of
	// the output depends on the pixels around it and on nothing else: where two frames are alike their outputs are. Around it are
	// 15 pixels of what the generator is run at, and beyond the fitted size those that [picture.Guided] looks at.
	Statistics Statistics
}

// Statistics are the means and variances that a generator's instance norms take, in the order of its layers. [Engine.Statistics]
// measures them.
type Statistics []float32

// statisticsPixels are the pixels of the copy of a picture that the instance norms' statistics are measured on: 1024x683.
// tileSide is the side of a tile in pixels. It weighs the margins against the memory.
const statisticsPixels, tileSide = 700_000, 512

// margin is how far from a pixel of the output the generator looks, in pixels, rounded up to a multiple of 4: the furthest way is
// 8_1, 7_1, 6_1 and 5_1 with 1 px each, an upsampling by 4 with 7, and 3_5, 2_2 and 1_1 with 4.
const margin = 16

// leastTile is the smallest side of a tile in pixels.
const leastTile = 4 * margin

// reach is how many times the longer side that it was fitted at a generator is run at. Beyond it outputs look painted, with outlines
// along edges and steps in smooth parts; docs/full-size.md has the measurements.
const reach = 2

// Statistics measures the statistics of a generator's instance norms on pictures, each of at least 16x16 px and on its own, as
// [Engine.Apply] does, and returns their means over the pictures: the means of the means and of the variances. So a black
// frame among them has no weight in what is divided by. It returns the cause of ctx, after the current picture, when that is
// cancelled. memory is as in [Applying].
func (e *Engine) Statistics(ctx context.Context, g *Generator, pictures []picture.Picture, memory float64) (Statistics, error) {
	if g.IsMap() {
		return nil, errNoRatio
	}
	var sum []float64
	for _, p := range pictures {
		if err := cmp.Or(context.Cause(ctx), checkSides(p)); err != nil {
			return nil, err
		}
		run, guided := g.runsAt(p)
		copied, _, err := e.applySizes(p, run, guided, memory)
		if err != nil {
			return nil, err
		}
		if err := try(p.Name, func() {
			flat := upload(e, g.flat, len(g.flat))
			defer free(flat)
			measured := e.statistics(flat, reduced(resized(picture.Flatten(p.Image), run), copied))
			defer free(measured)
			values := download[float32](measured)
			sum = slices.Grow(sum, len(values))[:len(values)]
			for i, v := range values {
				sum[i] += float64(v)
			}
		}); err != nil {
			return nil, err
		}
	}
	mean := make(Statistics, len(sum))
	for i, v := range sum {
		mean[i] = float32(v / float64(len(pictures)))
	}
	return mean, nil
}

// reduced is a copy of p with so many pixels at most, whose sides are multiples of 4.
func reduced(p *image.RGBA, pixels float64) *image.RGBA {
	w, h := p.Rect.Dx(), p.Rect.Dy()
	scale := min(1, math.Sqrt(pixels/(float64(w)*float64(h))))
	return picture.Scale(p, max(fours(int(float64(w)*scale)), minSide), max(fours(int(float64(h)*scale)), minSide), draw.BiLinear)
}

// Apply runs a generator on any picture of at least 16x16 px, and returns its output at the picture's own size.
//
// A generator is fitted to one pair at one size. On other pictures it carries the look over as well as it can. A picture that is
// larger than the fitted size is reduced to at most twice that, and what the generator changes in this copy is carried over to the
// picture by [picture.Guided]. A generator that does not know its fitted size runs at the picture's own.
//
// The generator's instance norms take the means and deviations of a copy with at most 700,000 pixels. So what has so many is done
// as in a fit. What has more is done in tiles that overlap by as much as the network sees, and that equal the whole with the same
// statistics, to the rounding of float32.
//
// Memory that is short makes the tiles smaller, then the copy. Where it does not even suffice for small ones Apply fails at once, and
// names the largest size that fits. It returns the cause of ctx, after the current tile or the copy, when that is cancelled.
func (e *Engine) Apply(ctx context.Context, g *Generator, p picture.Picture, how Applying) (*image.NRGBA64, error) {
	if g.IsMap() {
		return nil, errNoRatio
	}
	if err := checkSides(p); err != nil {
		return nil, err
	}
	run, guided := g.runsAt(p)
	copied, tile, err := e.applySizes(p, run, guided, how.Memory)
	if err != nil {
		return nil, err
	}
	full := picture.Flatten(p.Image)
	pixels := resized(full, run)
	var out *image.NRGBA64
	tryErr := try(p.Name, func() {
		flat := upload(e, g.flat, len(g.flat))
		defer free(flat)
		w, h := pixels.Rect.Dx(), pixels.Rect.Dy()
		if copied >= float64(w)*float64(h) {
			tile = max(fours(w), fours(h))
			if how.Statistics == nil {
				out, err = e.applyTiles(ctx, "apply", pixels, tile, how.Progress, flat)
				return
			}
		}
		if err = context.Cause(ctx); err != nil {
			return
		}
		var statistics *tensors.Tensor
		if how.Statistics != nil {
			statistics = upload(e, how.Statistics, len(how.Statistics))
		} else {
			statistics = e.statistics(flat, reduced(pixels, copied))
		}
		defer free(statistics)
		out, err = e.applyTiles(ctx, "tile", pixels, tile, how.Progress, flat, statistics)
	})
	if err := cmp.Or(tryErr, err); err != nil {
		return nil, err
	}
	if guided {
		out = picture.Guided(full, pixels, out)
	}
	return out, nil
}

// runsAt returns the size that the generator runs at for a picture, and whether its change is then carried over to the picture. What
// counts is the longer side, but in a panorama, whose things are as small as its shorter side, that is taken for half of the longer.
func (g *Generator) runsAt(p picture.Picture) (run image.Point, guided bool) {
	run = p.Bounds().Size()
	longer := max(run.X, run.Y)
	if g.Config.Size == 0 || longer <= fours(g.Config.Size) {
		return run, false
	}
	if side, most := min(longer, 2*run.X, 2*run.Y), reach*g.Config.Size; side > most {
		run.X, run.Y = fitted(run.X, run.Y, longer*most/side, false)
	}
	return run, true
}

// resized is p at another size, or itself where it has that.
func resized(p *image.RGBA, size image.Point) *image.RGBA {
	if p.Rect.Size() == size {
		return p
	}
	return picture.Scale(p, size.X, size.Y, draw.BiLinear)
}

// statistics measures the statistics of a generator's instance norms on a picture whose sides are multiples of 4.
func (e *Engine) statistics(flat *tensors.Tensor, p *image.RGBA) *tensors.Tensor {
	x := upload(e, window(p, p.Rect), 1, p.Rect.Dy(), p.Rect.Dx(), 3)
	defer free(x)
	return e.call("statistics", func(in []*Node) []*Node {
		g := e.newGenerator(in[0])
		g.generate(in[1])
		return []*Node{g.norms.all()}
	}, flat, x)[0]
}

// applyTiles runs the generator of the flat vector fixed[0] on tiles of p. The statistics of its norms are fixed[1]; without them
// they are those of the tile, which then must be the whole picture. All tiles have one shape, so that the graph called name is
// compiled once. Those at an edge end there, because the network's own padding is right at edges of the picture only.
func (e *Engine) applyTiles(ctx context.Context, name string, p *image.RGBA, side int, progress func(done, of int), fixed ...any) (*image.NRGBA64, error) {
	w, h := p.Rect.Dx(), p.Rect.Dy()
	out := image.NewNRGBA64(p.Rect)
	done := 0
	for _, y := range tiles(fours(h), side) {
		for _, x := range tiles(fours(w), side) {
			if err := context.Cause(ctx); err != nil {
				return nil, err
			}
			r := image.Rect(x.begin, y.begin, x.end, y.end)
			in := upload(e, window(p, r), 1, r.Dy(), r.Dx(), 3)
			result := e.call(name, func(in []*Node) []*Node {
				g := e.newGenerator(in[0])
				if len(in) > 2 {
					g.norms.given = in[1]
				}
				y, _ := g.generate(in[len(in)-1])
				return []*Node{y}
			}, append(slices.Clip(fixed), in)...)[0]
			core := image.Rect(x.first, y.first, x.last, y.last).Intersect(p.Rect)
			denormalise(out, core, download[float32](result), r)
			free(in, result)
			if done += core.Dx() * core.Dy(); progress != nil {
				progress(done, w*h)
			}
		}
	}
	return out, nil
}

// span is the part of an axis that a tile covers, and the part from first to last in which its result is that of the whole.
type span struct{ begin, end, first, last int }

// tiles covers an axis of n pixels by tiles of at most side pixels, by as few as possible and by no larger ones than these need. All
// are multiples of 4.
func tiles(n, side int) (list []span) {
	if n <= side {
		return []span{{0, n, 0, n}}
	}
	few := (n - 2*margin + side - 2*margin - 1) / (side - 2*margin)
	side = fours((n-2*margin+few-1)/few + 2*margin)
	for first := 0; first < n; {
		begin := min(max(0, first-margin), n-side)
		t := span{begin, begin + side, first, begin + side - margin}
		if t.end == n {
			t.last = n
		}
		list, first = append(list, t), t.last
	}
	return list
}

// fours rounds up to a multiple of 4, which the generator's maps of a quarter of the size need.
func fours(n int) int { return (n + 3) / 4 * 4 }
