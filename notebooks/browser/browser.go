// Package browser uses pages in tests as a person would: by scripts for Node.js that drive Chromium.
package browser

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Required says whether tests of pages and notebooks may not be skipped: HRLAB_TEST_REQUIRE_NOTEBOOKS.
func Required() bool { return os.Getenv("HRLAB_TEST_REQUIRE_NOTEBOOKS") != "" }

// missing skips where a program is not there, or installs it where the tests must run.
func missing(t testing.TB, install ...string) {
	t.Helper()
	if !Required() {
		t.Skipf("needs %s", strings.Join(install, " "))
	}
	out, err := exec.Command(install[0], install[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(install, " "), err, out)
	}
}

// Run runs a script with the path of Chromium and args. The script finds playwright-core. The test fails where the script does, and
// logs what that has printed.
func Run(t testing.TB, script string, args ...string) {
	t.Helper()
	for program, debian := range map[string]string{"chromium": "chromium", "node": "nodejs", "npm": "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(t, "sh", "-c", "apt-get update && apt-get install --yes --no-install-recommends "+debian)
		}
	}
	_, here, _, _ := runtime.Caller(0)
	modules := filepath.Join(filepath.Dir(here), "node_modules")
	if _, err := os.Stat(filepath.Join(modules, "playwright-core")); err != nil {
		missing(t, "npm", "ci", "--prefix", filepath.Dir(here), "--no-audit", "--no-fund")
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal(err)
	}
	node := exec.CommandContext(t.Context(), "node", append([]string{script, chromium}, args...)...) //nolint:gosec // a script of a test
	node.Env = append(os.Environ(), "NODE_PATH="+modules)
	out, err := node.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// Screenshots is a folder for pictures of pages: HRLAB_TEST_SCREENSHOTS, or one that goes with the test.
func Screenshots(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("HRLAB_TEST_SCREENSHOTS"); dir != "" {
		return dir
	}
	return t.TempDir()
}
