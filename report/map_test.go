package report

import (
	"testing"

	"hrlab/tracker"
)

// A map on record has its ratios in order, and the knee that runs with the same measures would have.
func TestNewMap(t *testing.T) {
	run := tracker.Info{ID: 3, Status: tracker.Finished, Params: map[string]tracker.Value{"map_knots": {Text: "5", Number: 5, IsNumber: true}}, Metrics: map[string]tracker.Metric{}}
	measured := map[float64][2]float64{800: {1, 0}, 8: {0, 0.9}, 25.3: {0.1, 1}, 80: {0.8, 0.8}, 253: {0.9, 0.4}}
	var same []tracker.Info
	for ratio, m := range measured {
		run.Metrics[At("content", ratio)] = tracker.Metric{Last: 1}
		run.Metrics[At(ContentKept, ratio)], run.Metrics[At(StyleMatch, ratio)] = tracker.Metric{Last: m[0]}, tracker.Metric{Last: m[1]}
		same = append(same, tracker.Info{ID: int64(ratio), Metrics: map[string]tracker.Metric{ContentKept: {Last: m[0]}, StyleMatch: {Last: m[1]}}})
	}
	if !IsMap(run) || IsMap(same[0]) {
		t.Error("the run is a map, others are none")
	}
	m := NewMap(run)
	if len(m.Points) != 5 || m.Points[0].Ratio != 8 || m.Points[1].Ratio != 25.3 || m.Points[4].Ratio != 800 {
		t.Fatalf("%+v", m.Points)
	}
	knee, _ := Knee(Front(same))
	if m.Knee == nil || m.Knee.Ratio != float64(knee.ID) || m.Knee.Ratio != 80 || !m.IsKnee(2) || m.Points[0].OnFront || !m.Points[1].OnFront {
		t.Errorf("the knee is %+v; of runs it is %d", m.Knee, knee.ID)
	}
	if want := "the knee of the map is at 80 : 1, content kept 0.800, style match 0.800"; m.Suggestion() != want {
		t.Errorf("%q, want %q", m.Suggestion(), want)
	}
	if charts, err := m.Charts(); err != nil || len(charts) != 2 {
		t.Errorf("%d charts, %v", len(charts), err)
	}
	delete(run.Metrics, At(ContentKept, 8))
	for ratio := range measured {
		delete(run.Metrics, At(StyleMatch, ratio))
	}
	if m = NewMap(run); m.Knee != nil || m.Suggestion() != "the map has no knee, since content kept or style match is not defined for the pair" {
		t.Errorf("without style match: %q", m.Suggestion())
	}
	run.Status, run.Metrics = tracker.Running, nil
	if m = NewMap(run); m.Suggestion() != "the map has no measures yet: run 3 is running" {
		t.Errorf("before it is finished: %q", m.Suggestion())
	}
}
