package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Where stderr is a file no verb draws in place: it has lines, without escape codes, and names the device once, in a short one.
// The command lines are executed in their order, in one folder.
func TestLogs(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := pictures(dir); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"HOME": dir, "HRLAB_DEVICE": "go", "HRLAB_VGG": "random", "TERM": "xterm", "HRLAB_DB": ""} {
		t.Setenv(name, value)
	}
	const pair = "--content content.png --style content.png --size 32 --steps 2 "
	var missing []string
	for _, node := range newParser().Model.Leaves(false) {
		missing = append(missing, strings.TrimPrefix(node.FullPath(), "hrlab "))
	}
	for _, c := range []struct {
		verb, args string
		devices    int // how often the device is named
		code       int // the exit code
	}{
		{"fit", pair + "--generator g.safetensors --checkpoint-every 1", 1, 0},
		{"fit", "--resume 1 --steps 3", 1, 0},
		{"fit", "--content content.png --style missing.png", 0, 2},
		{"sweep", pair + "--content-weight 1,10", 1, 0},
		{"sweep", pair + "--content-weight 1,10 --dry-run", 1, 0},
		{"map", pair + "--name map", 1, 0},
		{"sweep", "--map map --content-weight 8,80", 1, 0},
		{"worker", "--drain", 1, 0},
		{"launch local", "--workers 1 --drain", 0, 0}, // the worker's lines begin with its name
		{"launch slurm", "--array 2 --db postgres://lab@db/lab", 0, 0},
		{"launch ssh", "host", 0, 2},
		{"apply", "--run 1 content.png --out applied.png", 1, 0},
		{"apply", "--generator g.safetensors . --out many", 1, 1}, // some of them are damaged
		{"export", "look.cube --run 1 content.png --size 17", 1, 0},
		{"bench", "--sizes 32 --steps 1", 0, 0},
		{"demo", "--out demo", 1, 130},
		{"report", "--experiment sweep", 0, 0},
		{"compare", "1 2", 0, 0},
		{"queue status", "", 0, 0},
		{"queue pause", "", 0, 0},
		{"queue resume", "", 0, 0},
		{"queue cancel", "--experiment sweep", 0, 0},
		{"queue retry", "--experiment sweep", 0, 0},
		{"runs list", "", 0, 0},
		{"runs show", "1", 0, 0},
		{"runs diff", "1 2 --out .", 0, 0},
		{"runs get", "1 output --out .", 0, 0},
		{"runs tag", "1 a=b", 0, 0},
		{"runs note", "1 text", 0, 0},
		{"runs rm", "1 2", 0, 0},
		{"runs restore", "1", 0, 0},
		{"runs gc", "", 0, 0},
		{"runs check", "", 0, 0},
		{"runs backup", "--out backup.db", 0, 0},
		{"runs export", "--out runs.jsonl", 0, 0},
		{"runs import", "runs.jsonl", 0, 0},
		{"runs copy", "--from hrlab.db --to copy.db", 0, 0},
		{"setup", "empty-cache", 0, 0},
		{"setup", "weights --weights-url content.png", 0, 2},
		{"doctor", "", 0, 0},
		{"serve", "--addr 8765", 0, 2}, // one that serves is in TestPage
		{"notebook run", "missing.ipynb", 0, 2},
		{"completion", "bash", 0, 0},
		{"version", "", 0, 0},
		{"help", "runs list", 0, 0},
	} {
		missing = slices.DeleteFunc(missing, func(verb string) bool { return verb == c.verb })
		log, err := os.Create(filepath.Join(t.TempDir(), "log"))
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		line := append(strings.Fields(c.verb), strings.Fields(c.args)...)
		command := exec.CommandContext(t.Context(), "hrlab", line...)
		command.Stderr = log
		if c.code == 130 { // Ctrl-C when it has said what it runs on
			command = exec.CommandContext(t.Context(), "sh", "-c", `log=$1; shift; "$@" & until grep -q "^device: " "$log"; do sleep 0.1; done; kill -INT $!; wait $!`, "sh", log.Name(), "hrlab")
			command.Args, command.Stderr = append(command.Args, line...), log
		}
		code := 0
		var exit *exec.ExitError
		if err := command.Run(); errors.As(err, &exit) {
			code = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(log.Name())
		if err != nil {
			t.Fatal(err)
		}
		devices := slices.DeleteFunc(strings.Split(string(text), "\n"), func(l string) bool { return !strings.HasPrefix(l, "device: ") })
		if code != c.code || len(devices) != c.devices || len(strings.Join(devices, "")) > 80 || bytes.ContainsAny(text, "\r\x1b\b") {
			t.Errorf("%v: exit code %d, want %d; %d lines with a device, want %d\n%q", line, code, c.code, len(devices), c.devices, text)
		}
	}
	if !slices.Equal(missing, []string{"notebook install", "notebook lab"}) { // which install, and serve
		t.Errorf("not tested: %q", missing)
	}
}
