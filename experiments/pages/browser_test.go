package pages

import (
	"net/http/httptest"
	"testing"

	"hrlab/notebooks/browser"
)

// The pages that compare, in Chromium: testdata/looking.js says what is done.
func TestLooking(t *testing.T) {
	_, server := served(t, "demo at 128 px, vgg19_features_fp16.safetensors (sha256 542fc817797d…)") // long, as the demo's
	listening := httptest.NewServer(server)
	defer listening.Close()
	browser.Run(t, "testdata/looking.js", listening.URL, browser.Screenshots(t))
}
