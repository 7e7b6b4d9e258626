package main

import (
	"slices"
	"strings"
	"unicode"
)

// oneLine is the text of an error in one line, in which nothing is said twice: several things may have failed for one cause, and
// errors of libraries may have a stack trace after their first line. A line is left out where it is a part of another one,
// bounded there by colons or semicolons.
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

// printable is text without control characters, which a terminal would obey: names may hold anything. Line breaks stay.
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

// flat is printable text in one line.
func flat(text string) string { return strings.Join(strings.Fields(printable(text)), " ") }

// short is flat text, cut to 30 characters.
func short(text string) string {
	runes := []rune(flat(text))
	if len(runes) > 30 {
		return string(runes[:29]) + "…"
	}
	return string(runes)
}
