package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"time"

	"hrlab/hrstyle"
	"hrlab/hrstyle/sample"
	"hrlab/picture"
)

// A picture of this size is done in so many tiles of 512x512 px. It has as many pixels as the copy that 24 megapixels have after a
// fit at 1000 px.
const tiledWidth, tiledHeight, tileCount = 4*480 + 32, 3*480 + 32, 12

// peerTiles is the generator of peer.py, without gradients, on a tile for every line that it reads. It prints the seconds.
const peerTiles = `
import importlib.util, sys, time, torch
spec = importlib.util.spec_from_file_location("peer", sys.argv[1])
peer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(peer)
x, p = torch.rand(1, 3, 512, 512), peer.hrnet_params()
with torch.no_grad():
    for _ in sys.stdin:
        began = time.perf_counter()
        peer.hrnet(x, p)
        print(time.perf_counter() - began, flush=True)
`

// tiles times the generator on tiles, and after each the peer's generator on one where there is a peer.
func (b *benchCmd) tiles(ctx context.Context, c *console) error {
	engine, err := hrstyle.Open(ctx, hrstyle.Options{Device: b.Device, VGG: "random"})
	if err != nil {
		return err
	}
	defer engine.Close()
	config := hrstyle.Default
	config.Size, config.Steps = 32, 0
	first, err := hrstyle.Last(engine.Fit(ctx, hrstyle.Pair{Content: picture.Picture{Image: sample.Content(32, 32)}, Style: picture.Picture{Image: sample.Style(32, 32)}}, config))
	if err != nil {
		return err
	}
	generator := first.Generator()
	generator.Config.Size = 0 // so that it runs at the picture's own size
	next, end := func() (float64, error) { return 0, nil }, func() error { return nil }
	if b.Peer != "" {
		if next, end, err = startPeerTiles(ctx, b.Peer); err != nil {
			return err
		}
	}
	var ours, peers []float64
	var failed error
	began := time.Now()
	_, err = engine.Apply(ctx, generator, picture.Picture{Name: "tiles", Image: sample.Content(tiledWidth, tiledHeight)}, hrstyle.Applying{Progress: func(int, int) {
		ours = append(ours, time.Since(began).Seconds())
		seconds, err := next()
		peers, failed = append(peers, seconds), errors.Join(failed, err)
		began = time.Now()
	}})
	if err := errors.Join(err, failed, end()); err != nil {
		return err
	}
	if len(ours) != tileCount {
		return fmt.Errorf("%d tiles, not %d of 512 px: memory is short", len(ours), tileCount)
	}
	median := func(seconds []float64) float64 { // without the first, which compiles
		seconds = slices.Sorted(slices.Values(seconds[1:]))
		return seconds[len(seconds)/2]
	}
	text := fmt.Sprintf("%d tiles of 512x512 px: %.3f s each", tileCount, median(ours))
	if b.Peer != "" {
		text += fmt.Sprintf(", PyTorch %.3f s, ratio %.2f", median(peers), median(ours)/median(peers))
	} else {
		text += "; no PyTorch beside it"
	}
	_, err = fmt.Fprintln(c.out, text)
	return err
}

// startPeerTiles starts the peer. next has it do a tile and returns the seconds that it took.
func startPeerTiles(ctx context.Context, path string) (next func() (float64, error), end func() error, err error) {
	command := exec.CommandContext(ctx, "python3", "-c", peerTiles, path)
	command.Env = peerEnvironment()
	var said bytes.Buffer
	command.Stderr = &said
	in, err := command.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	out, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	lines := bufio.NewReader(out)
	return func() (seconds float64, err error) {
			if _, err = io.WriteString(in, "\n"); err == nil {
				_, err = fmt.Fscanln(lines, &seconds)
			}
			return seconds, err
		}, func() error {
			err := errors.Join(in.Close(), command.Wait())
			if err != nil {
				err = fmt.Errorf("python3: %w: %s", err, said.String())
			}
			return err
		}, err
}
