package main

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"hrlab/picture"

	"hrlab/hrstyle/sample"
	"hrlab/tracker/postgrestest"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the scripts' expected output")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"hrlab": main})
}

// Every command line of testdata/script, as a user would type it. The scripts run in pure Go with random filters
// unless they say otherwise, which every machine can.
func TestScripts(t *testing.T) {
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Cmds:          map[string]func(ts *testscript.TestScript, neg bool, args []string){"fails": fails, "waitfor": waitFor, "examples": examples, "executes": executes, "frozen": frozen, "postgres": func(ts *testscript.TestScript, _ bool, args []string) { ts.Setenv(args[0], postgrestest.New(t)) }},
		Condition: func(name string) (bool, error) {
			switch name {
			case "frozen":
			case "postgres":
				return postgrestest.Wanted(), nil
			default:
				return false, fmt.Errorf("unknown condition %s", name)
			}
			return os.Geteuid() != 0 || exec.Command("unshare", "--mount", "true").Run() == nil, nil
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("REAL_HOME", home)
			env.Setenv("CHECKOUT", checkout)
			env.Setenv("HRLAB_DEVICE", "go")
			env.Setenv("HRLAB_VGG", "random")
			return pictures(env.WorkDir)
		},
	})
}

// fails runs hrlab with all but the first argument: it must print one line that matches the first, and nothing else,
// and end with exit code 2.
func fails(ts *testscript.TestScript, _ bool, args []string) {
	var exit *exec.ExitError
	if err := ts.Exec("hrlab", args[1:]...); !errors.As(err, &exit) || exit.ExitCode() != 2 {
		ts.Fatalf("%v; want exit code 2", err)
	}
	if text := ts.ReadFile("stdout"); text != "" {
		ts.Fatalf("stdout is not empty")
	}
	text := ts.ReadFile("stderr")
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	lines = slices.DeleteFunc(lines, func(l string) bool {
		return strings.HasPrefix(l, "device: ") || strings.HasPrefix(l, "VGG19: ") || l == "compiling" || strings.HasPrefix(l, "run ") && strings.HasSuffix(l, ".db")
	})
	if len(lines) != 1 || !regexp.MustCompile(args[0]).MatchString(lines[0]) {
		ts.Fatalf("want one line that matches %q", args[0])
	}
}

// frozen makes a folder read-only until the script ends: by a mount for root, who may write everything else.
func frozen(ts *testscript.TestScript, _ bool, args []string) {
	folder := ts.MkAbs(args[0])
	if os.Geteuid() != 0 {
		ts.Check(os.Chmod(folder, 0o555))                //nolint:gosec // for reading
		ts.Defer(func() { _ = os.Chmod(folder, 0o755) }) //nolint:gosec // so that it can be removed
		return
	}
	ts.Check(syscall.Mount(folder, folder, "", syscall.MS_BIND, ""))
	ts.Defer(func() { _ = syscall.Unmount(folder, syscall.MNT_DETACH) })
	ts.Check(syscall.Mount("", folder, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
}

// waitFor waits until a file has a line.
func waitFor(ts *testscript.TestScript, _ bool, args []string) {
	for range 6000 {
		if data, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && strings.Contains(string(data), "\n") {
			return
		}
		time.Sleep(time.Second / 10)
	}
	ts.Fatalf("no line in %s after ten minutes", args[0])
}

// pictures draws what the scripts use.
func pictures(dir string) error {
	for name, save := range map[string]func(path string) error{
		"content.png":     func(path string) error { return picture.Save(path, sample.Content(64, 48), picture.Encoding{}) },
		"style's two.jpg": func(path string) error { return picture.Save(path, sample.Style(48, 48), picture.Encoding{}) },
		"long exif.png": func(path string) error { // an ImageDescription of 70,000 bytes
			exif := "II*\x00\x08\x00\x00\x00\x01\x00\x0e\x01\x02\x00\x70\x11\x01\x00\x1a\x00\x00\x00\x00\x00\x00\x00" + strings.Repeat("x", 70_000)
			return picture.Save(path, sample.Content(64, 48), picture.Encoding{Exif: []byte(exif)})
		},
		"tiny.png": func(path string) error { return picture.Save(path, sample.Content(1, 1), picture.Encoding{}) },
	} {
		if err := save(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, "content.png"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "cut.png"), data[:len(data)/2], 0o666); err != nil {
		return err
	}
	binary.BigEndian.PutUint32(data[16:], 30000) // width and height in the header
	binary.BigEndian.PutUint32(data[20:], 30000)
	binary.BigEndian.PutUint32(data[29:], crc32.ChecksumIEEE(data[12:29]))
	return os.WriteFile(filepath.Join(dir, "huge.png"), data, 0o666)
}
