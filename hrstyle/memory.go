package hrstyle

import (
	"fmt"
	"math"

	"hrlab/hrstyle/device"

	"github.com/shirou/gopsutil/v4/mem"
)

// Peak memory as measured on XLA:CPU and pure Go: bytes a pixel of the fitted or applied picture.
type memoryNeed struct{ xla, pureGo float64 }

var fitMemory, applyMemory = memoryNeed{14.5e3, 60e3}, memoryNeed{6e3, 12e3}

// checkMemory refuses a w x h picture that the memory now available cannot hold, and names the largest that it can.
// A GPU's memory is not known beforehand: there XLA itself refuses.
func (e *Engine) checkMemory(what string, w, h int, need memoryNeed) error {
	if e.Device.Kind == device.CUDA {
		return nil
	}
	v, err := mem.VirtualMemory()
	if err != nil {
		return nil //nolint:nilerr // not knowing is no reason to refuse
	}
	perPixel := need.xla
	if e.Device.Kind == device.Go {
		perPixel = need.pureGo
	}
	available := float64(v.Available)
	if bytes := perPixel * float64(w) * float64(h); bytes > available {
		scale := math.Sqrt(available / bytes)
		return fmt.Errorf("%s: %dx%d takes about %.1f GB of memory and %.1f are free; the largest size that fits is %dx%d",
			what, w, h, bytes/1e9, available/1e9, int(float64(w)*scale), int(float64(h)*scale))
	}
	return nil
}
