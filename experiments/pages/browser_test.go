package pages

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The pages in Chromium: testdata/pages.mjs says what is done.
func TestBrowser(t *testing.T) {
	const playwright = "../../notebooks/testdata/browser/node_modules/playwright-core"
	for _, program := range []string{"chromium", "node"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	if _, err := os.Stat(playwright); err != nil {
		t.Skip(err)
	}
	_, server := served(t, "e")
	listening := httptest.NewServer(server)
	defer listening.Close()
	path, err := filepath.Abs(playwright)
	must(t, err)
	chromium, err := exec.LookPath("chromium")
	must(t, err)
	out, err := exec.CommandContext(t.Context(), "node", "testdata/pages.mjs", path, listening.URL, chromium, os.Getenv("HRLAB_TEST_SCREENSHOTS")).CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}
