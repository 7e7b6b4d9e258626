package main

import (
	"cmp"
	"fmt"
	"os"
	"runtime"

	"hrlab/hrstyle"
	"hrlab/hrstyle/device"

	"github.com/shirou/gopsutil/v4/mem"
)

type doctorCmd struct{}

// Run prints a line a thing: what was found, or what is missing and the command that mends it.
func (*doctorCmd) Run(c *console) error {
	say := func(name, format string, args ...any) {
		fmt.Fprintf(c.out, "%-24s %s\n", name, fmt.Sprintf(format, args...))
	}
	say("system", "%s/%s, %d cores", runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	if v, err := mem.VirtualMemory(); err == nil {
		say("memory", "%.1f GB, %.1f free", float64(v.Total)/1e9, float64(v.Available)/1e9)
	}
	plugins := device.Plugins()
	switch path, ok := plugins[device.CUDA]; {
	case !device.HasNVIDIA():
		say("CUDA", "no NVIDIA driver found")
	case !ok:
		say("CUDA", "driver found, but no plugin: see the README's section on CUDA")
	default:
		say("CUDA", "%s", path)
	}
	if path, ok := plugins[device.CPU]; ok {
		say("XLA:CPU", "%s", path)
	} else {
		say("XLA:CPU", "no plugin: run hrlab setup")
		for _, tool := range device.MissingTools() {
			say("", "%s is missing, which hrlab setup needs: apt-get install %s", tool.Name, tool.Package)
		}
	}
	say("pure Go", "always there; slow")
	if d, err := device.Open(device.Auto); err != nil {
		say("device", "%s", oneLine(err))
	} else {
		say("device", "%s (%s)", d.Name, d.Why)
		d.Finalize()
	}
	path, err := hrstyle.CachedVGG()
	if err != nil {
		return err
	}
	if _, err := hrstyle.LoadVGG(path); err != nil {
		say("VGG19", "%s: run hrlab setup weights", oneLine(err))
	} else {
		say("VGG19", "%s", path)
	}
	for _, name := range []string{"HRLAB_DEVICE", "HRLAB_VGG", "PJRT_PLUGIN_LIBRARY_PATH", "XLA_FLAGS", "GLIBC_TUNABLES"} {
		say(name, "%s", cmp.Or(os.Getenv(name), "-"))
	}
	return nil
}
