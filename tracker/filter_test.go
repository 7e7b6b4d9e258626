package tracker

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

// zoo is a database of runs to be filtered and sorted.
func zoo(t testing.TB) *Store {
	t.Helper()
	s := fresh(t)
	for i, r := range []struct {
		name, experiment, pair string
		weight                 any
		style                  float64
		end                    error
	}{
		{"ant", "a", "boat", 10, 300, nil},
		{"bee", "a", "boat", 80.5, 250, errors.New("broken")},
		{"Cat_x", "b", `say "hi"`, "many", math.NaN(), nil},
		{"dog%", "b", "", 1e3, math.Inf(1), nil},
	} {
		n := NewRun{Name: r.name, Experiment: r.experiment, Params: map[string]any{"content_weight": r.weight, "a b": i}, Tags: map[string]string{}}
		if r.pair != "" {
			n.Tags["pair"] = r.pair
		}
		run := start(t, s, n)
		must(t, run.Log(t.Context(), 1, map[string]float64{"style": r.style * 2}), run.Log(t.Context(), 2, map[string]float64{"style": r.style}), run.Finish(t.Context(), r.end))
	}
	return s
}

func names(t testing.TB, s *Store, q Query) string {
	t.Helper()
	runs, err := s.Runs(t.Context(), q)
	if err != nil {
		return err.Error()
	}
	var list []string
	for _, r := range runs {
		list = append(list, r.Name)
	}
	return strings.Join(list, " ")
}

func (db suite) filter(t *testing.T) {
	s := zoo(t)
	const everything = `params.content_weight > 10 and metrics.style.last < 300 and tags.pair = "boat" and status = failed`
	for filter, want := range map[string]string{
		"":         "ant bee Cat_x dog%",
		everything: "bee",

		"params.content_weight >= 10":                 "ant bee dog%",
		"params.content_weight = many":                "Cat_x",
		"params.content_weight != 10":                 "bee dog%",
		"params.content_weight = 1e3":                 "dog%",
		"metrics.style < 260":                         "bee",
		"metrics.style.max > 500":                     "ant dog%",
		"metrics.style.min <= 250":                    "bee",
		"status != failed":                            "ant Cat_x dog%",
		"not status = failed":                         "ant Cat_x dog%",
		"name = ant or name = bee and experiment = b": "ant",
		"(name = ant or name = bee) and experiment=a": "ant bee",
		`tags.pair = "say \"hi\""`:                    "Cat_x",
		"tags.pair ~ BOA":                             "ant bee",
		"name ~ _":                                    "Cat_x",
		`name ~ "%"`:                                  "dog%",
		`params."a b" >= 2`:                           "Cat_x dog%",
		"tags.none = x":                               "",
		"not tags.none = x":                           "ant bee Cat_x dog%",
		"id <= 2":                                     "ant bee",
		"created > 2001-01-01":                        "ant bee Cat_x dog%",
		"metrics.style = 3 or metrics.style != 3":     "ant bee dog%", // not NaN
		"not metrics.style < 1e9":                     "Cat_x dog%",
		"metrics.style < inf":                         "ant bee",
		"tags.pair != boat.jpg":                       "ant bee Cat_x",
		`tags.pair = 'say "hi"'`:                      "Cat_x",
		"started > 2001-01-01":                        "ant bee Cat_x dog%",
		"ended < 2001-01-02T10:00:00":                 "",
		`name = "'; DROP TABLE run; --"`:              "",
	} {
		if got := names(t, s, Query{Where: filter, Sort: "id"}); got != want {
			t.Errorf("%s: %s, want %s", filter, got, want)
		}
	}
	for filter, want := range map[string]string{
		"params.content_weight >":   `filter, column 24: ""; expected a number, a word or a quoted text`,
		"nme = x":                   `filter, column 1: "nme" is no field; allowed: id, name`,
		"name = x and":              "filter, column 13: ",
		"name ? x":                  `filter, column 6: "?" is not understood`,
		"name = \"x":                "filter, column 8: the text has no closing",
		"(name = x":                 "filter, column 1: the parenthesis is not closed",
		"name = a.b. c":             `filter, column 11: "."; expected and, or, or the end; a text with odd characters needs quotes`,
		"name = x)":                 `filter, column 9: ")"; expected and, or, or the end`,
		"name < x":                  "filter, column 6: < is for numbers",
		"metrics.style = x":         `filter, column 17: "x"; expected a number`,
		"status = done":             `filter, column 10: unknown status "done"; allowed: [queued running finished failed stopped lost]`,
		"started > yesterday":       `filter, column 11: "yesterday" is no time`,
		"params > 3":                `filter, column 8: ">"; expected .NAME after params`,
		"größe = 1":                 `filter, column 1: "größe" is no field`,
		strings.Repeat("(", 500):    "too deep",
		strings.Repeat("x", 20_000): "20000 bytes; allowed: 10000",
	} {
		if got := names(t, s, Query{Where: filter}); !strings.Contains(got, want) {
			t.Errorf("%.60s: %s, want %s", filter, got, want)
		}
	}
}

func (db suite) sort(t *testing.T) {
	s := zoo(t)
	for sort, want := range map[string]string{
		"":                       "dog% Cat_x bee ant",
		"id":                     "ant bee Cat_x dog%",
		"-name":                  "dog% bee ant Cat_x",
		"params.content_weight":  "ant bee dog% Cat_x", // numbers first, then texts
		"-params.content_weight": "dog% bee ant Cat_x",
		"metrics.style":          "bee ant dog% Cat_x", // NaN last
		"-metrics.style":         "ant bee dog% Cat_x", // infinity before it alone
		"-created":               "dog% Cat_x bee ant",
		"status,-started":        "bee dog% Cat_x ant",
		"-experiment,name":       "Cat_x dog% ant bee",
		"tags.pair,-id":          "bee ant Cat_x dog%", // none last
	} {
		if got := names(t, s, Query{Sort: sort}); got != want {
			t.Errorf("%s: %s, want %s", sort, got, want)
		}
	}
	if got := names(t, s, Query{Sort: "name,"}); !strings.Contains(got, "sort, column 6: ") {
		t.Error(got)
	}
	if got := names(t, s, Query{Sort: "-id", Limit: 2}); got != "dog% Cat_x" {
		t.Error(got)
	}
}

// Any text is a filter that the database takes, or an error of one line.
func FuzzFilter(f *testing.F) {
	for _, seed := range []string{
		`params.content_weight > 10 and metrics.style.last < 300 and tags.pair = "boat" and status != failed`,
		`not (name ~ 'x' or id != 3)`, `params."a b".c = -1e5`, `started >= 2026-01-01T10:00:00`, `"`, `((`, "tags.\x00 = \xff",
	} {
		f.Add(seed, seed)
	}
	s := zoo(f)
	f.Fuzz(func(t *testing.T, where, sort string) {
		all, err := s.Runs(t.Context(), Query{Sort: "id"})
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Runs(t.Context(), Query{Where: where, Sort: sort})
		if err != nil {
			if !strings.HasPrefix(err.Error(), "filter") && !strings.HasPrefix(err.Error(), "sort") || strings.Contains(err.Error(), "\n") && !strings.Contains(where+sort, "\n") {
				t.Fatalf("%q %q: %v", where, sort, err)
			}
			return
		}
		for _, r := range got {
			if !slices.ContainsFunc(all, func(a Info) bool { return a.ID == r.ID }) {
				t.Fatalf("%q: run %d", where, r.ID)
			}
		}
	})
}

// Fields have the values that filters compare; what a run does not have is nil.
func TestFields(t *testing.T) {
	s := zoo(t)
	runs, err := s.Runs(t.Context(), Query{Sort: "id"})
	must(t, err)
	for list, want := range map[string]any{
		"id": int64(1), "name": "ant", "experiment": "a", "status": Finished, "tags.pair": "boat", "tags.none": nil, "params.none": nil, "metrics.none.min": nil,
		"metrics.style": 300.0, "metrics.style.last": 300.0, `metrics . "style" . max`: runs[0].Metrics["style"].Max, "created": runs[0].Created, "ended": runs[0].Ended,
		"params.content_weight": Value{"10", 10, true}, `params."a b"`: Value{"0", 0, true},
	} {
		fields, err := Fields(" " + list + " , id")
		if err != nil || len(fields) != 2 || fields[0].Name != list || fields[0].Of(runs[0]) != want || fields[1].Of(runs[1]) != int64(2) {
			t.Errorf("%s: %v %v", list, fields, err)
		}
		found, err := s.Runs(t.Context(), Query{Sort: list + ", id"}) // sorting knows the same
		if err != nil || len(found) != len(runs) {
			t.Errorf("%s: %v", list, err)
		}
	}
	for list, want := range map[string]string{"": `columns, column 1: "" is no field`, "id,": "columns, column 4", "id name": "expected a comma or the end", "weight": "is no field", "-id": "is no field", "params": "expected .NAME"} {
		if _, err := Fields(list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", list, err, want)
		}
	}
}
