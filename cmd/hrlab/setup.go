package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"hrlab/hrstyle/device"
)

type setupCmd struct{}

// Run builds the XLA:CPU plugin unless a working one is there. As root on Debian and its kin it installs what the build
// lacks first.
func (*setupCmd) Run(ctx context.Context, c *console) error {
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
