package main

import (
	"cmp"
	"context"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"hrlab/report"
	"hrlab/tracker"

	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"
	"github.com/posener/complete"
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

// completed answers where a shell asks for completions, and says whether one does.
func completed(ctx context.Context, parser *kong.Kong) bool {
	line := os.Getenv("COMP_LINE")
	if line == "" {
		return false
	}
	command, err := kongcompletion.Command(parser, kongcompletion.WithPredictors(predictors(ctx)))
	parser.FatalIfErrorf(err)
	everyArgument(parser.Model.Node, command, len(strings.Fields(line)))
	return complete.New(parser.Model.Name, command).Complete()
}

// everyArgument adds what kongcompletion leaves out: all arguments of a list are completed and not only the first, without those
// that are there, and the value of a flag that a verb shares with others is no argument. A list has at most words arguments.
func everyArgument(node *kong.Node, command complete.Command, words int) {
	for _, child := range node.Children {
		everyArgument(child, command.Sub[child.Name], words)
	}
	args := command.Args.(*kongcompletion.PositionalPredictor)
	for above := node.Parent; above != nil; above = above.Parent {
		for _, flag := range above.Flags {
			if !flag.IsBool() {
				args.ArgFlags = append(args.ArgFlags, "--"+flag.Name)
			}
		}
	}
	if n := len(node.Positional); n > 0 && node.Positional[n-1].IsCumulative() {
		first := args.Predictors[n-1]
		more := complete.PredictFunc(func(a complete.Args) []string {
			return slices.DeleteFunc(first.Predict(a), func(value string) bool { return slices.Contains(a.Completed, value) })
		})
		args.Predictors = append(args.Predictors, slices.Repeat([]complete.Predictor{more}, words)...)
	}
}

// predictors complete values, by the names that the tag predictor of a flag or argument has. What comes from the database comes
// from its newest runs; where it cannot be read there is nothing.
func predictors(ctx context.Context) map[string]complete.Predictor {
	recorded := func(values func(runs []tracker.Info) []string) complete.Predictor {
		return complete.PredictFunc(func(a complete.Args) []string { return values(newestRuns(ctx, a.All)) })
	}
	distinct := func(list []string) []string {
		slices.Sort(list)
		return slices.Compact(list)
	}
	return map[string]complete.Predictor{
		"device":   complete.PredictSet("auto", "cuda", "cpu", "go"),
		"gram":     complete.PredictSet("mean", "sum"),
		"vgg":      complete.PredictOr(complete.PredictSet("auto", "random"), complete.PredictFiles("*")),
		"artifact": complete.PredictSet(report.Output, report.Generator, report.Checkpoint, report.Content, report.Style, report.Init, "step:0"),
		"run": recorded(func(runs []tracker.Info) (ids []string) {
			for _, i := range runs {
				ids = append(ids, strconv.FormatInt(i.ID, 10))
			}
			return ids
		}),
		"experiment": recorded(func(runs []tracker.Info) (names []string) {
			for _, i := range runs {
				names = append(names, i.Experiment)
			}
			return distinct(names)
		}),
		"field": complete.PredictFunc(func(a complete.Args) []string {
			fields := []string{"id", "name", "experiment", "status", "created", "started", "ended"}
			for _, i := range newestRuns(ctx, a.All) {
				for name := range maps.Keys(i.Metrics) {
					fields = append(fields, "metrics."+name)
				}
				for name := range maps.Keys(i.Params) {
					fields = append(fields, "params."+name)
				}
			}
			before := a.Last[:strings.LastIndex(a.Last, ",")+1] // those of a list that are there
			fields = distinct(fields)
			for i := range fields {
				fields[i] = before + fields[i]
			}
			return fields
		}),
	}
}

// newestRuns are the newest runs of the database that a command line names.
func newestRuns(ctx context.Context, line []string) []tracker.Info {
	db := dbFlags{DB: dbURL(cmp.Or(os.Getenv("HRLAB_DB"), "hrlab.db"))}
	for i, word := range line {
		if value, ok := strings.CutPrefix(word, "--db="); ok {
			db.DB = dbURL(value)
		} else if word == "--db" && i+1 < len(line) {
			db.DB = dbURL(line[i+1])
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second) // a shell waits
	defer cancel()
	store, err := db.openThere(ctx)
	if err != nil {
		return nil
	}
	defer store.Close() //nolint:errcheck // it was read
	runs, _ := store.Runs(ctx, tracker.Query{Limit: 1000})
	return runs
}
