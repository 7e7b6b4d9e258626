package main

import (
	"errors"
	"fmt"
	"testing"
)

// One cause of several failures is said once.
func TestOneLine(t *testing.T) {
	full := errors.New("a.db: the disk is full")
	for _, c := range []struct {
		err  error
		want string
	}{
		{full, "a.db: the disk is full"},
		{errors.Join(full, errors.Join(full, fmt.Errorf("run 3: %w", full)), full), "run 3: a.db: the disk is full"},
		{errors.Join(fmt.Errorf("run 3: %w", full), full, errors.New("b.png has the picture")), "run 3: a.db: the disk is full; b.png has the picture"},
		{errors.New("a\nb a: not found"), "a; b a: not found"}, // a name of two lines
		{errors.New("compile:\n\tat x.go:3\n\n\tat x.go:4\n"), "compile:; at x.go:3; at x.go:4"},
	} {
		if got := oneLine(c.err); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
