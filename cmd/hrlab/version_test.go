package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"
)

// What a build says of itself: in a checkout at a tag, after it, with changes, as a fetched module, and without a checkout.
func TestVersion(t *testing.T) {
	vcs := func(modified string) []debug.BuildSetting {
		return []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: "6adf8e2466f1"}, {Key: "vcs.time", Value: "2026-11-25T20:40:55Z"}, {Key: "vcs.modified", Value: modified}}
	}
	const pseudo = "v0.1.1-0.20261125204055-6adf8e2466f1"
	for _, c := range []struct {
		module   string
		settings []debug.BuildSetting
		want     string // the two lines in the middle
	}{
		{"v0.1.0", vcs("false"), "module v0.1.0\ncommit 6adf8e2466f1 of 2026-11-25T20:40:55Z\n"},
		{pseudo, vcs("false"), "module " + pseudo + "\ncommit 6adf8e2466f1 of 2026-11-25T20:40:55Z\n"},
		{pseudo + "+dirty", vcs("true"), "module " + pseudo + "+dirty\ncommit 6adf8e2466f1 of 2026-11-25T20:40:55Z, with changes\n"},
		{"v0.1.0", nil, "module v0.1.0\ncommit not known: Go recorded none\n"},
		{"(devel)", nil, "module (devel)\ncommit not known: Go recorded none\n"},
		{"", nil, "module (devel)\ncommit not known: Go recorded none\n"},
	} {
		info := &debug.BuildInfo{GoVersion: "go1.26.8", Settings: c.settings}
		info.Main.Version = c.module
		got := version(info)
		if !strings.HasPrefix(got, "hrlab "+release+"\n"+c.want+"go1.26.8 ") {
			t.Errorf("%q: %s", c.module, got)
		}
	}
}

// A program that go build made here says what go version -m reads in it.
func TestVersionOfBuild(t *testing.T) {
	program := filepath.Join(t.TempDir(), "hrlab")
	output := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	output("go", "build", "-o", program, ".")
	recorded := output("go", "version", "-m", program)
	find := func(pattern string) string {
		if m := regexp.MustCompile(pattern).FindStringSubmatch(recorded); m != nil {
			return m[1]
		}
		return ""
	}
	commit := "not known: Go recorded none"
	if revision := find(`\tvcs\.revision=(\S+)`); revision != "" {
		commit = revision + " of " + find(`\tvcs\.time=(\S+)`)
	}
	if find(`\tvcs\.modified=(\S+)`) == "true" {
		commit += ", with changes"
	}
	want := "hrlab " + release + "\nmodule " + find(`\tmod\thrlab\t(\S+)`) + "\ncommit " + commit + "\n" + find(`: (go.*)`) + " "
	for _, argument := range []string{"version", "--version"} {
		if got := output(program, argument); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s\nwant %s", argument, got, want)
		}
	}
}

// The release is the latest that CHANGELOG.md names.
func TestRelease(t *testing.T) {
	text, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	if m := regexp.MustCompile(`(?m)^## v?(\d\S*)`).FindSubmatch(text); m == nil || string(m[1]) != release {
		t.Errorf("hrlab version says %s, CHANGELOG.md %s", release, m)
	}
}
