package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
)

// release is the number of the release that this source belongs to, as CHANGELOG.md has it.
const release = "0.1.0"

type versionCmd struct{}

// Help has examples.
func (*versionCmd) Help() string {
	return `Examples:

	hrlab version`
}

// Run prints.
func (*versionCmd) Run(c *console) error {
	_, err := fmt.Fprintln(c.out, version(buildInfo()))
	return err
}

// buildInfo is what Go recorded in this program about its build.
func buildInfo() *debug.BuildInfo {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info
	}
	return &debug.BuildInfo{GoVersion: runtime.Version()}
}

// version says what was built, a line each: the release, the module's version, the commit and Go's version. Where Go builds
// in a checkout, the module's version is the commit's tag, as v0.1.0, or else made of time and commit; where it builds a
// fetched module there is no commit, and elsewhere the version is (devel).
func version(info *debug.BuildInfo) string {
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	commit := "not known: Go recorded none"
	if settings["vcs.revision"] != "" {
		commit = settings["vcs.revision"] + " of " + settings["vcs.time"]
	}
	if settings["vcs.modified"] == "true" {
		commit += ", with changes"
	}
	return fmt.Sprintf("hrlab %s\nmodule %s\ncommit %s\n%s %s/%s", release, moduleVersion(info), commit, info.GoVersion, runtime.GOOS, runtime.GOARCH)
}

func moduleVersion(info *debug.BuildInfo) string { return cmp.Or(info.Main.Version, "(devel)") }
