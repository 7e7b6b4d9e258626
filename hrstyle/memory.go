package hrstyle

import (
	"fmt"
	"image"
	"math"
	"os"

	"hrlab/hrstyle/device"
	"hrlab/picture"

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

// What a picture takes in bytes per pixel, however it is done: itself, and in the end with it the output in 16 bits and that as
// encoded. guidedBytes is what [picture.Guided] takes besides, per pixel of the reduced copy.
const pictureBytes, heldBytes, guidedBytes = 4, 20, 350

// applySizes are the pixels of the copy that statistics are measured on, and the side of a tile, for picture p that the generator
// runs on at size run, and so many bytes of memory in all, or what is free where that is 0. The copy has all pixels where run may
// be done as a whole.
func (e *Engine) applySizes(p picture.Picture, run image.Point, guided bool, memory float64) (copied float64, tile int, err error) {
	w, h := p.Bounds().Dx(), p.Bounds().Dy()
	area, runArea := float64(w)*float64(h), float64(run.X)*float64(run.Y)
	copied, tile = min(runArea, statisticsPixels), tileSide
	need, known := applyMemory[e.Device.Kind]
	available, err := availableMemory()
	if err != nil || !known {
		return copied, tile, nil //nolint:nilerr // not knowing is no reason to refuse
	}
	if memory > 0 {
		available = min(available, memory)
	}
	held := heldBytes * area
	if guided {
		held += guidedBytes * runArea
	}
	room := func(held float64) float64 { return max(0, available-need.base-held) / need.pixel } // pixels at once
	copied = min(copied, room(pictureBytes*area))
	if tile = min(tile, int(math.Sqrt(room(held)))/4*4); tile < leastTile {
		scale := math.Sqrt(max(0, available-need.base-need.pixel*leastTile*leastTile) / held)
		return 0, 0, tooLarge(p.Name, w, h, need.base+need.pixel*leastTile*leastTile+held, available, scale)
	}
	return copied, tile, nil
}

// tooLarge says that a w x h picture needs more memory than there is, and names the size that does not, scale times that.
func tooLarge(what string, w, h int, bytes, available, scale float64) error {
	return fmt.Errorf("%s: %dx%d takes about %.1f GB of memory and %.1f are free; the largest size that fits is %dx%d",
		what, w, h, bytes/1e9, available/1e9, int(float64(w)*scale), int(float64(h)*scale))
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
	return tooLarge(what, w, h, bytes, available, scale)
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
