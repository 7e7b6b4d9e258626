package pages

import (
	"bytes"
	"context"
	_ "embed" // the section
	"errors"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"net/url"
	"strconv"

	"hrlab/experiments"
	"hrlab/report"
	"hrlab/tracker"
	"hrlab/tracker/web"
)

//go:embed weightmap.html
var weightMapPage string

var weightMapTemplate = template.Must(template.New("weight map").Funcs(web.Funcs).Parse(weightMapPage))

// weightMaps shows the weight map of a run under a slider, on the run's page, and makes runs of it.
type weightMaps struct {
	store    *tracker.Store
	pictures *experiments.Pictures
}

func weightMap(store *tracker.Store, pictures *experiments.Pictures) web.Extension {
	m := weightMaps{store, pictures}
	return web.Extension{Name: "weight-map", Handler: func(s *web.Server) http.Handler {
		return site{s}.routes(map[string]handler{
			"POST /weight-map/fit": m.fit,
			"GET /weight-map/picture": func(w http.ResponseWriter, r *http.Request) error {
				m.pictures.ServeHTTP(w, r)
				return nil
			},
		})
	}, Run: m.ofRun}
}

// ofRun is the section on the page of a run that has a finished weight map.
func (m weightMaps) ofRun(ctx context.Context, info tracker.Info) (template.HTML, error) {
	if !report.IsMap(info) || info.Status != tracker.Finished {
		return "", nil
	}
	known := report.NewMap(info)
	start := math.Sqrt(info.Params["map_from"].Number * info.Params["map_to"].Number)
	if known.Knee != nil {
		start = known.Knee.Ratio
	}
	type measured struct {
		Ratio float64 `json:"ratio"`
		Text  string  `json:"text"`
	}
	points := []measured{}
	for _, p := range known.Points {
		points = append(points, measured{p.Ratio, (&report.Run{Info: p.Info}).Measures()})
	}
	content := ""
	pictures, err := m.store.Pictures(ctx, info.ID)
	if err != nil {
		return "", err
	}
	for _, p := range pictures {
		if p.Name == report.Content {
			content = p.Digest
		}
	}
	var b bytes.Buffer
	err = weightMapTemplate.Execute(&b, map[string]any{
		"Run": info, "Steps": experiments.RefineSteps, "ReadOnly": m.store.ReadOnly() != nil, "Suggestion": known.Suggestion(),
		"State": map[string]any{
			"run": info.ID, "from": info.Params["map_from"].Number, "to": info.Params["map_to"].Number, "start": start, "points": points, "content": content,
			"apply": fmt.Sprintf("hrlab apply --run %d --ratio RATIO %s --out ratio_RATIO.png", info.ID, report.Quote(info.Params["content"].Text)),
		},
	})
	return template.HTML(b.String()), err //nolint:gosec // by a template
}

// fit queues fits that begin with the map of a run: one at the ratio of the form; without one nine of no steps, to choose from.
func (m weightMaps) fit(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return web.Bad(err)
	}
	id, err := strconv.ParseInt(r.PostForm.Get("run"), 10, 64)
	if err != nil {
		return web.Bad(fmt.Errorf("run: %q; allowed: the id of a run", r.PostForm.Get("run")))
	}
	info, err := m.store.Run(r.Context(), strconv.FormatInt(id, 10))
	if err != nil {
		return err
	}
	var ratios []float64
	steps := 0
	if text := r.PostForm.Get("ratio"); text != "" {
		ratio, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return web.Bad(fmt.Errorf("ratio: %q; allowed: a number", text))
		}
		ratios, steps = []float64{ratio}, experiments.RefineSteps
	}
	queue, err := experiments.OpenQueue(r.Context(), m.store)
	if err != nil {
		return err
	}
	runs, err := queue.FromMap(r.Context(), id, info.Experiment, steps, ratios...)
	if err != nil {
		if errors.Is(err, tracker.ErrNotFound) || m.store.ReadOnly() != nil {
			return err
		}
		return web.Bad(err)
	}
	to := "/better/?" + url.Values{"experiment": {info.Experiment}}.Encode()
	if len(ratios) == 1 {
		to = fmt.Sprintf("/runs/%d", runs[0])
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}
