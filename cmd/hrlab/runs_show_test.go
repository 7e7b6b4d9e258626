package main

import (
	"bytes"
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"hrlab/tracker"
)

// Curves of any values are drawn, or nothing is.
func TestPlot(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		values []float64
		want   string // of the text; empty: nothing is drawn
	}{
		{[]float64{1, 2}, "m, steps 0 to 1"},
		{[]float64{3, 3, nan}, "m, steps 0 to 2"},
		{[]float64{0, 0}, "m, steps 0 to 1"},
		{[]float64{1, inf, -inf, 2}, "m, steps 0 to 3"},
		{[]float64{1e300, -1e300}, "in units of 1e300"},
		{[]float64{1e-8, 3e-8}, "in units of 1e-8"},
		{[]float64{math.MaxFloat64, -math.MaxFloat64}, "in units of 1e308"},
		{[]float64{1}, ""},
		{nil, ""},
		{[]float64{nan, nan, inf}, ""},
	} {
		steps := make([]int64, len(c.values))
		for i := range steps {
			steps[i] = int64(i)
		}
		text := plot(tracker.Series{Metric: "m", Steps: steps, Values: c.values})
		if (text == "") != (c.want == "") || !strings.Contains(text, c.want) {
			t.Errorf("%v: %q, want %q", c.values, text, c.want)
		}
		for line := range strings.Lines(text) {
			if utf8.RuneCountInString(line) > 80 {
				t.Errorf("%v: %q is longer than a line", c.values, line)
			}
		}
	}
}

// A run shows the times that it has, whatever became of it.
func TestShowTimes(t *testing.T) {
	path := t.TempDir() + "/hrlab.db"
	s, err := tracker.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // it was written
	enqueue := func(name string) (id int64) {
		tx, err := s.DB().BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if id, err = s.Enqueue(t.Context(), tx, tracker.NewRun{Name: name}); err != nil {
			t.Fatal(err)
		}
		if name == "cancelled" {
			if _, err := s.Cancel(t.Context(), tx, []int64{id}); err != nil {
				t.Fatal(err)
			}
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		return id
	}
	enqueue("queued")
	enqueue("cancelled")
	for _, name := range []string{"running", "finished", "left"} {
		run, err := s.Take(t.Context(), enqueue(name), nil)
		if err != nil {
			t.Fatal(err)
		}
		switch name {
		case "finished":
			err = run.Finish(t.Context(), nil)
		case "left":
			err = run.Finish(t.Context(), tracker.ErrGivenBack)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"queued": "created", "cancelled": "created ended", "running": "created started", "finished": "created started ended took deleted", "left": "created started",
	} {
		var out bytes.Buffer
		show := runsShowCmd{Which: name}
		if err := show.Run(t.Context(), &console{out: &out}, &runsCmd{dbFlags: dbFlags{DB: dbURL(path)}}); err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(out.String()) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			value = strings.TrimSpace(value)
			if _, err := time.Parse(time.DateTime, value); err == nil || key == "took" {
				got = append(got, key)
			}
			if strings.Contains(value, "0001-01-01") || key == "took" && value != "0s" && !strings.HasSuffix(value, "s") {
				t.Errorf("%s: %s", name, line)
			}
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s: %q, want %q\n%s", name, text, want, out.String())
		}
	}
}

// Names and texts may hold anything; what is shown of them are lines, and nothing that a terminal obeys.
func TestShowOddTexts(t *testing.T) {
	path := t.TempDir() + "/hrlab.db"
	s, err := tracker.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // it was written
	const odd = "a\tb\n\x1b[31mred\r\x7f 'ä' \"漢\" \u0085"
	for _, text := range []string{odd, strings.Repeat("ä漢\n", 2000)} {
		run, err := s.Start(t.Context(), tracker.NewRun{
			Name: text, Experiment: text, Params: map[string]string{"content_weight": text, "k" + text: text}, Tags: map[string]string{"t" + text: text}, Environment: map[string]string{"e" + text: text},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{
			run.Log(t.Context(), 1, map[string]float64{"m" + text: 1}), run.Log(t.Context(), 2, map[string]float64{"m" + text: 2}), run.Note(t.Context(), text),
			run.LogArtifact(t.Context(), text, strings.NewReader(text)), run.Finish(t.Context(), errors.New(text)),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, show := range map[string]func(c *console, r *runsCmd) error{
		"list": func(c *console, r *runsCmd) error { return (&runsListCmd{}).Run(t.Context(), c, r) },
		"show": func(c *console, r *runsCmd) error { return (&runsShowCmd{Which: "1"}).Run(t.Context(), c, r) },
		"diff": func(c *console, r *runsCmd) error { return (&runsDiffCmd{A: "1", B: "2"}).Run(t.Context(), c, r) },
	} {
		var out bytes.Buffer
		if err := show(&console{out: &out}, &runsCmd{dbFlags: dbFlags{DB: dbURL(path)}}); err != nil {
			t.Fatal(err)
		}
		for l := range strings.Lines(out.String()) {
			if strings.ContainsFunc(strings.TrimSuffix(l, "\n"), unicode.IsControl) {
				t.Errorf("%s: %q", name, l)
			}
		}
		if lines := strings.Count(out.String(), "\n"); name == "list" && lines != 3 || name == "diff" && lines != 10 {
			t.Errorf("%s: %d lines\n%.300s", name, lines, out.String())
		}
	}
	get := runsGetCmd{Which: odd, What: odd, Out: t.TempDir() + "/ä\n"}
	if err := get.Run(t.Context(), &console{}, &runsCmd{dbFlags: dbFlags{DB: dbURL(path)}}); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(get.Out); err != nil || string(data) != odd {
		t.Errorf("%q %v", data, err)
	}
}
