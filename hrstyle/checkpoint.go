package hrstyle

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"strconv"
	"time"

	"hrlab/hrstyle/safetensors"
)

// Generator is a fitted HRNet: its 64,607 parameters, and the fit that they come from. One of a weight map has 1,185 more,
// which scale and shift its instance norms and blend its output with the picture. A weight map is kept as a Generator too, with
// Config.WeightRange: At makes generators of it.
type Generator struct {
	Step   int    // updates made
	Config Config // of its fit
	VGG    string // the Label of the VGG19 weights of its fit

	flat []float32 // in the order of layout
}

// Checkpoint is the whole state of a fit after Step updates. Before [Engine.Resume], Config may be changed in what would not
// have altered those updates, such as Steps.
type Checkpoint struct {
	Config         Config
	Step           int
	Elapsed        time.Duration
	Content, Style string // the names of the pictures

	flat    []float32
	moments [2][]float32 // Adam's, in the order of flat
	fresh   int          // the step at which the moments began, as zeros
	pair    string       // digest of the pictures as fitted
	vgg     string       // digest of the weights
}

// Save writes the generator to a safetensors file at path. Tensors have PyTorch's names and shapes
// (LAYER.reduce.weight [out,in,k,k] …); Step, Config and VGG are in the metadata.
func (g *Generator) Save(path string) error {
	tensors, metadata, err := g.contents()
	if err != nil {
		return err
	}
	return safetensors.Write(path, tensors, metadata)
}

// Encode returns what Save writes.
func (g *Generator) Encode() ([]byte, error) {
	tensors, metadata, err := g.contents()
	return safetensors.Encode(tensors, metadata), err
}

func (g *Generator) contents() (map[string]safetensors.Tensor, map[string]string, error) {
	metadata, err := describe("generator", g.Step, g.Config)
	if err != nil {
		return nil, nil, err
	}
	metadata["vgg"] = g.VGG
	return cut("", g.flat), metadata, nil
}

// Digest is the sha256 of the parameters, in hexadecimal.
func (g *Generator) Digest() string { return digest(g.flat) }

// LoadGenerator reads a file that Generator.Save or Checkpoint.Save wrote. Another file with the same tensors is read too:
// without metadata, Step, Config and VGG are empty.
func LoadGenerator(path string) (*Generator, error) {
	file, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readGenerator(path, file)
}

// LoadInit reads the generator that a fit begins with, Config.Init, as LoadGenerator does. A weight map is an error.
func LoadInit(path string) (*Generator, error) {
	g, err := LoadGenerator(path)
	if err == nil && g.IsMap() {
		return nil, fmt.Errorf("init %s: a fit cannot begin with a weight map, which has a generator for every ratio of the weights", path)
	}
	return g, err
}

// ReadGenerator reads a generator as LoadGenerator does, from the size bytes of r. Errors begin with name.
func ReadGenerator(name string, r io.ReaderAt, size int64) (*Generator, error) {
	file, err := safetensors.Read(name, r, size)
	if err != nil {
		return nil, err
	}
	return readGenerator(name, file)
}

func readGenerator(name string, file *safetensors.File) (g *Generator, err error) {
	g = &Generator{VGG: file.Metadata["vgg"]}
	if file.Metadata["config"] != "" {
		if g.Step, g.Config, err = described(name, file.Metadata); err != nil {
			return nil, err
		}
	}
	if g.flat, err = join(file, "", g.Config); err != nil {
		return nil, err
	}
	return g, nil
}

// Start returns the state of a fit with c before its first step, for [Engine.Resume]. The fit begins with the generator's
// parameters, as [Engine.Fit] does with those of the file c.Init.
func (g *Generator) Start(c Config) *Checkpoint {
	zero := func() []float32 { return make([]float32, len(g.flat)) }
	return &Checkpoint{Config: c, flat: g.flat, moments: [2][]float32{zero(), zero()}}
}

// Continue returns the state of g's own fit after g.Step updates as far as g has it: the moments of Adam begin anew, as those
// of a fit do.
func (g *Generator) Continue() *Checkpoint {
	c := g.Start(g.Config)
	c.Step, c.fresh = g.Step, g.Step
	return c
}

// Save writes the checkpoint to a safetensors file at path: the tensors of its generator, and Adam's two moments with m. and
// v. before the same names.
func (c *Checkpoint) Save(path string) error {
	tensors, metadata, err := c.contents()
	if err != nil {
		return err
	}
	return safetensors.Write(path, tensors, metadata)
}

// Encode returns what Save writes.
func (c *Checkpoint) Encode() ([]byte, error) {
	tensors, metadata, err := c.contents()
	return safetensors.Encode(tensors, metadata), err
}

func (c *Checkpoint) contents() (map[string]safetensors.Tensor, map[string]string, error) {
	metadata, err := describe("checkpoint", c.Step, c.Config)
	if err != nil {
		return nil, nil, err
	}
	metadata["elapsed"], metadata["pair"], metadata["vgg"] = c.Elapsed.String(), c.pair, c.vgg
	metadata["content"], metadata["style"] = c.Content, c.Style
	if c.fresh > 0 {
		metadata["fresh"] = strconv.Itoa(c.fresh)
	}
	tensors := cut("", c.flat)
	for i, prefix := range momentPrefix {
		maps.Copy(tensors, cut(prefix, c.moments[i]))
	}
	return tensors, metadata, nil
}

var momentPrefix = [2]string{"m.", "v."}

// LoadCheckpoint reads a file that Checkpoint.Save wrote. Config.Checkpoint is path, so that the fit goes on saving there.
func LoadCheckpoint(path string) (*Checkpoint, error) {
	file, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	c, err := readCheckpoint(path, file)
	if err != nil {
		return nil, err
	}
	c.Config.Checkpoint = path
	return c, nil
}

// ReadCheckpoint reads a checkpoint as LoadCheckpoint does, from the size bytes of r. Errors begin with name, and
// Config.Checkpoint is empty.
func ReadCheckpoint(name string, r io.ReaderAt, size int64) (*Checkpoint, error) {
	file, err := safetensors.Read(name, r, size)
	if err != nil {
		return nil, err
	}
	return readCheckpoint(name, file)
}

func readCheckpoint(name string, file *safetensors.File) (c *Checkpoint, err error) {
	m := file.Metadata
	if m["format"] != "hrlab checkpoint" {
		return nil, fmt.Errorf("%s: not a checkpoint: a fit writes one with --checkpoint-every, or when it is stopped", name)
	}
	c = &Checkpoint{Content: m["content"], Style: m["style"], pair: m["pair"], vgg: m["vgg"]}
	if c.Step, c.Config, err = described(name, m); err != nil {
		return nil, err
	}
	if m["fresh"] != "" {
		if c.fresh, err = strconv.Atoi(m["fresh"]); err != nil || c.fresh < 0 || c.fresh > c.Step {
			return nil, fmt.Errorf("%s: metadata fresh: %q; allowed: 0 to %d", name, m["fresh"], c.Step)
		}
	}
	if c.Elapsed, err = time.ParseDuration(m["elapsed"]); err != nil {
		return nil, fmt.Errorf("%s: metadata elapsed: %w", name, err)
	}
	if c.flat, err = join(file, "", c.Config); err != nil {
		return nil, err
	}
	for i, prefix := range momentPrefix {
		if c.moments[i], err = join(file, prefix, c.Config); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// fits says why a fit with config cannot begin with the checkpoint's parameters.
func (c *Checkpoint) fits(config Config) error {
	if knots := max(0, len(c.flat)-gatedCount) / knotCount; knots != config.Knots {
		return fmt.Errorf("knots %d: allowed: %d, as the checkpoint has", config.Knots, knots)
	}
	return nil
}

// matches says why a fit of these pictures with these weights cannot go on from the checkpoint. One that Start made matches
// all.
func (c *Checkpoint) matches(pair string, vgg *VGG) error {
	switch {
	case c.pair == "":
		return nil
	case c.pair != pair:
		return errors.New("the checkpoint is of other pictures, or of other sizes of them: resume with those it was begun with")
	case c.vgg != vgg.Digest:
		return fmt.Errorf("the checkpoint was begun with other VGG19 weights (%.12s), not %s", c.vgg, vgg.Label)
	}
	return nil
}

func describe(kind string, step int, config Config) (map[string]string, error) {
	text, err := json.Marshal(config)
	return map[string]string{"format": "hrlab " + kind, "step": strconv.Itoa(step), "config": string(text)}, err
}

func described(name string, metadata map[string]string) (step int, config Config, err error) {
	if err = json.Unmarshal([]byte(metadata["config"]), &config); err == nil {
		step, err = strconv.Atoi(metadata["step"])
	}
	if err == nil {
		err = config.validateMap()
	}
	if err == nil && step < 0 {
		err = errors.New("a negative step")
	}
	if err != nil {
		err = fmt.Errorf("%s: metadata: %w", name, err)
	}
	return step, config, err
}

// cut splits a flat vector into the generator's tensors, with prefix before their names.
func cut(prefix string, flat []float32) map[string]safetensors.Tensor {
	tensors := map[string]safetensors.Tensor{}
	for _, p := range layout(len(flat)) {
		tensors[prefix+p.name] = safetensors.Tensor{Shape: p.shape, Data: flat[p.begin:p.end]}
	}
	return tensors
}

// join is the inverse of cut, for a file of a fit with config.
func join(file *safetensors.File, prefix string, config Config) ([]float32, error) {
	list := parameters
	switch {
	case config.Knots > 0:
		list = mapParameters(config.Knots)
	case file.Has(gate):
		list = gatedParameters
	}
	flat := make([]float32, 0, list[len(list)-1].end)
	for _, p := range list {
		t, err := file.Tensor(prefix+p.name, p.shape...)
		if err != nil {
			return nil, fmt.Errorf("%w (a generator of hrlab has it)", err)
		}
		flat = append(flat, t.Data...)
	}
	return flat, nil
}

// digest is the sha256 of vectors and their lengths.
func digest(vectors ...[]float32) string {
	hash := sha256.New()
	for _, v := range vectors {
		buf := binary.LittleEndian.AppendUint64(make([]byte, 0, 8+4*len(v)), uint64(len(v)))
		for _, x := range v {
			buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(x))
		}
		hash.Write(buf)
	}
	return hex.EncodeToString(hash.Sum(nil))
}
