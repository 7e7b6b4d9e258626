package hrstyle

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"hrlab/hrstyle/device"
)

// TestMain gives XLA what hrlab gives it: the flags that users run with, and the cache, so that a graph of many tests is
// compiled once.
func TestMain(m *testing.M) {
	for _, v := range device.Environment() {
		name, value, _ := strings.Cut(v, "=")
		if err := os.Setenv(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}
