package main

import (
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/rogpeppe/go-internal/testscript"
)

// examples sees to it that the help of every verb has examples of it, and that hrlab takes these and the command lines in the
// documents named, as a shell hands them over.
func examples(ts *testscript.TestScript, _ bool, documents []string) {
	parser := newParser(kong.Exit(func(int) {}), kong.Writers(io.Discard, io.Discard))
	err := kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error {
		if verb, ok := node.(*kong.Node); ok && verb.Type != kong.ArgumentNode {
			calls := taken(ts, regexp.MustCompile(`(?m)^\t.*`).FindAllString(verb.Detail, -1))
			if !slices.ContainsFunc(calls, func(call string) bool { return strings.HasPrefix(call+" ", verb.FullPath()+" ") }) {
				ts.Fatalf("the help of %s has no example of it", verb.FullPath())
			}
		}
		return next(nil)
	})
	ts.Check(err)
	for _, name := range documents {
		text := strings.ReplaceAll(ts.ReadFile(name), "\\\n", "")
		var lines []string
		for _, line := range regexp.MustCompile(`(?m)^    (source <\()?(\.build/)?hrlab .*`).FindAllString(text, -1) {
			if !strings.Contains(line, "…") {
				lines = append(lines, strings.ReplaceAll(line, ".build/hrlab", "hrlab"))
			}
		}
		if len(taken(ts, lines)) == 0 {
			ts.Fatalf("%s has no command lines", name)
		}
	}
}

// taken are the calls of hrlab in lines for a shell, all of which hrlab takes.
func taken(ts *testscript.TestScript, lines []string) (calls []string) {
	for _, line := range lines {
		for _, args := range words(ts, line) {
			if _, err := newParser().Parse(args); err != nil {
				ts.Fatalf("%s: %v", strings.TrimSpace(line), err)
			}
			calls = append(calls, "hrlab "+strings.Join(args, " "))
		}
	}
	return calls
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
