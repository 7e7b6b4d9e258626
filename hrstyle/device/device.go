// Package device finds, opens and installs what a graph can run on: CUDA and XLA:CPU through PJRT plugins, and pure Go,
// which needs nothing and is slow.
//
// Plugins are shared libraries in go-xla's layout. They are looked for in the directories of PJRT_PLUGIN_LIBRARY_PATH
// or, where that is not set, in ~/.local/lib/go-xla, /usr/local/lib/go-xla and the folder nvidia of each. Opening a
// device never touches the network; InstallCPU does.
package device

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	_ "github.com/gomlx/compute/gobackend" // registers "go"
	"github.com/gomlx/go-xla/compute/xla"
	"github.com/gomlx/gomlx/support/exceptions"
)

// Kind is a kind of device.
type Kind string

// The kinds, Auto meaning the first of the others that there is.
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
	Why  string // why this one was taken
}

// missing says what mends the absence of a kind of plugin.
var missing = map[Kind]string{
	CUDA: "no CUDA plugin found: see the README's section on CUDA",
	CPU:  "no XLA:CPU plugin found: run hrlab setup",
}

// Open opens a device of the given kind. Auto tries CUDA, XLA:CPU and pure Go in this order, and Why says what was
// passed over; any other kind is opened or is an error.
func Open(kind Kind) (*Device, error) {
	var passed []string
	switch kind {
	case Auto:
		for _, k := range []Kind{CUDA, CPU} {
			d, err := Open(k)
			if err == nil {
				d.Why = strings.Join(append(passed, "the best device found"), "; ")
				return d, nil
			}
			passed = append(passed, err.Error())
		}
		d, err := Open(Go)
		if err == nil {
			d.Why = strings.Join(passed, "; ") + "; pure Go is slow"
		}
		return d, err
	case CUDA, CPU:
		if kind == CUDA && !HasNVIDIA() {
			return nil, errors.New("no NVIDIA driver found")
		}
		path, ok := Plugins()[kind]
		if !ok {
			return nil, errors.New(missing[kind])
		}
		xla.EnableAutoInstall(false)
		backend, err := open(func() (compute.Backend, error) { return xla.New(path) })
		if err != nil {
			return nil, fmt.Errorf("%s cannot be opened: %w", path, err)
		}
		return &Device{backend, kind, map[Kind]string{CUDA: "CUDA", CPU: "XLA:CPU"}[kind] + " (" + path + ")", "as asked for"}, nil
	case Go:
		// Operations one after the other: the parallel executor can deadlock in matrix products.
		backend, err := open(func() (compute.Backend, error) { return compute.NewWithConfig("go:ops_sequential") })
		return &Device{backend, Go, "pure Go", "as asked for"}, err
	}
	return nil, fmt.Errorf("device %s: unknown; allowed: auto, cuda, cpu, go", kind)
}

// open turns a panic into an error.
func open(f func() (compute.Backend, error)) (backend compute.Backend, err error) {
	if panicked := exceptions.TryCatch[error](func() { backend, err = f() }); panicked != nil {
		err = panicked
	}
	return backend, err
}

// HasNVIDIA says whether the NVIDIA driver shows a device.
func HasNVIDIA() bool {
	found, _ := filepath.Glob("/dev/nvidia*") //nolint:errcheck // the pattern is right
	return len(found) > 0
}

// Plugins finds the plugin file of each kind.
func Plugins() map[Kind]string {
	found := map[Kind]string{}
	for _, dir := range searchPath() {
		for _, kind := range []Kind{CPU, CUDA} {
			files, _ := filepath.Glob(filepath.Join(dir, "pjrt_c_api_"+string(kind)+"*_plugin.so")) //nolint:errcheck // the pattern is right
			files = slices.DeleteFunc(files, func(f string) bool { _, err := os.Stat(f); return err != nil })
			if _, ok := found[kind]; !ok && len(files) > 0 {
				found[kind] = files[0]
			}
		}
	}
	return found
}

// searchPath lists the directories that may hold plugins.
func searchPath() []string {
	if path, ok := os.LookupEnv("PJRT_PLUGIN_LIBRARY_PATH"); ok {
		return slices.DeleteFunc(filepath.SplitList(path), func(dir string) bool { return dir == "" })
	}
	roots := []string{"/usr/local/lib/go-xla"}
	if dir, err := userDir(); err == nil {
		roots = slices.Insert(roots, 0, dir)
	}
	var dirs []string
	for _, root := range roots {
		dirs = append(dirs, root, filepath.Join(root, "nvidia"))
	}
	return dirs
}

// userDir is go-xla's directory of plugins in the user's home.
func userDir() (string, error) {
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".local", "lib", "go-xla"), err
}

// Environment lists the variables that make XLA:CPU quicker and quieter and that are not set; they count only if they
// are there when the process starts.
func Environment() []string {
	var list []string
	for _, v := range [][2]string{
		// Large pages: a step frees and takes hundreds of MB, and page faults are a third of its time without.
		{"GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"},
		// The emitters for fusions take a third of the first step for nothing.
		{"XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false"},
		// Less talk on stderr: fatal errors alone, and no notice of oneDNN, which XLA:CPU does not use.
		{"TF_CPP_MIN_LOG_LEVEL", "3"},
		{"TF_ENABLE_ONEDNN_OPTS", "0"},
	} {
		if _, set := os.LookupEnv(v[0]); !set {
			list = append(list, v[0]+"="+v[1])
		}
	}
	return list
}
