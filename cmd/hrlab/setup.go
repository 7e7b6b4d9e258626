package main

import (
	"context"
	"errors"
	"fmt"

	"hrlab/hrstyle"
	"hrlab/hrstyle/device"
	"hrlab/hrstyle/sample"
	"hrlab/picture"
)

type setupCmd struct {
	What       string `arg:"" optional:"" default:"all" enum:"all,plugin,weights,empty-cache" help:"plugin: what the device needs; weights: VGG19's; all: both. empty-cache: remove the graphs that XLA:CPU has compiled and kept."`
	Device     string `default:"cpu" enum:"cpu,cuda" help:"cpu: the XLA:CPU plugin, built here; cuda: the CUDA plugin and NVIDIA's libraries (2.2 GB)."`
	WeightsURL string `name:"weights-url" placeholder:"URL|FILE" help:"Take VGG19's weights from a mirror or a file (safetensors, .pth) instead of torchvision's at Hugging Face."`
}

// Help has examples.
func (*setupCmd) Help() string {
	return `Examples:

	hrlab setup                                   # the XLA:CPU plugin and VGG19's weights
	hrlab setup plugin --device cuda              # the CUDA plugin and NVIDIA's libraries
	hrlab setup weights --weights-url vgg19.pth   # weights from a file
	hrlab setup empty-cache                       # remove what XLA:CPU has compiled and kept`
}

// Run installs the plugin of the device unless a working one is there, then VGG19's weights unless they are there. Where tools
// are missing for that, it installs them first, if it is root on Debian or a system like it.
func (s *setupCmd) Run(ctx context.Context, c *console) (err error) {
	defer func() {
		if errors.Is(err, context.Canceled) {
			fmt.Fprintln(c.messages, "stopped; the same command goes on")
		}
	}()
	if s.What == "empty-cache" {
		return emptyCache(c, device.FindCache())
	}
	if s.What != "weights" {
		if err := setupPlugin(ctx, c, device.Kind(s.Device)); err != nil {
			return err
		}
	}
	if s.What != "plugin" {
		return fetchVGG(ctx, c, s.WeightsURL)
	}
	return nil
}

func emptyCache(c *console, cache device.Cache) error {
	if cache.Dir == "" {
		return fmt.Errorf("no cache of compiled graphs: %s", cache.Problem)
	}
	if err := cache.Empty(); err != nil {
		return err
	}
	fmt.Fprintf(c.messages, "%s: %d files removed, %.1f MB\n", cache.Dir, cache.Entries, float64(cache.Bytes)/1e6)
	return nil
}

func setupPlugin(ctx context.Context, c *console, kind device.Kind) error {
	install := device.InstallCPU
	if kind == device.CUDA {
		install = device.InstallCUDA
	}
	if _, found := device.Plugins()[kind]; !found {
		if err := installTools(ctx, c, kind); err != nil {
			return err
		}
	}
	stages := &stages{c: c}
	_, err := install(ctx, stages.report)
	stages.end()
	if err != nil {
		return err
	}
	engine, err := hrstyle.Open(ctx, hrstyle.Options{Device: string(kind), VGG: "random"})
	if err != nil {
		return err
	}
	defer engine.Close()
	if kind == device.CUDA { // only a step shows whether the libraries fit together
		if err := tryStep(ctx, engine); err != nil {
			return fmt.Errorf("%s: a first step fails: %w", engine.Device.Name, err)
		}
	} else if device.HasNVIDIA() {
		fmt.Fprintln(c.messages, "there is an NVIDIA GPU: hrlab setup --device cuda installs what it needs")
	}
	fmt.Fprintln(c.messages, "ready:", engine.Device.Name)
	return nil
}

// tryStep makes one step with the built-in pair and random filters.
func tryStep(ctx context.Context, engine *hrstyle.Engine) error {
	config := hrstyle.Default
	config.Size, config.Steps = 64, 1
	pair := hrstyle.Pair{Content: picture.Picture{Image: sample.Content(64, 64)}, Style: picture.Picture{Image: sample.Style(64, 64)}}
	for _, err := range engine.Fit(ctx, pair, config) {
		if err != nil {
			return err
		}
	}
	return nil
}

// installTools installs the tools that the installation of a plugin needs, where it may.
func installTools(ctx context.Context, c *console, kind device.Kind) error {
	var packages []string
	for _, tool := range device.MissingTools(kind) {
		packages = append(packages, tool.Package)
	}
	return aptInstall(ctx, c, packages)
}
