// Command hrlab transfers the look of one photograph to another and helps to choose the weights: see README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"syscall"

	"hrlab/experiments"
	"hrlab/hrstyle"
	"hrlab/hrstyle/device"
	"hrlab/tracker"

	"github.com/alecthomas/kong"
)

// verbs is the command line: one file per verb.
type verbs struct {
	Setup   setupCmd   `cmd:"" help:"Install what this machine lacks: the XLA:CPU plugin and VGG19's weights. Needed once."`
	Doctor  doctorCmd  `cmd:"" help:"Show what was found and what is missing, with the command that installs it."`
	Demo    demoCmd    `cmd:"" help:"Fit the built-in pair of pictures and show before and after."`
	Fit     fitCmd     `cmd:"" help:"Give the content picture the look of the style picture."`
	Map     mapCmd     `cmd:"" help:"Fit one generator for a whole range of weights, and show what the weights do."`
	Sweep   sweepCmd   `cmd:"" help:"Fit a pair with many weights, and record every run."`
	Runs    runsCmd    `cmd:"" help:"List, compare, keep and export recorded runs."`
	Worker  workerCmd  `cmd:"" help:"Take trials from the queue, one after the other."`
	Launch  launchCmd  `cmd:"" help:"Start workers: on this machine's GPUs, on other machines, or in a Slurm cluster."`
	Queue   queueCmd   `cmd:"" help:"Show the queue of trials, pause it, cancel and retry."`
	Report  reportCmd  `cmd:"" help:"Compare the runs of an experiment on one page, and suggest weights."`
	Compare compareCmd `cmd:"" help:"Show the outputs of runs beside each other, under a slider or side by side."`
	Serve   serveCmd   `cmd:"" help:"Show the runs in a browser, live while fits run."`
	Apply   applyCmd   `cmd:"" help:"Apply a fitted generator, or a LUT, to other pictures."`
	Export  exportCmd  `cmd:"" help:"Make a 3D LUT of a look, for other programs: .cube, or a HALD CLUT."`
	Bench   benchCmd   `cmd:"" help:"Time whole steps, beside PyTorch's where peer.py is given."`

	Notebook   notebookCmd   `cmd:"" help:"Install, open and execute notebooks in Go."`
	Completion completionCmd `cmd:"" help:"Print the code that completes hrlab's commands in a shell."`

	VersionVerb versionCmd       `cmd:"" name:"version" help:"Print the version: release, commit and Go's version."`
	HelpVerb    helpCmd          `cmd:"" name:"help" help:"Show the help of a verb, with examples."`
	Version     kong.VersionFlag `help:"Print the version."`
}

// Help has examples, of how to begin.
func (*verbs) Help() string {
	return `Examples:

	hrlab demo                                        # the built-in pair, six weights, compared
	hrlab fit --content boat.jpg --style sunset.jpg   # your own
	hrlab help sweep                                  # every verb has examples`
}

func main() {
	if err := withEnvironment(); err != nil {
		fmt.Fprintln(os.Stderr, "hrlab:", err)
	}
	os.Exit(run(os.Args[1:]))
}

// withEnvironment restarts the program, once, with variables that XLA and the allocator read only when a process starts.
func withEnvironment() error {
	const done = "HRLAB_ENVIRONMENT"
	missing := device.Environment()
	if os.Getenv(done) != "" || len(missing) == 0 {
		return os.Unsetenv(done) // children decide for themselves
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(self, os.Args, append(append(os.Environ(), missing...), done+"=1"))
}

// newParser makes the parser of command lines.
func newParser(more ...kong.Option) *kong.Kong {
	return kong.Must(&verbs{}, append(more,
		kong.Name("hrlab"),
		kong.Description("Photorealistic style transfer: choose two pictures, try weights, compare."),
		kong.Vars{"version": version(buildInfo())},
		kong.KindMapper(reflect.String, kong.MapperFunc(textFlag)),
		kong.TypeMapper(reflect.TypeFor[map[string]string](), kong.MapperFunc(pairFlag)),
		kong.WithHyphenPrefixedParameters(true), // such as negative numbers
	)...)
}

// run executes one command line and returns the exit code: 0, 1 where the work itself failed, 2 where the command line or
// what it names is wrong, 130 for an interruption.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)   // a second Ctrl-C ends the program at once
	signal.Ignore(syscall.SIGPIPE) // a closed pipe at stdout does not end the program: results are still saved

	for _, name := range []string{"HRLAB_ARTIFACTS", "HRLAB_DB", "HRLAB_DEVICE", "HRLAB_VGG"} {
		if os.Getenv(name) == "" {
			_ = os.Unsetenv(name) // kong would take an empty variable for a value
		}
	}
	c := &console{out: os.Stdout, messages: os.Stderr, terminal: isTerminal(os.Stderr), width: terminalWidth(os.Stdout)}
	parser := newParser(kong.BindTo(tracker.OnWait(ctx, c.waits()), (*context.Context)(nil)), kong.Bind(c))
	if completed(ctx, parser) {
		return 0
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	err := noPasswords(args)
	var command *kong.Context
	if err == nil {
		command, err = parser.Parse(args)
	}
	if err == nil {
		err = command.Run()
	}
	switch {
	case err == nil || closedPipe(err):
		return 0
	case errors.Is(err, context.Canceled):
		return 130
	}
	fmt.Fprintln(os.Stderr, "hrlab:", oneLine(err))
	if errors.Is(err, hrstyle.ErrDiverged) || errors.Is(err, experiments.ErrTrials) || errors.Is(err, experiments.ErrUnfit) || errors.Is(err, experiments.ErrPaused) || errors.Is(err, errPictures) || errors.Is(err, errLeftOut) || errors.Is(err, errUnsound) || errors.Is(err, errCell) || errors.Is(err, errWorkers) {
		return 1
	}
	return 2
}
