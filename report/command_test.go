package report

import (
	"testing"

	"hrlab/tracker"
)

// A weight map is made again by hrlab map, and a fit that began with one by hrlab fit --init. What is suggested is fitted from nothing.
func TestCommandOfMap(t *testing.T) {
	number := func(v float64, text string) tracker.Value {
		return tracker.Value{Text: text, Number: v, IsNumber: true}
	}
	params := func(more map[string]tracker.Value) map[string]tracker.Value {
		for name, text := range map[string]string{"content": "boat.jpg", "style": "sunset.jpg", "style_size": "-1", "gram": "mean", "square": "false"} {
			more[name] = tracker.Value{Text: text}
		}
		more["size"], more["seed"], more["style_weight"] = number(96, "96"), number(0, "0"), number(1, "1")
		return more
	}
	made := Run{Info: tracker.Info{ID: 12, Status: tracker.Finished, Params: params(map[string]tracker.Value{
		"content_weight": number(0, "0"), "steps": number(750, "750"), "learning_rate": number(2e-3, "0.002"),
		"map_from": number(8, "8"), "map_to": number(8000, "8000"), "map_knots": number(5, "5"),
	})}}
	began := Run{Info: tracker.Info{ID: 13, Status: tracker.Finished, Params: params(map[string]tracker.Value{
		"content_weight": number(45, "45"), "steps": number(60, "60"), "learning_rate": number(1e-3, "0.001"), "map": {Text: "run 12"},
	})}}
	for want, got := range map[string]string{
		"hrlab map --content boat.jpg --style sunset.jpg --from 8 --size 96 --steps 750": made.Command(),
		"": made.FullSize(),
		"hrlab fit --content boat.jpg --style sunset.jpg --content-weight 45 --style-weight 1 --size 96 --steps 60 --init 12 --ratio 45": began.Command(),
		"hrlab apply --run 13 boat.jpg --out=boat_run13.png":                                                                             began.FullSize(),
		"hrlab fit --content boat.jpg --style sunset.jpg --content-weight 45 --style-weight 1":                                           (&Pair{Suggested: &began}).Command(),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
