package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"hrlab/tracker"
)

// launchCmd are the verbs that start workers.
type launchCmd struct {
	Local launchLocalCmd `cmd:"" help:"Start a worker per GPU of this machine, or some on its processor."`
	SSH   launchSSHCmd   `cmd:"" name:"ssh" help:"Start workers on other machines, by ssh."`
	Slurm launchSlurmCmd `cmd:"" help:"Print, or submit, a Slurm job array of workers."`

	dbFlags
	engineFlags
}

// Help has examples.
func (*launchCmd) Help() string {
	return `Examples:

	hrlab launch local --gpus all
	hrlab launch ssh node1 node2 --db postgres://lab@db/hrlab
	hrlab launch slurm --array 8 --gres gpu:1 --time 4:00:00 --db postgres://lab@db/hrlab --submit`
}

// errWorkers says that not all workers ended well.
var errWorkers = errors.New("workers ended with an error")

// variables are the environment of a worker that has the flags of this command: others see neither it nor a password in it.
func (l *launchCmd) variables() []string {
	variables := []string{"HRLAB_DB=" + string(l.DB)}
	if l.Artifacts != "" {
		variables = append(variables, "HRLAB_ARTIFACTS="+l.Artifacts)
	}
	if l.Device != "auto" {
		variables = append(variables, "HRLAB_DEVICE="+l.Device)
	}
	if l.VGG != "auto" {
		variables = append(variables, "HRLAB_VGG="+l.VGG)
	}
	return variables
}

// shared checks that the database can be named to other machines: it is on a server, and has no password in its name, which
// scripts and process lists would show.
func (l *launchCmd) shared() error {
	if !tracker.IsServer(string(l.DB)) {
		return errors.New("--db: other machines need a database on a server; allowed: postgres://USER@HOST/DATABASE")
	}
	if tracker.HasPassword(string(l.DB)) {
		return errors.New("HRLAB_DB: the URL has a password, which scripts and process lists would show: put it in ~/.pgpass of each machine (or a file that PGPASSFILE names there)")
	}
	return nil
}

// crew starts processes that work and print, by the names that their lines begin with, and waits until all have ended. When
// ctx is done end tells a process to end; it gives its trial back.
func crew(ctx context.Context, c *console, names []string, commands []*exec.Cmd, end func(*exec.Cmd) error) error {
	var all sync.WaitGroup
	defer all.Wait()
	var printing sync.Mutex
	say := func(name, text string) {
		printing.Lock()
		defer printing.Unlock()
		fmt.Fprintf(c.messages, "%s: %s\n", name, text)
	}
	failed := make(chan error, len(commands))
	for i, command := range commands {
		command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches this process alone, which then tells each once
		output, err := command.StderrPipe()
		if err == nil {
			command.Stdout = command.Stderr
			err = command.Start()
		}
		if err != nil {
			failed <- err
			say(names[i], err.Error())
			continue
		}
		stop := context.AfterFunc(ctx, func() { _ = end(command) })
		all.Go(func() {
			defer stop()
			printed := bufio.NewReader(output)
			for {
				line, err := printed.ReadString('\n')
				if line = flat(line); line != "" {
					say(names[i], line)
				}
				if err != nil {
					break
				}
			}
			if err := command.Wait(); err != nil && ctx.Err() == nil {
				say(names[i], "ended: "+err.Error())
				failed <- err
			}
		})
	}
	all.Wait()
	switch n := len(failed); {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case n > 0:
		return fmt.Errorf("%d of %d %w", n, len(commands), errWorkers)
	}
	return nil
}

// absolute is a file's path from any directory; words with a meaning of their own stay.
func absolute(path string, words ...string) (string, error) {
	if slices.Contains(words, path) {
		return path, nil
	}
	return filepath.Abs(path)
}
