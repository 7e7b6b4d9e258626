package hrstyle

import (
	"math"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	for want, change := range map[string]func(c *Config){
		"size 0: allowed: 32 to 8192":                                 func(c *Config) { c.Size = 0 },
		"size 2: allowed: 32 to 8192":                                 func(c *Config) { c.Size = 2 },
		"style-size -2: allowed: 32 to 8192, 0":                       func(c *Config) { c.StyleSize = -2 },
		"gram max: allowed: sum, mean":                                func(c *Config) { c.Gram = "max" },
		"style-gain 0: allowed: a finite number above 0":              func(c *Config) { c.StyleGain = 0 },
		"style-gain -1: allowed: a finite number above 0":             func(c *Config) { c.StyleGain = -1 },
		"style-gain NaN: allowed: a finite number above 0":            func(c *Config) { c.StyleGain = math.NaN() },
		"style-gain +Inf: allowed: a finite number above 0":           func(c *Config) { c.StyleGain = math.Inf(1) },
		"steps -1: allowed: 0 or more":                                func(c *Config) { c.Steps = -1 },
		"content-weight -1: allowed: a finite number, at least 0":     func(c *Config) { c.ContentWeight = -1 },
		"style-weight NaN: allowed: a finite":                         func(c *Config) { c.StyleWeight = math.NaN() },
		"learning-rate +Inf: allowed: a finite":                       func(c *Config) { c.LearningRate = math.Inf(1) },
		"layer-weights [0.1 0.2 -1 0.8 1.6]: allowed: finite numbers": func(c *Config) { c.LayerWeights[2] = -1 },
		"report-every 0: allowed: 1 or more":                          func(c *Config) { c.ReportEvery = 0 },
	} {
		c := Default
		change(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	for _, c := range []Config{Default, Reference} {
		c.ContentWeight, c.StyleWeight, c.LearningRate, c.Seed, c.Steps = 0, 0, 0, 0, 0 // zero is a value
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
}
