package main

import (
	"io"
	"os"

	"golang.org/x/term"
)

// console is where a verb writes: results to out, everything else to messages.
type console struct {
	out, messages io.Writer
	terminal      bool // messages goes to a terminal
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
