package main

import (
	"strings"
	"testing"
)

// Parameters of a notebook, in any spelling that Go allows.
func TestParameters(t *testing.T) {
	const imports = "import \"hrlab/notebooks/nb\"\n"
	for _, c := range []struct {
		name  string
		cells []string
		want  string // comma-separated
		all   bool
	}{
		{"plain", []string{imports + `var n = nb.Param("n", 1)`}, "n", true},
		{"block", []string{imports + "var (\n\ta = nb.Param(\"a\", 0x10) // b\n\tc, d = nb.Param(\"c\", -1_000), nb.Values(\"d\", \"1,2\")\n)"}, "a,c,d", true},
		{"type, short, lines", []string{imports, "%%\nn := nb.Param[float64](\n\t\"n\",\n\t1,\n)\nvar m int = nb . Param /* here */ (`m`, 1)"}, "m,n", true},
		{"escapes", []string{imports + `var n = nb.Param("\x6e\u00e4", true)`}, "nä", true},
		{"not ASCII", []string{imports + `var größe = nb.Param("größe 夕", 1)`}, "größe 夕", true},
		{"another name", []string{"import (\n\t\"fmt\"\n\tbook \"hrlab/notebooks/nb\"\n)\n", `x := book.Param("x", 1)`, `y := nb.Param("y", 1)`}, "x", true},
		{"no name", []string{"import . `hrlab/notebooks/nb`\n", `x, y := Param("x", 1), Values("y", "1")`}, "x,y", true},
		{"comments and texts are none", []string{imports + "// nb.Param(\"a\", 1)\n/* nb.Param(\"b\", 1) */\nvar s = `nb.Param(\"c\", 1)`"}, "", true},
		{"others", []string{imports + `for v := range maps.Values(m) { q.Param("z", v) }`}, "", true},
		{"commands", []string{imports, "!echo \"it's `odd\n%env A=\"\n%%\nn := nb.Param(\"n\", 1)"}, "n", true},
		{"broken", []string{imports + `var n = nb.Param("n", 1); var s = "`, `var m = nb.Param("m", "a`}, "m,n", true},
		{"constant", []string{imports + `const name = "n"; var n, m = nb.Param(name, 1), nb.Param("m"+"m", 1)`}, "", false},
		{"nothing", []string{imports + `nb.Param`, `nb.Param[`}, "", false},
		{"imported by the kernel", []string{`var n = nb.Param("n", 1)`}, "n", true},
		{"none", nil, "", true},
	} {
		names, all := parameters(c.cells)
		if got := strings.Join(names, ","); got != c.want || all != c.all {
			t.Errorf("%s: %q, %v; want %q, %v", c.name, got, all, c.want, c.all)
		}
	}
}
