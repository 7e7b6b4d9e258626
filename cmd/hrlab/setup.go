package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"hrlab/hrstyle"
	"hrlab/hrstyle/device"
)

type setupCmd struct {
	What       string `arg:"" optional:"" default:"all" enum:"all,plugin,weights" help:"plugin: XLA:CPU; weights: VGG19's; all: both."`
	WeightsURL string `name:"weights-url" placeholder:"URL|FILE" help:"Take VGG19's weights from a mirror or a file instead of torchvision's at Hugging Face."`
}

// Run builds the XLA:CPU plugin unless a working one is there (as root on Debian and its kin it installs what the build
// lacks first), then fetches VGG19's weights unless they are there.
func (s *setupCmd) Run(ctx context.Context, c *console) error {
	if s.What != "weights" {
		if err := setupPlugin(ctx, c); err != nil {
			return err
		}
	}
	if s.What != "plugin" {
		return fetchVGG(ctx, c, s.WeightsURL)
	}
	return nil
}

func setupPlugin(ctx context.Context, c *console) error {
	if _, found := device.Plugins()[device.CPU]; !found {
		if err := installTools(ctx, c); err != nil {
			return err
		}
	}
	stages := &stages{c: c}
	_, err := device.InstallCPU(ctx, stages.report)
	stages.end()
	if err != nil {
		return err
	}
	d, err := device.Open(device.CPU)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.messages, "ready:", d.Name)
	d.Finalize()
	return nil
}

// errNoWeights says that VGG19's weights could not be had.
var errNoWeights = errors.New("VGG19's weights could not be fetched")

// fetchVGG fetches VGG19's weights from source (empty: Torchvision), after saying what it does.
func fetchVGG(ctx context.Context, c *console, source string) error {
	path, err := hrstyle.CachedVGG()
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err != nil || source != "" {
		fmt.Fprintf(c.messages, "VGG19's weights: fetching 52 MB from %s to %s\n", cmp.Or(source, hrstyle.Torchvision.URL), path)
	}
	stages := &stages{c: c}
	_, err = hrstyle.FetchVGG(ctx, source, stages.report)
	stages.end()
	switch {
	case err == nil:
		fmt.Fprintln(c.messages, "VGG19's weights:", path)
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w; put a safetensors file with torchvision's names at %s, name one by --vgg FILE, or take --vgg random", errNoWeights, err, path)
}

// installTools installs what the plugin's build lacks, where it may.
func installTools(ctx context.Context, c *console) error {
	var packages []string
	for _, tool := range device.MissingTools() {
		packages = append(packages, tool.Package)
	}
	if len(packages) == 0 {
		return nil
	}
	install := append([]string{"apt-get", "install", "--yes", "--no-install-recommends"}, packages...)
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("the XLA:CPU plugin needs %s to be built: install them, on Debian by: sudo %s", strings.Join(packages, " and "), strings.Join(install, " "))
	}
	for _, command := range [][]string{{"apt-get", "update"}, install} {
		fmt.Fprintln(c.messages, strings.Join(command, " "))
		run := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // both commands stand above
		if out, err := run.CombinedOutput(); err != nil {
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			return fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, lines[len(lines)-1])
		}
	}
	return nil
}

// stages shows the stages of an installation: on a terminal in place, otherwise a line each.
type stages struct {
	c    *console
	last string
}

func (s *stages) report(stage string, done, total int64) {
	text := stage
	if total > 0 {
		text += fmt.Sprintf(" %3d%% of %d MB", min(100*done/total, 100), total/1_000_000)
	}
	if s.c.terminal {
		fmt.Fprintf(s.c.messages, "\r\x1b[K%s", text)
	} else if stage != s.last {
		fmt.Fprintln(s.c.messages, stage)
	}
	s.last = stage
}

func (s *stages) end() {
	if s.c.terminal && s.last != "" {
		fmt.Fprint(s.c.messages, "\r\x1b[K")
	}
}
