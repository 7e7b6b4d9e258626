package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hrlab/hrstyle/device"
)

// firstLoss is a file in the user's directory of caches with the time that the last fit of this size on this device took to its
// first loss, most of which is compilation. It is a hint: what cannot be read or written is not known.
type firstLoss string

func newFirstLoss(kind device.Kind, size int) firstLoss {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return firstLoss(filepath.Join(dir, "hrlab", "first-loss", fmt.Sprintf("%s-%d", kind, size)))
}

// text says that a fit is compiling, and about how long.
func (f firstLoss) text() string {
	last, _ := os.ReadFile(string(f))
	took, err := time.ParseDuration(strings.TrimSpace(string(last)))
	if err != nil || took < 2*time.Second {
		return "compiling"
	}
	return fmt.Sprintf("compiling, about %v", took.Round(time.Second))
}

func (f firstLoss) took(d time.Duration) {
	_ = os.MkdirAll(filepath.Dir(string(f)), 0o777)
	_ = os.WriteFile(string(f), []byte(d.String()+"\n"), 0o666)
}
