package main

import (
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"hrlab/hrstyle"
	"hrlab/report"
	"hrlab/tracker"
)

// fittedParams is a run's configuration as the tracker has it, with the names of the files.
type fittedParams struct {
	hrstyle.Config
	Content string `json:"content"`
	Style   string `json:"style"`
	VGG     string `json:"vgg"`
}

// The command that a report suggests, as a shell takes it, has the settings of the suggested run at hrlab fit's own size and steps.
// That for the full size has its run and its picture.
func TestSuggestedCommand(t *testing.T) {
	change := func(f func(c *hrstyle.Config)) hrstyle.Config {
		c := hrstyle.Default
		f(&c)
		return c
	}
	for name, config := range map[string]hrstyle.Config{
		"default":   hrstyle.Default,
		"reference": hrstyle.Reference,
		"gain":      change(func(c *hrstyle.Config) { c.StyleGain, c.StyleWeight = 2.56, 10 }),
		"others": change(func(c *hrstyle.Config) {
			c.Seed, c.LearningRate, c.WeightDecay, c.LayerWeights, c.StyleSize, c.Square = -3, 1e-3, 1e-5, [5]float64{1, 0, 0.5, 2, 1}, 300, true
		}),
		"init": change(func(c *hrstyle.Config) { c.Init = "it's $HOME.safetensors" }),
	} {
		t.Run(name, func(t *testing.T) {
			config.Size, config.Steps = 96, 80
			ctx := t.Context()
			store, err := tracker.Open(ctx, filepath.Join(t.TempDir(), "hrlab.db"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = store.Close() })
			for i, weight := range []float64{1, 12.5, 1e6} {
				c := config
				c.ContentWeight = weight
				run, err := store.Start(ctx, tracker.NewRun{Experiment: "e", Params: fittedParams{c, "-boat's.jpg", "sun set.jpg", hrstyle.RandomVGG().Label}})
				if err == nil {
					err = errors.Join(run.Log(ctx, 80, map[string]float64{report.ContentKept: []float64{0, 0.8, 1}[i], report.StyleMatch: []float64{1, 0.8, 0}[i]}), run.Finish(ctx, nil))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			r, err := report.New(ctx, store, "e")
			if err != nil {
				t.Fatal(err)
			}
			var v verbs
			parse := func(line string) {
				words, err := exec.Command("sh", "-c", `hrlab() { printf '%s\n' "$@"; }; `+line).Output()
				if err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				parser, err := kong.New(&v, kong.Vars{"version": ""})
				if err == nil {
					_, err = parser.Parse(strings.Split(strings.TrimSuffix(string(words), "\n"), "\n"))
				}
				if err != nil {
					t.Fatalf("%s: %v", line, err)
				}
			}
			full := r.Pairs[0].FullSize()
			parse(full)
			if v.Apply.RunName != "2" || !slices.Equal(v.Apply.Pictures, []string{"./-boat's.jpg"}) || v.Apply.Out != "-boat's_run2.png" {
				t.Errorf("%s: %+v", full, v.Apply)
			}
			line := r.Pairs[0].Command()
			parse(line)
			got, err := v.Fit.config()
			want := config
			want.ContentWeight = 12.5
			if want.Size, want.Steps = hrstyle.Default.Size, hrstyle.Default.Steps; config.Gram == hrstyle.GramSum {
				want.Size = config.Size
			}
			want.ReportEvery, want.CheckpointEvery = got.ReportEvery, got.CheckpointEvery
			if err != nil || got != want || v.Fit.Content != "-boat's.jpg" || v.Fit.Style != "sun set.jpg" || v.Fit.VGG != "random" {
				t.Errorf("%s\n%+v\nwant %+v\n%v", line, got, want, err)
			}
		})
	}
}
