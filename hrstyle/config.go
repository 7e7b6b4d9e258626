package hrstyle

import (
	"encoding/json"
	"fmt"
	"math"
)

// Config says how a pair is fitted. Start from [Default] or [Reference] and change fields: zero is a value, not a
// default. The JSON names are those of the command line's flags.
type Config struct {
	// Size is the longer side of the fitted picture in pixels, 32 to 8192; the shorter one follows, and both are
	// rounded to multiples of 4. With Square both sides are Size.
	Size   int  `json:"size"`
	Square bool `json:"square"`
	// StyleSize is the longer side of the style picture (with Square both sides), 32 to 8192; 0 keeps the picture's
	// own size, AsContent takes Size.
	StyleSize int `json:"style_size"`
	// Gram is how Gram matrices are taken.
	Gram Gram `json:"gram"`
	// StyleGain multiplies the style picture's Gram matrices, which are what the style loss aims at: above 1 at colours
	// and contrasts beyond the style picture's. It is finite and above 0.
	StyleGain float64 `json:"style_gain"`

	// Steps is the number of updates, 0 or more; losses and pictures exist for steps 0 to Steps.
	Steps int `json:"steps"`
	// ContentWeight and StyleWeight multiply the two losses; LayerWeights the terms of the style loss, in the order
	// of StyleLayers. All are finite and at least 0.
	ContentWeight float64    `json:"content_weight"`
	StyleWeight   float64    `json:"style_weight"`
	LayerWeights  [5]float64 `json:"layer_weights"`
	// LearningRate is Adam's (betas 0.9 and 0.999, eps 1e-8), multiplied by DecayFactor after every DecayEvery
	// updates (0: never).
	LearningRate float64 `json:"learning_rate"`
	DecayFactor  float64 `json:"decay_factor"`
	DecayEvery   int     `json:"decay_every"`
	// WeightDecay times the parameters is added to the gradient (L2, as in PyTorch's Adam).
	WeightDecay float64 `json:"weight_decay"`
	// Seed draws the initial parameters; Init, a generator file, replaces them.
	Seed int64  `json:"seed"`
	Init string `json:"init,omitempty"`

	// ReportEvery is the number of steps from one yielded Step to the next, at least 1.
	ReportEvery int `json:"report_every"`
	// Checkpoint is the file to save the fit's state to, on stopping early and every CheckpointEvery steps (0: on
	// stopping early alone); empty: never.
	Checkpoint      string `json:"-"`
	CheckpointEvery int    `json:"checkpoint_every"`
}

// AsContent is the StyleSize that is the same as Size.
const AsContent = -1

// UnmarshalJSON reads what Config is written as; what was written before there was a StyleGain has a gain of 1.
func (c *Config) UnmarshalJSON(text []byte) error {
	type fields Config
	read := fields(*c)
	read.StyleGain = 1
	err := json.Unmarshal(text, &read)
	*c = Config(read)
	return err
}

// Reference is the authors' run: 500x500 whatever the aspect ratio, the style picture at its own size, Gram sums.
var Reference = Config{
	Size: 500, Square: true, StyleSize: 0, Gram: GramSum, StyleGain: 1,
	Steps: 1000, ContentWeight: 150, StyleWeight: 1, LayerWeights: [5]float64{0.1, 0.2, 0.4, 0.8, 1.6},
	LearningRate: 5e-3, DecayFactor: 0.9, DecayEvery: 200,
	ReportEvery: 10,
}

// AuthorsGain is the StyleGain that Reference hides: the authors' style pictures, 600x1067 or 800x800, have this many times
// the pixels of the output, and GramSum sums over them. With it, GramMean aims at what their runs aim at, at every size.
const AuthorsGain = 2.56

// Default is Reference with the aspect ratio kept and no hidden weights: Gram matrices a pixel, both pictures of the
// same size.
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
	return nil
}
