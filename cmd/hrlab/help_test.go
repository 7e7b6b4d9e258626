package main

import (
	"image"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"hrlab/picture"

	"hrlab/hrstyle/sample"

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
		taken(ts, commandLines(ts, name))
	}
}

// commandLines are the lines of a document that call hrlab, which there must be.
func commandLines(ts *testscript.TestScript, document string) (lines []string) {
	text := strings.ReplaceAll(ts.ReadFile(document), "\\\n", "")
	for _, line := range regexp.MustCompile(`(?m)^    (source <\()?(\.build/)?hrlab .*`).FindAllString(text, -1) {
		if !strings.Contains(line, "…") {
			lines = append(lines, strings.ReplaceAll(line, ".build/hrlab", "hrlab"))
		}
	}
	if lines == nil {
		ts.Fatalf("%s has no command lines", document)
	}
	return lines
}

// small is hrlab for a shell, with settings that make fits small. It does not install: that needs a network, and is tested where
// it is.
const small = `hrlab() {
	case "$*" in
	setup*) return ;;
	fit*--resume*|map*--resume*) set -- "$@" --steps 5 ;;
	sweep*--map*) ;; # fits nothing
	fit*|sweep*|map*) set -- "$@" --size 32 --steps 1 ;;
	serve*)
		command hrlab "$@" --addr 127.0.0.1:0 2>served &
		until grep -q shows served; do kill -0 $! && sleep 0.1 || return; done
		kill $! && wait $!
		return ;;
	esac
	command hrlab "$@"
}
`

// executes runs every command line in the documents named, in their order, in the working directory, with the pictures that
// they name, which it draws where they are missing. Those of notebooks are left to package notebooks, which installs what they
// need.
func executes(ts *testscript.TestScript, _ bool, documents []string) {
	for name, img := range map[string]image.Image{
		"boat.jpg": sample.Content(64, 48), "sunset.jpg": sample.Style(48, 64),
		"other.jpg": sample.Content(48, 48), "holiday/day 1.jpg": sample.Content(48, 64),
		"demo/day.png": sample.Content(64, 48), "demo/dusk.png": sample.Style(64, 48), // of make demo
		"content.jpg": sample.Content(64, 48), "style.png": sample.Style(64, 48), // the paper's
	} {
		path := ts.MkAbs(name)
		if _, err := os.Stat(path); err == nil {
			continue
		}
		ts.Check(os.MkdirAll(filepath.Dir(path), 0o777))
		ts.Check(picture.Save(path, img, picture.Encoding{}))
	}
	for _, name := range documents {
		for _, line := range commandLines(ts, name) {
			if strings.Contains(line, "hrlab notebook") {
				continue
			}
			if err := ts.Exec("bash", "-c", small+line); err != nil {
				ts.Fatalf("%s: %v", strings.TrimSpace(line), err)
			}
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
