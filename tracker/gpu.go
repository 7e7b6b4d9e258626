package tracker

import (
	"bufio"
	"cmp"
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
)

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
	smi, err := exec.LookPath("nvidia-smi")
	if err != nil {
		smi = "/usr/lib/wsl/lib/nvidia-smi"
	}
	// A program that stays asks at little cost. One whose reader is killed ends as it writes.
	c := exec.CommandContext(ctx, smi, "--id="+cmp.Or(first, "0"), "--query-gpu=utilization.gpu,memory.used",
		"--format=csv,noheader,nounits", "--loop="+strconv.Itoa(int(beatEvery.Seconds())))
	out, err := c.StdoutPipe()
	if err != nil || c.Start() != nil {
		return
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		percent, memory, _ := strings.Cut(lines.Text(), ", ")
		p, errP := strconv.ParseFloat(percent, 64)
		m, errM := strconv.ParseInt(strings.TrimSpace(memory), 10, 64)
		if errP != nil || errM != nil { // [N/A]
			g.set(nil)
			continue
		}
		g.set(&GPULoad{p, m << 20})
	}
	_ = c.Wait() // what went wrong leaves no load
}

func (g *gpu) set(l *GPULoad) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.latest = l
}
