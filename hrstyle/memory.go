package hrstyle

import (
	"fmt"
	"math"

	"github.com/shirou/gopsutil/v4/mem"

	"hrlab/hrstyle/device"
)

// memoryNeed is the peak memory of a process as measured: bytes, and bytes a pixel of the picture.
type memoryNeed struct{ base, pixel float64 }

var (
	fitMemory   = map[device.Kind]memoryNeed{device.CPU: {0.75e9, 12.5e3}, device.Go: {0.25e9, 30e3}}
	applyMemory = map[device.Kind]memoryNeed{device.CPU: {0.4e9, 2e3}, device.Go: {0.1e9, 6.3e3}}
)

// checkMemory refuses a w x h picture that the memory now available cannot hold, and names the largest that it can.
// A GPU's memory is not known beforehand: there XLA itself refuses.
func (e *Engine) checkMemory(what string, w, h int, needs map[device.Kind]memoryNeed) error {
	need, known := needs[e.Device.Kind]
	v, err := mem.VirtualMemory()
	if err != nil || !known {
		return nil //nolint:nilerr // not knowing is no reason to refuse
	}
	available, area := float64(v.Available), float64(w)*float64(h)
	bytes := need.base + need.pixel*area
	if bytes <= available {
		return nil
	}
	scale := math.Sqrt(max(available-need.base, 0) / need.pixel / area)
	return fmt.Errorf("%s: %dx%d takes about %.1f GB of memory and %.1f are free; the largest size that fits is %dx%d",
		what, w, h, bytes/1e9, available/1e9, int(float64(w)*scale), int(float64(h)*scale))
}
