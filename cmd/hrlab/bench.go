package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hrlab/hrstyle/device"
	"hrlab/hrstyle/sample"
	"hrlab/picture"
)

type benchCmd struct {
	Sizes []int  `default:"96,128,256,500" help:"Sides of the square pictures in pixels."`
	Steps int    `default:"12" help:"Steps to time, after the first."`
	Peer  string `placeholder:"FILE" help:"peer.py, the same optimisation in PyTorch, to time beside it."`
	engineFlags
}

// Help has examples.
func (*benchCmd) Help() string {
	return `Examples:

	hrlab bench
	hrlab bench --sizes 96,256 --steps 5 --vgg random`
}

// peers are the ways in which PyTorch is timed: as it comes, with the allocator set as hrlab sets its own, and as one who
// cares for speed sets it.
var peers = []struct {
	name      string
	env, args []string
}{
	{"PyTorch s/step", nil, nil},
	{"tuned malloc", []string{"GLIBC_TUNABLES=glibc.malloc.hugetlb=1"}, nil},
	{"channels last", nil, []string{"--channels-last"}},
	{"bfloat16", nil, []string{"--channels-last", "--bf16"}},
}

// Run times whole steps of each size in a process of its own, with nothing compiled before, then the first loss of a second
// process, and then the peer's steps where there is one, in all of its ways, as ratios. In the end it times the generator on tiles.
func (b *benchCmd) Run(ctx context.Context, c *console) error {
	dir, err := temporaryFolder()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	self, err := os.Executable()
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%6s %14s %14s %14s %12s %8s %8s", "px", "first loss, s", "second start", "s/step", "peak, MB", "GFLOP/s", "GB/step")
	if b.Peer != "" {
		for _, p := range peers {
			fmt.Fprintf(c.out, " %14s %8s", p.name, "ratio")
		}
	}
	fmt.Fprintln(c.out)
	for _, size := range b.Sizes {
		content, style := filepath.Join(dir, "content.png"), filepath.Join(dir, "style.png")
		if err := errors.Join(picture.Save(content, sample.Content(size, size), picture.Encoding{}), picture.Save(style, sample.Style(size, size), picture.Encoding{})); err != nil {
			return err
		}
		n := strconv.Itoa(size)
		cache, err := os.MkdirTemp(dir, "compiled")
		if err != nil {
			return err
		}
		cost := filepath.Join(dir, "cost"+n)
		fit := func(steps int) (timing, error) {
			command := exec.CommandContext(ctx, self, "fit", "--content", content, "--style", style, "--reference", "--size", n, "--style-size", n,
				"--steps", strconv.Itoa(steps), "--report-every", "1", "--json", "-", "--no-track", "--device", b.Device, "--vgg", b.VGG, "--out", filepath.Join(dir, "out.png"))
			command.Env = append(os.Environ(), device.CacheVariable+"="+cache, device.CostVariable+"="+cost)
			return timeSteps(command)
		}
		ours, err := fit(b.Steps)
		if err != nil {
			return err
		}
		second, err := fit(1) // from what the first has compiled and kept
		if err != nil {
			return err
		}
		flops, moved, ok := stepCost(cost)
		fmt.Fprintf(c.out, "%6d %14.1f %14.1f %14.3f %12d", size, ours.first.Seconds(), second.first.Seconds(), ours.step, ours.peak>>20)
		if ok {
			fmt.Fprintf(c.out, " %8.0f %8.2f", flops/1e9/ours.step, moved/1e9)
		} else {
			fmt.Fprintf(c.out, " %8s %8s", "-", "-")
		}
		if b.Peer != "" {
			for _, p := range peers {
				args := []string{b.Peer, "fit", "--content", content, "--style", style, "--size", n, "--style-size", n, "--steps", strconv.Itoa(b.Steps), "--every", "1"}
				if b.VGG != "random" {
					args = append(args, "--vgg", b.VGG)
				}
				command := exec.CommandContext(ctx, "python3", append(args, p.args...)...)
				command.Env = append(peerEnvironment(), p.env...)
				peer, err := timeSteps(command)
				if err != nil {
					return err
				}
				fmt.Fprintf(c.out, " %14.3f %8.2f", peer.step, ours.step/peer.step)
			}
		}
		fmt.Fprintln(c.out)
	}
	return b.tiles(ctx, c)
}

// stepCost is what a step computes and moves by XLA's own count: floating point operations, and the bytes that its loops and
// convolutions read and write. Only XLA:CPU says it.
func stepCost(file string) (flops, bytes float64, ok bool) {
	content, _ := os.ReadFile(file) // other devices write none
	for line := range strings.Lines(string(content)) {
		var name string
		if n, _ := fmt.Sscan(line, &name, &flops, &bytes); n == 3 && strings.HasPrefix(name, "step") {
			return flops, bytes, true
		}
	}
	return 0, 0, false
}

// peerEnvironment is this process's environment as the person set it: without hrlab's own tunables of the allocator.
func peerEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return v == device.LargePages })
}

// timing is the time and memory that a process took which reports every step.
type timing struct {
	first time.Duration // from its start to its first report
	step  float64       // median seconds from one report to the next
	peak  int64         // resident bytes
}

func timeSteps(command *exec.Cmd) (t timing, err error) {
	var messages bytes.Buffer
	command.Stderr = &messages
	out, err := command.StdoutPipe()
	if err != nil {
		return t, err
	}
	began := time.Now()
	if err := command.Start(); err != nil {
		return t, err
	}
	var seconds []float64
	before := 0.0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var l struct {
			Step    *int
			Seconds float64
		}
		if json.Unmarshal(lines.Bytes(), &l) != nil || l.Step == nil {
			continue // the peer's summary
		}
		if *l.Step == 0 {
			t.first = time.Since(began)
		} else {
			seconds = append(seconds, l.Seconds-before)
		}
		before = l.Seconds
	}
	if err := command.Wait(); err != nil {
		return t, fmt.Errorf("%s: %w: %s", filepath.Base(command.Path), err, messages.String())
	}
	if len(seconds) == 0 {
		return t, fmt.Errorf("%s: no step was reported", filepath.Base(command.Path))
	}
	slices.Sort(seconds)
	t.step = seconds[len(seconds)/2]
	t.peak = command.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	return t, nil
}
