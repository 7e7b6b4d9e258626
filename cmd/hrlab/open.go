package main

import (
	"context"
	"fmt"
	"os/exec"
)

// open opens a file with the program that the system has for it, and does not wait for that. Where there is none it says so.
func (c *console) open(ctx context.Context, path string) {
	if path == "-" {
		return
	}
	for _, opener := range []string{"wslview", "xdg-open", "open"} { // of WSL, Linux and macOS
		program, err := exec.LookPath(opener)
		if err != nil {
			continue
		}
		run := exec.CommandContext(context.WithoutCancel(ctx), program, path) //nolint:gosec // one of the three above
		if err := run.Start(); err != nil {
			continue
		}
		go run.Wait() //nolint:errcheck // it is the person's from now on
		return
	}
	fmt.Fprintf(c.messages, "%s cannot be opened here: there is no xdg-open, open or wslview\n", path)
}
