package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"hrlab/hrstyle"
	"hrlab/hrstyle/device"
	"hrlab/hrstyle/sample"
	"hrlab/picture"

	"golang.org/x/term"
)

type setupCmd struct {
	What       string `arg:"" optional:"" default:"all" enum:"all,plugin,weights" help:"plugin: what the device needs; weights: VGG19's; all: both."`
	Device     string `default:"cpu" enum:"cpu,cuda" help:"cpu: the XLA:CPU plugin, built here; cuda: the CUDA plugin and NVIDIA's libraries (2.2 GB)."`
	WeightsURL string `name:"weights-url" placeholder:"URL|FILE" help:"Take VGG19's weights from a mirror or a file (safetensors, .pth) instead of torchvision's at Hugging Face."`
}

// Help has examples.
func (*setupCmd) Help() string {
	return `Examples:

	hrlab setup                                   # the XLA:CPU plugin and VGG19's weights
	hrlab setup plugin --device cuda              # the CUDA plugin and NVIDIA's libraries
	hrlab setup weights --weights-url vgg19.pth   # weights from a file`
}

// Run installs the plugin of the device unless a working one is there, then VGG19's weights unless they are there. Where tools
// are missing for that, it installs them first, if it is root on Debian or a system like it.
func (s *setupCmd) Run(ctx context.Context, c *console) (err error) {
	defer func() {
		if errors.Is(err, context.Canceled) {
			fmt.Fprintln(c.messages, "stopped; the same command goes on")
		}
	}()
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

// errNoWeights says that VGG19's weights are not there and could not be fetched.
var errNoWeights = errors.New("VGG19's weights could not be fetched")

// fetchVGG fetches VGG19's weights from source, or where that is empty from hrstyle.Torchvision. It prints what it does.
func fetchVGG(ctx context.Context, c *console, source string) error {
	path, err := hrstyle.CachedVGG()
	if err != nil {
		return err
	}
	if _, err := hrstyle.OpenVGG("auto"); err != nil || source != "" {
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
	return fmt.Errorf("%w: %w; put a safetensors or .pth file with torchvision's names at %s, name one by --vgg FILE, or take --vgg random", errNoWeights, err, path)
}

// installTools installs the tools that the installation of a plugin needs, where it may.
func installTools(ctx context.Context, c *console, kind device.Kind) error {
	var packages []string
	for _, tool := range device.MissingTools(kind) {
		packages = append(packages, tool.Package)
	}
	return aptInstall(ctx, c, packages)
}

// aptInstall installs Debian packages, as root. Otherwise the error says how to install them.
func aptInstall(ctx context.Context, c *console, packages []string) error {
	if len(packages) == 0 {
		return nil
	}
	install := append([]string{"apt-get", "install", "--yes", "--no-install-recommends"}, packages...)
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("the installation needs %s: on Debian, sudo %s", strings.Join(packages, " and "), strings.Join(install, " "))
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

// stages shows the stages of an installation: on a terminal a bar in place, otherwise a line each.
type stages struct {
	c     *console
	last  string
	began time.Time // of the last stage
	first int64     // what was done then
}

func (s *stages) report(stage string, done, total int64) {
	if stage != s.last {
		s.last, s.began, s.first = stage, time.Now(), done
		if !s.c.terminal {
			fmt.Fprintln(s.c.messages, stage)
		}
	}
	if !s.c.terminal {
		return
	}
	text := stage
	if total > 0 {
		done = min(done, total)
		n := int(20 * done / total)
		text = fmt.Sprintf("[%s%s] %3d%% of %d MB", strings.Repeat("=", n), strings.Repeat("-", 20-n), 100*done/total, total/1_000_000)
		if got := done - s.first; got > 0 && done < total {
			left := time.Duration(float64(time.Since(s.began)) / float64(got) * float64(total-done))
			text += fmt.Sprintf(", %v left", left.Round(time.Second))
		}
		text += "  " + stage
	}
	if width, _, err := term.GetSize(int(os.Stderr.Fd())); err == nil && width > 0 { // a line that wraps cannot be drawn over
		if runes := []rune(text); len(runes) >= width {
			text = string(runes[:width-1])
		}
	}
	fmt.Fprintf(s.c.messages, "\r\x1b[K%s", text)
}

func (s *stages) end() {
	if s.c.terminal && s.last != "" {
		fmt.Fprint(s.c.messages, "\r\x1b[K")
	}
}
