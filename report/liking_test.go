package report

import (
	"fmt"
	"math"
	"testing"

	"hrlab/tracker"
)

// weighted is a run with these weights.
func weighted(id int64, content, style, gain float64) tracker.Info {
	number := func(v float64) tracker.Value {
		return tracker.Value{Text: fmt.Sprint(v), Number: v, IsNumber: true}
	}
	return tracker.Info{ID: id, Status: tracker.Finished, Params: map[string]tracker.Value{"content_weight": number(content), "style_weight": number(style), "style_gain": number(gain)}}
}

// The run that was chosen comes first, runs with the same ratio of weights near it, and what is proposed lies near.
func TestLike(t *testing.T) {
	runs := []tracker.Info{weighted(1, 1, 1, 1), weighted(2, 10, 1, 1), weighted(3, 100, 1, 1), weighted(4, 1000, 1, 1), weighted(5, 1000, 10, 1), weighted(6, 0, 1, 1), weighted(7, math.Inf(1), 1, 1), {ID: 8}}
	choices := []tracker.Choice{
		{Runs: []int64{1, 3}, Best: 3},
		{Runs: []int64{4, 3, 2}, Best: 3},
		{Runs: []int64{2, 1}},
		{Runs: []int64{3, 1, 2, 4}, Best: 3},
		{Runs: []int64{3, 4}, Best: 3},
		{Runs: []int64{1, 99}, Best: 1}, // with runs that are left out
		{Runs: []int64{6, 1}, Best: 6},
	}
	l := Like(runs, choices, 3)
	if l.Choices != 5 || len(l.Runs) != 5 || l.Runs[0].ID != 3 || l.Runs[1].ID != 5 || l.Runs[0].Shown != 4 || l.Runs[1].Shown != 0 {
		t.Errorf("%d choices, %+v", l.Choices, l.Runs)
	}
	total := 0.0
	for _, r := range l.Runs {
		total += r.Sure
	}
	if math.Abs(total-1) > 1e-9 || l.Runs[0].Sure < 0.3 {
		t.Errorf("sure %v", l.Runs)
	}
	if len(l.Show) != 3 || l.Show[0].ID != 3 {
		t.Errorf("shows %+v", l.Show)
	}
	if w := l.Next; w.Style != 1 || w.Gain != 1 || w.Content < 20 || w.Content > 500 || w.Content == 100 || l.Better <= 0 {
		t.Errorf("next %v, better by %g", w, l.Better)
	}
	waits := weighted(10, l.Next.Content, 1, 1)
	waits.Status = tracker.Queued
	if again := Like(append(runs, waits), choices, 2); len(again.Runs) != 5 || again.Next == l.Next {
		t.Errorf("%d runs, next %v, which is queued", len(again.Runs), again.Next)
	}
	if l := Like(runs[3:], nil, 2); l.Choices != 0 || len(l.Show) != 2 {
		t.Errorf("%+v", l)
	}
	if l := Like(runs[4:], nil, 2); l != nil {
		t.Errorf("one run: %+v", l)
	}
	if l := Like([]tracker.Info{weighted(1, 30, 2, 1), weighted(2, 60, 2, 3)}, nil, 2); l.Next.Style != 2 || l.Next.String() == "" {
		t.Errorf("%v", l.Next)
	}
}
