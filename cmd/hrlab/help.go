package main

import "github.com/alecthomas/kong"

type helpCmd struct {
	Verb []string `arg:"" optional:"" help:"The verb, such as runs list."`
}

// Help has examples.
func (*helpCmd) Help() string {
	return `Examples:

	hrlab help fit
	hrlab help runs list`
}

// Run shows what --help shows.
func (h *helpCmd) Run(k *kong.Context) error {
	verb, err := kong.Trace(k.Kong, h.Verb)
	if err == nil {
		err = verb.Error
	}
	if err != nil {
		return err
	}
	return verb.PrintUsage(false)
}
