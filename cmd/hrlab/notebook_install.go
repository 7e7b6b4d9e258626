package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"hrlab/hrstyle/device"
	"hrlab/picture"
)

type notebookInstallCmd struct {
	Uninstall bool `help:"Remove it."`
}

// Help has examples.
func (*notebookInstallCmd) Help() string {
	return `Examples:

	hrlab notebook install
	hrlab notebook install --uninstall`
}

// Run makes the Python environment unless it is up to date, and builds the kernel and what cells import.
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
	if err := picture.WriteFile(o.stamp(), nil); err != nil { // so that a next try knows the environment as ours
		return err
	}
	if err := quietly(exec.CommandContext(ctx, "python3", "-m", "venv", o.venv())); err != nil {
		return err
	}
	if err := quietly(exec.CommandContext(ctx, o.bin("python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", o.requirements())); err != nil {
		return err
	}
	return picture.WriteFile(o.stamp(), []byte(stamp))
}

// experiment is the GOEXPERIMENT that the Makefile builds with: with another, nothing in the build cache would fit.
func experiment() string {
	if runtime.GOARCH == "amd64" {
		return "simd"
	}
	return ""
}

// cellFlags leave debugging information out of cells. Most of a cell's time is linking, half of it for that information.
const cellFlags = "-ldflags=-w"

// warmCell is a package that imports what cells import.
const warmCell = `package cell

import (
	_ "hrlab/experiments"
	_ "hrlab/hrstyle"
	_ "hrlab/notebooks/nb"
	_ "hrlab/report"
	_ "hrlab/tracker"
)
`

// installGo builds the kernel and hrlab, and then what cells import, with the kernel's flags. After that everything that cells
// need is in the module and build caches, so that the kernel works offline.
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
		return picture.WriteFile(file, append(text, '\n'))
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
				// The user's Go environment is meant for other builds.
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
