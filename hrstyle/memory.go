package hrstyle

import (
	"fmt"
	"math"
	"os"

	"hrlab/hrstyle/device"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/shirou/gopsutil/v4/process"
)

// memoryNeed is the peak memory of a process, as measured: so many bytes, and so many per pixel of the picture.
type memoryNeed struct{ base, pixel float64 }

var (
	fitMemory   = map[device.Kind]memoryNeed{device.CPU: {0.8e9, 9.7e3}, device.Go: {0.25e9, 30e3}}
	styleMemory = map[device.Kind]memoryNeed{device.CPU: {0.75e9, 0.65e3}, device.Go: {0.25e9, 11e3}}
	applyMemory = map[device.Kind]memoryNeed{device.CPU: {0.4e9, 2e3}, device.Go: {0.1e9, 6.3e3}}
)

// Fits says why a fit of pair with c would not fit into the memory that is free now, and names the largest size that would.
// It returns nil for a GPU, whose memory is not known beforehand.
func (e *Engine) Fits(pair Pair, c Config) error {
	sizes := pair.fittedSizes(c)
	if err := e.checkMemory("fitting", sizes[0].X, sizes[0].Y, fitMemory); err != nil {
		return err
	}
	return e.checkMemory(pair.Style.Name+" as style picture", sizes[1].X, sizes[1].Y, styleMemory)
}

// checkMemory refuses a w x h picture that the memory that is free now cannot hold, and names the largest that it can. A
// GPU's memory is not known beforehand: there XLA itself refuses.
func (e *Engine) checkMemory(what string, w, h int, needs map[device.Kind]memoryNeed) error {
	need, known := needs[e.Device.Kind]
	available, err := availableMemory()
	if err != nil || !known {
		return nil //nolint:nilerr // not knowing is no reason to refuse
	}
	area := float64(w) * float64(h)
	bytes := need.base + need.pixel*area
	if bytes <= available {
		return nil
	}
	scale := math.Sqrt(max(available-need.base, 0) / need.pixel / area)
	return fmt.Errorf("%s: %dx%d takes about %.1f GB of memory and %.1f are free; the largest size that fits is %dx%d",
		what, w, h, bytes/1e9, available/1e9, int(float64(w)*scale), int(float64(h)*scale))
}

// availableMemory is the memory that this process may still take, in bytes: what is free on the machine, or less where a
// container or a job has a limit.
func availableMemory() (float64, error) {
	v, err := mem.VirtualMemory()
	if err != nil {
		return 0, err
	}
	available := float64(v.Available)
	if limit, err := memlimit.FromCgroup(); err == nil {
		self, err := process.NewProcess(int32(os.Getpid())) //nolint:gosec // a process id fits
		if err != nil {
			return 0, err
		}
		used, err := self.MemoryInfo()
		if err != nil {
			return 0, err
		}
		available = min(available, max(0, float64(limit)-float64(used.RSS)))
	}
	return available, nil
}
