package main

import (
	"testing"
	"time"

	"hrlab/hrstyle/device"
)

// The time that compiling takes is known from the last fit of the same size on the same device.
func TestFirstLoss(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	f := newFirstLoss(device.CPU, 500)
	for _, c := range []struct {
		took time.Duration
		want string
	}{
		{12345 * time.Millisecond, "compiling, about 12s"},
		{83 * time.Second, "compiling, about 1m23s"},
		{time.Second, "compiling"}, // from the cache
	} {
		f.took(c.took)
		if got := newFirstLoss(device.CPU, 500).text(); got != c.want {
			t.Errorf("after %v: %s, want %s", c.took, got, c.want)
		}
	}
	f.took(time.Minute)
	if got := newFirstLoss(device.CPU, 96).text() + newFirstLoss(device.CUDA, 500).text(); got != "compilingcompiling" {
		t.Error("of another size or device: ", got)
	}
	t.Setenv("XDG_CACHE_HOME", "/dev/null")
	f = newFirstLoss(device.CPU, 500)
	if f.took(time.Minute); f.text() != "compiling" {
		t.Error("where nothing can be written: ", f.text())
	}
}
