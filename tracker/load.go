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

// Sample is the load of a run's process at a time, and of the first GPU that it may use.
type Sample struct {
	Time   time.Time `json:"time"`
	CPU    float64   `json:"cpu"`           // percent of one core, on average since the previous sample
	Memory int64     `json:"memory"`        // bytes resident
	GPU    *GPULoad  `json:"gpu,omitempty"` // nil where there is no NVIDIA GPU, or it does not tell
}

// Samples returns the load of a run's process over time, one sample every two seconds.
func (s *Store) Samples(ctx context.Context, run int64) (samples []Sample, err error) {
	err = each(ctx, s.db.reads(), sqlSamples, []any{run}, func(scan func(...any) error) error {
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

// GPULoad is the load of an NVIDIA GPU by all processes that use it.
type GPULoad struct {
	Percent float64 `json:"percent"` // of the time in which it computed
	Memory  int64   `json:"memory"`  // bytes in use
}

// gpu is the load of the first GPU that this process may use: the first one in CUDA_VISIBLE_DEVICES, or GPU 0.
type gpu struct {
	start  sync.Once
	mu     sync.Mutex
	latest *GPULoad
}

// load is the latest load. It is nil where there is no GPU, and until the first is known. The first call begins to
// watch the GPU, until ctx ends.
func (g *gpu) load(ctx context.Context) *GPULoad {
	g.start.Do(func() { go g.watch(ctx) })
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.latest
}

func (g *gpu) watch(ctx context.Context) {
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

// gpuLoad is nil where the GPU does not tell its load.
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
