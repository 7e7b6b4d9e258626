package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// A file of pairs as spreadsheets and people write it; what cannot be meant is refused by one line.
func TestReadPairs(t *testing.T) {
	ab := [][]string{{"a.png", "b.png"}}
	for _, c := range []struct {
		name, text string
		want       [][]string
		err        string // a part of it
	}{
		{"plain", "a.png,b.png\n", ab, ""},
		{"byte order mark", "\ufeffa.png,b.png\n", ab, ""},
		{"byte order mark and quotes", "\ufeff\"a.png\",\"b.png\"\r\n", ab, ""},
		{"CRLF", "a.png,b.png\r\nc.png,d.png\r\n", [][]string{{"a.png", "b.png"}, {"c.png", "d.png"}}, ""},
		{"no line break at the end", "a.png,b.png", ab, ""},
		{"spaces", "  a.png \t, b.png  \r\n", ab, ""},
		{"spaces around quotes", " \"a.png\" , \"b.png\"\t\r\n", ab, ""},
		{"spaces in names", "my boat.png,the sun set.png \n", [][]string{{"my boat.png", "the sun set.png"}}, ""},
		{"spaces in quotes", "\" a.png \",b.png\n", [][]string{{" a.png ", "b.png"}}, ""},
		{"commas, quotes", "\"boat, 12\"\" , late.png\",b;c.png\n", [][]string{{`boat, 12" , late.png`, "b;c.png"}}, ""},
		{"empty lines, comments", "\n# a comment, of words\r\n\r\n   \na.png,b.png\n\n", ab, ""},
		{"not ASCII", "Übersicht.png,夕日.png\n", [][]string{{"Übersicht.png", "夕日.png"}}, ""},
		{"Latin-1", "\xdcber.png,b.png\n", [][]string{{"\xdcber.png", "b.png"}}, ""},

		{"UTF-16 LE", "\xff\xfea\x00,\x00b\x00\n\x00", nil, "is UTF-16, or no text; allowed: UTF-8"},
		{"UTF-16 BE", "\xfe\xff\x00a\x00,\x00b", nil, "is UTF-16"},
		{"UTF-16 without a mark", "a\x00,\x00b\x00", nil, "is UTF-16"},
		{"semicolons", "a.png;b.png\n", nil, "record on line 1: wrong number of fields: divided by a semicolon or tab; allowed: CONTENT,STYLE a line"},
		{"tabs", "a.png\tb.png\n", nil, "line 1: wrong number of fields: divided by a semicolon or tab"},
		{"one", "a.png,b.png\nc.png\n", nil, "record on line 2: wrong number of fields; allowed"},
		{"three", "a.png,b.png,c.png\n", nil, "record on line 1: wrong number of fields; allowed"},
		{"no name", "a.png,b.png\n\na.png, \n", nil, "line 3: a name is missing"},
		{"open quote", "\"a.png,b.png\n", nil, `extraneous or missing " in quoted-field; allowed`},
		{"empty", "", nil, "no pair in it; allowed"},
		{"comments only", "# nothing\n", nil, "no pair in it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "pairs.csv")
			if err := os.WriteFile(path, []byte(c.text), 0o666); err != nil {
				t.Fatal(err)
			}
			got, err := readPairs(path)
			if !reflect.DeepEqual(got, c.want) || (err == nil) != (c.err == "") || err != nil && (!strings.Contains(err.Error(), c.err) || !strings.HasPrefix(err.Error(), path)) {
				t.Errorf("%q: %q, %v", c.text, got, err)
			}
		})
	}
}

// Parameters of a notebook, in any spelling that Go allows.
func TestParameters(t *testing.T) {
	const imports = "import \"hrlab/notebooks/nb\"\n"
	for _, c := range []struct {
		name  string
		cells []string
		want  string // by comma
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

// One cause of several failures is said once.
func TestOneLine(t *testing.T) {
	full := errors.New("a.db: the disk is full")
	for _, c := range []struct {
		err  error
		want string
	}{
		{full, "a.db: the disk is full"},
		{errors.Join(full, errors.Join(full, fmt.Errorf("run 3: %w", full)), full), "run 3: a.db: the disk is full"},
		{errors.Join(fmt.Errorf("run 3: %w", full), full, errors.New("b.png has the picture")), "run 3: a.db: the disk is full; b.png has the picture"},
		{errors.New("a\nb a: not found"), "a; b a: not found"}, // a name of two lines
		{errors.New("compile:\n\tat x.go:3\n\n\tat x.go:4\n"), "compile:; at x.go:3; at x.go:4"},
	} {
		if got := oneLine(c.err); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// Of an interruption beside which something failed, that is what is said.
func TestUncancelled(t *testing.T) {
	full := errors.New("the disk is full")
	for _, c := range []struct{ err, want error }{
		{nil, nil},
		{context.Canceled, nil},
		{fmt.Errorf("step 3: %w", context.Canceled), nil},
		{errors.Join(context.Canceled, context.Canceled), nil},
		{full, full},
		{errors.Join(context.Canceled, errors.Join(nil, full)), full},
	} {
		if got := uncancelled(c.err); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}
