package nb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"path/filepath"
	"strings"
	"testing"

	"hrlab/experiments"
	"hrlab/hrstyle"
	"hrlab/report"
	"hrlab/tracker"
)

// The sliders begin at the suggested run, or at the middle one where none is, and lead to runs that have an output.
func TestExplore(t *testing.T) {
	for weights, want := range map[string]float64{"1 10 100 1000": 100, "1 100": 100, "7": 7} {
		t.Run(weights, func(t *testing.T) {
			ctx := t.Context()
			store, err := tracker.Open(ctx, filepath.Join(t.TempDir(), "hrlab.db"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = store.Close() })
			match := map[string][2]float64{"1": {0, 1}, "10": {0.3, 0.9}, "100": {0.9, 0.8}, "1000": {1, 0}}
			list := strings.Fields(weights)
			for _, weight := range append(list, "5000") { // the last one has no output
				run, err := store.Start(ctx, tracker.NewRun{Experiment: "e", Params: map[string]any{"content_weight": Must(number(weight)), "style_weight": 1}})
				if err != nil {
					t.Fatal(err)
				}
				if weight != "5000" {
					var output bytes.Buffer
					err = errors.Join(png.Encode(&output, image.NewGray(image.Rect(0, 0, 8, 6))), run.LogArtifact(ctx, report.Output, &output))
				}
				m := match[weight]
				err = errors.Join(err, run.Log(ctx, 9, map[string]float64{report.ContentKept: m[0], report.StyleMatch: m[1]}), run.Finish(context.WithoutCancel(ctx), nil))
				if err != nil {
					t.Fatal(err)
				}
			}
			r, err := report.New(ctx, store, "e")
			if err != nil {
				t.Fatal(err)
			}
			e := explore(r.Pairs[0])
			if len(e.Runs) != len(list) || e.Start != (weightPair{want, 1}) || e.Content.Low > want || e.Content.High < want {
				t.Errorf("%d runs, begins at %v, content weights %v; suggested: %s", len(e.Runs), e.Start, e.Content, r.Pairs[0].Suggestion())
			}
		})
	}
}

// A queued fit that is followed says what it waits for.
func TestFollow(t *testing.T) {
	t.Chdir(t.TempDir()) // Pair draws there
	ctx := t.Context()
	store, err := tracker.Open(ctx, "hrlab.db")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	vgg, err := hrstyle.OpenVGG("random")
	if err != nil {
		t.Fatal(err)
	}
	queue, err := experiments.OpenQueue(ctx, store)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := queue.Enqueue(ctx, "e", vgg, Pair("", ""), experiments.List(hrstyle.Default), 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := follow(ctx, store, ids[0]); !strings.Contains(got, `"text":"run 1: queued; no worker: start hrlab worker"`) {
		t.Error(got)
	}
	if err := queue.Pause(ctx); err != nil {
		t.Fatal(err)
	}
	if got := follow(ctx, store, ids[0]); !strings.Contains(got, `"text":"run 1: queued; the queue is paused: hrlab queue resume"`) {
		t.Error(got)
	}
}

// What is shown of a fit that did not come to its end is what happened.
func TestEnded(t *testing.T) {
	for _, c := range []struct {
		err     error
		begun   bool
		state   string
		stopped bool
	}{
		{fmt.Errorf("fit: %w", context.Canceled), true, "stopped", true},
		{context.Canceled, false, "stopped before the first step", true},
		{errors.New("out of memory"), true, "failed", false},
		{errors.New("no weights"), false, "not begun", false},
	} {
		if state, stopped := ended(c.err, c.begun); state != c.state || stopped != c.stopped {
			t.Errorf("%v, %t: %q %t", c.err, c.begun, state, stopped)
		}
	}
}
