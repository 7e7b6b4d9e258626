package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"hrlab/hrstyle"
	"hrlab/hrstyle/device"
	"hrlab/video"

	"github.com/shirou/gopsutil/v4/mem"
)

type doctorCmd struct {
	JSON bool `name:"json" help:"Print one JSON object, whose values are texts or lists of texts."`
}

// Help has examples.
func (*doctorCmd) Help() string {
	return `Examples:

	hrlab doctor
	hrlab doctor --json`
}

// finding is something that doctor looked at: what was found, or what is missing and the command that installs it.
type finding struct {
	name  string
	lines []string
}

// Run prints one line per finding, and last a line for a bug report.
func (d *doctorCmd) Run(ctx context.Context, c *console) error {
	findings := examine(ctx)
	if d.JSON {
		object := map[string]any{}
		for _, f := range findings {
			object[f.name] = f.lines[0]
			if len(f.lines) > 1 {
				object[f.name] = f.lines
			}
		}
		out := json.NewEncoder(c.out)
		out.SetEscapeHTML(false)
		out.SetIndent("", "  ")
		return out.Encode(object)
	}
	for _, f := range findings {
		name := f.name
		for _, line := range f.lines {
			if _, err := fmt.Fprintf(c.out, "%-24s %s\n", name, line); err != nil {
				return err
			}
			name = ""
		}
	}
	return nil
}

func examine(ctx context.Context) (findings []finding) {
	say := func(name, format string, args ...any) {
		line := fmt.Sprintf(format, args...)
		if n := len(findings); n > 0 && findings[n-1].name == name {
			findings[n-1].lines = append(findings[n-1].lines, line)
			return
		}
		findings = append(findings, finding{name, []string{line}})
	}
	say("system", "%s/%s, %d cores", runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	if v, err := mem.VirtualMemory(); err == nil {
		say("memory", "%.1f GB, %.1f free", float64(v.Total)/1e9, float64(v.Available)/1e9)
	}
	plugins := device.Plugins()
	if driver, ok := device.FindDriver(ctx); !ok {
		say("NVIDIA driver", "not found")
	} else {
		say("NVIDIA driver", "%s", cmp.Or(driver.Version, "found, version not known"))
		for _, gpu := range driver.GPUs {
			say("GPU", "%s free", gpu)
		}
		if _, ok := plugins[device.CUDA]; !ok {
			say("CUDA", "no plugin: run hrlab setup --device cuda")
		}
	}
	if path, ok := plugins[device.CUDA]; ok {
		version, cudnn, ptxas := device.CUDAParts(path)
		say("CUDA", "%s (%s)", path, cmp.Or(version, "version not known"))
		say("cuDNN", "%s", cmp.Or(cudnn, "not found: run hrlab setup --device cuda"))
		say("ptxas", "%s", cmp.Or(ptxas, "not found: run hrlab setup --device cuda"))
	}
	if path, ok := plugins[device.CPU]; ok {
		say("XLA:CPU", "%s", path)
		if device.Outdated(path) {
			say("XLA:CPU", "of another version of hrlab: hrlab setup plugin renews it")
		}
	} else {
		say("XLA:CPU", "no plugin: run hrlab setup")
		for _, tool := range device.MissingTools(device.CPU) {
			say("XLA:CPU", "%s is missing, which hrlab setup needs: apt-get install %s", tool.Name, tool.Package)
		}
	}
	sayCache(say, device.FindCache())
	if program, err := video.Find(ctx); err != nil {
		say("ffmpeg", "not found; videos need it: apt-get install ffmpeg")
	} else {
		say("ffmpeg", "%s", program)
	}
	say("pure Go", "always there; slow")
	chosen := ""
	if d, err := device.Open(device.Auto); err != nil {
		chosen = oneLine(err)
		say("device", "%s", chosen)
	} else {
		chosen = d.Name
		say("device", "%s (%s)", d.Name, d.Why)
		d.Finalize()
	}
	var weights string
	if v, err := hrstyle.OpenVGG("auto"); err != nil {
		weights = oneLine(err)
		say("VGG19", "%s", weights)
	} else {
		path, _ := hrstyle.CachedVGG() // OpenVGG has just read it
		weights = v.Label
		say("VGG19", "%s: %s", path, weights)
	}
	for _, name := range []string{"HRLAB_DEVICE", "HRLAB_VGG", "PJRT_PLUGIN_LIBRARY_PATH", "XLA_FLAGS", "GLIBC_TUNABLES"} {
		say(name, "%s", cmp.Or(os.Getenv(name), "-"))
	}
	all := versions()
	for _, v := range all {
		say("versions", "%s", v)
	}
	say("for a bug report", "%s; %s/%s; %s; VGG19 %s", strings.Join(all, ", "), runtime.GOOS, runtime.GOARCH, chosen, weights)
	return findings
}

// sayCache says what XLA:CPU has kept of what it compiled.
func sayCache(say func(name, format string, args ...any), cache device.Cache) {
	const name = "compiled graphs"
	if cache.Dir == "" {
		say(name, "not kept: %s", cache.Problem)
		return
	}
	say(name, "%s: %d files, %.1f MB; hrlab setup empty-cache removes them", cache.Dir, cache.Entries, float64(cache.Bytes)/1e6)
	if cache.Problem == "" {
		return
	}
	when := ""
	if !cache.Since.IsZero() {
		when = cache.Since.Format("2006-01-02 15:04") + ": "
	}
	say(name, "last problem: %s%s", when, cache.Problem)
}

// versions lists the program, Go and the modules that results depend on.
func versions() (list []string) {
	info := buildInfo()
	list = []string{"hrlab " + release + ", module " + moduleVersion(info), info.GoVersion} // it names the GOEXPERIMENT too
	for _, m := range info.Deps {
		name := m.Path[strings.LastIndex(m.Path, "/")+1:]
		if slices.Contains([]string{"gomlx", "compute", "go-xla", "go-sqlite3", "imaging"}, name) {
			list = append(list, name+" "+m.Version)
		}
	}
	return list
}
