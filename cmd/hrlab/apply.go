package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"hrlab/hrstyle"
)

type applyCmd struct {
	Generator string   `required:"" placeholder:"FILE" help:"A generator that hrlab fit saved."`
	Pictures  []string `arg:"" name:"picture" help:"Pictures to run it on (PNG, JPEG, WebP, TIFF, BMP, GIF)."`
	Out       string   `required:"" placeholder:"DIR|FILE" help:"A directory for the results, named as the pictures are; a file where there is one picture."`
	Device    string   `default:"auto" env:"HRLAB_DEVICE" help:"auto, cuda, cpu (XLA:CPU) or go (slow, needs nothing)."`
}

// Run applies the generator to every picture.
func (a *applyCmd) Run(ctx context.Context, c *console) error {
	outs, err := a.outputs()
	if err != nil {
		return err
	}
	g, err := hrstyle.LoadGenerator(a.Generator)
	if err != nil {
		return err
	}
	var pictures []hrstyle.Picture
	for _, path := range a.Pictures {
		p, err := hrstyle.LoadPicture(path)
		if err != nil {
			return err
		}
		pictures = append(pictures, p)
	}
	engine, err := engineFlags{a.Device, "none"}.open(ctx, c)
	if err != nil {
		return err
	}
	defer engine.Close()
	for i, p := range pictures {
		if err := ctx.Err(); err != nil {
			return err
		}
		img, err := engine.Apply(g, p)
		if err != nil {
			return err
		}
		if err := hrstyle.SavePicture(outs[i], img, "hrlab: generator "+filepath.Base(a.Generator)+"; VGG19: "+g.VGG); err != nil {
			return err
		}
		fmt.Fprintln(c.messages, outs[i])
	}
	return nil
}

// outputs names a file for every picture and finds out whether it can be written.
func (a *applyCmd) outputs() ([]string, error) {
	outs := []string{a.Out}
	info, statErr := os.Stat(a.Out)
	if statErr == nil && info.IsDir() || filepath.Ext(a.Out) == "" {
		if err := os.MkdirAll(a.Out, 0o777); err != nil {
			return nil, err
		}
		outs = nil
		for _, p := range a.Pictures {
			outs = append(outs, filepath.Join(a.Out, stem(p)+".png"))
		}
	} else if len(a.Pictures) > 1 {
		return nil, fmt.Errorf("--out %s: is a file for %d pictures; name a directory", a.Out, len(a.Pictures))
	}
	if err := apart(outs, append([]string{a.Generator}, a.Pictures...)); err != nil {
		return nil, err
	}
	var err error
	for _, out := range outs {
		err = errors.Join(err, hrstyle.CheckOutput(out))
	}
	return outs, err
}
