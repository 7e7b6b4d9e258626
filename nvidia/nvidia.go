// Package nvidia asks NVIDIA's driver about its GPUs, by the program that comes with it: nvidia-smi.
// nvidia-smi --help-query-gpu lists the fields that it knows. What a GPU does not tell is "[N/A]".
package nvidia

import (
	"bufio"
	"context"
	"iter"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// wsl is where the driver of Windows puts the program for Linux within it, out of PATH.
var wsl = "/usr/lib/wsl/lib/nvidia-smi"

// Query returns the values of the fields, with their units, of every GPU.
func Query(ctx context.Context, fields ...string) (gpus [][]string, err error) {
	out, err := command(ctx, fields, "--format=csv,noheader").Output()
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(out)) {
		gpus = append(gpus, values(line))
	}
	return gpus, nil
}

// Watch yields the values of the fields, without units, of one GPU: at once, and then again every so many whole
// seconds. The GPU is named by its number or its UUID. Watch ends when ctx is done, and where nvidia-smi ends: there is
// no driver, for one, or no such GPU.
func Watch(ctx context.Context, gpu string, every time.Duration, fields ...string) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		ctx, cancel := context.WithCancel(ctx)
		// A program that stays asks at little cost. One whose reader is killed ends as it writes.
		c := command(ctx, fields, "--format=csv,noheader,nounits", "--id="+gpu, "--loop="+strconv.Itoa(int(every.Seconds())))
		out, err := c.StdoutPipe()
		if err != nil || c.Start() != nil {
			cancel()
			return
		}
		defer c.Wait() //nolint:errcheck // it ends when it is told to, or has nothing to say
		defer cancel()
		lines := bufio.NewScanner(out)
		for lines.Scan() && yield(values(lines.Text())) {
		}
	}
}

func command(ctx context.Context, fields []string, more ...string) *exec.Cmd {
	program, err := exec.LookPath("nvidia-smi")
	if err != nil {
		program = wsl
	}
	return exec.CommandContext(ctx, program, append([]string{"--query-gpu=" + strings.Join(fields, ",")}, more...)...)
}

func values(line string) []string {
	return strings.Split(strings.TrimSpace(line), ", ")
}
