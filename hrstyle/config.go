package hrstyle

import (
	"encoding/json"
	"fmt"
	"math"
)

// Config says how a pair is fitted. Start from [Default] or [Reference] and change fields: zero is a value like others, not
// a default. Names in JSON are those of the command line's flags, with _ for -.
type Config struct {
	// Size is the longer side of the fitted picture in pixels, 32 to 8192. The shorter side keeps the aspect ratio, and both
	// are rounded to multiples of 4. With Square both sides are Size.
	Size   int  `json:"size"`
	Square bool `json:"square"`
	// StyleSize is the longer side of the style picture (with Square both sides) in pixels, 32 to 8192. 0 means the
	// picture's own size, AsContent means Size.
	StyleSize int `json:"style_size"`
	// Gram says how Gram matrices are normalised.
	Gram Gram `json:"gram"`
	// StyleGain multiplies the style picture's Gram matrices, which are the targets of the style loss. Above 1 the output
	// gets stronger colours and contrasts than the style picture has. It is finite and above 0.
	StyleGain float64 `json:"style_gain"`

	// Steps is the number of updates, 0 or more. There are losses and pictures of steps 0 (before any update) to Steps.
	Steps int `json:"steps"`
	// ContentWeight and StyleWeight multiply the two losses. LayerWeights multiply the terms of the style loss, in the order
	// of StyleLayers. All are finite and at least 0.
	ContentWeight float64    `json:"content_weight"`
	StyleWeight   float64    `json:"style_weight"`
	LayerWeights  [5]float64 `json:"layer_weights"`
	// LearningRate is Adam's (betas 0.9 and 0.999, eps 1e-8). It is multiplied by DecayFactor after every DecayEvery updates;
	// a DecayEvery of 0 means never.
	LearningRate float64 `json:"learning_rate"`
	DecayFactor  float64 `json:"decay_factor"`
	DecayEvery   int     `json:"decay_every"`
	// WeightDecay times the parameters is added to the gradient (an L2 penalty, as in PyTorch's Adam).
	WeightDecay float64 `json:"weight_decay"`
	// Seed is that of the random initial parameters. If Init is set, they come from that generator file instead.
	Seed int64  `json:"seed"`
	Init string `json:"init,omitempty"`

	// With Knots the fit is one of a weight map, a generator for a whole range of weights: see [DefaultMap].
	WeightRange

	// ReportEvery is the number of steps from one yielded Step to the next, at least 1.
	ReportEvery int `json:"report_every"`
	// Checkpoint is the file that the state of the fit is saved to: every CheckpointEvery steps, and when the fit stops
	// early. A CheckpointEvery of 0 means only then. Without a file nothing is saved.
	Checkpoint      string `json:"-"`
	CheckpointEvery int    `json:"checkpoint_every"`
}

// AsContent is the StyleSize that means: the same as Size.
const AsContent = -1

// UnmarshalJSON reads a Config. JSON without style_gain is from a version that had none, and means 1.
func (c *Config) UnmarshalJSON(text []byte) error {
	type fields Config
	read := fields(*c)
	read.StyleGain = 1
	err := json.Unmarshal(text, &read)
	*c = Config(read)
	return err
}

// Reference is how the authors of the paper ran it: at 500x500 whatever the aspect ratio, with the style picture at its own
// size and Gram matrices as sums.
var Reference = Config{
	Size: 500, Square: true, StyleSize: 0, Gram: GramSum, StyleGain: 1,
	Steps: 1000, ContentWeight: 150, StyleWeight: 1, LayerWeights: [5]float64{0.1, 0.2, 0.4, 0.8, 1.6},
	LearningRate: 5e-3, DecayFactor: 0.9, DecayEvery: 200,
	ReportEvery: 10,
}

// AuthorsGain is the StyleGain that is hidden in Reference. The authors' style pictures, 600x1067 or 800x800, have this many
// times the pixels of the output, and GramSum sums over them. With GramMean and this gain a fit has the same targets as
// theirs, at every size.
const AuthorsGain = 2.56

// Default is Reference without what depends on picture sizes: it keeps the aspect ratio, fits both pictures at the same size,
// and takes Gram matrices as means.
var Default = func() Config {
	c := Reference
	c.Square, c.StyleSize, c.Gram = false, AsContent, GramMean
	return c
}()

const minSize, maxSize = 32, 8192

// Validate names the first field that is out of range, its value and what is allowed.
func (c Config) Validate() error {
	size := func(v int) bool { return v >= minSize && v <= maxSize }
	weight := func(v float64) bool { return v >= 0 && !math.IsInf(v, 0) }
	sizes, weights := fmt.Sprintf("%d to %d", minSize, maxSize), "a finite number, at least 0"
	for _, f := range []struct {
		ok      bool
		name    string
		value   any
		allowed string
	}{
		{size(c.Size), "size", c.Size, sizes},
		{size(c.StyleSize) || c.StyleSize == 0 || c.StyleSize == AsContent, "style-size", c.StyleSize, sizes + ", 0 (the picture's own) or -1 (as size)"},
		{c.Gram == GramSum || c.Gram == GramMean, "gram", c.Gram, "sum, mean"},
		{weight(c.StyleGain) && c.StyleGain > 0, "style-gain", c.StyleGain, "a finite number above 0"},
		{c.Steps >= 0, "steps", c.Steps, "0 or more"},
		{weight(c.ContentWeight), "content-weight", c.ContentWeight, weights},
		{weight(c.StyleWeight), "style-weight", c.StyleWeight, weights},
		{weight(c.LayerWeights[0]) && weight(c.LayerWeights[1]) && weight(c.LayerWeights[2]) && weight(c.LayerWeights[3]) && weight(c.LayerWeights[4]), "layer-weights", c.LayerWeights, "finite numbers, at least 0"},
		{weight(c.LearningRate), "learning-rate", c.LearningRate, weights},
		{weight(c.DecayFactor), "decay-factor", c.DecayFactor, weights},
		{c.DecayEvery >= 0, "decay-every", c.DecayEvery, "0 or more"},
		{weight(c.WeightDecay), "weight-decay", c.WeightDecay, weights},
		{c.ReportEvery >= 1, "report-every", c.ReportEvery, "1 or more"},
		{c.CheckpointEvery >= 0, "checkpoint-every", c.CheckpointEvery, "0 or more"},
	} {
		if !f.ok {
			return fmt.Errorf("%s %v: allowed: %s", f.name, f.value, f.allowed)
		}
	}
	return c.validateMap()
}
