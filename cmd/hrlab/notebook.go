package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed" // the program that executes notebooks
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"go/scanner"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hrlab/hrstyle"
	"hrlab/hrstyle/device"

	"github.com/google/renameio/v2"
)

// notebookCmd are the verbs on notebooks.
type notebookCmd struct {
	Install notebookInstallCmd `cmd:"" help:"Get what notebooks need: JupyterLab and a Go kernel, in the folder .venv of the checkout."`
	Lab     notebookLabCmd     `cmd:"" help:"Open JupyterLab in the folder notebooks."`
	Run     notebookRunCmd     `cmd:"" help:"Execute notebooks from top to bottom, without a browser."`
}

// errCell says that a cell of a notebook failed.
var errCell = errors.New("the notebook failed")

// checkout is a checkout of hrlab and the Python environment in it. Notebooks import its packages.
type checkout struct{ root string }

// findCheckout looks in and above the working directory, then above this program.
func findCheckout() (checkout, error) {
	var starts []string
	if dir, err := os.Getwd(); err == nil {
		starts = append(starts, dir)
	}
	if self, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(self))
	}
	for _, dir := range starts {
		for ; ; dir = filepath.Dir(dir) {
			if mod, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && bytes.HasPrefix(mod, []byte("module hrlab\n")) {
				return checkout{dir}, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return checkout{}, errors.New("no checkout of hrlab here or above: notebooks import its packages, so run this in the folder that has its go.mod")
}

func (o checkout) venv() string           { return filepath.Join(o.root, ".venv") }
func (o checkout) bin(name string) string { return filepath.Join(o.venv(), "bin", name) }
func (o checkout) tools() string          { return filepath.Join(o.root, "notebooks", "tools") }
func (o checkout) requirements() string   { return filepath.Join(o.tools(), "requirements.txt") }

// stamp is the file that says what the environment was made from. Its presence says that the environment is ours.
func (o checkout) stamp() string { return filepath.Join(o.venv(), "hrlab") }

// installed says whether there is an environment to use.
func (o checkout) installed() error {
	if _, err := os.Stat(o.stamp()); err != nil {
		return errors.New("notebooks are not installed: run hrlab notebook install")
	}
	return nil
}

// temporaryFolder makes a folder for temporary files.
func temporaryFolder() (string, error) {
	dir, err := os.MkdirTemp("", "hrlab-")
	if err != nil {
		if errno, ok := errors.AsType[syscall.Errno](err); ok {
			err = errno
		}
		return "", fmt.Errorf("%s: there temporary files would go: %w; set TMPDIR to a folder that can be written", os.TempDir(), err)
	}
	return dir, nil
}

// checkTemporary finds out whether compiler and kernel can write temporary files.
func checkTemporary() error {
	dir, err := temporaryFolder()
	if err != nil {
		return err
	}
	return os.Remove(dir)
}

type notebookInstallCmd struct {
	Uninstall bool `help:"Remove it again."`
}

// Run makes the Python environment unless it is there, and brings kernel and build cache up to date.
func (i *notebookInstallCmd) Run(ctx context.Context, c *console) error {
	o, err := findCheckout()
	if err != nil {
		return err
	}
	if _, err := os.Stat(o.venv()); err == nil && o.installed() != nil {
		return fmt.Errorf("%s is there and not made by hrlab: move it away", o.venv())
	}
	if i.Uninstall {
		fmt.Fprintln(c.messages, "removing", o.venv())
		return os.RemoveAll(o.venv())
	}
	if err := checkTemporary(); err != nil {
		return err
	}
	if err := o.installPython(ctx, c); err != nil {
		return err
	}
	if err := o.installGo(ctx, c); err != nil {
		return err
	}
	if err := o.writeKernels(ctx); err != nil {
		return err
	}
	fmt.Fprintln(c.messages, "ready: hrlab notebook lab")
	return nil
}

// quietly runs a command, and shows what it said only if it fails.
func quietly(command *exec.Cmd) error {
	out, err := command.CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("%s: %w: %s", strings.Join(command.Args, " "), err, strings.Join(lines[max(0, len(lines)-3):], "; "))
	}
	return nil
}

// installPython makes the environment with JupyterLab, pinned by hashes.
func (o checkout) installPython(ctx context.Context, c *console) error {
	requirements, err := os.ReadFile(o.requirements())
	if err != nil {
		return err
	}
	if _, err := exec.LookPath("python3"); err != nil {
		return errors.New("Python 3 is missing: apt-get install python3 python3-venv") //nolint:staticcheck // a name
	}
	version, err := exec.CommandContext(ctx, "python3", "-c", "import sys; assert sys.version_info >= (3, 11), sys.version.split()[0]; print(sys.executable, sys.version)").CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(version)), "\n")
		return fmt.Errorf("Python 3.11 or newer is needed: %s", lines[len(lines)-1]) //nolint:staticcheck // a name
	}
	sum := sha256.Sum256(append(requirements, version...))
	stamp := hex.EncodeToString(sum[:]) + "\n"
	if was, err := os.ReadFile(o.stamp()); err == nil && string(was) == stamp && exec.CommandContext(ctx, o.bin("python"), "-c", "").Run() == nil {
		return nil
	}
	if err := exec.CommandContext(ctx, "python3", "-c", "import ensurepip, venv").Run(); err != nil {
		if err := aptInstall(ctx, c, []string{"python3-venv"}); err != nil {
			return err
		}
	}
	fmt.Fprintln(c.messages, "JupyterLab into", o.venv())
	if err := os.MkdirAll(o.venv(), 0o777); err != nil {
		return err
	}
	if err := renameio.WriteFile(o.stamp(), nil, 0o666); err != nil { // ours, whatever happens
		return err
	}
	if err := quietly(exec.CommandContext(ctx, "python3", "-m", "venv", o.venv())); err != nil {
		return err
	}
	if err := quietly(exec.CommandContext(ctx, o.bin("python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", o.requirements())); err != nil {
		return err
	}
	return renameio.WriteFile(o.stamp(), []byte(stamp), 0o666)
}

// experiment is the GOEXPERIMENT that the Makefile builds with: with another, nothing in the build cache would fit.
func experiment() string {
	if runtime.GOARCH == "amd64" {
		return "simd"
	}
	return ""
}

// cellFlags leave debugging information out of cells: linking is most of a cell's time, and half of that goes there.
const cellFlags = "-ldflags=-w"

// warmCell imports what cells do, and is not linked.
const warmCell = `package cell

import (
	_ "hrlab/experiments"
	_ "hrlab/hrstyle"
	_ "hrlab/notebooks/nb"
	_ "hrlab/report"
	_ "hrlab/tracker"
)
`

// installGo builds the kernel and hrlab, and then what cells import, as the kernel does, so that everything that cells need is in the
// module and build caches: the kernel works offline.
func (o checkout) installGo(ctx context.Context, c *console) error {
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("Go 1.26 is missing: https://go.dev/dl") //nolint:staticcheck // a name
	}
	flags, err := exec.CommandContext(ctx, "go", "env", "GOFLAGS").Output()
	if err != nil {
		return err
	}
	command := func(dir, workspace string, args ...string) error {
		run := exec.CommandContext(ctx, "go", args...)
		run.Dir, run.Env = dir, append(os.Environ(), "GOBIN="+filepath.Join(o.venv(), "bin"), "GOWORK="+workspace, "GOEXPERIMENT="+experiment(),
			"GOFLAGS="+strings.TrimSpace(string(flags))+" -mod=readonly", "GO111MODULE=on", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH, "CGO_ENABLED=1", "GOROOT=")
		return quietly(run)
	}
	fmt.Fprintln(c.messages, "Go kernel")
	if err := command(o.tools(), "off", "install", "tool"); err != nil {
		return err
	}
	if err := command(o.root, "off", "build", "-o", o.bin("hrlab"), "./cmd/hrlab"); err != nil {
		return err
	}
	dir, err := temporaryFolder()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the system clears its temporary directory too
	if err := os.WriteFile(filepath.Join(dir, "cell.go"), []byte(warmCell), 0o666); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"mod", "init", "cell"},
		{"work", "init", ".", o.root},
		{"mod", "edit", "-replace=hrlab=" + o.root},
		{"build", cellFlags, "."},
	} {
		if err := command(dir, filepath.Join(dir, "go.work"), args...); err != nil {
			return err
		}
	}
	return nil
}

// writeKernels writes the kernelspecs: hrlab, and hrlab-ci whose compiler errors are plain text. JupyterLab's offers to
// fetch news and to look for updates are turned off.
func (o checkout) writeKernels(ctx context.Context) error {
	compiler, err := exec.LookPath("go")
	if err != nil {
		return err
	}
	var caches struct{ GOCACHE, GOMODCACHE string }
	text, err := exec.CommandContext(ctx, compiler, "env", "-json", "GOCACHE", "GOMODCACHE").Output()
	if err == nil {
		err = json.Unmarshal(text, &caches)
	}
	if err != nil {
		return err
	}
	write := func(value any, path ...string) error {
		file := filepath.Join(append([]string{o.venv(), "share", "jupyter"}, path...)...)
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			return err
		}
		text, err := json.MarshalIndent(value, "", "  ")
		if err != nil {
			return err
		}
		return renameio.WriteFile(file, append(text, '\n'), 0o666)
	}
	large, value, _ := strings.Cut(device.LargePages, "=")
	for name, raw := range map[string]string{"hrlab": "false", "hrlab-ci": "true"} {
		err := write(map[string]any{
			"argv":           []string{o.bin("gonb"), "--kernel", "{connection_file}", "-go_work=" + o.root, "-raw_error=" + raw, "-logtostderr=false", "-log_file=" + os.DevNull},
			"display_name":   "Go (" + name + ")",
			"language":       "go",
			"interrupt_mode": "message",
			"env": map[string]string{
				"PATH":         filepath.Join(o.venv(), "bin") + ":" + filepath.Dir(compiler) + ":${PATH}",
				"GOFLAGS":      cellFlags,
				"GOEXPERIMENT": experiment(),
				"GOPROXY":      "off",
				// The user's own settings are for other builds.
				"GOENV": "off", "GOCACHE": caches.GOCACHE, "GOMODCACHE": caches.GOMODCACHE,
				"GOWORK": "", "GO111MODULE": "", "GOOS": "", "GOARCH": "", "CGO_ENABLED": "", "GOROOT": "",
				large: value,
			},
		}, "kernels", name, "kernel.json")
		if err != nil {
			return err
		}
	}
	return write(map[string]any{
		"@jupyterlab/apputils-extension:notification": map[string]any{"fetchNews": "false", "checkForUpdates": false},
	}, "lab", "settings", "overrides.json")
}

type notebookLabCmd struct {
	Args []string `arg:"" optional:"" passthrough:"" help:"Arguments of jupyter lab, such as --no-browser --port=8888."`
}

// Run becomes JupyterLab.
func (l *notebookLabCmd) Run() error {
	o, err := findCheckout()
	if err == nil {
		err = o.installed()
	}
	if err == nil {
		err = checkTemporary()
	}
	if err != nil {
		return err
	}
	args := []string{o.bin("python"), "-m", "jupyterlab", "--notebook-dir=" + filepath.Join(o.root, "notebooks"), "--MultiKernelManager.default_kernel_name=hrlab"}
	if os.Geteuid() == 0 {
		args = append(args, "--allow-root")
	}
	return syscall.Exec(args[0], append(args, l.Args...), os.Environ())
}

type notebookRunCmd struct {
	Files   []string          `arg:"" name:"file" help:"Notebooks."`
	Param   map[string]string `short:"p" mapsep:"none" placeholder:"NAME=VALUE" help:"Value of a parameter (nb.Param)."`
	Out     string            `placeholder:"FILE|FOLDER" help:"Where the executed notebook goes; for several, a folder."`
	InPlace bool              `help:"Write it over the original."`
}

//go:embed notebook.py
var executor string

// refused is the executor's exit code where it could not read or write.
const refused = 2

// executed is what the executor tells.
type executed struct {
	Cell    int     `json:"cell"` // code cells, counted from 1
	Cells   int     `json:"cells"`
	Seconds float64 `json:"seconds"`
	Error   string  `json:"error"`
	Line    int     `json:"line"` // 0 where not known
	Source  string  `json:"source"`
}

// Run executes.
func (r *notebookRunCmd) Run(ctx context.Context, c *console) error {
	o, err := findCheckout()
	if err == nil {
		err = o.installed()
	}
	if err == nil {
		err = checkTemporary()
	}
	if err != nil {
		return err
	}
	outs, err := r.outs()
	if err != nil {
		return err
	}
	for i, file := range r.Files {
		if err := r.check(file); err != nil {
			return err
		}
		if outs[i] == "" {
			continue
		}
		if err := hrstyle.CheckWritable(outs[i]); err != nil {
			return err
		}
	}
	for i, file := range r.Files {
		if err := r.execute(ctx, c, o, file, outs[i]); err != nil {
			return err
		}
	}
	return nil
}

// outs says where the executed copy of each notebook goes.
func (r *notebookRunCmd) outs() ([]string, error) {
	outs := make([]string, len(r.Files))
	switch info, err := os.Stat(r.Out); {
	case r.Out != "" && r.InPlace:
		return nil, errors.New("--out or --in-place, not both")
	case r.InPlace:
		copy(outs, r.Files)
	case r.Out == "":
	case err == nil && info.IsDir():
		for i, file := range r.Files {
			outs[i] = filepath.Join(r.Out, filepath.Base(file))
		}
	case len(r.Files) > 1:
		return nil, fmt.Errorf("--out %s: is no folder; several notebooks need one", r.Out)
	default:
		outs[0] = r.Out
	}
	if r.InPlace {
		return outs, nil
	}
	return outs, apart(outs, r.Files)
}

// check finds what cannot be executed here, and parameters that a notebook does not have.
func (r *notebookRunCmd) check(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var notebook struct {
		Format   int `json:"nbformat"`
		Metadata struct {
			Kernel   struct{ Language string } `json:"kernelspec"`
			Language struct{ Name string }     `json:"language_info"`
		} `json:"metadata"`
		Cells []struct {
			Type   string `json:"cell_type"`
			Source source `json:"source"`
		} `json:"cells"`
	}
	const allowed = "allowed: a Jupyter notebook of format 4 (.ipynb)"
	err = json.Unmarshal(text, &notebook)
	language := cmp.Or(notebook.Metadata.Language.Name, notebook.Metadata.Kernel.Language, "go")
	switch {
	case err == nil && notebook.Format > 0 && notebook.Format != 4:
		return fmt.Errorf("%s: is a notebook of format %d; %s, as jupyter nbconvert --to notebook makes", file, notebook.Format, allowed)
	case err != nil || notebook.Format == 0 || notebook.Cells == nil:
		return fmt.Errorf("%s: is no notebook; %s", file, allowed)
	case !strings.EqualFold(language, "go"):
		return fmt.Errorf("%s: is a notebook in %s; allowed: in Go", file, language)
	}
	var cells []string
	for _, cell := range notebook.Cells {
		if cell.Type == "code" {
			cells = append(cells, string(cell.Source))
		}
	}
	known, all := parameters(cells)
	for name := range r.Param {
		if all && !slices.Contains(known, name) {
			return fmt.Errorf("%s has no parameter %q; it has: %s", file, name, cmp.Or(strings.Join(known, ", "), "none"))
		}
	}
	return nil
}

// source is a cell's text, which notebooks have whole or by lines.
type source string

func (s *source) UnmarshalJSON(text []byte) error {
	var lines []string
	if json.Unmarshal(text, &lines) == nil {
		*s = source(strings.Join(lines, ""))
		return nil
	}
	return json.Unmarshal(text, (*string)(s))
}

// parameters are the names that cells give to nb.Param and nb.Values, sorted, however that is written. It says whether these
// are all: not where a name is no literal.
func parameters(cells []string) (names []string, all bool) {
	type word struct {
		kind token.Token
		text string
	}
	words := []word{{}, {}} // so that there are two before each
	packages, dot := []string{}, false
	for _, cell := range cells {
		code := commandLine.ReplaceAllString(cell, "")
		var s scanner.Scanner
		files := token.NewFileSet()
		s.Init(files.AddFile("", -1, len(code)), []byte(code), nil, 0)
		for kind := token.ILLEGAL; kind != token.EOF; {
			var text string
			_, kind, text = s.Scan()
			if path, err := strconv.Unquote(text); kind == token.STRING && err == nil && path == "hrlab/notebooks/nb" {
				switch before := words[len(words)-1]; before.kind {
				case token.IDENT:
					packages = append(packages, before.text)
				case token.PERIOD:
					dot = true
				default:
					packages = append(packages, "nb")
				}
			}
			words = append(words, word{kind, text})
		}
	}
	if len(packages) == 0 && !dot {
		packages = []string{"nb"} // the kernel imports what is missing
	}
	all = true
	for i, w := range words {
		if w.kind != token.IDENT || w.text != "Param" && w.text != "Values" {
			continue
		}
		selected := words[i-1].kind == token.PERIOD && slices.Contains(packages, words[i-2].text)
		plain := dot && words[i-1].kind != token.PERIOD && words[i-1].kind != token.FUNC
		if !selected && !plain {
			continue
		}
		rest := words[i+1:]
		if rest[0].kind == token.LBRACK { // the type
			rest = rest[1+slices.IndexFunc(rest, func(w word) bool { return w.kind == token.RBRACK || w.kind == token.EOF }):]
		}
		if len(rest) < 3 || rest[0].kind != token.LPAREN || rest[1].kind != token.STRING || rest[2].kind != token.COMMA {
			all = false
			continue
		}
		name, _ := strconv.Unquote(rest[1].text)
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names), all
}

// commandLine is a line for GoNB itself.
var commandLine = regexp.MustCompile(`(?m)^[%!].*$`)

func (r *notebookRunCmd) execute(ctx context.Context, c *console, o checkout, file, out string) error {
	run := exec.CommandContext(ctx, o.bin("python"), "-c", executor, file, out, "hrlab-ci")
	run.Cancel = func() error { return run.Process.Signal(os.Interrupt) }
	run.WaitDelay = 20 * time.Second
	run.Env = append(os.Environ(), "HRLAB_NOTEBOOK_RUN=1", "PYTHONWARNINGS=ignore")
	for name, value := range r.Param {
		run.Env = append(run.Env, "HRLAB_PARAM_"+name+"="+value)
	}
	var failure bytes.Buffer
	run.Stderr = &failure
	said, err := run.StdoutPipe()
	if err != nil {
		return err
	}
	if err := run.Start(); err != nil {
		return err
	}
	var last executed
	lines := bufio.NewScanner(said)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		last = executed{}
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			continue // a library's chatter
		}
		if last.Error == "" {
			fmt.Fprintf(c.messages, "%s: cell %d of %d, %.1f s\n", file, last.Cell, last.Cells, last.Seconds)
		}
	}
	err = run.Wait()
	switch {
	case ctx.Err() != nil:
		if last.Error != "" {
			fmt.Fprintf(c.messages, "%s: stopped in cell %d of %d\n", file, last.Cell, last.Cells)
		}
		return context.Cause(ctx)
	case last.Error != "":
		where := fmt.Sprintf("cell %d", last.Cell)
		if last.Line > 0 {
			where += fmt.Sprintf(", line %d", last.Line)
		}
		for i, line := range strings.Split(strings.TrimRight(last.Source, "\n"), "\n") {
			mark := "  "
			if i+1 == last.Line {
				mark = "> "
			}
			fmt.Fprintln(c.messages, mark+line)
		}
		err = fmt.Errorf("%s: %s: %w: %s", file, where, errCell, last.Error)
		if run.ProcessState.ExitCode() == refused {
			err = fmt.Errorf("%w; %s", err, lastLine(failure))
		}
		return err
	case err != nil && run.ProcessState.ExitCode() == refused:
		return errors.New(lastLine(failure))
	case err != nil:
		return fmt.Errorf("%s: %w: %s", file, errCell, lastLine(failure))
	}
	return nil
}

func lastLine(text bytes.Buffer) string {
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	return lines[len(lines)-1]
}
