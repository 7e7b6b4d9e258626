package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

type notebookLabCmd struct {
	Args []string `arg:"" optional:"" passthrough:"" name:"folder" help:"Your folder; without one the working directory, or in the checkout ~/hrlab-notebooks. After it arguments of jupyter lab, such as --no-browser --port=8888."`
}

// Help has examples.
func (*notebookLabCmd) Help() string {
	return `The folder gets copies of the four notebooks; a copy that is there is left as it is.

Examples:

	hrlab notebook lab
	hrlab notebook lab ~/boat
	hrlab notebook lab ~/boat --no-browser --port=8888`
}

// Run replaces this process by JupyterLab.
func (l *notebookLabCmd) Run(c *console) error {
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
	folder, more, err := l.folder(o)
	if err == nil {
		err = o.copyNotebooks(folder)
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(c.messages, "notebooks and their runs are in", folder)
	args := []string{o.bin("python"), "-m", "jupyterlab", "--notebook-dir=" + folder, "--MultiKernelManager.default_kernel_name=hrlab"}
	if os.Geteuid() == 0 {
		args = append(args, "--allow-root")
	}
	return syscall.Exec(args[0], append(args, more...), os.Environ())
}

// folder is the folder to open, and what is left of the arguments for JupyterLab.
func (l *notebookLabCmd) folder(o checkout) (folder string, more []string, err error) {
	if len(l.Args) > 0 && !strings.HasPrefix(l.Args[0], "-") {
		folder, err = filepath.Abs(l.Args[0])
		return folder, l.Args[1:], err
	}
	if folder, err = os.Getwd(); err != nil {
		return "", nil, err
	}
	if folder == o.root || strings.HasPrefix(folder, o.root+string(filepath.Separator)) { // which stays as it is
		home, err := os.UserHomeDir()
		if err != nil {
			return "", nil, fmt.Errorf("%w; name a folder: hrlab notebook lab FOLDER", err)
		}
		folder = filepath.Join(home, "hrlab-notebooks")
	}
	return folder, l.Args, nil
}

// copyNotebooks copies the notebooks of the checkout into a folder, which it makes. Files that are there it leaves as they are.
func (o checkout) copyNotebooks(folder string) error {
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return fmt.Errorf("%s: is no folder that notebooks can be in: %w", folder, err)
	}
	names, err := filepath.Glob(filepath.Join(o.root, "notebooks", "*.ipynb"))
	if err != nil {
		return err
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		file, err := os.OpenFile(filepath.Join(folder, filepath.Base(name)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			_, err = file.Write(text)
			err = errors.Join(err, file.Close())
		}
		if err != nil {
			return err
		}
	}
	return nil
}
