package tracker

import (
	"context"
	"time"
)

// hand moves the hands of a clock.
type hand struct {
	ahead  time.Duration // of the time of day
	steady time.Duration
	slept  int
	asleep func() // while the clock sleeps
}

// setClock is a clock that stands still, but for who sleeps by it.
func setClock() (clock, *hand) {
	h := &hand{}
	return clock{
		now:    func() time.Time { return time.Now().Add(h.ahead) },
		steady: func() time.Duration { return h.steady },
		sleep: func(ctx context.Context, d time.Duration) error {
			h.steady += d
			h.slept++
			if h.asleep != nil {
				h.asleep()
			}
			return ctx.Err()
		},
	}, h
}
