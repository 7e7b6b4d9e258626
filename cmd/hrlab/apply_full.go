package main

import (
	"context"
	"fmt"
	"image"
	"math"
	"sync"
	"time"

	"hrlab/hrstyle"
	"hrlab/picture"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// applyFlags say how a generator is applied to a picture of any size.
type applyFlags struct {
	Strength float64 `default:"1" help:"How much of the look: 0 is the content picture, 1 the output; between them they are blended in linear light."`
	Memory   float64 `placeholder:"GB" help:"Memory that a picture may take, in GB (default: what is free). Less makes smaller tiles."`
}

// valid says what a flag has that is not allowed.
func (f applyFlags) valid() error {
	if !(f.Strength >= 0 && f.Strength <= 1) {
		return fmt.Errorf("strength %g: allowed: 0 to 1", f.Strength)
	}
	if !(f.Memory >= 0) || math.IsInf(f.Memory, 1) {
		return fmt.Errorf("memory %g: allowed: gigabytes above 0, as 2", f.Memory)
	}
	return nil
}

// describe is what the metadata of a result say of the flags; empty where it is the output itself.
func (f applyFlags) describe() string {
	if f.Strength == 1 {
		return ""
	}
	return fmt.Sprintf("; strength %g", f.Strength)
}

// apply applies the generator to p, while bar shows how far it is.
func (f applyFlags) apply(ctx context.Context, engine *hrstyle.Engine, g *hrstyle.Generator, p picture.Picture, bar *counter) (*image.NRGBA64, error) {
	progress, stop := bar.tiles(ctx, p)
	out, err := engine.Apply(ctx, g, p, hrstyle.Applying{Memory: f.Memory * 1e9, Progress: progress})
	stop()
	if err != nil {
		return nil, err
	}
	picture.Blend(out, p, f.Strength)
	return out, nil
}

// counter shows how many of several pictures are done, and how long the current one takes: on a terminal a bar and a line.
type counter struct {
	c    *console
	n    int           // pictures that are done or failed
	bars *mpb.Progress // nil where messages is no terminal, or where there is only one picture
	bar  *mpb.Bar
}

func (c *console) newCounter(total int) *counter {
	k := &counter{c: c}
	if c.terminal && total > 1 {
		k.bars = mpb.New(mpb.WithOutput(c.messages), mpb.WithWidth(24))
		k.bar = k.bars.AddBar(int64(total), mpb.PrependDecorators(decor.CountersNoUnit("%d of %d")), mpb.AppendDecorators(decor.AverageETA(decor.ET_STYLE_MMSS), decor.Name(" left")))
	}
	return k
}

// say prints a line above the bar.
func (k *counter) say(line string) {
	if k.bars != nil {
		fmt.Fprintln(k.bars, line)
		return
	}
	fmt.Fprintln(k.c.messages, line)
}

// begin begins to show a picture: on a terminal in bars. When ctx is cancelled it says that the current tile is the last. end ends
// both.
func (k *counter) begin(ctx context.Context) (bars *mpb.Progress, end func()) {
	to := k.c.messages
	if k.c.terminal {
		bars = k.bars
		if bars == nil {
			bars = mpb.New(mpb.WithOutput(k.c.messages), mpb.WithWidth(24))
		}
		to = bars
	}
	said := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		fmt.Fprintln(to, "stopping; Ctrl-C again stops at once")
		close(said)
	})
	return bars, func() {
		if !unhook() {
			<-said
		}
		if bars != k.bars {
			bars.Wait()
		}
	}
}

// applying shows that the generator is applied to a picture, and for how long, until stop is called: on a terminal in a line that
// changes, otherwise in a line every half minute.
func (k *counter) applying(ctx context.Context, path string) (stop func()) {
	began := time.Now()
	text := func() string { return fmt.Sprintf("applying, %.0f s", time.Since(began).Seconds()) }
	bars, end := k.begin(ctx)
	if bars != nil {
		line := bars.New(0, mpb.NopStyle(), mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return text() })))
		return func() {
			line.Abort(true)
			line.Wait()
			end()
		}
	}
	ended := make(chan struct{})
	var lines sync.WaitGroup
	lines.Go(func() {
		for ticks := time.Tick(30 * time.Second); ; {
			select {
			case <-ended:
				return
			case <-ticks:
				k.say(path + ": " + text())
			}
		}
	})
	return func() {
		close(ended)
		lines.Wait()
		end()
	}
}

func (k *counter) done() {
	k.n++
	if k.bar != nil {
		k.bar.Increment()
	}
}

func (k *counter) close() {
	if k.bars != nil {
		k.bar.Abort(false)
		k.bars.Wait()
	}
}

// large is the number of pixels from which it is shown how far a picture is.
const large = 1_000_000

// tiles shows how far the generator is with a picture: with a small one, how long it has been at it, until stop is called.
// progress is what [hrstyle.Applying] takes.
func (k *counter) tiles(ctx context.Context, p picture.Picture) (progress func(done, of int), stop func()) {
	size := p.Bounds().Size()
	if size.X*size.Y <= large {
		return nil, k.applying(ctx, p.Name)
	}
	return k.far(ctx, p.Name, fmt.Sprintf("%dx%d px", size.X, size.Y))
}

// far shows how far it is with something that takes long, of which what tells more, until stop is called: on a terminal as a bar,
// otherwise in lines.
func (k *counter) far(ctx context.Context, name, what string) (progress func(done, of int), stop func()) {
	what = name + ": " + what
	bars, end := k.begin(ctx)
	if bars != nil {
		bar := bars.AddBar(0, mpb.BarRemoveOnComplete(), mpb.PrependDecorators(decor.Name(what+" "), decor.Percentage()),
			mpb.AppendDecorators(decor.AverageETA(decor.ET_STYLE_MMSS), decor.Name(" left")))
		return func(done, of int) {
				bar.SetTotal(int64(of), false)
				bar.SetCurrent(int64(done))
			}, func() {
				bar.Abort(true)
				bar.Wait()
				end()
			}
	}
	k.say(what)
	var began, said time.Time
	first := 0 // what was done first: a tile, before which graphs are compiled
	return func(done, of int) {
		now := time.Now()
		if first == 0 {
			began, said, first = now, now, done
			return
		}
		if now.Sub(said) >= linePause && done < of {
			left := now.Sub(began).Seconds() * float64(of-done) / float64(done-first)
			k.say(fmt.Sprintf("%s: %d%%, %.0f s left", name, 100*done/of, left))
			said = now
		}
	}, end
}

// linePause is the time from one line about a large picture to the next.
const linePause = 30 * time.Second
