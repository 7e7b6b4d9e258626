package nb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"math"
	"net/http"
	"os"
	"strconv"
	"strings"

	"hrlab/experiments"
	"hrlab/hrstyle"
	"hrlab/report"
	"hrlab/tracker"

	"github.com/janpfeifer/gonb/gonbui/protocol"
)

// mapShown is at how many ratios the page of a weight map has its picture.
const mapShown = 33

// Map shows the weight maps of a report: a slider over the ratio of the weights, and what the map makes of the content picture
// there, with the measures of the nearest ratio on record. It begins at the knee, or in the middle; when the cell is executed
// again it is where it was. Pictures at 33 ratios are in the page: it works in a saved notebook, and without scripts they are a
// list. Where the browser is on the machine of the kernel, the worker of [Lab] with the same vgg gives those of all ratios between.
func Map(r *report.Report, vgg string) {
	ctx := Context()
	found := false
	for _, p := range r.Pairs {
		for _, m := range p.Maps {
			if m.Run.Status == tracker.Finished {
				found = true
				showMap(ctx, warmLab(ctx, vgg), r.Experiment, p, m)
			}
		}
	}
	if !found {
		display("<p>no finished weight map to show</p>", "no finished weight map to show")
	}
}

func showMap(ctx context.Context, lab experiments.WarmLab, experiment string, p *report.Pair, m *report.Map) {
	s := mapSlider{ID: id(), Pair: p, Run: m.Run.ID}
	address := Must(lab.MapPictures(ctx))
	within := hrstyle.WeightRange{From: m.Run.Params["map_from"].Number, To: m.Run.Params["map_to"].Number}
	for _, ratio := range within.Ratios(mapShown) {
		s.Shown = append(s.Shown, mapPoint{ratio, fmt.Sprintf("ratio %g : 1%s", ratio, measuresNear(m, ratio)), Must(fetch(ctx, mapPicture(address, m.Run.ID, ratio)))})
	}
	start := s.Shown[mapShown/2].Ratio
	if m.Knee != nil {
		start = m.Knee.Ratio
	}
	// RATIO stands for that of the slider.
	s.Script = map[string]any{
		"kernel": os.Getenv(protocol.GONB_JUPYTER_KERNEL_ID_ENV),
		"key":    fmt.Sprint(experiment, " ", m.Run.ID),
		"exact":  strings.TrimSuffix(mapPicture(address, m.Run.ID, 0), "0") + "RATIO",
		"apply":  fmt.Sprintf("hrlab apply --run %d --ratio RATIO %s --out ", m.Run.ID, report.Quote(m.Run.Params["content"].Text)),
		"from":   within.From, "to": within.To, "start": start,
	}
	display(render("map", s), fmt.Sprintf("[%s: the weight map of run %d at %d ratios]", p.Name, m.Run.ID, mapShown))
}

// mapSlider is the data of the page of Map.
type mapSlider struct {
	ID     string
	Pair   *report.Pair
	Run    int64
	Shown  []mapPoint
	Script map[string]any
}

type mapPoint struct {
	Ratio float64
	Text  string
	JPEG  []byte
}

// JSON is the data of the page's script.
func (s mapSlider) JSON() template.JS {
	text, err := json.Marshal(s.Script)
	Check(err)
	return template.JS(text) //nolint:gosec // JSON
}

// measuresNear are the measures of the ratio on record that is nearest to one.
func measuresNear(m *report.Map, ratio float64) string {
	far := func(i int) float64 { return math.Abs(math.Log(m.Points[i].Ratio / ratio)) }
	nearest := 0
	for i := range m.Points {
		if far(i) < far(nearest) {
			nearest = i
		}
	}
	if len(m.Points) == 0 {
		return ""
	}
	return fmt.Sprintf("; at %s: %s", m.Points[nearest].Text(), (&report.Run{Info: m.Points[nearest].Info}).Measures())
}

// mapPicture is the address of a picture of the map of a run.
func mapPicture(address string, run int64, ratio float64) string {
	return fmt.Sprintf("%s?run=%d&ratio=%s", address, run, strconv.FormatFloat(ratio, 'g', -1, 64))
}

// fetch gets a file from the warm worker.
func fetch(ctx context.Context, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close() //nolint:errcheck // it was read
	data, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(strings.TrimSpace(string(data)))
	}
	return data, err
}
