package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"hrlab/nvidia"
)

type launchLocalCmd struct {
	GPUs    string `name:"gpus" xor:"how" placeholder:"all|N" help:"A worker for each GPU (the default), or for the first N."`
	Workers *int   `xor:"how" placeholder:"N" help:"N workers that share the processor, or what --device names."`
	Drain   bool   `help:"End when the queue is empty, as hrlab worker --drain."`
}

// Help has examples.
func (*launchLocalCmd) Help() string {
	return `Each worker is a process of its own: a fault or too little memory ends one trial's process, not the others. Ctrl-C ends
all; they give their trials back. CUDA_VISIBLE_DEVICES limits which GPUs are taken.

Examples:

	hrlab launch local
	hrlab launch local --gpus 2 --drain
	hrlab launch local --workers 2 --device cpu`
}

// Run starts the workers and shows what they print, until all have ended.
func (v *launchLocalCmd) Run(ctx context.Context, c *console, l *launchCmd) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var names []string
	var own [][]string // variables of each
	if v.Workers != nil {
		if *v.Workers < 1 {
			return fmt.Errorf("--workers %d: allowed: 1 or more", *v.Workers)
		}
		for i := range *v.Workers {
			names, own = append(names, fmt.Sprint("worker ", i+1)), append(own, nil)
		}
	} else {
		gpus, err := v.gpus(ctx)
		if err != nil {
			return err
		}
		for i, gpu := range gpus {
			names, own = append(names, fmt.Sprint("gpu ", i)), append(own, []string{"CUDA_VISIBLE_DEVICES=" + gpu})
		}
	}
	arguments := []string{"worker"}
	if v.Drain {
		arguments = append(arguments, "--drain")
	}
	var commands []*exec.Cmd
	for i := range names {
		command := exec.Command(self, arguments...) //nolint:gosec,noctx // itself; it is told to end by a signal
		command.Env = append(append(os.Environ(), l.variables()...), own[i]...)
		commands = append(commands, command)
	}
	return crew(ctx, c, names, commands, func(command *exec.Cmd) error { return command.Process.Signal(syscall.SIGTERM) })
}

// gpus are the GPUs to be used, as CUDA_VISIBLE_DEVICES names them.
func (v *launchLocalCmd) gpus(ctx context.Context) (gpus []string, err error) {
	if visible, ok := os.LookupEnv("CUDA_VISIBLE_DEVICES"); ok {
		gpus = strings.FieldsFunc(visible, func(r rune) bool { return r == ',' })
	} else if all, err := nvidia.Query(ctx, "uuid"); err == nil {
		for _, one := range all {
			gpus = append(gpus, one[0])
		}
	}
	n := len(gpus)
	if v.GPUs != "" && v.GPUs != "all" {
		if n, err = strconv.Atoi(v.GPUs); err != nil || n < 1 {
			return nil, fmt.Errorf("--gpus %s: allowed: all, or a number from 1", v.GPUs)
		}
	}
	switch {
	case len(gpus) == 0:
		return nil, errors.New("no NVIDIA GPU was found: --workers 1 starts a worker on the processor")
	case n > len(gpus):
		return nil, fmt.Errorf("--gpus %d: allowed: up to %d, as many as there are", n, len(gpus))
	}
	return gpus[:n], nil
}
