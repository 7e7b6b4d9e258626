package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

// pairs are the names of the pictures of each pair, content and style. It checks that all files are there; a pair is read
// when its turn comes.
func (s *sweepCmd) pairs() (names [][]string, err error) {
	switch {
	case s.Pairs != "" && s.Content+s.Style != "":
		return nil, errors.New("--pairs FILE or --content FILE and --style FILE, not both")
	case s.Pairs != "":
		if names, err = readPairs(s.Pairs); err != nil {
			return nil, fmt.Errorf("--pairs %w", err)
		}
	case s.Content == "" || s.Style == "":
		return nil, errors.New("--content FILE and --style FILE, or --pairs FILE, are needed")
	default:
		names = [][]string{{s.Content, s.Style}}
	}
	for _, name := range slices.Concat(names...) {
		if err := readable(name); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// afterField matches white space between a field and the comma or line break after it, and the field itself where it is
// quoted.
var afterField = regexp.MustCompile(`("(?:[^"]|"")*")[ \t]*|[ \t]+(,|\r?\n|\z)`)

// isHeader says whether the first line of pairs names the columns.
func isHeader(fields []string) bool {
	return strings.EqualFold(fields[0], "content") && strings.EqualFold(fields[1], "style")
}

// readPairs reads a CSV file with two names per line, perhaps after a line content,style, as spreadsheets and people write them: with a byte order mark, CRLF, white
// space around fields, empty lines, and comments after #. White space inside of quotes belongs to the name.
func readPairs(path string) (names [][]string, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if bytes.ContainsRune(data, 0) || bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return nil, fmt.Errorf("%s: is UTF-16, or not text; allowed: UTF-8", path)
	}
	data = afterField.ReplaceAll(bytes.TrimPrefix(data, []byte("\ufeff")), []byte("$1$2"))
	reader := csv.NewReader(bytes.NewReader(data))
	reader.FieldsPerRecord, reader.TrimLeadingSpace, reader.Comment = 2, true, '#'
	headed := false
	const allowed = "allowed: CONTENT,STYLE a line, in quotes where a name has a comma"
	for {
		fields, err := reader.Read()
		switch {
		case err == io.EOF && len(names) == 0:
			return nil, fmt.Errorf("%s: no pair in it; %s", path, allowed)
		case err == io.EOF:
			return names, nil
		case errors.Is(err, csv.ErrFieldCount) && strings.ContainsAny(fields[0], ";\t"):
			return nil, fmt.Errorf("%s: %w: fields are separated by semicolons or tabs; %s", path, err, allowed)
		case err != nil:
			return nil, fmt.Errorf("%s: %w; %s", path, err, allowed)
		}
		if fields[0] == "" || fields[1] == "" {
			line, _ := reader.FieldPos(0)
			return nil, fmt.Errorf("%s: line %d: a name is missing; %s", path, line, allowed)
		}
		if len(names) == 0 && !headed && isHeader(fields) {
			headed = true
			continue
		}
		names = append(names, fields)
	}
}
