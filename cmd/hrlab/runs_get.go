package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"hrlab/picture"
	"hrlab/report"
	"hrlab/tracker"
)

type runsGetCmd struct {
	Which string `arg:"" name:"run" predictor:"run" help:"The run: its id, or its name."`
	What  string `arg:"" predictor:"artifact" help:"output, generator or checkpoint; content, style or init of a trial that was queued; or step:N for the thumbnail of step N."`
	Out   string `required:"" placeholder:"FILE|-" help:"Where it goes: a picture in the format of the extension (.png, .jpg, .webp); - is standard output, and a folder gets run12_output.png."`
}

// Help has examples.
func (*runsGetCmd) Help() string {
	return `Examples:

	hrlab runs get 12 output --out boat.png
	hrlab runs get 12 generator --out boat.safetensors
	hrlab runs get 12 step:100 --out step100.jpg`
}

// Run gets.
func (g *runsGetCmd) Run(ctx context.Context, c *console, r *runsCmd) error {
	return r.with(ctx, func(s *tracker.Store) error {
		i, err := s.Run(ctx, g.Which)
		if err != nil {
			return err
		}
		data, err := g.read(ctx, s, i.ID)
		if err != nil {
			return err
		}
		if g.Out == "-" {
			_, err := c.out.Write(data)
			return err
		}
		name := fmt.Sprintf("run%d_%s", i.ID, strings.NewReplacer(":", "", "/", "_").Replace(g.What))
		out, err := newPlace(g.Out, name+kinds[http.DetectContentType(data)])
		if err != nil {
			return err
		}
		if data, err = g.converted(out.path, data); err != nil {
			return err
		}
		if err := picture.CheckWritable(out.path); err != nil {
			return err
		}
		return out.write(func(path string) error { return picture.WriteFile(path, data) })
	})
}

// kinds are the extensions of what runs have, by the type of its content.
var kinds = map[string]string{
	"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/bmp": ".bmp", "image/gif": ".gif",
	"application/octet-stream": ".safetensors",
}

// converted is what the run has as the extension of path says: a picture in its format, with the same metadata.
func (g *runsGetCmd) converted(path string, data []byte) ([]byte, error) {
	switch {
	case slices.Contains([]string{report.Generator, report.Checkpoint, report.Init}, g.What):
		return data, endsIn(path, ".safetensors")
	case !slices.Contains([]string{report.Output, report.Content, report.Style}, g.What) && !strings.HasPrefix(g.What, "step:"):
		return data, nil
	case picture.Format(path) != "" && picture.Format(path) == picture.Format(kinds[http.DetectContentType(data)]):
		return data, nil
	}
	how := picture.Encoding{Comment: picture.Comment(data)}
	if err := how.Check(path); err != nil {
		return nil, err
	}
	img, err := picture.Read(g.What, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	how.Exif = img.Exif()
	return how.Encode(filepath.Ext(path), img)
}

func (g *runsGetCmd) read(ctx context.Context, s *tracker.Store, run int64) ([]byte, error) {
	number, isStep := strings.CutPrefix(g.What, "step:")
	if !isStep {
		data, err := s.ReadArtifact(ctx, run, g.What)
		if errors.Is(err, tracker.ErrNotFound) {
			err = fmt.Errorf("run %d has no %s%s", run, g.What, having(ctx, s, run))
		}
		return data, err
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%s: allowed: step:N, N a whole number", g.What)
	}
	pictures, err := s.Pictures(ctx, run)
	if err != nil {
		return nil, err
	}
	var steps []string
	for _, p := range pictures {
		if p.Name == report.Output {
			if p.Step == n {
				return s.Thumbnail(ctx, p.Digest)
			}
			steps = append(steps, strconv.FormatInt(p.Step, 10))
		}
	}
	return nil, fmt.Errorf("run %d has no picture of step %d; there are: %s", run, n, strings.Join(steps, ", "))
}

// having lists the files of a run, for an error message.
func having(ctx context.Context, s *tracker.Store, run int64) string {
	artifacts, err := s.Artifacts(ctx, run)
	if err != nil || len(artifacts) == 0 {
		return "; it has no files"
	}
	var names []string
	for _, a := range artifacts {
		names = append(names, a.Name)
	}
	return "; there are: " + strings.Join(names, ", ")
}
