package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
)

// notebookCmd are the verbs on notebooks.
type notebookCmd struct {
	Install notebookInstallCmd `cmd:"" help:"Install what notebooks need: JupyterLab and a Go kernel, in the folder .venv of the checkout."`
	Lab     notebookLabCmd     `cmd:"" help:"Open JupyterLab in a folder of yours, with copies of the notebooks."`
	Run     notebookRunCmd     `cmd:"" help:"Execute notebooks from top to bottom, without a browser."`
}

// Help has examples.
func (*notebookCmd) Help() string {
	return `Examples:

	hrlab notebook install
	hrlab notebook lab
	hrlab notebook run notebooks/01_first_fit.ipynb`
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

// stamp is the file that says what the environment was made from. Where it exists, hrlab made the environment.
func (o checkout) stamp() string { return filepath.Join(o.venv(), "hrlab") }

// installed says whether there is an environment to use.
func (o checkout) installed() error {
	if _, err := os.Stat(o.stamp()); err != nil {
		return errors.New("notebooks are not installed: run hrlab notebook install")
	}
	return nil
}
