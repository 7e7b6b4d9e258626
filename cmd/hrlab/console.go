package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/alecthomas/kong"
	"golang.org/x/term"
)

// console is where a verb writes: results to out, everything else to messages.
type console struct {
	out, messages io.Writer
	terminal      bool // messages goes to a terminal
	width         int  // of the terminal that out goes to, in characters; 0 where it goes elsewhere
}

// waits returns what tells, in a line each, what a verb waits for: see [tracker.OnWait].
func (c *console) waits() func(what string) {
	var mu sync.Mutex
	last := ""
	return func(what string) {
		mu.Lock()
		defer mu.Unlock()
		if what != "" && what != last {
			fmt.Fprintln(c.messages, what)
		}
		last = what
	}
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// terminalWidth is the width of the terminal that f is, in characters; 0 where it is none.
func terminalWidth(f *os.File) int {
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// closedPipe says whether nothing went wrong but that whoever reads standard output has read enough, as head does. Output
// that is a result of its own, such as a picture, is another matter: its errors say so.
func closedPipe(err error) bool {
	if joined, ok := err.(interface{ Unwrap() []error }); ok && len(joined.Unwrap()) == 1 {
		return closedPipe(joined.Unwrap()[0])
	}
	if parsing, ok := err.(*kong.ParseError); ok { //nolint:errorlint // kong prints help while it parses
		return closedPipe(parsing.Unwrap())
	}
	failed, ok := err.(*os.PathError) //nolint:errorlint // one that another wraps says what is lost
	return ok && failed.Path == os.Stdout.Name() && errors.Is(failed.Err, syscall.EPIPE)
}
