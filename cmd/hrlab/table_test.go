package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/mattn/go-runewidth"
)

// Lines fit wherever that is possible, also with characters of two columns, and say the most important.
func TestTable(t *testing.T) {
	columns := []column{
		{head: "ID", cells: []string{"1", "12"}},
		{head: "NAME", least: 6, cells: []string{"漢字漢字漢字漢字", "boat"}},
		{head: "WHEN", drop: 2, cells: []string{"2026-01-02", "2026-01-03"}},
		{head: "STEP", drop: 1, cells: []string{"100", "7"}},
	}
	for width, want := range map[int]string{
		0:  "ID  NAME              WHEN        STEP\n1   漢字漢字漢字漢字  2026-01-02  100\n12  boat              2026-01-03  7\n",
		37: "ID  NAME             WHEN        STEP\n1   漢字漢字漢字漢…  2026-01-02  100\n12  boat             2026-01-03  7\n",
		20: "ID  NAME        STEP\n1   漢字漢字…   100\n12  boat        7\n",
		10: "ID  NAME\n1   漢字…\n12  boat\n",
		3:  "ID  NAME\n1   漢字…\n12  boat\n", // narrower than anything fits
	} {
		var out bytes.Buffer
		if err := printTable(&out, columns, width); err != nil || out.String() != want {
			t.Errorf("%d: %v\n%swant\n%s", width, err, out.String(), want)
		}
		for line := range strings.Lines(out.String()) {
			if w := runewidth.StringWidth(strings.TrimSuffix(line, "\n")); width >= 10 && w > width {
				t.Errorf("%d: a line of %d", width, w)
			}
		}
	}
}
