package experiments

import (
	"context"
	"fmt"
	"sync"

	"hrlab/tracker"
)

// backlog records what a fit reports, in order. The fit waits for each, but not while the server of the database is away: then
// what it reports is kept in memory.
type backlog struct {
	ctx    context.Context
	server bool // the database is on one

	mu      sync.Mutex
	changed *sync.Cond
	reports []pending
	bytes   int   // of them
	away    bool  // the server was, and not everything is recorded yet
	over    bool  // the fit is
	err     error // why nothing is recorded any more
	lost    int   // reports that are not recorded therefore
}

// pending is a report that is not recorded yet.
type pending struct {
	bytes  int
	record func(ctx context.Context) error
}

// backlogLimit is how many bytes are kept at most.
const backlogLimit = 64 << 20

func newBacklog(ctx context.Context, server bool) *backlog {
	b := &backlog{ctx: ctx, server: server}
	b.changed = sync.NewCond(&b.mu)
	return b
}

// add records a report of so many bytes, or keeps it while the server is away. The error may be that of an earlier one.
func (b *backlog) add(bytes int, record func(ctx context.Context) error) error {
	if !b.server {
		return record(b.ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		b.lost++
		return b.err
	}
	b.reports = append(b.reports, pending{bytes, record})
	b.bytes += bytes
	if len(b.reports) == 1 {
		go b.work(b.reports[0])
	}
	for len(b.reports) > 0 && (!b.away || b.full()) {
		b.changed.Wait()
	}
	return b.err
}

// drain waits until everything is recorded, or cannot be.
func (b *backlog) drain() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	for len(b.reports) > 0 {
		b.changed.Wait()
	}
	return b.err
}

func (b *backlog) full() bool { return b.bytes >= backlogLimit }

// work records one report after the other until there is none.
func (b *backlog) work(next pending) {
	ctx := tracker.OnWait(b.ctx, b.tell)
	for more := true; more; {
		err := next.record(ctx)
		b.mu.Lock()
		b.reports[0] = pending{}
		b.reports, b.bytes = b.reports[1:], b.bytes-next.bytes
		if err != nil {
			b.err, b.lost, b.reports = err, len(b.reports), nil
			if b.lost > 0 {
				b.err = fmt.Errorf("%w; %d later reports were not recorded either", err, b.lost)
			}
		}
		if more = len(b.reports) > 0; more {
			next = b.reports[0]
		} else {
			b.away = false
		}
		b.changed.Broadcast()
		b.mu.Unlock()
	}
}

// tell tells what is waited for, and what the fit does meanwhile.
func (b *backlog) tell(what string) {
	if what != "" {
		b.mu.Lock()
		b.away = true
		b.changed.Broadcast()
		switch {
		case b.over:
			what += fmt.Sprintf("; %d reports of the fit are in memory", len(b.reports))
		case b.full():
			what += fmt.Sprintf("; the fit waits too, with %d MiB of reports in memory", b.bytes>>20)
		default:
			what += "; the fit goes on"
		}
		b.mu.Unlock()
	}
	tracker.Tell(b.ctx, what)
}
