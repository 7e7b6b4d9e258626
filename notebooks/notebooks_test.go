// Package notebooks_test executes the notebooks in a real Jupyter, and uses JupyterLab in a real browser.
//
// make test installs what that needs. Without HRLAB_TEST_REQUIRE_NOTEBOOKS the tests skip what is not there.
package notebooks_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"hrlab/hrstyle/sample"
	"hrlab/notebooks/browser"
	"hrlab/picture"
)

// hrlab is the program under test, venv the Python environment that it installs.
var hrlab, venv string

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	var err error
	if venv, err = filepath.Abs("../.venv"); err != nil {
		return 0, err
	}
	if _, err := os.Stat(filepath.Join(venv, "hrlab")); err != nil && !browser.Required() {
		fmt.Println("skipped: notebooks are not installed: hrlab notebook install")
		return 0, nil
	}
	dir, err := os.MkdirTemp("", "hrlab-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the system clears its temporary directory too
	hrlab = filepath.Join(dir, "hrlab")
	for _, args := range [][]string{{"go", "build", "-o", hrlab, "../cmd/hrlab"}, {hrlab, "notebook", "install"}} {
		c := exec.Command(args[0], args[1:]...)
		if out, err := c.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("%s: %w\n%s", args, err, out)
		}
	}
	return m.Run(), nil
}

// copied is a folder with copies of notebooks, so that nothing is written beside the originals.
func copied(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(name)), data, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// command is one in dir that reaches no network, as far as that heeds proxies, and uses random filters.
func command(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = dir
	const nowhere = "http://127.0.0.1:9"
	c.Env = append(os.Environ(), "HTTP_PROXY="+nowhere, "HTTPS_PROXY="+nowhere, "NO_PROXY=localhost,127.0.0.1", "GOPROXY=off",
		"HRLAB_VGG=random", "HRLAB_DB="+filepath.Join(dir, "hrlab.db"), "JUPYTER_CONFIG_DIR="+filepath.Join(dir, "config"), "JUPYTER_DATA_DIR="+filepath.Join(dir, "data"))
	return c
}

// inCheckout runs hrlab in this folder, on files of dir.
func inCheckout(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	c := command(t.Context(), dir, hrlab, args...)
	c.Dir = "."
	out, err := c.CombinedOutput()
	return string(out), err
}

type output struct {
	Type string                     `json:"output_type"`
	Text any                        `json:"text"`
	Data map[string]json.RawMessage `json:"data"`
}

type notebook struct {
	Cells []struct {
		Type    string   `json:"cell_type"`
		Source  any      `json:"source"`
		Count   int      `json:"execution_count"`
		Outputs []output `json:"outputs"`
	} `json:"cells"`
}

// read reads a notebook, and the HTML of all its outputs as JSON writes it.
func read(t *testing.T, path string) (n notebook, html string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &n)
	}
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, cell := range n.Cells {
		for _, o := range cell.Outputs {
			if o.Type == "error" {
				t.Errorf("%s has an error", path)
			}
			all.Write(o.Data["text/html"])
		}
	}
	return n, all.String()
}

// tiny are the parameters that every notebook is executed with.
func tiny(name string) []string {
	args := []string{"-p", "size=64", "-p", "steps=6", "-p", "vgg=random"}
	if name == "02_weight_ranges.ipynb" {
		args = append(args, "-p", "content_weights=3,300", "-p", "style_weights=1")
	}
	return args
}

// The command lines of README and docs/notebooks.md that execute a notebook, in a fresh folder with two photographs: files
// count from there, runs go to the database there, and nothing else lies beside the notebooks.
func TestDocuments(t *testing.T) {
	dir := t.TempDir()
	for path, img := range map[string]image.Image{"boat.jpg": sample.Content(64, 48), "sunset.jpg": sample.Style(48, 64)} {
		if err := picture.Save(filepath.Join(dir, path), img, picture.Encoding{}); err != nil {
			t.Fatal(err)
		}
	}
	names := []string{"01_first_fit.ipynb", "02_weight_ranges.ipynb"}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go.mod", ".venv"} { // the folder looks like a checkout
		if err := os.Symlink(filepath.Join(root, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(copied(t, names...), filepath.Join(dir, "notebooks")); err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, document := range []string{"../README.md", "../docs/notebooks.md"} {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range regexp.MustCompile(`(?m)^    (?:\.build/)?hrlab (notebook run .*)`).FindAllStringSubmatch(string(text), -1) {
			lines++
			args := strings.Fields(line[1])
			c := command(t.Context(), dir, hrlab, append(args, tiny(filepath.Base(args[2]))...)...)
			c.Env = append(c.Env, "HRLAB_DB=")
			if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "runs are recorded in "+filepath.Join(dir, "hrlab.db")) {
				t.Errorf("%s: %v\n%s", line[1], err, out)
			}
			if _, err := os.Stat(filepath.Join(dir, args[slices.Index(args, "--out")+1])); err != nil {
				t.Error(err)
			}
		}
	}
	if lines < 2 {
		t.Errorf("%d command lines that execute a notebook", lines)
	}
	beside, err := os.ReadDir(filepath.Join(dir, "notebooks"))
	if err != nil || len(beside) != len(names) {
		t.Errorf("beside the notebooks: %v %v", beside, err)
	}
}

// Every notebook, from top to bottom, in a Jupyter without network. Its outputs are what its texts say, and the worker
// that fitted ends with the kernel.
func TestExecute(t *testing.T) {
	expected := map[string][]string{ // in the HTML of the outputs, beside pictures
		"01_first_fit.ipynb":      {"day.png", "fitted: step 6", "data:image/svg", "type: \\\"range\\\"", "<th>content kept</th>"},
		"02_weight_ranges.ipynb":  {"2 of 2 trials: 2 fitted, 0 already done, 0 failed", "<th>content 300</th>", "queue this fit", "nothing is suggested: 2 of the 3 finished settings", "random filters"},
		"03_compare_runs.ipynb":   {"3 of 3 trials: 3 fitted", "<td>300</td>", "<td>param</td><td>content_weight</td>", "data:image/svg"},
		"04_paper_settings.ipynb": {"5 of 5 trials: 5 fitted", "4 of 4 trials: 4 fitted", "<th>content 8000</th>", "<th>style 10</th>"},
		"05_weight_map.ipynb":     {"step 6", "ratio 8000 : 1", "hrlab-ratio", "--ratio RATIO", "data:image/svg"},
	}
	files, err := filepath.Glob("*.ipynb")
	if err != nil || len(files) != len(expected) {
		t.Fatalf("%v: %v; the test knows %d", files, err, len(expected))
	}
	dir := copied(t, files...)
	for _, name := range files {
		t.Run(name, func(t *testing.T) {
			out, err := inCheckout(t, dir, append([]string{"notebook", "run", filepath.Join(dir, name), "--in-place"}, tiny(name)...)...)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			n, html := read(t, filepath.Join(dir, name))
			for _, want := range append(expected[name], "data:image/jpeg;base64,", "<table>") {
				if !strings.Contains(html, want) {
					t.Errorf("no %q in the outputs", want)
				}
			}
			if regexp.MustCompile(`(src|href)=\\"https?:`).MatchString(html) {
				t.Error("an output loads from another host")
			}
			if last := fmt.Sprintf("cell %d of", len(n.Cells)); strings.Contains(out, last) || !strings.Contains(out, "cell 1 of ") {
				t.Errorf("progress:\n%s", out)
			}
			// Kernel and worker are gone: the lock that a living worker holds is free.
			files, err := filepath.Glob(filepath.Join(dir, "hrlab.db.worker-????????"))
			if err != nil || len(files) != 1 {
				t.Fatal(files, err)
			}
			lock, err := os.Open(files[0])
			if err != nil {
				t.Fatal(err)
			}
			defer lock.Close()
			for i := 0; syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil; i++ {
				if i == 6000 {
					t.Fatal("the worker outlives the kernel")
				}
				time.Sleep(time.Second / 10)
			}
		})
	}
}

// JupyterLab opens a folder of the person's, with copies of the notebooks. The checkout stays as it is, and so do files that are
// there.
func TestLab(t *testing.T) {
	before := listed(t, ".")
	home, own := t.TempDir(), filepath.Join(t.TempDir(), "my boat")
	mine := filepath.Join(own, "02_weight_ranges.ipynb")
	if err := errors.Join(os.Mkdir(own, 0o777), os.WriteFile(mine, []byte("mine"), 0o666)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, from, want string
		args             []string
	}{
		{"a folder", ".", own, []string{own}},
		{"a new folder", home, filepath.Join(home, "new"), []string{"new"}},
		{"the working directory", own, own, nil},
		{"in the checkout", ".", filepath.Join(home, "hrlab-notebooks"), nil},
		{"below its root", "nb", filepath.Join(home, "hrlab-notebooks"), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			lab := command(t.Context(), home, hrlab, append(append([]string{"notebook", "lab"}, c.args...), "--show-config")...)
			lab.Dir, lab.Env = c.from, append(lab.Env, "HOME="+home)
			// The program under test lies in a temporary folder: it finds the checkout by being in it, or by its installed copy.
			if c.from == home || c.from == own {
				lab.Path = filepath.Join(venv, "bin", "hrlab")
			}
			if out, err := lab.CombinedOutput(); err != nil || !strings.Contains(string(out), "notebooks and their runs are in "+c.want+"\n") {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, name := range listed(t, ".") {
				if filepath.Ext(name) != ".ipynb" {
					continue
				}
				want, err := os.ReadFile(name)
				got, err2 := os.ReadFile(filepath.Join(c.want, name))
				if name == filepath.Base(mine) && c.want == own {
					want = []byte("mine")
				}
				if err := errors.Join(err, err2); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: %v, or another text", name, err)
				}
			}
		})
	}
	if after := listed(t, "."); !slices.Equal(before, after) {
		t.Errorf("the checkout had %q, and has %q", before, after)
	}
	out, err := inCheckout(t, home, "notebook", "lab", mine)
	if err == nil || strings.Count(out, "\n") != 1 || !strings.Contains(out, "02_weight_ranges.ipynb: is no folder that notebooks can be in") {
		t.Errorf("a file: %v\n%s", err, out)
	}
}

// listed are the names in a folder.
func listed(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// The notebooks as saved: executed, without an error, small, with the real VGG19.
func TestSaved(t *testing.T) {
	files, err := filepath.Glob("*.ipynb")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		n, html := read(t, name)
		info, err := os.Stat(name)
		if err != nil || info.Size() > 400_000 {
			t.Errorf("%s: %d bytes: %v", name, info.Size(), err)
		}
		if !strings.Contains(html, "data:image/jpeg;base64,") || strings.Contains(html, "random filters in place") {
			t.Errorf("%s has no pictures, or was made with random filters", name)
		}
		if regexp.MustCompile(`[" >](/home|/tmp|/usr|/var)/`).MatchString(html) {
			t.Errorf("%s names a path of a machine", name)
		}
		for i, cell := range n.Cells[2:] {
			if cell.Type == "code" && cell.Count == 0 { // one that was executed may have nothing to show
				t.Errorf("%s: cell %d was not executed", name, i+2)
			}
		}
	}
}

// write makes a notebook of code cells.
func write(t *testing.T, path string, cells ...string) {
	t.Helper()
	type cell = map[string]any
	var list []cell
	for i, c := range cells {
		list = append(list, cell{"cell_type": "code", "id": fmt.Sprintf("c%d", i), "metadata": cell{}, "execution_count": nil, "outputs": []any{}, "source": c})
	}
	text, err := json.Marshal(cell{"cells": list, "metadata": cell{"kernelspec": cell{"name": "hrlab", "display_name": "Go", "language": "go"}}, "nbformat": 4, "nbformat_minor": 5})
	if err == nil {
		err = os.WriteFile(path, text, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What a user can do wrong is one line, with cell and line; the exit code is 1 where a cell fails, and 2 before that. The
// original is never written over.
func TestErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.ipynb")
	out := filepath.Join(dir, "out.ipynb")
	const imports = "import \"hrlab/notebooks/nb\"\n"
	for _, c := range []struct {
		name  string
		cells []string
		args  []string
		want  string
		code  int
	}{
		{"error", []string{"%%\nfmt.Println(1)", imports + "%%\n\npair := nb.Pair(\"none.jpg\", \"\")\nfmt.Println(pair)"}, nil, `cell 2, line 4: .*none\.jpg: no such file`, 1},
		{"compiler", []string{"%%\nfmt.Println(1)\nvar x int = \"a\"\nfmt.Println(x)"}, nil, `cell 1, line 3: .*cannot use "a"`, 1},
		{"panic", []string{"%%\nvar m map[string]int\nm[\"a\"] = 1"}, nil, `cell 1, line 3: .*assignment to entry in nil map`, 1},
		{"panic elsewhere", []string{"func g(n int) int {\n\treturn 1 / n\n}", "%%\nfmt.Println(1)\n\n\nfmt.Println(g(0))"}, nil, `cell 2, line 5: .*integer divide by zero`, 1},
		{"column", []string{imports + "%%\ntype row struct{ A, b int }\nnb.Table([]row{{1, 2}}, \"b\")"}, nil, `cell 1, line 4: .*column "b": allowed: A$`, 1},
		{"table", []string{imports + "%%\nnb.Table([]int{1})"}, nil, `cell 1, line 3: .*a table of int: allowed: runs, or structs$`, 1},
		{"parameter", []string{imports + "var n = nb.Param(\"n\", 1)\n%%\nfmt.Println(n)"}, []string{"-p", "n=x"}, `parameter n: "x" is not of type int`, 1},
		{"unknown", []string{imports + "var n = nb.Param(\"n\", 1)\n%%\nfmt.Println(n)"}, []string{"-p", "m=1"}, `has no parameter "m"; it has: n`, 2},
		{"original", []string{"%%\nfmt.Println(1)"}, []string{"--out", path}, `is read and would be overwritten`, 2},
		{"folder", []string{"%%\nfmt.Println(1)"}, []string{"--out", filepath.Join(dir, "none", "out.ipynb")}, `out\.ipynb: cannot be written: no such file or directory`, 2},
		{"text", nil, nil, `x\.ipynb: is not a notebook; allowed`, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(t, path, c.cells...)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			args := append([]string{"notebook", "run", path}, c.args...)
			if c.code == 1 {
				args = append(args, "--out", out)
			}
			text, err := inCheckout(t, dir, args...)
			if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != c.code { //nolint:errorlint // exec's own
				t.Errorf("%v; want exit code %d", err, c.code)
			}
			lines := strings.Split(strings.TrimSpace(text), "\n")
			if last := lines[len(lines)-1]; !regexp.MustCompile(c.want).MatchString(last) {
				t.Errorf("%s\nwant %s", text, c.want)
			}
			if strings.Contains(text, "goroutine") {
				t.Errorf("a stack of frames:\n%s", text)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
				t.Error("the original was written over")
			}
		})
	}
	write(t, path, imports+"var n = nb.Param(\"n\", 1)\n%%\nfmt.Println(2*n)")
	if text, err := inCheckout(t, dir, "notebook", "run", path, "-p", "n=21", "--out", out); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if n, _ := read(t, out); fmt.Sprint(n.Cells[0].Outputs[0].Text) != "[42\n]" {
		t.Errorf("output %v", n.Cells[0].Outputs)
	}
	// The last line says where the outputs are: in a folder under a number where the name is taken, or nowhere.
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--out", out}, "x.ipynb: outputs are in " + out},
		{[]string{"--out", dir}, "x.ipynb: outputs are in " + filepath.Join(dir, "x_2.ipynb")},
		{nil, "x.ipynb: outputs are not kept: --out FILE keeps them"},
	} {
		if text, err := inCheckout(t, dir, append([]string{"notebook", "run", path}, c.args...)...); err != nil || !strings.HasSuffix(text, c.want+"\n") {
			t.Errorf("%v: %v\n%s\nwant %s", c.args, err, text, c.want)
		}
	}
	outside := command(t.Context(), dir, hrlab, "notebook", "install")
	if text, err := outside.CombinedOutput(); err == nil || !strings.Contains(string(text), "no checkout of hrlab here or above") {
		t.Errorf("outside of a checkout: %v\n%s", err, text)
	}
}

// Notebooks as people have them: without code, with a cell that may fail before one that must not, with names beyond ASCII,
// and whatever the user's own Go environment is.
func TestOddNotebooks(t *testing.T) {
	for name, value := range map[string]string{"GOFLAGS": "-mod=vendor", "GOWORK": "off", "GO111MODULE": "off", "GOOS": "windows", "GOARCH": "arm64", "CGO_ENABLED": "0", "GOROOT": "/none"} {
		t.Setenv(name, value)
	}
	dir := t.TempDir()
	const head, tail = `{"metadata": {}, "nbformat": 4, "nbformat_minor": 4, "cells": [`, `]}`
	code := func(source string, tags ...string) string {
		metadata, err := json.Marshal(map[string]any{"tags": append([]string{}, tags...)})
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(source)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`{"cell_type": "code", "metadata": %s, "execution_count": null, "outputs": [], "source": %s}`, metadata, text)
	}
	const markdown = `{"cell_type": "markdown", "metadata": {}, "source": "# Nothing to do"}`
	stale := strings.Replace(code("%%\nfmt.Println(2)"), `"outputs": []`, `"outputs": [{"output_type": "error", "ename": "E", "evalue": "old", "traceback": []}]`, 1)
	const kept = `[^\n]+: outputs are in [^\n]+/out [^\n]+\.ipynb$`
	for _, c := range []struct {
		name, text string
		args       []string
		want       string // all that is said
		code       int
		output     string // of the first cell, as JSON
	}{
		{"empty", head + tail, nil, `^` + kept, 0, ``},
		{"markdown", head + markdown + tail, nil, `^` + kept, 0, ``},
		{"blank", head + markdown + "," + code(" \n") + tail, nil, `^` + kept, 0, ``},
		{
			"Übersicht 夕日's \"n\"", head + code("import \"hrlab/notebooks/nb\"\n\nvar (\n\tgröße, n = nb.Param(`größe`, 0b1), // comment\n\t\tnb.Param[float64](\"n\", -1_000)\n)\n%%\nfmt.Println(\"夕\", größe, n)") + tail,
			[]string{"-p", "größe=0x_ff", "-p", "n=2"},
			`cell 1 of 1, [\d.]+ s\n` + kept, 0, `夕 255 2`,
		},
		{
			"may fail", head + code("%%\npanic(1)", "raises-exception") + "," + code("%%\nvar m map[string]int\nm[\"a\"] = 1") + "," + stale + tail, nil,
			`(?s)^[^\n]+: cell 1 of 3, [\d.]+ s\n  %%\n  var m map\[string\]int\n> m\["a"\] = 1\nhrlab: [^\n]+: cell 2, line 3: the notebook failed: panic: assignment to entry in nil map$`, 1, ``,
		},
		{"format 3", `{"metadata": {}, "nbformat": 3, "nbformat_minor": 0, "worksheets": [{"cells": []}]}`, nil, `^hrlab: .*: is a notebook of format 3; allowed: a Jupyter notebook of format 4`, 2, ``},
		{"no metadata", `{"nbformat": 4, "nbformat_minor": 4, "cells": []}`, nil, `^hrlab: .*: is not a notebook: .* missing an expected key: metadata$`, 2, ``},
		{"no format", `{"metadata": {}, "cells": []}`, nil, `^hrlab: .*: is not a notebook; allowed: a Jupyter notebook of format 4 \(.ipynb\)$`, 2, ``},
		{"nothing", ``, nil, `^hrlab: .*: is not a notebook; allowed`, 2, ``},
		{"python", strings.Replace(head, `{}`, `{"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}`, 1) + tail, nil, `^hrlab: .*: is a notebook in python; allowed: in Go$`, 2, ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			path, out := filepath.Join(dir, c.name+".ipynb"), filepath.Join(dir, "out "+c.name+".ipynb")
			if err := os.WriteFile(path, []byte(c.text), 0o666); err != nil {
				t.Fatal(err)
			}
			run := command(t.Context(), dir, hrlab, append([]string{"notebook", "run", path, "--out", out}, c.args...)...)
			run.Dir = "."
			said, err := run.CombinedOutput()
			if got := strings.TrimSpace(string(said)); run.ProcessState.ExitCode() != c.code || !regexp.MustCompile(c.want).MatchString(got) || c.code == 2 && strings.Contains(got, "\n") {
				t.Fatalf("%v\n%s\nwant %s", err, got, c.want)
			}
			if data, err := os.ReadFile(out); (err == nil) != (c.code < 2) || !bytes.Contains(data, []byte(c.output)) {
				t.Errorf("the executed copy: %v\n%s", err, data)
			}
		})
	}
	t.Setenv("TMPDIR", filepath.Join(dir, "none"))
	if text, err := inCheckout(t, dir, "notebook", "run", filepath.Join(dir, "markdown.ipynb")); err == nil || !regexp.MustCompile(`^hrlab: \S+/none: temporary files cannot be written there: no such file or directory; set TMPDIR to a folder that can be written\n$`).MatchString(text) {
		t.Errorf("without TMPDIR: %v\n%s", err, text)
	}
}

// Ctrl-C stops the cell as the stop button does: its run is stopped, and the executed copy has what there is.
func TestInterrupt(t *testing.T) {
	dir := copied(t, "testdata/stop.ipynb")
	c := command(t.Context(), dir, hrlab, "notebook", "run", filepath.Join(dir, "stop.ipynb"), "--out", filepath.Join(dir, "out.ipynb"))
	c.Dir = "."
	var said bytes.Buffer
	c.Stderr = &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	status := func() string {
		out, _ := command(t.Context(), dir, hrlab, "runs", "list", "--where", "metrics.total > 0").Output() // no database yet: nothing
		return string(out)
	}
	for try := 0; !strings.Contains(status(), "running"); try++ {
		if try == 3000 {
			t.Fatalf("no run begins: %s", said.String())
		}
		time.Sleep(time.Second / 5)
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); c.ProcessState.ExitCode() != 130 || !strings.HasSuffix(said.String(), "stopped in cell 1 of 2\n") {
		t.Errorf("%v\n%s", err, said.String())
	}
	for try := 0; !strings.Contains(status(), "stopped"); try++ { // the worker may be at a step still
		if try == 3000 {
			t.Fatalf("the run is not stopped: %s", status())
		}
		time.Sleep(time.Second / 10)
	}
	data, err := os.ReadFile(filepath.Join(dir, "out.ipynb"))
	if err != nil || !bytes.Contains(data, []byte("stopped: step")) {
		t.Errorf("the executed copy: %v, %d bytes", err, len(data))
	}
}

// A cell says which run its fit waits for. What it shows in mid-fit has its time, for it stays when the kernel is restarted,
// which stops the fit.
func TestWait(t *testing.T) {
	script, err := filepath.Abs("testdata/wait.py")
	if err != nil {
		t.Fatal(err)
	}
	out, err := command(t.Context(), t.TempDir(), filepath.Join(venv, "bin", "python"), script, hrlab).Output()
	if err != nil || !regexp.MustCompile(`(?m)\Awaiting for run 1, \d s\nfitting: step [1-9].* s, at \d\d:\d\d:\d\d\nstopped stopped\n\z`).Match(out) {
		t.Errorf("%v\n%s", err, out)
	}
}

// Jupyter's own tests of kernels. docs/notebooks.md says what does not pass, and why.
func TestKernel(t *testing.T) {
	pip := exec.Command(filepath.Join(venv, "bin", "python"), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", "tools/requirements-test.txt")
	if out, err := pip.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"test_kernel_info", "test_execute_stdout", "test_execute_stderr", "test_display_data", "test_inspect", "test_completion"} {
		t.Run(name, func(t *testing.T) {
			if out, err := command(t.Context(), "testdata", filepath.Join(venv, "bin", "python"), "kernel_test.py", "GoKernel."+name).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}

// JupyterLab in Chromium: testdata/lab.js says what is done. HRLAB_TEST_SCREENSHOTS is a folder to keep pictures in.
func TestBrowser(t *testing.T) {
	dir := copied(t, "02_weight_ranges.ipynb", "03_compare_runs.ipynb", "05_weight_map.ipynb", "testdata/stop.ipynb")
	// JupyterLab leaves cells that are out of sight out of the page: the test looks at all.
	settings := filepath.Join(dir, "config", "lab", "user-settings", "@jupyterlab", "notebook-extension")
	if err := os.MkdirAll(settings, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(settings, "tracker.jupyterlab-settings"), []byte(`{"windowingMode": "none"}`), 0o666); err != nil {
		t.Fatal(err)
	}
	lab := command(context.Background(), dir, filepath.Join(venv, "bin", "python"), "-m", "jupyterlab", "--notebook-dir="+dir, "--no-browser", "--allow-root", "--port=0", "--IdentityProvider.token=t")
	for _, p := range []string{"size=64", "steps=6", "content_weights=3,300", "style_weights=1", "vgg=random"} {
		lab.Env = append(lab.Env, "HRLAB_PARAM_"+p)
	}
	said, err := lab.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = lab.Process.Signal(syscall.SIGTERM) // it ends its kernels, and they the worker
		timer := time.AfterFunc(time.Minute, func() { _ = lab.Process.Kill() })
		defer timer.Stop()
		_ = lab.Wait()
	})
	address := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(said); lines.Scan(); {
			if m := regexp.MustCompile(`http://(?:localhost|127\.0\.0\.1):(\d+)/lab`).FindStringSubmatch(lines.Text()); m != nil {
				select {
				case address <- "http://127.0.0.1:" + m[1] + "/lab?token=t":
				default:
				}
			}
		}
	}()
	var url string
	select {
	case url = <-address:
	case <-time.After(10 * time.Minute):
		t.Fatal("JupyterLab does not start")
	}
	browser.Run(t, "testdata/lab.js", url, browser.Screenshots(t))
	var runs []struct {
		ID json.Number `json:"id"`
	}
	list, err := command(t.Context(), dir, hrlab, "runs", "list", "--where", `experiment = "stop" and status = stopped`, "--json").Output()
	if err == nil {
		err = json.Unmarshal(list, &runs)
	}
	if err != nil || len(runs) != 2 {
		t.Errorf("want two stopped runs: %v\n%s", err, list)
	}
	for _, r := range runs {
		if out, err := command(t.Context(), dir, hrlab, "runs", "get", r.ID.String(), "output", "--out", "stopped.png").CombinedOutput(); err != nil {
			t.Errorf("a stopped run has no picture: %v\n%s", err, out)
		}
	}
}
