package mlflow

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
)

// MLflow has an experiment 0 from the beginning, in which runs are that name none. It is the tracker's experiment
// "default", whatever id that has in the database.
const (
	defaultID   = "0"
	defaultName = "default"
)

// experiment is one as MLflow has it.
type experiment struct {
	ID        string `json:"experiment_id"`
	Name      string `json:"name"`
	Artifacts string `json:"artifact_location"`
	Stage     string `json:"lifecycle_stage"`
}

func newExperiment(id, name string) experiment {
	return experiment{id, name, "mlflow-artifacts:/", "active"}
}

// experiments are all of them, in the order of ids.
func (s *server) experiments(ctx context.Context) ([]experiment, error) {
	names, err := s.store.ExperimentNames(ctx)
	if err != nil {
		return nil, err
	}
	list := []experiment{newExperiment(defaultID, defaultName)}
	for _, id := range slices.Sorted(maps.Keys(names)) {
		if names[id] != defaultName {
			list = append(list, newExperiment(strconv.FormatInt(id, 10), names[id]))
		}
	}
	return list, nil
}

// find is the first experiment of which is says so.
func (s *server) find(ctx context.Context, what string, is func(e experiment) bool) (experiment, error) {
	list, err := s.experiments(ctx)
	if err != nil {
		return experiment{}, err
	}
	i := slices.IndexFunc(list, is)
	if i < 0 {
		return experiment{}, missing("there is no experiment %q", what)
	}
	return list[i], nil
}

func (s *server) experiment(ctx context.Context, id string) (experiment, error) {
	return s.find(ctx, id, func(e experiment) bool { return e.ID == id })
}

func (s *server) createExperiment(ctx context.Context, in struct {
	Name string
	Tags []pair
},
) (any, error) {
	switch {
	case in.Name == "":
		return nil, invalid("an experiment needs a name")
	case len(in.Tags) > 0:
		return nil, invalid("the tracker keeps no tags of experiments")
	}
	made := in.Name != defaultName
	var id int64
	if made {
		var err error
		if id, made, err = s.store.AddExperiment(ctx, in.Name); err != nil {
			return nil, err
		}
	}
	if !made {
		return nil, &failure{http.StatusBadRequest, "RESOURCE_ALREADY_EXISTS", "there is an experiment " + strconv.Quote(in.Name)}
	}
	return map[string]string{"experiment_id": strconv.FormatInt(id, 10)}, nil
}

func (s *server) getExperiment(ctx context.Context, in struct {
	ID   string `json:"experiment_id"`
	Name string `json:"experiment_name"`
},
) (any, error) {
	e, err := s.find(ctx, cmp.Or(in.ID, in.Name), func(e experiment) bool {
		return in.ID != "" && e.ID == in.ID || in.ID == "" && e.Name == in.Name
	})
	return map[string]experiment{"experiment": e}, err
}

func (s *server) searchExperiments(ctx context.Context, in struct {
	Filter string
	View   string  `json:"view_type"`
	Max    integer `json:"max_results"`
	After  string  `json:"page_token"`
},
) (any, error) {
	list, err := s.experiments(ctx)
	if err != nil {
		return nil, err
	}
	if in.View == "DELETED_ONLY" {
		list = nil
	}
	comparisons, err := parse(in.Filter)
	if err != nil {
		return nil, err
	}
	for _, c := range comparisons {
		if c.of != "attributes" || c.key != "name" || c.operator != "=" && c.operator != "!=" {
			return nil, invalid("%q is no condition on experiments; allowed: name = 'NAME', name != 'NAME'", c.text)
		}
		list = slices.DeleteFunc(list, func(e experiment) bool { return (e.Name == c.values[0]) != (c.operator == "=") })
	}
	begin := 0
	if in.After != "" {
		if begin = 1 + slices.IndexFunc(list, func(e experiment) bool { return e.ID == in.After }); begin == 0 {
			return nil, invalid("page_token %q is none of this search", in.After)
		}
	}
	max := cmp.Or(int(in.Max), 1000)
	if max < 1 {
		return nil, invalid("max_results %d; allowed: 1 or more", max)
	}
	page, next := list[begin:], ""
	if len(page) > max {
		page, next = page[:max], page[max-1].ID
	}
	return map[string]any{"experiments": page, "next_page_token": next}, nil
}
