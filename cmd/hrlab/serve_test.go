package main

import (
	"bufio"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hrlab/hrstyle/sample"
	"hrlab/notebooks/browser"
	"hrlab/picture"
)

// hrlabIn is the program under test, in a folder.
func hrlabIn(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command("hrlab", args...) //nolint:gosec // this test binary
	c.Dir = dir
	c.Env = append(os.Environ(), "HRLAB_VGG=random", "HRLAB_DEVICE=go", "HOME="+dir, "XDG_CONFIG_HOME="+dir)
	return c
}

// startServe starts hrlab serve in a folder and returns its address.
func startServe(t *testing.T, dir string, args ...string) string {
	t.Helper()
	server := hrlabIn(t, dir, append([]string{"serve", "--addr", "127.0.0.1:0"}, args...)...)
	said, err := server.StderrPipe()
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt)
		if err := server.Wait(); err != nil {
			t.Error("serve:", err)
		}
	})
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if address, _, ok := strings.Cut(lines.Text(), " shows "); ok {
			go func() {
				for lines.Scan() { // what the worker says
				}
			}()
			return address
		}
	}
	t.Fatal("serve does not start: ", lines.Err())
	return ""
}

// The page in Chromium, with twelve runs of the built-in pair: testdata/page.js says what is done. The fit is started from the page.
func TestPage(t *testing.T) {
	dir := t.TempDir()
	for name, save := range map[string]picture.Picture{"day.png": {Image: sample.Content(64, 48)}, "dusk.png": {Image: sample.Style(64, 48)}} {
		if err := picture.Save(filepath.Join(dir, name), save, picture.Encoding{}); err != nil {
			t.Fatal(err)
		}
	}
	sweep := hrlabIn(t, dir, "sweep", "--content", "day.png", "--style", "dusk.png", "--size", "32", "--steps", "4", "--report-every", "1", "--content-weight", "3,10,30,100,300,1000", "--style-weight", "1,10", "--experiment", "grid")
	if out, err := sweep.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	browser.Run(t, "testdata/page.js", startServe(t, dir, "--worker"), dir, browser.Screenshots(t))
}

// serve refuses what it cannot do, and makes a token of which it keeps a digest.
func TestServeRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, c := range [][]string{
		{"allowed: HOST:PORT", "--addr", "8765"},
		{"allowed without --auth: 127.0.0.1, localhost", "--addr", "0.0.0.0:0"},
		{"allowed without --auth", "--addr", ":0"},
		{"there is no token yet: hrlab serve token makes one", "--auth"},
	} {
		out, err := hrlabIn(t, dir, append([]string{"serve"}, c[1:]...)...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), c[0]) || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%v: %v\n%s", c[1:], err, out)
		}
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close() //nolint:errcheck // the test is over
	if out, err := hrlabIn(t, dir, "serve", "--addr", taken.Addr().String()).CombinedOutput(); err == nil || !strings.Contains(string(out), "address already in use") {
		t.Errorf("%v\n%s", err, out)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "hrlab.db*")); err != nil || left != nil {
		t.Errorf("it has made %v %v", left, err)
	}
	token, err := hrlabIn(t, dir, "serve", "token").Output()
	if err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(filepath.Join(dir, "hrlab", "serve.token"))
	if err != nil || len(token) < 20 || strings.Contains(string(kept), strings.TrimSpace(string(token))) {
		t.Errorf("%s %s %v", token, kept, err)
	}
	startServe(t, dir, "--auth")
}
