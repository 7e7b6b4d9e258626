package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"hrlab/experiments"
	"hrlab/hrstyle"
)

// A log has a line every half minute, however long a trial takes.
func TestSweepLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		config := hrstyle.Default
		config.Steps, config.ContentWeight = 100, 50
		p := (&console{messages: &log}).newSweepProgress(t.Context(), []experiments.Trial{{Config: config}, {Config: config}}, compiling)
		time.Sleep(31 * time.Second)
		p.report(experiments.Progress{Run: 1, Config: config, Step: hrstyle.Step{N: 0, Total: 9}})
		time.Sleep(20 * time.Second)
		p.report(experiments.Progress{Run: 1, Config: config, Step: hrstyle.Step{N: 50, Total: 4}})
		time.Sleep(10 * time.Second)
		p.close()
		time.Sleep(time.Hour)
		want := "2 trials; compiling\n" +
			"0 of 2 trials; compiling\n" +
			"0 of 2 trials; content 50, style 1: step 50/100  total 4  (1m27s left)\n"
		if log.String() != want {
			t.Errorf("%s\nwant\n%s", log.String(), want)
		}
	})
}

// A trial that was cancelled and queued again counts once.
func TestSweepRetried(t *testing.T) {
	var log bytes.Buffer
	config := hrstyle.Default
	config.Steps = 100
	p := (&console{messages: &log}).newSweepProgress(t.Context(), []experiments.Trial{{Config: config}, {Config: config}}, inQueue)
	stopped := experiments.Progress{Run: 1, Config: config, Ended: true, Err: errors.New("run 1 was stopped")}
	p.report(stopped)
	p.report(experiments.Progress{Run: 1, Config: config, Step: hrstyle.Step{N: 10}})
	if p.failed != 0 || p.done() != 10 {
		t.Errorf("again at work: %d failed, %d steps done", p.failed, p.done())
	}
	p.report(stopped)
	p.report(experiments.Progress{Run: 1, Config: config, Ended: true})
	p.report(experiments.Progress{Config: config, Ended: true, Err: errors.New("no run")})
	p.report(experiments.Progress{Config: config, Ended: true, Err: errors.New("no run")})
	p.close()
	if p.failed != 2 || p.fitted != 1 || p.done() != 300 {
		t.Errorf("finished: %d failed, %d fitted, %d steps done", p.failed, p.fitted, p.done())
	}
}

// Where Ctrl-C ends a sweep its trial is stopped, as runs list has it.
func TestSweepStopped(t *testing.T) {
	var log bytes.Buffer
	p := (&console{messages: &log}).newSweepProgress(t.Context(), []experiments.Trial{{Config: hrstyle.Default}}, compiling)
	p.report(experiments.Progress{Run: 1, Config: hrstyle.Default, Ended: true, Err: fmt.Errorf("interrupt signal received: %w", context.Canceled)})
	p.close()
	if want := "1 trials; compiling\nrun 1, content 150, style 1: stopped\n"; log.String() != want {
		t.Errorf("%s\nwant\n%s", log.String(), want)
	}
}

// What a sweep waits for while its fit goes on is said once, not at every step.
func TestSweepGoesOn(t *testing.T) {
	var log bytes.Buffer
	p := (&console{messages: &log}).newSweepProgress(t.Context(), []experiments.Trial{{Config: hrstyle.Default}}, compiling)
	for n := range 3 {
		p.wait("waiting for a server; the fit goes on")
		p.report(experiments.Progress{Run: 1, Config: hrstyle.Default, Step: hrstyle.Step{N: n}})
	}
	p.wait("")
	p.close()
	if want := "1 trials; compiling\nwaiting for a server; the fit goes on\n"; log.String() != want {
		t.Errorf("%s\nwant\n%s", log.String(), want)
	}
}
