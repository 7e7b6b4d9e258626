package report

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"hrlab/picture"
)

// Markdown writes the report as Markdown, such as for a README. Its pictures and charts go to a folder beside the file: NAME-files
// for NAME.md.
func (r *Report) Markdown(path string) error {
	folder := strings.TrimSuffix(path, filepath.Ext(path)) + "-files"
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	var out strings.Builder
	var failed error
	// put writes a file into the folder and returns the Markdown that shows it.
	put := func(name, alt string, data []byte, err error) string {
		if err == nil {
			err = picture.WriteFile(filepath.Join(folder, name), data)
		}
		failed = errors.Join(failed, err)
		return fmt.Sprintf("![%s](%s/%s)", alt, filepath.Base(folder), name)
	}
	fmt.Fprintf(&out, "# %s\n\n", r.Experiment)
	if r.Random {
		fmt.Fprint(&out, "**Made with random filters in place of VGG19: losses, measures and good weights differ from VGG19's.**\n\n")
	}
	for i, p := range r.Pairs {
		fmt.Fprintf(&out, "## %s\n\n", p.Name)
		if p.Content != nil && p.Style != nil {
			fmt.Fprintf(&out, "| content | style |\n|---|---|\n| %s | %s |\n\n", put(fmt.Sprintf("%d-content.jpg", i), "content", p.Content, nil), put(fmt.Sprintf("%d-style.jpg", i), "style", p.Style, nil))
		}
		for _, m := range p.Maps {
			fmt.Fprintf(&out, "### Weight map, run %d\n\n%s.\n\n|", m.Run.ID, sentence(m.Suggestion()))
			for k := range m.Points {
				fmt.Fprintf(&out, " %s : 1 |", m.Points[k].Text())
			}
			fmt.Fprintf(&out, "\n|%s\n|", strings.Repeat("---|", len(m.Points)))
			for k := range m.Points {
				cell := ""
				if q := &m.Points[k]; q.Picture != nil {
					cell = put(fmt.Sprintf("run%d-at-%s.jpg", m.Run.ID, q.Text()), "ratio "+q.Text(), q.Picture, nil)
				}
				fmt.Fprintf(&out, " %s |", cell)
			}
			fmt.Fprint(&out, "\n\n")
			charts, err := m.Charts()
			failed = errors.Join(failed, err)
			for k, chart := range charts {
				data, err := pngBytes(chart)
				fmt.Fprintln(&out, put(fmt.Sprintf("run%d-measure%d.png", m.Run.ID, k), chart.Title.Text, data, err))
			}
			fmt.Fprintln(&out)
		}
		if len(p.Runs) == 0 {
			continue
		}
		fmt.Fprintf(&out, "%s.\n\n", sentence(p.Suggestion()))
		if command := p.Command(); command != "" {
			fmt.Fprintf(&out, "    %s\n\n", command)
		}
		if command := p.FullSize(); command != "" {
			fmt.Fprintf(&out, "This fit as it is, at full size:\n\n    %s\n\n", command)
		}
		if len(p.Columns) > 0 {
			fmt.Fprintf(&out, "| | %s |\n|---|%s\n", strings.Join(p.Columns, " | "), strings.Repeat("---|", len(p.Columns)))
		}
		for row, cells := range p.Matrix {
			fmt.Fprintf(&out, "| %s |", p.Rows[row])
			for _, run := range cells {
				cell := ""
				if run != nil && run.Output != nil {
					cell = put(fmt.Sprintf("run%d.jpg", run.ID), run.Label(), run.Output, nil)
				}
				fmt.Fprintf(&out, " %s |", cell)
			}
			fmt.Fprintln(&out)
		}
		pareto, err := pngBytes(p.Pareto())
		curves, err2 := pngBytes(p.Losses("content"))
		styles, err3 := pngBytes(p.Losses("style"))
		fmt.Fprintf(&out, "\n%s\n%s\n%s\n\n", put(fmt.Sprintf("%d-pareto.png", i), "Pareto front", pareto, err), put(fmt.Sprintf("%d-content.png", i), "content loss", curves, err2), put(fmt.Sprintf("%d-style.png", i), "style loss", styles, err3))
		fmt.Fprint(&out, "| run | content weight | style weight | seed | other settings |")
		for _, m := range measures {
			fmt.Fprintf(&out, " %s |", m.Title)
		}
		fmt.Fprintf(&out, "\n|---|---|---|---|---|%s\n", strings.Repeat("---|", len(measures)))
		for i, run := range p.Runs {
			fmt.Fprintf(&out, "| %d | %s | %s | %s | %s |", run.ID, run.Param("content_weight"), run.Param("style_weight"), run.Param("seed"), cmp.Or(run.Other, "–"))
			for _, m := range measures {
				fmt.Fprintf(&out, " %s |", p.Shown(i, m.Name))
			}
			fmt.Fprintln(&out)
		}
		if p.Gain {
			fmt.Fprintf(&out, "\n%s\n", gainNote)
		}
		fmt.Fprintln(&out)
	}
	for _, fault := range r.Faults {
		fmt.Fprintf(&out, "Left out: %s\n\n", fault)
	}
	fmt.Fprintf(&out, "VGG19: %s. Made by:\n\n    %s\n", strings.Join(r.VGG, ", "), strings.Join(r.Commands, "\n    "))
	if failed != nil {
		return failed
	}
	return picture.WriteFile(path, []byte(out.String()))
}
