package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

type launchSlurmCmd struct {
	Array  string `required:"" placeholder:"N" help:"How many workers: 8, or as sbatch has it, such as 1-100%%8 for 100, 8 of them at a time."`
	Gres   string `placeholder:"gpu:1" help:"What each needs, as sbatch's --gres."`
	Time   string `placeholder:"4:00:00" help:"How long each may take, as sbatch's --time. A minute before that it gives its trial back, with a checkpoint."`
	Submit bool   `help:"Submit the script instead of printing it."`
}

// Help has examples.
func (*launchSlurmCmd) Help() string {
	return `Each task of the array is a worker that ends when the queue is empty. Slurm starts a task again whose node fails
(--requeue); the trials of a task that is killed otherwise are taken by the others. Partition, account and more are sbatch's
variables, such as SBATCH_PARTITION, or lines that you add to the printed script.

Examples:

	hrlab launch slurm --array 8 --gres gpu:1 --time 4:00:00 --db postgres://lab@db/hrlab >workers.sh
	SBATCH_PARTITION=gpu hrlab launch slurm --array 1-100%%8 --gres gpu:1 --time 1:00:00 --submit`
}

// Run prints the script, or has sbatch take it.
func (v *launchSlurmCmd) Run(ctx context.Context, c *console, l *launchCmd) error {
	if err := l.shared(); err != nil {
		return err
	}
	script, err := v.script(l)
	if err != nil {
		return err
	}
	if !v.Submit {
		_, err := fmt.Fprint(c.out, script)
		return err
	}
	submit := exec.CommandContext(ctx, "sbatch")
	var said bytes.Buffer
	submit.Stdin, submit.Stdout, submit.Stderr = strings.NewReader(script), c.out, &said
	switch err := submit.Run(); {
	case errors.Is(err, exec.ErrNotFound):
		return errors.New("--submit: sbatch was not found: run this on a machine of the cluster that has Slurm's commands")
	case err != nil:
		return fmt.Errorf("sbatch: %s", flat(said.String()))
	}
	return nil
}

var (
	number = regexp.MustCompile(`^[1-9]\d*$`)
	value  = regexp.MustCompile(`^[-\w.,:%=/@]+$`) // of an option of sbatch
)

// script is a batch script. Slurm's signal goes to the batch shell, which the worker replaces.
func (v *launchSlurmCmd) script(l *launchCmd) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	array := v.Array
	if number.MatchString(array) {
		array = "1-" + array
	}
	var text strings.Builder
	fmt.Fprintln(&text, "#!/bin/sh")
	for _, option := range []struct{ name, value string }{
		{"job-name", "hrlab"}, {"array", array}, {"gres", v.Gres}, {"time", v.Time}, {"signal", "B:TERM@60"}, {"output", "hrlab-%A_%a.log"},
	} {
		if option.value == "" {
			continue
		}
		if !value.MatchString(option.value) {
			return "", fmt.Errorf("--%s %q: not a value that sbatch takes", option.name, option.value)
		}
		fmt.Fprintf(&text, "#SBATCH --%s=%s\n", option.name, option.value)
	}
	fmt.Fprintln(&text, "#SBATCH --requeue")
	with := *l
	if with.VGG, err = absolute(l.VGG, "auto", "random"); err != nil {
		return "", err
	}
	for _, variable := range with.variables() {
		name, value, _ := strings.Cut(variable, "=")
		fmt.Fprintf(&text, "export %s=%s\n", name, quote(value))
	}
	fmt.Fprintf(&text, "exec %s worker --drain\n", quote(self))
	return text.String(), nil
}
