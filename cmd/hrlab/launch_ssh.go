package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"hrlab/hrstyle/device"
)

type launchSSHCmd struct {
	Hosts   []string `arg:"" name:"host" help:"Machines, as ssh names them; keys or an agent must let you in without a password."`
	Workers int      `placeholder:"N" help:"N workers on each, in place of one per GPU."`
	Drain   bool     `help:"End when the queue is empty, as hrlab worker --drain."`
	Yes     bool     `help:"Copy what is missing without asking."`
}

// Help has examples.
func (*launchSSHCmd) Help() string {
	return `A machine needs nothing but ssh. What it lacks is copied after a question: this program to ~/.cache/hrlab/bin, and the plugin of
its device, as hrlab setup has installed it here, to ~/.local/lib/go-xla. Passwords of the database are in ~/.pgpass of each
machine. Ctrl-C ends all workers, and so does the end of the connection; they give their trials back.

Examples:

	hrlab launch ssh node1 node2 --db postgres://lab@db/hrlab
	hrlab launch ssh node1 --workers 1 --device cpu --drain`
}

// Run copies what is missing, then starts the workers and shows what they print, until all have ended.
func (v *launchSSHCmd) Run(ctx context.Context, c *console, l *launchCmd) error {
	if err := l.shared(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	program, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	there := fmt.Sprintf("$HOME/.cache/hrlab/bin/%.12x/hrlab", sha256.Sum256(program)) // as a shell in quotes has it
	for _, host := range v.Hosts {
		if strings.HasPrefix(host, "-") {
			return fmt.Errorf("%s: not a machine", host)
		}
		missing, err := v.missing(ctx, l, host, there, program)
		if err == nil && len(missing) > 0 {
			err = v.copy(ctx, c, host, missing)
		}
		if err != nil {
			return err
		}
	}
	var exports strings.Builder
	for _, variable := range l.variables() {
		name, value, _ := strings.Cut(variable, "=")
		fmt.Fprintf(&exports, "export %s=%s\n", name, quote(value))
	}
	script := exports.String() + `"` + there + `" launch local`
	if v.Workers != 0 {
		script += " --workers " + strconv.Itoa(v.Workers)
	}
	if v.Drain {
		script += " --drain"
	}
	// Standard input ends with the connection.
	script += " </dev/null & pid=$!\nexec 3<&0\n{ cat <&3; kill $pid; } >/dev/null 2>&1 &\nexec 3<&-\nwait $pid; code=$?\nkill $! 2>/dev/null\nexit $code"
	var commands []*exec.Cmd
	inputs := map[*exec.Cmd]io.Closer{}
	for _, host := range v.Hosts {
		command := remote(context.WithoutCancel(ctx), host, script)
		if inputs[command], err = command.StdinPipe(); err != nil {
			return err
		}
		commands = append(commands, command)
	}
	return crew(ctx, c, v.Hosts, commands, func(command *exec.Cmd) error { return inputs[command].Close() })
}

// remote is a command that runs a script of the POSIX shell on a machine.
func remote(ctx context.Context, host, script string) *exec.Cmd {
	return exec.CommandContext(ctx, "ssh", "-T", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=5", host, "exec sh -c "+quote(script)) //nolint:gosec // a machine that the person named
}

// answer runs a script on a machine, and returns what it prints.
func answer(ctx context.Context, host, script string, input io.Reader) (string, error) {
	command := remote(ctx, host, script)
	var said bytes.Buffer
	command.Stdin, command.Stderr = input, &said
	out, err := command.Output()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", errors.New("ssh was not found: on Debian, apt-get install openssh-client")
	case err != nil:
		return "", fmt.Errorf("%s: %s (%w)", host, flat(said.String()), err)
	}
	return string(out), nil
}

// missingPart is something that a machine lacks.
type missingPart struct {
	what   string
	script string // which takes it from standard input
	input  func(ctx context.Context) (io.Reader, error)
}

// missing finds out what a machine lacks.
func (v *launchSSHCmd) missing(ctx context.Context, l *launchCmd, host, there string, program []byte) (missing []missingPart, err error) {
	const plugins = `"$HOME/.local/lib/go-xla"`
	found, err := answer(ctx, host, `test -x "`+there+`" && echo program
test -e /proc/driver/nvidia/version && echo driver
test -e `+plugins+`/pjrt_c_api_cpu_plugin.so && echo cpu
test -e `+plugins+`/nvidia/pjrt_c_api_cuda_plugin.so && echo cuda
true`, nil)
	if err != nil {
		return nil, err
	}
	has := map[string]bool{}
	for word := range strings.FieldsSeq(found) {
		has[word] = true
	}
	if !has["program"] {
		missing = append(missing, missingPart{
			fmt.Sprintf("this program, %d MB", len(program)/1e6),
			fmt.Sprintf(`umask 077 && mkdir -p "%[1]s" && cat >"%[2]s.$$" && chmod +x "%[2]s.$$" && mv "%[2]s.$$" "%[2]s"`, path.Dir(there), there),
			func(context.Context) (io.Reader, error) { return bytes.NewReader(program), nil },
		})
	}
	kind := device.Kind(l.Device)
	if kind == "auto" {
		if kind = device.CPU; has["driver"] && v.Workers == 0 {
			kind = device.CUDA
		}
	}
	if here, ok := device.Plugins()[kind]; ok && !has[string(kind)] {
		root, link, folder, ok := installed(here)
		if ok {
			missing = append(missing, missingPart{fmt.Sprintf("the plugin for %s", kind), "mkdir -p " + plugins + " && tar -xf - -C " + plugins, func(ctx context.Context) (io.Reader, error) {
				pack := exec.CommandContext(ctx, "tar", "-cf", "-", "-C", root, link, folder) //nolint:gosec // what setup has installed
				out, err := pack.StdoutPipe()
				if err == nil {
					err = pack.Start()
				}
				return out, err
			}})
		}
	}
	return missing, nil
}

// installed are the parts of a plugin that setup has installed: the link to it, and the folder that it leads to, within root.
func installed(plugin string) (root, link, folder string, ok bool) {
	root, plugin, ok = strings.Cut(plugin, filepath.Join(".local", "lib", "go-xla")+"/")
	if !ok {
		return "", "", "", false
	}
	root = filepath.Join(root, ".local", "lib", "go-xla")
	target, err := filepath.EvalSymlinks(filepath.Join(root, plugin))
	if err != nil {
		return "", "", "", false
	}
	inside, err := filepath.Rel(root, target)
	if err != nil || strings.HasPrefix(inside, "..") {
		return "", "", "", false
	}
	folder, _, ok = strings.Cut(inside, "/")
	return root, plugin, folder, ok
}

// copy asks, and copies what a machine lacks.
func (v *launchSSHCmd) copy(ctx context.Context, c *console, host string, missing []missingPart) error {
	var what []string
	for _, part := range missing {
		what = append(what, part.what)
	}
	fmt.Fprintf(c.messages, "%s lacks %s", host, strings.Join(what, " and "))
	if v.Yes {
		fmt.Fprintln(c.messages)
	} else {
		fmt.Fprint(c.messages, "; copy? [y/N] ")
		line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
		if !strings.HasPrefix(strings.ToLower(line), "y") {
			return fmt.Errorf("%s: nothing was copied; --yes copies without asking", host)
		}
	}
	for _, part := range missing {
		input, err := part.input(ctx)
		if err == nil {
			_, err = answer(ctx, host, part.script, input)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
