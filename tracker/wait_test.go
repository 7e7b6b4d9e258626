package tracker

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
)

// Who waits for the lock says so, and then that it waits no longer.
func TestTellLock(t *testing.T) {
	store, err := Open(t.Context(), filepath.Join(t.TempDir(), "hrlab.db"))
	must(t, err)
	defer func() { must(t, store.Close()) }()
	other, err := Open(t.Context(), store.Path())
	must(t, err)
	defer func() { must(t, other.Close()) }()
	release := make(chan struct{})
	var told []string
	ctx := OnWait(t.Context(), func(what string) {
		if told = append(told, what); len(told) == 1 {
			close(release)
		}
	})
	done, locked := make(chan error, 1), make(chan struct{})
	go func() {
		done <- other.Locked(context.Background(), func() error { close(locked); <-release; return nil })
	}()
	<-locked
	must(t, store.Locked(ctx, func() error { return nil }))
	must(t, <-done)
	if want := []string{"waiting for another process that has the lock of hrlab.db", ""}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

// What a store does by itself, as the beats of a worker, waits in silence: whoever opened it has not called that.
func TestTellBeats(t *testing.T) {
	var told []string
	store, err := Open(OnWait(t.Context(), func(what string) { told = append(told, what) }), filepath.Join(t.TempDir(), "hrlab.db"))
	must(t, err)
	defer func() { must(t, store.Close()) }()
	told = nil
	if Tell(store.closing, "waiting"); len(told) > 0 {
		t.Errorf("told %q", told)
	}
}
