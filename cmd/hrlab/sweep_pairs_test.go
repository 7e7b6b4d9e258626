package main

import (
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
		{"header", "\ufeffContent, style\r\na.png,b.png\n", ab, ""},
		{"header only once", "content,style\ncontent,style\n", [][]string{{"content", "style"}}, ""},
		{"only a header", "content,style\n", nil, "no pair in it; allowed"},
		{"not ASCII", "Übersicht.png,夕日.png\n", [][]string{{"Übersicht.png", "夕日.png"}}, ""},
		{"Latin-1", "\xdcber.png,b.png\n", [][]string{{"\xdcber.png", "b.png"}}, ""},

		{"UTF-16 LE", "\xff\xfea\x00,\x00b\x00\n\x00", nil, "is UTF-16, or not text; allowed: UTF-8"},
		{"UTF-16 BE", "\xfe\xff\x00a\x00,\x00b", nil, "is UTF-16"},
		{"UTF-16 without a mark", "a\x00,\x00b\x00", nil, "is UTF-16"},
		{"semicolons", "a.png;b.png\n", nil, "record on line 1: wrong number of fields: fields are separated by semicolons or tabs; allowed: CONTENT,STYLE a line"},
		{"tabs", "a.png\tb.png\n", nil, "line 1: wrong number of fields: fields are separated by semicolons or tabs"},
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
