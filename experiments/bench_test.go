package experiments

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"hrlab/hrstyle"
	"hrlab/hrstyle/sample"
	"hrlab/picture"
	"hrlab/tracker"
	"hrlab/tracker/postgrestest"
)

// What a sweep of 6 trials at 128 px, 60 steps each, takes beside the same fits alone, on the best device.
func BenchmarkSweep(b *testing.B) {
	engine, err := hrstyle.Open(b.Context(), hrstyle.Options{VGG: "random"})
	if err != nil {
		b.Fatal(err)
	}
	defer engine.Close()
	pair := hrstyle.Pair{
		Content: picture.Picture{Name: "day.png", Image: sample.Content(128, 96)},
		Style:   picture.Picture{Name: "dusk.png", Image: sample.Style(128, 96)},
	}
	config := hrstyle.Default
	config.Size, config.Steps = 128, 60
	trials := Grid(config, ContentWeight(3, 30, 300), StyleWeight(1, 10))
	fits := func() time.Duration {
		began := time.Now()
		for _, t := range trials {
			if _, err := hrstyle.Last(engine.Fit(b.Context(), pair, t.Config)); err != nil {
				b.Fatal(err)
			}
		}
		return time.Since(began)
	}
	sweep := func() time.Duration {
		store, err := tracker.Open(b.Context(), filepath.Join(b.TempDir(), "hrlab.db"))
		if err != nil {
			b.Fatal(err)
		}
		defer store.Close() //nolint:errcheck // thrown away
		began := time.Now()
		if _, err := (Lab{Engine: engine, Tracker: store}).Sweep(b.Context(), "e", pair, trials, 0, nil); err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	}
	warm := trials
	trials = trials[:1]
	fits() // compiles
	sweep()
	trials = warm
	for b.Loop() {
		alone, recorded := fits(), sweep()
		b.ReportMetric(recorded.Seconds()/alone.Seconds(), "ratio")
		b.ReportMetric((recorded-alone).Seconds()*1e3/float64(len(trials)), "ms-over/trial")
	}
}

// 10,000 trials handed to the queue.
func BenchmarkEnqueue(b *testing.B) {
	dir := b.TempDir()
	pair := hrstyle.Pair{Content: picture.Picture{Name: filepath.Join(dir, "day.png"), Image: sample.Content(64, 48)}, Style: picture.Picture{Name: filepath.Join(dir, "dusk.png"), Image: sample.Style(64, 48)}}
	for _, p := range []picture.Picture{pair.Content, pair.Style} {
		if err := picture.Save(p.Name, p, picture.Encoding{}); err != nil {
			b.Fatal(err)
		}
	}
	vgg, err := hrstyle.OpenVGG("random")
	if err != nil {
		b.Fatal(err)
	}
	trials := Repeat(List(hrstyle.Default), 10_000)
	for name, url := range map[string]func(b *testing.B) string{
		"SQLite":     func(b *testing.B) string { return filepath.Join(b.TempDir(), "hrlab.db") },
		"PostgreSQL": func(b *testing.B) string { return postgrestest.Start(b, "fsync = on").URL("postgres") },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				queue, err := OpenQueue(b.Context(), openStore(b, url(b)))
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if _, err := queue.Enqueue(b.Context(), "e", vgg, pair, trials, 0); err != nil {
					b.Fatal(err)
				}
				enqueued := time.Now()
				if state, _, err := queue.State(b.Context()); err != nil || state[tracker.Queued] != len(trials) {
					b.Fatal(state, err)
				}
				b.ReportMetric(time.Since(enqueued).Seconds()*1000, "ms/status")
				again := time.Now()
				if _, err := queue.Enqueue(b.Context(), "e", vgg, pair, trials, 0); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(time.Since(again).Seconds(), "s/again")
			}
		})
	}
}

// Trials that fail at once, and such that sleep first, done by workers that have connections of their own, beside what their sleep
// alone takes. The time of a fit is not in them.
func BenchmarkWorkers(b *testing.B) {
	engine, err := pureGo()
	if err != nil {
		b.Fatal(err)
	}
	config := hrstyle.Default
	config.Steps = -1 // which no fit takes
	for _, c := range []struct {
		workers, trials int
		sleep           time.Duration
	}{{1, 300, 0}, {4, 300, 0}, {1, 10, time.Second}, {2, 20, time.Second}, {4, 40, time.Second}, {8, 80, time.Second}, {16, 160, time.Second}} {
		b.Run(fmt.Sprintf("%dx%v", c.workers, c.sleep), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				url := postgrestest.Start(b, "fsync = on").URL("postgres")
				queue, err := OpenQueue(b.Context(), openStore(b, url))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := queue.Enqueue(b.Context(), "e", engine.VGG, testPair, Repeat(List(config), c.trials), 0); err != nil {
					b.Fatal(err)
				}
				var stores []*tracker.Store
				for range c.workers {
					stores = append(stores, openStore(b, url))
				}
				var working sync.WaitGroup
				b.StartTimer()
				began := time.Now()
				for _, store := range stores {
					working.Go(func() {
						err := Lab{Engine: engine, Tracker: store}.Work(b.Context(), true, func(p Progress) {
							if p.Run != 0 && !p.Ended {
								time.Sleep(c.sleep)
							}
						})
						if err != nil && !errors.Is(err, ErrTrials) {
							b.Error(err)
						}
					})
				}
				working.Wait()
				took := time.Since(began)
				if state, _, err := queue.State(b.Context()); err != nil || state[tracker.Failed] != c.trials {
					b.Fatal(state, err)
				}
				b.ReportMetric(float64(c.trials)/took.Seconds(), "trials/s")
				if ideal := c.sleep * time.Duration(c.trials/c.workers); ideal > 0 {
					b.ReportMetric(took.Seconds()/ideal.Seconds(), "ideal")
				}
			}
		})
	}
}
