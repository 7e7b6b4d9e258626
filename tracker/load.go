package tracker

import (
	"cmp"
	"context"
	"database/sql"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"hrlab/nvidia"

	"github.com/shirou/gopsutil/v4/process"
)

// Sample is the load of a run's process, and of the GPU that it may use first, at a time.
type Sample struct {
	Time   time.Time `json:"time"`
	CPU    float64   `json:"cpu"`           // percent of one core since the sample before
	Memory int64     `json:"memory"`        // bytes resident
	GPU    *GPULoad  `json:"gpu,omitempty"` // nil: no NVIDIA GPU
}

// Samples is the load of a run's process over time, every two seconds.
func (s *Store) Samples(ctx context.Context, run int64) (samples []Sample, err error) {
	err = each(ctx, s.db.reader, sqlSamples, []any{run}, func(scan func(...any) error) error {
		var a Sample
		var at, memory sql.NullInt64
		var gpu sql.NullFloat64
		err := scan(&at, &a.CPU, &a.Memory, &gpu, &memory)
		a.Time = instant(at)
		if gpu.Valid {
			a.GPU = &GPULoad{gpu.Float64, memory.Int64}
		}
		samples = append(samples, a)
		return err
	})
	return samples, s.plain(err)
}

// sample is the load of this process and its GPU, or nil where it cannot be found out.
func (s *Store) sample(self *process.Process, now time.Time) *Sample {
	percent, err := self.Percent(0)
	if err != nil {
		return nil
	}
	memory, err := self.MemoryInfo()
	if err != nil {
		return nil
	}
	return &Sample{Time: now, CPU: percent, Memory: int64(memory.RSS), GPU: s.gpu.load(s.closing)} //nolint:gosec // bytes of memory
}

func (t tx) addSample(run int64, s Sample) error {
	var gpu, memory any
	if s.GPU != nil {
		gpu, memory = s.GPU.Percent, s.GPU.Memory
	}
	_, err := t.exec(sqlAddSample, run, micros(s.Time), s.CPU, s.Memory, gpu, memory)
	return err
}

// GPULoad is the load of an NVIDIA GPU, of all processes on it.
type GPULoad struct {
	Percent float64 `json:"percent"` // of the time that it computes
	Memory  int64   `json:"memory"`  // bytes in use
}

// gpu is what nvidia-smi says, again and again, of the GPU that this process may use first: the first of
// CUDA_VISIBLE_DEVICES, else GPU 0.
type gpu struct {
	start  sync.Once
	mu     sync.Mutex
	latest *GPULoad
}

// load is the load of late; nil where there is no GPU, or no word of it yet. The first call begins to ask, until ctx
// ends.
func (g *gpu) load(ctx context.Context) *GPULoad {
	g.start.Do(func() { go g.ask(ctx) })
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.latest
}

func (g *gpu) ask(ctx context.Context) {
	defer g.set(nil)
	visible, restricted := os.LookupEnv("CUDA_VISIBLE_DEVICES")
	first, _, _ := strings.Cut(visible, ",")
	if restricted && (first == "" || first == "-1") {
		return
	}
	for values := range nvidia.Watch(ctx, cmp.Or(first, "0"), beatEvery, "utilization.gpu", "memory.used") {
		g.set(gpuLoad(values))
	}
}

// gpuLoad is nil where the GPU does not tell.
func gpuLoad(values []string) *GPULoad {
	if len(values) != 2 {
		return nil
	}
	percent, err := strconv.ParseFloat(values[0], 64)
	memory, memoryErr := strconv.ParseInt(values[1], 10, 64)
	if err != nil || memoryErr != nil { // [N/A]
		return nil
	}
	return &GPULoad{percent, memory << 20}
}

func (g *gpu) set(l *GPULoad) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.latest = l
}
