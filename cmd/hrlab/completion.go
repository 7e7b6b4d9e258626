package main

import (
	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help has examples.
func (*completionCmd) Help() string {
	return `In the shell's start-up file it lasts.

Examples:

	source <(hrlab completion bash)   # zsh likewise
	hrlab completion fish | source`
}

// Run prints the shell's code.
func (s *completionCmd) Run(k *kong.Context) error {
	return (&kongcompletion.Completion{Shell: s.Shell, Code: true}).Run(k)
}
