package experiments

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hrlab/hrstyle"
	"hrlab/picture"
	"hrlab/tracker"
)

// A run is fitted again with other weights: from files, as a sweep made it, or from artifacts, as the queue has it.
func TestVary(t *testing.T) {
	lab, ctx, dir := testLab(t), t.Context(), t.TempDir()
	content, style := filepath.Join(dir, "day.png"), filepath.Join(dir, "dusk.png")
	if err := errors.Join(picture.Save(content, testPair.Content, picture.Encoding{}), picture.Save(style, testPair.Style, picture.Encoding{})); err != nil {
		t.Fatal(err)
	}
	pair, err := hrstyle.LoadPair(content, style)
	if err != nil {
		t.Fatal(err)
	}
	made, err := lab.Sweep(ctx, "e", pair, List(testConfig()), 0, func(Progress) {})
	if err != nil {
		t.Fatal(err)
	}
	q := openQueue(t, lab)
	same := func(*hrstyle.Config) {}
	if id, err := q.Vary(ctx, made[0].ID, same); err != nil || id != made[0].ID {
		t.Errorf("the same again is run %d, %v; want %d", id, err, made[0].ID)
	}
	other := func(c *hrstyle.Config) { c.ContentWeight, c.StyleGain = 7, 2 }
	id, err := q.Vary(ctx, made[0].ID, other)
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []int64{made[0].ID, id} { // the second has artifacts
		if again, err := q.Vary(ctx, from, other); err != nil || again != id {
			t.Errorf("from run %d: run %d, %v; want %d", from, again, err, id)
		}
	}
	if err := lab.Work(ctx, true, func(Progress) {}); err != nil {
		t.Fatal(err)
	}
	info, err := lab.Tracker.Run(ctx, "2")
	if err != nil || info.Status != tracker.Finished || info.Params["content_weight"].Number != 7 || info.Params["style_gain"].Number != 2 || info.Experiment != "e" || info.Params["content"] != made[0].Params["content"] {
		t.Errorf("%+v, %v", info, err)
	}
	if _, err := q.Vary(ctx, id, func(c *hrstyle.Config) { c.ContentWeight = -1 }); err == nil || !strings.Contains(err.Error(), "-1") {
		t.Error(err)
	}
	if _, err := q.Vary(ctx, 99, same); !errors.Is(err, tracker.ErrNotFound) {
		t.Error(err)
	}
	if err := picture.Save(content, testPair.Style, picture.Encoding{}); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Vary(ctx, made[0].ID, other); err == nil || !strings.Contains(err.Error(), "the content picture is another by now") {
		t.Error(err)
	}
	if err := os.Remove(content); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Vary(ctx, made[0].ID, other); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
}
