package web

import (
	"bufio"
	"io"
	"strings"
	"testing"
)

// eventReader reads server-sent events.
type eventReader struct{ lines *bufio.Scanner }

func newEvents(r io.Reader) eventReader {
	lines := bufio.NewScanner(r)
	const longest = 1 << 24
	lines.Buffer(nil, longest)
	return eventReader{lines}
}

// next is the next event.
func (e eventReader) next(t testing.TB) (id, kind, data string) {
	t.Helper()
	for e.lines.Scan() {
		name, value, _ := strings.Cut(e.lines.Text(), ": ")
		switch name {
		case "id":
			id = value
		case "event":
			kind = value
		case "data":
			data = value
		case "":
			if kind != "" {
				return id, kind, data
			}
		}
	}
	t.Fatal("the stream ended: ", e.lines.Err())
	return
}
