package experiments

import (
	"context"
	"fmt"
	"image"

	"hrlab/hrstyle"
	"hrlab/picture"
	"hrlab/report"
)

// mapRatios is at how many ratios of its range a weight map is recorded. The one in the middle stands for the whole where a run
// has one output.
const mapRatios, middleRatio = 9, 4

// mapOutput is what a weight map makes of the content picture that it was fitted to, at a ratio of the weights.
type mapOutput struct {
	ratio   float64
	picture *image.NRGBA64
}

// mapOutputs are the outputs of the map of a step at mapRatios ratios.
func (l Lab) mapOutputs(ctx context.Context, step hrstyle.Step) (list []mapOutput, err error) {
	m := step.Generator()
	for _, ratio := range m.Config.Ratios(mapRatios) {
		g, err := m.At(ratio)
		if err != nil {
			return nil, err
		}
		img, err := l.Engine.Apply(ctx, g, step.Pair().Content, hrstyle.Applying{})
		if err != nil {
			return nil, err
		}
		list = append(list, mapOutput{ratio, img})
	}
	return list, nil
}

// mapReport is what a run keeps of a step of a weight map with these outputs: for every ratio the unweighted losses, as
// [hrstyle.Engine.Compare] has them, and a thumbnail, under names that [report.At] makes. Those of the middle ratio are also what
// any run has. The losses of the step itself are of another ratio each time, so that they make no curve.
func (l Lab) mapReport(step hrstyle.Step, outputs []mapOutput) (values map[string]float64, pictures []picture.Picture, err error) {
	for _, o := range outputs {
		pictures = append(pictures, picture.Picture{Name: report.At(report.Output, o.ratio), Image: o.picture})
	}
	losses, err := l.Engine.Compare(step.Pair(), pictures...)
	if err != nil {
		return nil, nil, err
	}
	middle := losses[middleRatio]
	values = map[string]float64{"content": middle.Content, "style": middle.Style, "total": outputs[middleRatio].ratio*middle.Content + middle.Style}
	for i, o := range outputs {
		values[report.At("content", o.ratio)], values[report.At("style", o.ratio)] = losses[i].Content, losses[i].Style
	}
	return values, append(pictures, picture.Picture{Name: report.Output, Image: outputs[middleRatio].picture}), nil
}

// measureMap are the measures of a finished weight map at its ratios, by the names that [report.At] makes.
func (l Lab) measureMap(step hrstyle.Step, outputs []mapOutput) (map[string]float64, error) {
	all := map[string]float64{}
	for _, o := range outputs {
		measures, err := l.Measures(step.Pair(), o.picture)
		if err != nil {
			return nil, err
		}
		for name, v := range measures {
			all[report.At(name, o.ratio)] = v
		}
	}
	return all, nil
}

// output is what a run keeps as its output of a step, and a line about how it was made: of a weight map that of the middle ratio of
// its outputs.
func output(step hrstyle.Step, outputs []mapOutput) (img image.Image, comment string) {
	if outputs == nil {
		return step.Picture(), step.Describe()
	}
	g, middle := step.Generator(), outputs[middleRatio]
	return middle.picture, fmt.Sprintf("hrlab: weight map of the ratios %g to %g, at %g, step %d; VGG19: %s", g.Config.From, g.Config.To, middle.ratio, step.N, g.VGG)
}

// MapTrials are trials that begin with the generators which a weight map has for these ratios, or for nine that are spread
// over its range, and make so many steps: none measures the map itself. name is that of the map, for the record. A ratio outside
// of the map's range is an error.
func MapTrials(m *hrstyle.Generator, name string, steps int, ratios ...float64) (trials []Trial, err error) {
	if len(ratios) == 0 {
		ratios = m.Config.Ratios(mapRatios)
	}
	for _, ratio := range ratios {
		g, err := m.At(ratio)
		if err != nil {
			return nil, err
		}
		c := g.Config
		c.Steps = steps
		c.LearningRate, c.DecayFactor, c.DecayEvery = refineRate, hrstyle.Default.DecayFactor, hrstyle.Default.DecayEvery
		c.ReportEvery = hrstyle.Default.ReportEvery
		trials = append(trials, Trial{c, g, name})
	}
	return trials, nil
}
