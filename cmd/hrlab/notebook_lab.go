package main

import (
	"os"
	"path/filepath"
	"syscall"
)

type notebookLabCmd struct {
	Args []string `arg:"" optional:"" passthrough:"" help:"Arguments of jupyter lab, such as --no-browser --port=8888."`
}

// Help has examples.
func (*notebookLabCmd) Help() string {
	return `Examples:

	hrlab notebook lab
	hrlab notebook lab --no-browser --port=8888`
}

// Run replaces this process by JupyterLab.
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
