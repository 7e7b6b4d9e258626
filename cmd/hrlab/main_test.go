package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"hash/crc32"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"hrlab/hrstyle"
	"hrlab/hrstyle/sample"
	"hrlab/tracker"

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
	makefile, err := filepath.Abs("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Cmds:          map[string]func(ts *testscript.TestScript, neg bool, args []string){"fails": fails, "waitfor": waitFor},
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("REAL_HOME", home)
			env.Setenv("MAKEFILE", makefile)
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
		"content.png":     func(path string) error { return hrstyle.SavePicture(path, sample.Content(64, 48), hrstyle.Encoding{}) },
		"style's two.jpg": func(path string) error { return hrstyle.SavePicture(path, sample.Style(48, 48), hrstyle.Encoding{}) },
		"long exif.png": func(path string) error { // an ImageDescription of 70,000 bytes
			exif := "II*\x00\x08\x00\x00\x00\x01\x00\x0e\x01\x02\x00\x70\x11\x01\x00\x1a\x00\x00\x00\x00\x00\x00\x00" + strings.Repeat("x", 70_000)
			return hrstyle.SavePicture(path, sample.Content(64, 48), hrstyle.Encoding{Exif: []byte(exif)})
		},
		"tiny.png": func(path string) error { return hrstyle.SavePicture(path, sample.Content(1, 1), hrstyle.Encoding{}) },
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

// Ctrl-C in a folder leaves the results that are finished, and nothing else.
func TestApplyStops(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.Mkdir(in, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.png", "b.png", "c.png"} {
		if err := hrstyle.SavePicture(filepath.Join(in, name), sample.Content(16, 16), hrstyle.Encoding{}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	said := &strings.Builder{}
	messages := writerFunc(func(text []byte) (int, error) {
		if strings.HasPrefix(string(text), filepath.Join(out, "b.png")) {
			cancel()
		}
		return said.Write(text)
	})
	apply := applyCmd{Generator: "../../hrstyle/testdata/hrnet_init.safetensors", Pictures: []string{in}, Out: out, Format: "png", Device: "go"}
	apply.Bits, apply.Quality = 8, 95
	if err := apply.Run(ctx, &console{out: io.Discard, messages: messages}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if !strings.HasSuffix(said.String(), "stopped: 2 of 3 pictures are done\n") {
		t.Error(said)
	}
	entries, err := os.ReadDir(out)
	if err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
	for _, e := range entries {
		if _, err := hrstyle.LoadPicture(filepath.Join(out, e.Name())); err != nil {
			t.Error(err)
		}
	}
}

type writerFunc func(text []byte) (int, error)

func (f writerFunc) Write(text []byte) (int, error) { return f(text) }

// Curves of any values are drawn, or nothing is.
func TestPlot(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		values []float64
		want   string // of the text; empty: nothing is drawn
	}{
		{[]float64{1, 2}, "m, steps 0 to 1"},
		{[]float64{3, 3, nan}, "m, steps 0 to 2"},
		{[]float64{0, 0}, "m, steps 0 to 1"},
		{[]float64{1, inf, -inf, 2}, "m, steps 0 to 3"},
		{[]float64{1e300, -1e300}, "in units of 1e300"},
		{[]float64{1e-8, 3e-8}, "in units of 1e-8"},
		{[]float64{math.MaxFloat64, -math.MaxFloat64}, "in units of 1e308"},
		{[]float64{1}, ""},
		{nil, ""},
		{[]float64{nan, nan, inf}, ""},
	} {
		steps := make([]int64, len(c.values))
		for i := range steps {
			steps[i] = int64(i)
		}
		text := plot(tracker.Series{Metric: "m", Steps: steps, Values: c.values})
		if (text == "") != (c.want == "") || !strings.Contains(text, c.want) {
			t.Errorf("%v: %q, want %q", c.values, text, c.want)
		}
		for line := range strings.Lines(text) {
			if utf8.RuneCountInString(line) > 80 {
				t.Errorf("%v: %q is longer than a line", c.values, line)
			}
		}
	}
}
