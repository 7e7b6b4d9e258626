package main

import (
	"slices"
	"strings"
	"unicode"
)

// oneLine is an error's text without line breaks, each part said once: one cause may fail several things that are done to
// the end all the same, and libraries' errors may carry stack traces after the first line. A part of a text is what colons or
// semicolons bound, so that half of a name with a line break is none.
func oneLine(err error) string {
	bounded := func(text string) string { return ": " + strings.ReplaceAll(text, "; ", ": ") + ": " }
	within := func(part, whole string) bool { return strings.Contains(bounded(whole), bounded(part)) }
	var said []string
	for line := range strings.Lines(err.Error()) {
		line = strings.Join(strings.Fields(line), " ")
		if line != "" && !slices.ContainsFunc(said, func(s string) bool { return within(line, s) }) {
			said = slices.DeleteFunc(said, func(s string) bool { return within(s, line) })
			said = append(said, line)
		}
	}
	return strings.Join(said, "; ")
}

// printable is a text that does to a terminal what it shows: names may hold anything. Its lines stay.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t':
			return ' '
		case unicode.IsControl(r):
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// flat is a printable text without line breaks.
func flat(text string) string { return strings.Join(strings.Fields(printable(text)), " ") }

// short is a flat text of at most 30 characters.
func short(text string) string {
	runes := []rune(flat(text))
	if len(runes) > 30 {
		return string(runes[:29]) + "…"
	}
	return string(runes)
}
