package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"hrlab/experiments"
	"hrlab/tracker"
)

// queueCmd are the verbs on the queue.
type queueCmd struct {
	Status queueStatusCmd `cmd:"" help:"Count the trials by status, and show how far each worker is."`
	Pause  queuePauseCmd  `cmd:"" help:"Keep workers from taking trials."`
	Resume queueResumeCmd `cmd:"" help:"End a pause."`
	Cancel queueCancelCmd `cmd:"" help:"Take runs from the queue, and stop those that are running."`
	Retry  queueRetryCmd  `cmd:"" help:"Queue failed, stopped or lost runs again."`

	dbFlags
}

// Help has examples.
func (*queueCmd) Help() string {
	return `Examples:

	hrlab sweep --content boat.jpg --style sunset.jpg --preset wide --queue
	hrlab worker --drain
	hrlab queue status`
}

// with opens the queue of an existing database, runs f and closes it.
func (q *queueCmd) with(ctx context.Context, f func(s *tracker.Store, q *experiments.Queue) error) error {
	return q.dbFlags.with(ctx, func(s *tracker.Store) error {
		queue, err := experiments.OpenQueue(ctx, s)
		if err != nil {
			return err
		}
		return f(s, queue)
	})
}

type queueStatusCmd struct {
	JSON bool `name:"json" help:"Print an object for programs: whether the queue is paused, the trials by status, the workers and what was left for others."`
}

// Help has examples.
func (*queueStatusCmd) Help() string {
	return `Statuses are those of runs list. A worker is silent when it has given no sign of life for a while: it is halted, or its
machine cannot be reached.

Examples:

	hrlab queue status
	hrlab queue status --json`
}

// queueState is the state of the queue as JSON.
type queueState struct {
	Paused  bool                   `json:"paused"`
	Trials  map[tracker.Status]int `json:"trials"`
	Workers []workerState          `json:"workers"`
	Left    []leftTrial            `json:"left"`
}

// workerState is a process that takes trials, as JSON.
type workerState struct {
	Host        string    `json:"host"`
	PID         int64     `json:"pid"`
	Beat        time.Time `json:"beat"` // its last sign of life
	Silent      bool      `json:"silent"`
	Run         int64     `json:"run,omitempty"` // none: it waits
	Step        int       `json:"step,omitempty"`
	Steps       int       `json:"steps,omitempty"`
	SecondsLeft float64   `json:"seconds_left,omitempty"`
}

// leftTrial is a trial that a worker has left for others, as JSON.
type leftTrial struct {
	Run    int64  `json:"run"`
	Worker string `json:"worker"`
	Why    string `json:"why"`
}

// Run tells.
func (v *queueStatusCmd) Run(ctx context.Context, c *console, q *queueCmd) error {
	return q.with(ctx, func(s *tracker.Store, queue *experiments.Queue) error {
		trials, paused, err := queue.State(ctx)
		if err != nil {
			return err
		}
		workers, err := queue.Workers(ctx)
		if err != nil {
			return err
		}
		unfit, err := queue.Unfit(ctx)
		if err != nil {
			return err
		}
		state := queueState{paused, trials, []workerState{}, []leftTrial{}}
		for _, w := range workers {
			state.Workers = append(state.Workers, workerState{w.Host, w.PID, w.Beat, w.Silent, w.Run, w.Step, w.Steps, w.Left.Seconds()})
		}
		for _, u := range unfit {
			state.Left = append(state.Left, leftTrial(u))
		}
		if v.JSON {
			return json.NewEncoder(c.out).Encode(state)
		}
		return state.print(c.out)
	})
}

// print writes the state for a reader.
func (q queueState) print(w io.Writer) error {
	var text strings.Builder
	if q.Paused {
		fmt.Fprintln(&text, "paused: hrlab queue resume ends it")
	}
	for _, status := range []tracker.Status{tracker.Queued, tracker.Running, tracker.Lost, tracker.Finished, tracker.Failed, tracker.Stopped} {
		if n := q.Trials[status]; n > 0 {
			fmt.Fprintf(&text, "%-10s %d\n", status, n)
		}
	}
	if len(q.Trials) == 0 {
		fmt.Fprintln(&text, "empty")
	}
	if len(q.Workers) == 0 && q.Trials[tracker.Queued] > 0 && !q.Paused {
		fmt.Fprintln(&text, "no worker: start hrlab worker")
	}
	for _, p := range q.Workers {
		fmt.Fprintf(&text, "process %d on %s: ", p.PID, printable(p.Host))
		if p.Silent {
			fmt.Fprintf(&text, "silent since %s, ", when(p.Beat))
		}
		if p.Run == 0 {
			fmt.Fprintln(&text, "waits for trials")
			continue
		}
		fmt.Fprintf(&text, "run %d, step %d of %d", p.Run, p.Step, p.Steps)
		if p.SecondsLeft > 0 && !p.Silent {
			fmt.Fprintf(&text, ", %v left", time.Duration(p.SecondsLeft*float64(time.Second)).Round(time.Second))
		}
		fmt.Fprintln(&text)
	}
	waiting := map[string]int{}
	for _, u := range q.Left {
		waiting[fmt.Sprintf("by %s: %s", u.Worker, u.Why)]++
	}
	for _, why := range slices.Sorted(maps.Keys(waiting)) {
		fmt.Fprintf(&text, "%d left for other workers, %s\n", waiting[why], why)
	}
	_, err := io.WriteString(w, text.String())
	return err
}

type queuePauseCmd struct{}

// Help has examples.
func (*queuePauseCmd) Help() string {
	return `Workers finish the trial that they are at.

Examples:

	hrlab queue pause`
}

// Run pauses.
func (*queuePauseCmd) Run(ctx context.Context, c *console, q *queueCmd) error {
	return q.with(ctx, func(_ *tracker.Store, queue *experiments.Queue) error {
		if err := queue.Pause(ctx); err != nil {
			return err
		}
		trials, _, err := queue.State(ctx)
		if err == nil {
			fmt.Fprintf(c.messages, "paused; %d running go on to their end, %d queued wait for hrlab queue resume\n", trials[tracker.Running], trials[tracker.Queued])
		}
		return err
	})
}

type queueResumeCmd struct{}

// Help has examples.
func (*queueResumeCmd) Help() string {
	return `Examples:

	hrlab queue resume`
}

// Run resumes.
func (*queueResumeCmd) Run(ctx context.Context, q *queueCmd) error {
	return q.with(ctx, func(_ *tracker.Store, queue *experiments.Queue) error { return queue.Resume(ctx) })
}

// queuedRuns are runs by id or name, or those of an experiment.
type queuedRuns struct {
	Runs       []string `arg:"" optional:"" name:"run" predictor:"run" help:"Runs, by id or name."`
	Experiment string   `predictor:"experiment" placeholder:"NAME" help:"All runs of this experiment."`
}

func (r queuedRuns) find(ctx context.Context, s *tracker.Store, states ...tracker.Status) (runs []tracker.Info, err error) {
	if (len(r.Runs) == 0) == (r.Experiment == "") {
		return nil, errors.New("name runs, or an experiment by --experiment")
	}
	for _, name := range r.Runs {
		info, err := s.Run(ctx, name)
		if err != nil {
			return nil, err
		}
		runs = append(runs, info)
	}
	if r.Experiment != "" {
		if runs, err = s.Runs(ctx, tracker.Query{Experiment: r.Experiment}); err != nil {
			return nil, err
		}
		runs = slices.DeleteFunc(runs, func(i tracker.Info) bool { return !slices.Contains(states, i.Status) })
	}
	return runs, nil
}

// rest says of n runs why nothing was done to them: they are in these states, or the queue does not know them.
func rest(n int, states string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; %d left as they are: %s, or no trials of the queue", n, states)
}

type queueCancelCmd struct{ queuedRuns }

// Help has examples.
func (*queueCancelCmd) Help() string {
	return `A run that is running stops at its next step, whoever is at it; queue retry before that has it go on.

Examples:

	hrlab queue cancel 12 13
	hrlab queue cancel --experiment boat`
}

// Run cancels.
func (d *queueCancelCmd) Run(ctx context.Context, c *console, q *queueCmd) error {
	return q.with(ctx, func(s *tracker.Store, queue *experiments.Queue) error {
		runs, err := d.find(ctx, s, tracker.Queued, tracker.Running, tracker.Lost)
		if err != nil {
			return err
		}
		n, err := queue.Cancel(ctx, runs)
		if err == nil {
			fmt.Fprintf(c.messages, "%d cancelled%s\n", n, rest(len(runs)-n, "over"))
		}
		return err
	})
}

type queueRetryCmd struct{ queuedRuns }

// Help has examples.
func (*queueRetryCmd) Help() string {
	return `Examples:

	hrlab queue retry 12
	hrlab queue retry --experiment boat`
}

// Run queues again.
func (d *queueRetryCmd) Run(ctx context.Context, c *console, q *queueCmd) error {
	return q.with(ctx, func(s *tracker.Store, queue *experiments.Queue) error {
		runs, err := d.find(ctx, s, tracker.Failed, tracker.Stopped, tracker.Lost, tracker.Queued, tracker.Running)
		if err != nil {
			return err
		}
		n, err := queue.Retry(ctx, runs)
		if err == nil {
			fmt.Fprintf(c.messages, "%d queued again%s\n", n, rest(len(runs)-n, "queued, running or finished"))
		}
		return err
	})
}
