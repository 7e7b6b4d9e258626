package report

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"hrlab/tracker"
)

// Param is a parameter of a run; ok is false where it has none. Runs from before the style gain was introduced have one of 1.
func Param(run tracker.Info, name string) (v tracker.Value, ok bool) {
	v, ok = run.Params[name]
	if !ok && name == "style_gain" {
		return tracker.Value{Text: "1", Number: 1, IsNumber: true}, true
	}
	return v, ok
}

// unvaried are parameters that runs are not compared by: the seed, names of files, and what does not change a result.
var unvaried = []string{"seed", "report_every", "checkpoint_every", "content", "style", "vgg", "init"}

// Varied lists the parameters that differ among runs, the two weights first. The seed and names of files are left out.
func Varied(runs []tracker.Info) []string {
	values := map[string]map[string]bool{"style_gain": {}}
	for _, r := range runs {
		for name := range r.Params {
			if !slices.Contains(unvaried, name) && values[name] == nil {
				values[name] = map[string]bool{}
			}
		}
	}
	for _, r := range runs {
		for name := range values {
			if v, ok := Param(r, name); ok {
				values[name][v.Text] = true
			}
		}
	}
	maps.DeleteFunc(values, func(_ string, v map[string]bool) bool { return len(v) < 2 })
	return slices.SortedFunc(maps.Keys(values), func(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b)) })
}

// rank puts the two weights first.
func rank(name string) int {
	if i := slices.Index([]string{"content_weight", "style_weight"}, name); i >= 0 {
		return i
	}
	return 2
}

// settings is a key made of the parameters of a run that make its result, apart from the seed and those left out.
func settings(r tracker.Info, leaveOut ...string) string {
	gain, _ := Param(r, "style_gain")
	parts := []string{gain.Text}
	for _, name := range slices.Sorted(maps.Keys(r.Params)) {
		if name == "style_gain" || name != "init" && slices.Contains(unvaried, name) || slices.Contains(leaveOut, name) {
			continue
		}
		parts = append(parts, strconv.Quote(name), strconv.Quote(r.Params[name].Text))
	}
	return strings.Join(parts, " ")
}

// values lists the different values of a parameter in runs, by number.
func values(runs []tracker.Info, name string) (list []string) {
	sorted := slices.Clone(runs)
	slices.SortStableFunc(sorted, func(a, b tracker.Info) int { return cmp.Compare(a.Params[name].Number, b.Params[name].Number) })
	for _, r := range sorted {
		if text := r.Params[name].Text; len(list) == 0 || list[len(list)-1] != text {
			list = append(list, text)
		}
	}
	return list
}
