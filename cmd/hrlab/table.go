package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mattn/go-runewidth"
)

// column is a column of a table.
type column struct {
	head  string
	least int // characters that it may be shortened to; 0: none are cut off
	drop  int // where a table is too wide, columns with a larger number are left out first; 0: it stays
	cells []string
}

// width is that of the column in characters of a terminal.
func (c column) width() int {
	w := runewidth.StringWidth(c.head)
	for _, cell := range c.cells {
		w = max(w, runewidth.StringWidth(cell))
	}
	return w
}

// printTable prints columns that fit into a width in characters; with width 0 nothing is shortened or left out.
func printTable(w io.Writer, columns []column, width int) error {
	const gap = 2
	columns = slices.Clone(columns)
	widths := func() (all []int, excess int) {
		excess = -gap - width
		for _, c := range columns {
			all = append(all, c.width())
			excess += c.width() + gap
		}
		return all, excess
	}
	all, excess := widths()
	for width > 0 && excess > 0 {
		spare, last := 0, 0
		for i, c := range columns {
			if c.least > 0 {
				spare += max(0, all[i]-c.least)
			}
			if c.drop > columns[last].drop {
				last = i
			}
		}
		if spare >= excess || columns[last].drop == 0 {
			break
		}
		columns = slices.Delete(columns, last, last+1)
		all, excess = widths()
	}
	for ; width > 0 && excess > 0; excess-- { // the widest first
		widest := -1
		for i, c := range columns {
			if c.least > 0 && all[i] > c.least && (widest < 0 || all[i] > all[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		all[widest]--
	}
	for row := range len(columns[0].cells) + 1 {
		var line strings.Builder
		for i, c := range columns {
			cell := c.head
			if row > 0 {
				cell = c.cells[row-1]
			}
			line.WriteString(runewidth.FillRight(runewidth.Truncate(cell, all[i], "…"), all[i]+gap))
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(line.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}
