package web

import (
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"hrlab/tracker"
)

// run is the run that an address names.
func (s *Server) run(r *http.Request) (tracker.Info, error) {
	id, err := runIDs([]string{r.PathValue("run")})
	if err != nil {
		return tracker.Info{}, notFound(r)
	}
	return s.store.Run(r.Context(), strconv.FormatInt(id[0], 10))
}

// entry is a line of a list.
type entry struct{ Name, Value string }

// onePage is the page of a run.
type onePage struct {
	tracker.Info
	Params, Tags, Environment []entry
	Metrics                   []metric
	Artifacts                 []tracker.Artifact
	Load                      string
	Added                     []template.HTML // by extensions
	State                     runState
	Pictures                  []tracker.Picture
	Latest                    tracker.Picture
	ReadOnly                  bool
}

type metric struct {
	Name string
	tracker.Metric
}

// runState is what scripts know of a run.
type runState struct {
	ID       int64                        `json:"id"`
	Status   tracker.Status               `json:"status"`
	Cursor   int64                        `json:"cursor"`
	Main     string                       `json:"main"` // the name of the picture that stands for it
	Pictures map[string][]tracker.Picture `json:"pictures"`
	Full     map[string]string            `json:"full"` // addresses of the last pictures at full size, by name
}

func (s *Server) runPage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	cursor, err := s.store.Cursor(ctx) // before anything else is read: what comes later comes as an event
	if err != nil {
		return err
	}
	info, err := s.run(r)
	if err != nil {
		return err
	}
	p := onePage{Info: info, ReadOnly: s.store.ReadOnly() != nil}
	if p.Pictures, err = s.store.Pictures(ctx, info.ID); err != nil {
		return err
	}
	if p.Artifacts, err = s.store.Artifacts(ctx, info.ID); err != nil {
		return err
	}
	environment, err := s.store.Environment(ctx, info.ID)
	if err != nil {
		return err
	}
	samples, err := s.store.Samples(ctx, info.ID)
	if err != nil {
		return err
	}
	p.Load = load(samples)
	for _, key := range slices.Sorted(maps.Keys(info.Params)) {
		p.Params = append(p.Params, entry{key, info.Params[key].Text})
	}
	p.Tags, p.Environment = entries(info.Tags), entries(environment)
	for _, name := range slices.Sorted(maps.Keys(info.Metrics)) {
		p.Metrics = append(p.Metrics, metric{name, info.Metrics[name]})
	}
	p.Latest = s.standsFor(p.Pictures)
	p.State = s.state(info, cursor, p.Pictures, p.Artifacts)
	for _, e := range s.options.Extensions {
		if e.Run == nil {
			continue
		}
		html, err := e.Run(ctx, info)
		if err != nil {
			return err
		}
		p.Added = append(p.Added, html)
	}
	s.Show(w, r, Page{
		Title: fmt.Sprintf("%d %s", info.ID, info.Name), Experiment: info.Experiment, Template: body("run"), Data: p,
		Scripts: []string{"/assets/run.js"}, Styles: []string{"/assets/slider.css"},
	})
	return nil
}

// state is what scripts know of a run. The last picture of a name is at full size in the artifact of that name.
func (s *Server) state(info tracker.Info, cursor int64, pictures []tracker.Picture, artifacts []tracker.Artifact) runState {
	state := runState{ID: info.ID, Status: info.Status, Cursor: cursor, Main: s.standsFor(pictures).Name, Pictures: map[string][]tracker.Picture{}, Full: map[string]string{}}
	for _, p := range pictures {
		state.Pictures[p.Name] = append(state.Pictures[p.Name], p)
	}
	for _, a := range artifacts {
		if _, ok := state.Pictures[a.Name]; ok {
			state.Full[a.Name] = File(info.ID, a.Name) + "?show"
		}
	}
	return state
}

func entries(values map[string]string) (list []entry) {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		list = append(list, entry{key, values[key]})
	}
	return list
}

// load is the mean load of a run's process and the most memory that it had, as text; empty where there are no samples.
func load(samples []tracker.Sample) string {
	if len(samples) == 0 {
		return ""
	}
	var cpu, gpu float64
	var memory, gpuMemory int64
	var n int
	for _, s := range samples {
		cpu, memory = cpu+s.CPU, max(memory, s.Memory)
		if s.GPU != nil {
			gpu, gpuMemory, n = gpu+s.GPU.Percent, max(gpuMemory, s.GPU.Memory), n+1
		}
	}
	parts := []string{fmt.Sprintf("CPU %.0f%%, memory up to %s", cpu/float64(len(samples)), size(memory))}
	if n > 0 {
		parts = append(parts, fmt.Sprintf("GPU %.0f%%, memory up to %s", gpu/float64(n), size(gpuMemory)))
	}
	return strings.Join(parts, "; ")
}
