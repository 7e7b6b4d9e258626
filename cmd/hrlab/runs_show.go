package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"hrlab/tracker"

	"github.com/guptarohit/asciigraph"
)

type runsShowCmd struct {
	Which string `arg:"" name:"run" predictor:"run" help:"The run: its id, or its name."`
}

// Help has examples.
func (*runsShowCmd) Help() string {
	return `Examples:

	hrlab runs show 12
	hrlab runs show boat_sunset`
}

// Run shows.
func (v *runsShowCmd) Run(ctx context.Context, c *console, r *runsCmd) error {
	return r.with(ctx, func(s *tracker.Store) error {
		i, err := s.Run(ctx, v.Which)
		if err != nil {
			return err
		}
		t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		row := func(name, value string) {
			if value != "" {
				fmt.Fprintf(t, "%s\t%s\n", flat(name), strings.ReplaceAll(printable(value), "\n", "\n\t"))
			}
		}
		row("run", fmt.Sprintf("%d %s, of experiment %s", i.ID, i.Name, i.Experiment))
		row("status", strings.TrimSpace(string(i.Status)+" "+i.Error))
		row("created", when(i.Created))
		row("started", when(i.Started))
		row("ended", when(i.Ended))
		if !i.Started.IsZero() && !i.Ended.Before(i.Started) {
			row("took", i.Ended.Sub(i.Started).Round(time.Second).String())
		}
		row("deleted", when(i.Deleted))
		row("command", i.Command)
		for _, name := range slices.Sorted(maps.Keys(i.Params)) {
			row(name, i.Params[name].Text)
		}
		for _, name := range slices.Sorted(maps.Keys(i.Tags)) {
			row("tag "+name, i.Tags[name])
		}
		for _, n := range i.Notes {
			row("note", strings.TrimSpace(when(n.Time)+" "+n.Text))
		}
		env, err := s.Environment(ctx, i.ID)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(env)) {
			if !strings.HasPrefix(name, "module.") {
				row(name, env[name])
			}
		}
		for _, name := range slices.Sorted(maps.Keys(i.Metrics)) {
			m := i.Metrics[name]
			row("metric "+name, fmt.Sprintf("%.5g at step %d; from %.5g (%d) to %.5g (%d)", m.Last, m.LastStep, m.Min, m.MinStep, m.Max, m.MaxStep))
		}
		samples, err := s.Samples(ctx, i.ID)
		if err != nil {
			return err
		}
		row("load", load(samples))
		artifacts, err := s.Artifacts(ctx, i.ID)
		if err != nil {
			return err
		}
		for _, a := range artifacts {
			row("artifact "+a.Name, fmt.Sprintf("%d bytes, sha256 %s", a.Size, a.Digest))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		return curves(ctx, c.out, s, i)
	})
}

// when is a time in the local zone as text; empty for the zero time.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

// load is the mean load of a run's process and GPU and their largest memory, as text; empty where there are no samples.
func load(samples []tracker.Sample) string {
	var cpu, gpu, n float64
	var memory, gpuMemory int64
	for _, s := range samples {
		cpu += s.CPU / float64(len(samples))
		memory = max(memory, s.Memory)
		if s.GPU != nil {
			gpu += s.GPU.Percent
			gpuMemory = max(gpuMemory, s.GPU.Memory)
			n++
		}
	}
	if len(samples) == 0 {
		return ""
	}
	text := fmt.Sprintf("CPU %.0f%%, memory up to %.2f GB", cpu, float64(memory)/1e9)
	if n > 0 {
		text += fmt.Sprintf("; GPU %.0f%%, memory up to %.2f GB", gpu/n, float64(gpuMemory)/1e9)
	}
	return text
}

// curves draws the two losses. For a run without them it draws every metric.
func curves(ctx context.Context, w io.Writer, s *tracker.Store, i tracker.Info) error {
	names := []string{"content", "style"}
	names = slices.DeleteFunc(names, func(name string) bool { _, ok := i.Metrics[name]; return !ok })
	series, err := s.Series(ctx, []int64{i.ID}, names, 200)
	if err != nil {
		return err
	}
	for _, curve := range series {
		text := plot(curve)
		if text == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "\n%s\n", text); err != nil {
			return err
		}
	}
	return nil
}

// plot draws the finite values of a curve; the text is empty where there are fewer than two.
func plot(c tracker.Series) string {
	values := slices.Clone(c.Values)
	finite, largest := 0, 0.0
	for i, v := range values {
		if math.IsInf(v, 0) {
			values[i] = math.NaN() // a gap
		}
		if !math.IsNaN(values[i]) {
			finite++
			largest = max(largest, math.Abs(v))
		}
	}
	if finite < 2 {
		return ""
	}
	caption := fmt.Sprintf("%s, steps %d to %d", short(c.Metric), c.Steps[0], c.Steps[len(c.Steps)-1])
	if largest > 0 && (largest >= 1e6 || largest < 0.01) { // labels would be too wide
		exponent := max(-300, int(math.Floor(math.Log10(largest))))
		for i := range values {
			values[i] /= math.Pow10(exponent)
		}
		caption += fmt.Sprintf(", in units of 1e%d", exponent)
	}
	return asciigraph.Plot(values, asciigraph.Height(8), asciigraph.Width(60), asciigraph.Caption(caption))
}
