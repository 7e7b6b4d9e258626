package main

import (
	"bytes"
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
		p := (&console{messages: &log}).newSweepProgress(t.Context(), 1, []experiments.Trial{{Config: config}, {Config: config}}, compiling)
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
