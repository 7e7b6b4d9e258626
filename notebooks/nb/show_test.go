package nb

import (
	"strings"
	"testing"

	"hrlab/report"
)

// A matrix without an output says so: an empty table looks like a fault.
func TestMatrixWithoutOutputs(t *testing.T) {
	if got := render("matrix", &report.Report{Pairs: []*report.Pair{{Name: "boat, sunset"}}}); !strings.Contains(got, "<p>no finished run to show</p>") || strings.Contains(got, "<table>") {
		t.Error(got)
	}
}
