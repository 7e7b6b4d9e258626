package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"hrlab/hrstyle"
)

// openJSON opens the file of JSON lines, which a resumed fit appends to.
func (f *fitCmd) openJSON(c *console) (io.WriteCloser, error) {
	switch mode := os.O_TRUNC; f.JSON {
	case "":
		return nopCloser{io.Discard}, nil
	case "-":
		return nopCloser{c.out}, nil
	default:
		if f.Resume != "" {
			mode = os.O_APPEND
		}
		file, err := os.OpenFile(f.JSON, os.O_CREATE|os.O_WRONLY|mode, 0o666)
		if err != nil {
			return nil, fmt.Errorf("--json %w", err)
		}
		return lineFile{file}, nil
	}
}

// lineFile is a file of lines. A line that cannot be written whole, on a full disk, is removed again.
type lineFile struct{ *os.File }

func (f lineFile) Write(line []byte) (int, error) {
	n, err := f.File.Write(line)
	if n > 0 && err != nil {
		if end, seekErr := f.Seek(0, io.SeekCurrent); seekErr == nil {
			_ = f.Truncate(end - int64(n))
		}
	}
	return n, err
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// line is one report in JSON: unweighted losses, and seconds since the first step began.
type line struct {
	Step    int     `json:"step"`
	Total   float64 `json:"total"`
	Content float64 `json:"content"`
	Style   float64 `json:"style"`
	Seconds float64 `json:"seconds"`
	VGG     string  `json:"vgg,omitempty"` // "random" where the losses are not those of VGG19
}

// writeJSON writes a report as one line, in one write.
func writeJSON(w io.Writer, s hrstyle.Step, vgg *hrstyle.VGG) error {
	l := line{Step: s.N, Total: s.Total, Content: s.Content, Style: s.Style, Seconds: s.Elapsed.Seconds()}
	if vgg.Random() {
		l.VGG = "random"
	}
	return json.NewEncoder(w).Encode(l)
}
