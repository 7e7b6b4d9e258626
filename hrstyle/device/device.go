// Package device finds, opens and installs what a graph can run on: CUDA and XLA:CPU through PJRT plugins, and pure Go,
// which needs nothing and is slow.
//
//	d, err := device.Open(device.Auto)
//	…
//	defer d.Finalize()
//	exec := graph.MustNewExec(d.Backend, …)
//
// Plugins are shared libraries named pjrt_c_api_cpu…_plugin.so and pjrt_c_api_cuda…_plugin.so. They are looked for in the
// directories of PJRT_PLUGIN_LIBRARY_PATH, and then in those of go-xla: ~/.local/lib/go-xla, /usr/local/lib/go-xla and the
// folder nvidia in each. The first that is found is taken. Opening a device never touches the network.
//
// InstallCPU builds the XLA:CPU plugin from a Python wheel, on linux/amd64 with python3, pip and clang++, into
//
//	~/.local/lib/go-xla/hrlab-cpu-<hash>/         the plugin, its two libraries (640 MB) and a program that checks them
//	~/.local/lib/go-xla/pjrt_c_api_cpu_plugin.so  a link to the plugin
//
// where every program made with go-xla finds it too. To remove the plugin, remove both. InstallCUDA does the same for CUDA.
package device

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	_ "github.com/gomlx/compute/gobackend" // registers "go"
	"github.com/gomlx/go-xla/compute/xla"
	"github.com/gomlx/go-xla/pjrt"
)

// Kind is a kind of device.
type Kind string

// The kinds of device. Auto is the first of the others that can be opened.
const (
	Auto Kind = "auto"
	CUDA Kind = "cuda"
	CPU  Kind = "cpu" // XLA:CPU
	Go   Kind = "go"
)

// Device is an open device. Finalize it when done.
type Device struct {
	compute.Backend
	Kind Kind
	Name string // for people, such as "XLA:CPU (/home/…/pjrt_c_api_cpu_plugin.so)"
	Why  string // why this one was taken, such as "no CUDA plugin found: …; the best device found"
}

// names are for people.
var names = map[Kind]string{CUDA: "CUDA", CPU: "XLA:CPU", Go: "pure Go"}

// missing says what mends the absence of a kind of plugin.
var missing = map[Kind]string{
	CUDA: "no CUDA plugin found: run hrlab setup --device cuda",
	CPU:  "no XLA:CPU plugin found: run hrlab setup",
}

// Open opens a device of the given kind, or says in one line why it cannot. Auto tries CUDA, XLA:CPU and pure Go in this
// order, and Why says which of them could not be opened.
func Open(kind Kind) (*Device, error) {
	switch kind {
	case Auto:
		return openBest()
	case CUDA:
		if err := checkDriver(context.Background()); err != nil {
			return nil, err
		}
		return openPlugin(CUDA)
	case CPU:
		return openPlugin(CPU)
	case Go:
		// Operations one after the other: the parallel executor can deadlock in matrix products.
		backend, err := recovered(func() (compute.Backend, error) { return compute.NewWithConfig("go:ops_sequential") })
		if err != nil {
			return nil, fmt.Errorf("pure Go cannot be opened: %w", err)
		}
		return &Device{backend, Go, "pure Go", "as asked for"}, nil
	}
	return nil, fmt.Errorf("device %s: unknown; allowed: auto, cuda, cpu, go", kind)
}

func openBest() (*Device, error) {
	var passed []string
	for _, kind := range []Kind{CUDA, CPU, Go} {
		d, err := Open(kind)
		if err == nil {
			d.Why = strings.Join(append(passed, map[Kind]string{CUDA: "the best device", CPU: "the best device found", Go: "pure Go is slow"}[kind]), "; ")
			return d, nil
		}
		passed = append(passed, err.Error())
	}
	return nil, errors.New(strings.Join(passed, "; "))
}

// openPlugin opens the plugin of a kind by its path. By its name go-xla would load every plugin, which takes a second.
func openPlugin(kind Kind) (*Device, error) {
	path, ok := Plugins()[kind]
	if !ok {
		return nil, errors.New(missing[kind])
	}
	isCPU, isCUDA := strings.Contains(strings.ToUpper(path), "CPU"), pjrt.IsCUDAName(path)
	if strings.Contains(path, ",") || isCPU != (kind == CPU) || isCUDA != (kind == CUDA) {
		return nil, fmt.Errorf("%s cannot be opened: go-xla guesses kind and options from the whole path and would misread this one: move it", path)
	}
	xla.EnableAutoInstall(false)
	backend, err := recovered(func() (compute.Backend, error) { return xla.New(path) })
	if err != nil {
		return nil, fmt.Errorf("%s cannot be opened: %w", path, err)
	}
	return &Device{backend, kind, names[kind] + " (" + path + ")", "as asked for"}, nil
}

// recovered turns a panic into an error, because GoMLX and its backends panic for some of theirs.
func recovered(open func() (compute.Backend, error)) (backend compute.Backend, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return open()
}

// Plugins finds the plugin that Open would take for each kind, without loading it.
func Plugins() map[Kind]string {
	found := map[Kind]string{}
	for _, dir := range searchPath() {
		for _, kind := range []Kind{CPU, CUDA} {
			files, _ := filepath.Glob(filepath.Join(dir, "pjrt_c_api_"+string(kind)+"*_plugin.so"))
			files = slices.DeleteFunc(files, func(f string) bool { _, err := os.Stat(f); return err != nil })
			if _, ok := found[kind]; !ok && len(files) > 0 {
				found[kind] = files[0]
			}
		}
	}
	return found
}

// searchPath lists the directories that may hold plugins.
func searchPath() (dirs []string) {
	for _, dir := range filepath.SplitList(os.Getenv(pjrt.PJRTPluginPathsEnv)) {
		if abs, err := filepath.Abs(dir); err == nil && dir != "" {
			dirs = append(dirs, abs) // go-xla takes a relative path for a name
		}
	}
	roots := []string{"/usr/local/lib/go-xla"}
	if dir, err := userDir(); err == nil {
		roots = slices.Insert(roots, 0, dir)
	}
	for _, root := range roots {
		dirs = append(dirs, root, filepath.Join(root, "nvidia"))
	}
	return dirs
}

// userDir is go-xla's directory of plugins in the user's home.
func userDir() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no home directory for plugins: set HOME (%w)", err)
	}
	return filepath.Join(home, ".local", "lib", "go-xla"), nil
}

// LargePages is the variable in [Environment] that counts only if it is set when the process starts.
const LargePages = "GLIBC_TUNABLES=glibc.malloc.hugetlb=1"

// Environment lists variables, as NAME=value, that make XLA:CPU faster and quieter, and keep what it compiled (see
// [FindCache]). Those that are set already are not in it. GLIBC_TUNABLES counts only if it is set when the process starts, the
// others if they are set before Open.
//
// XLA ends the process if it does not know a flag in XLA_FLAGS. The plugin that InstallCPU builds and the CUDA plugin
// jax-cuda13-pjrt 0.12 know the flag that is set here. With a plugin that does not, set XLA_FLAGS yourself, if only to
// nothing.
func Environment() []string {
	all := []string{
		// Large pages: a step frees and takes hundreds of MB, and page faults are a third of its time without.
		LargePages,
		// The emitters for fusions take a third of the first step for nothing.
		"XLA_FLAGS=--xla_cpu_use_fusion_emitters=false",
		// Less talk on stderr: fatal errors alone, and no notice of oneDNN, which XLA:CPU does not use.
		"TF_CPP_MIN_LOG_LEVEL=3",
		"TF_ENABLE_ONEDNN_OPTS=0",
	}
	if dir, err := cacheDir(); err == nil {
		all = append(all, CacheVariable+"="+dir)
	}
	var list []string
	for _, v := range all {
		name, _, _ := strings.Cut(v, "=")
		if _, set := os.LookupEnv(name); !set {
			list = append(list, v)
		}
	}
	return list
}
