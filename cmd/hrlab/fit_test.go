package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// Of an interruption beside which something failed, that is what is said.
func TestUncancelled(t *testing.T) {
	full := errors.New("the disk is full")
	for _, c := range []struct{ err, want error }{
		{nil, nil},
		{context.Canceled, nil},
		{fmt.Errorf("step 3: %w", context.Canceled), nil},
		{errors.Join(context.Canceled, context.Canceled), nil},
		{full, full},
		{errors.Join(context.Canceled, errors.Join(nil, full)), full},
	} {
		if got := uncancelled(c.err); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}
