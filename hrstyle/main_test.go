package hrstyle

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"hrlab/hrstyle/device"
)

// TestMain gives XLA what hrlab gives it: the flags that users run with, and a cache, so that a graph of many tests is
// compiled once. The cache is a new one: no test depends on what an earlier program has compiled.
func TestMain(m *testing.M) {
	cache, err := os.MkdirTemp("", "hrlab-xla-")
	for _, v := range append(device.Environment(), device.CacheVariable+"="+cache) {
		name, value, _ := strings.Cut(v, "=")
		err = errors.Join(err, os.Setenv(name, value))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := os.RemoveAll(cache); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
