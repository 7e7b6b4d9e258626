package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/scanner"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	_ "embed" // the program that executes notebooks

	"hrlab/picture"

	"hrlab/tracker"
)

type notebookRunCmd struct {
	Files   []string          `arg:"" name:"file" help:"Notebooks."`
	Param   map[string]string `short:"p" mapsep:"none" placeholder:"NAME=VALUE" help:"Value of a parameter (nb.Param)."`
	Out     string            `placeholder:"FILE|FOLDER" help:"Where the executed notebook goes. In a folder, which several notebooks need, it has the name of the original, with a number where there is one."`
	InPlace bool              `help:"Overwrite the original."`
}

// Help has examples.
func (*notebookRunCmd) Help() string {
	return `Cells run in the working directory: files that parameters name count from there, and runs are recorded where the other
commands record them, in HRLAB_DB or hrlab.db.

Examples:

	hrlab notebook run notebooks/01_first_fit.ipynb
	hrlab notebook run notebooks/02_weight_ranges.ipynb -p content=boat.jpg -p style=sunset.jpg --out boat.ipynb`
}

//go:embed notebook_run.py
var executor string

// refused is the exit code of notebook_run.py where it could not read or write a file.
const refused = 2

// executed is a line of notebook_run.py: how a cell went.
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
	records := false
	for i, file := range r.Files {
		cells, err := r.check(file)
		if err != nil {
			return err
		}
		records = records || usesTracker.MatchString(strings.Join(cells, "\n"))
		if outs[i] == "" {
			continue
		}
		if err := picture.CheckWritable(outs[i]); err != nil {
			return err
		}
	}
	if records {
		if err := sayDatabase(c); err != nil {
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
	switch {
	case r.Out != "" && r.InPlace:
		return nil, errors.New("--out or --in-place, not both")
	case r.InPlace:
		copy(outs, r.Files)
	case r.Out == "":
	case isFolder(r.Out):
		for i, file := range r.Files {
			out, err := newPlace(r.Out, filepath.Base(file))
			if err != nil {
				return nil, err
			}
			outs[i] = out.path
		}
	case len(r.Files) > 1:
		return nil, fmt.Errorf("--out %s: is not a folder; several notebooks need one", r.Out)
	default:
		outs[0] = r.Out
	}
	if r.InPlace {
		return outs, nil
	}
	for _, out := range outs {
		if out != "" {
			if err := endsIn(out, ".ipynb"); err != nil {
				return nil, err
			}
		}
	}
	return outs, apart(outs, r.Files)
}

// usesTracker matches the functions of package nb that open the database of runs.
var usesTracker = regexp.MustCompile(`\b(Tracker|Lab|LabHere)\(`)

// sayDatabase prints which database the cells use: nb.Tracker finds it as the other commands do.
func sayDatabase(c *console) error {
	const variable = "HRLAB_DB"
	path := tracker.WithoutPassword(os.Getenv(variable))
	if !tracker.IsServer(path) {
		var err error
		if path, err = tracker.Path(cmp.Or(path, "hrlab.db")); err == nil {
			path, err = filepath.Abs(path)
		}
		if err != nil {
			return err
		}
	}
	if os.Getenv(variable) != "" {
		path += " (" + variable + ")"
	}
	fmt.Fprintln(c.messages, "runs are recorded in", path)
	return nil
}

// check refuses what is no notebook in Go, and parameters that the notebook does not have. It returns the code cells.
func (r *notebookRunCmd) check(file string) (cells []string, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
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
		return nil, fmt.Errorf("%s: is a notebook of format %d; %s, as jupyter nbconvert --to notebook makes", file, notebook.Format, allowed)
	case err != nil || notebook.Format == 0 || notebook.Cells == nil:
		return nil, fmt.Errorf("%s: is not a notebook; %s", file, allowed)
	case !strings.EqualFold(language, "go"):
		return nil, fmt.Errorf("%s: is a notebook in %s; allowed: in Go", file, language)
	}
	for _, cell := range notebook.Cells {
		if cell.Type == "code" {
			cells = append(cells, string(cell.Source))
		}
	}
	known, all := parameters(cells)
	for name := range r.Param {
		if all && !slices.Contains(known, name) {
			return nil, fmt.Errorf("%s has no parameter %q; it has: %s", file, name, cmp.Or(strings.Join(known, ", "), "none"))
		}
	}
	return cells, nil
}

// source is the text of a cell, which a notebook has as one string or as a list of lines.
type source string

func (s *source) UnmarshalJSON(text []byte) error {
	var lines []string
	if json.Unmarshal(text, &lines) == nil {
		*s = source(strings.Join(lines, ""))
		return nil
	}
	return json.Unmarshal(text, (*string)(s))
}

// parameters are the names that cells give to nb.Param and nb.Values, sorted. all is false where a name is not a literal, so
// that there may be more.
func parameters(cells []string) (names []string, all bool) {
	type word struct {
		kind token.Token
		text string
	}
	words := []word{{}, {}} // so that every word has two before it
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
		packages = []string{"nb"} // the kernel adds missing imports
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

// commandLine matches lines that are commands to GoNB, such as %% and !ls.
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
			continue // printed by a library
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
	case out == "":
		fmt.Fprintf(c.messages, "%s: outputs are not kept: --out FILE keeps them\n", file)
	default:
		fmt.Fprintf(c.messages, "%s: outputs are in %s\n", file, out)
	}
	return nil
}

func lastLine(text bytes.Buffer) string {
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	return lines[len(lines)-1]
}
