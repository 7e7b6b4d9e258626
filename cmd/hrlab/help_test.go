package main

import (
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/rogpeppe/go-internal/testscript"
)

// examples sees to it that the help of every verb has examples of it, and that hrlab takes them as a shell hands them over.
func examples(ts *testscript.TestScript, _ bool, _ []string) {
	parser := newParser(kong.Exit(func(int) {}), kong.Writers(io.Discard, io.Discard))
	err := kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error {
		if verb, ok := node.(*kong.Node); ok && verb.Type != kong.ArgumentNode {
			checkExamples(ts, verb.FullPath(), verb)
		}
		return next(nil)
	})
	ts.Check(err)
}

func checkExamples(ts *testscript.TestScript, path string, verb *kong.Node) {
	of := 0
	for line := range strings.Lines(verb.Detail) {
		if !strings.HasPrefix(line, "\t") {
			continue
		}
		for _, args := range words(ts, line) {
			if strings.HasPrefix("hrlab "+strings.Join(args, " ")+" ", path+" ") {
				of++
			}
			if _, err := newParser().Parse(args); err != nil {
				ts.Fatalf("%s: %s: %v", path, strings.TrimSpace(line), err)
			}
		}
	}
	if of == 0 {
		ts.Fatalf("the help of %s has no example of it", path)
	}
}

// words are the arguments of every call of hrlab in a line for a shell.
func words(ts *testscript.TestScript, line string) (calls [][]string) {
	read, write, err := os.Pipe()
	ts.Check(err)
	defer read.Close()
	shell := exec.Command("bash", "-c", `hrlab() { printf '%s\0' "$@" $'\n' >&3; }; `+line)
	shell.Dir, shell.ExtraFiles = ts.MkAbs("."), []*os.File{write}
	_ = shell.Run() // the commands around hrlab need not be there
	write.Close()
	said, err := io.ReadAll(read)
	ts.Check(err)
	for call := range strings.SplitSeq(strings.TrimSuffix(string(said), "\x00\n\x00"), "\x00\n\x00") {
		calls = append(calls, strings.Split(call, "\x00"))
	}
	return calls
}
