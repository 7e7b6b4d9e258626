package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"hrlab/tracker"
)

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
			if _, err := s.CancelQueued(t.Context(), tx, []int64{id}); err != nil {
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
		run, err := s.Take(t.Context(), enqueue(name))
		if err != nil {
			t.Fatal(err)
		}
		switch name {
		case "finished":
			err = run.Finish(t.Context(), nil)
		case "left":
			err = run.Finish(t.Context(), tracker.ErrLeft)
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
		if err := show.Run(t.Context(), &console{out: &out}, &runsCmd{DB: path}); err != nil {
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
