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

	"golang.org/x/term"
)

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
	return fmt.Errorf("%w: %w; next: hrlab setup weights --weights-url FILE, a safetensors or .pth file with torchvision's names that you got by other means, or a mirror's URL; or take --vgg random", errNoWeights, err)
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
