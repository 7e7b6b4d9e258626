package mlflow

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"hrlab/tracker"
)

// pair is a parameter or a tag.
type pair struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// metric is a value of a metric at a step.
type metric struct {
	Key   string        `json:"key"`
	Value tracker.Float `json:"value"`
	Time  integer       `json:"timestamp"` // milliseconds since 1970
	Step  integer       `json:"step"`
}

// run is one as MLflow has it.
type run struct {
	Info runInfo `json:"info"`
	Data runData `json:"data"`
}

type runInfo struct {
	ID         string `json:"run_id"`
	UUID       string `json:"run_uuid"` // older clients know the id by this name
	Name       string `json:"run_name"`
	Experiment string `json:"experiment_id"`
	User       string `json:"user_id"`
	Status     string `json:"status"`
	Start      int64  `json:"start_time"`         // milliseconds since 1970
	End        int64  `json:"end_time,omitempty"` // 0 as long as there is none
	Artifacts  string `json:"artifact_uri"`
	Stage      string `json:"lifecycle_stage"`
}

type runData struct {
	Metrics []metric `json:"metrics"`
	Params  []pair   `json:"params"`
	Tags    []pair   `json:"tags"`
}

// status is MLflow's name of a status.
var status = map[tracker.Status]string{
	tracker.Queued: "SCHEDULED", tracker.Running: "RUNNING", tracker.Finished: "FINISHED",
	tracker.Failed: "FAILED", tracker.Stopped: "KILLED", tracker.Lost: "FAILED",
}

// userTag is where MLflow's client says who made a run.
const userTag = "mlflow.user"

// convert makes a run MLflow's. ids are those of experiments by name.
func convert(i tracker.Info, ids map[string]string) run {
	id := strconv.FormatInt(i.ID, 10)
	start := begin(i).UnixMilli()
	r := run{
		runInfo{ID: id, UUID: id, Name: i.Name, Experiment: ids[i.Experiment], User: i.Tags[userTag], Status: status[i.Status], Start: start, Artifacts: root(i.ID), Stage: "active"},
		runData{[]metric{}, []pair{}, []pair{}},
	}
	if !i.Ended.IsZero() {
		r.Info.End = i.Ended.UnixMilli()
	}
	if !i.Deleted.IsZero() {
		r.Info.Stage = "deleted"
	}
	for _, key := range slices.Sorted(maps.Keys(i.Metrics)) {
		m := i.Metrics[key]
		r.Data.Metrics = append(r.Data.Metrics, metric{key, tracker.Float(m.Last), integer(start), integer(m.LastStep)})
	}
	for _, key := range slices.Sorted(maps.Keys(i.Params)) {
		r.Data.Params = append(r.Data.Params, pair{key, i.Params[key].Text})
	}
	for _, key := range slices.Sorted(maps.Keys(i.Tags)) {
		r.Data.Tags = append(r.Data.Tags, pair{key, i.Tags[key]})
	}
	return r
}

// begin is when a run began, or was queued.
func begin(i tracker.Info) time.Time {
	if i.Started.IsZero() {
		return i.Created
	}
	return i.Started
}

// convertAll makes runs MLflow's.
func (s *server) convertAll(ctx context.Context, infos []tracker.Info) ([]run, error) {
	list, err := s.experiments(ctx)
	ids := map[string]string{}
	for _, e := range list {
		ids[e.Name] = e.ID
	}
	runs := []run{}
	for _, i := range infos {
		runs = append(runs, convert(i, ids))
	}
	return runs, err
}

// ofRun is a request about one run.
type ofRun struct {
	ID string `json:"run_id"`
}

// info is the run with an id, which is the tracker's, deleted or not.
func (s *server) info(ctx context.Context, id string) (tracker.Info, error) {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return tracker.Info{}, missing("there is no run %q", id)
	}
	runs, err := s.store.Runs(ctx, tracker.Query{Where: fmt.Sprintf("id = %d", n), Deleted: true})
	if err != nil {
		return tracker.Info{}, err
	}
	if len(runs) == 0 {
		return tracker.Info{}, missing("there is no run %d", n)
	}
	return runs[0], nil
}

// response is the JSON of a run.
func (s *server) response(ctx context.Context, id string) (run, error) {
	info, err := s.info(ctx, id)
	if err != nil {
		return run{}, err
	}
	runs, err := s.convertAll(ctx, []tracker.Info{info})
	if err != nil {
		return run{}, err
	}
	return runs[0], nil
}

func (s *server) createRun(ctx context.Context, in struct {
	Experiment string `json:"experiment_id"`
	Name       string `json:"run_name"`
	Tags       []pair
},
) (any, error) {
	e, err := s.experiment(ctx, cmp.Or(in.Experiment, defaultID))
	if err != nil {
		return nil, err
	}
	tags, err := texts(in.Tags)
	if err != nil {
		return nil, err
	}
	name := cmp.Or(in.Name, tags[nameTag])
	r, err := s.store.Start(context.WithoutCancel(ctx), tracker.NewRun{Experiment: e.Name, Name: name, Tags: tags, Remote: true})
	if err != nil {
		return nil, err
	}
	s.hold(r)
	created, err := s.response(ctx, strconv.FormatInt(r.ID, 10))
	return map[string]run{"run": created}, err
}

// nameTag is where MLflow's client keeps the name of a run, too.
const nameTag = "mlflow.runName"

func (s *server) getRun(ctx context.Context, in ofRun) (any, error) {
	r, err := s.response(ctx, in.ID)
	return map[string]run{"run": r}, err
}

// hold keeps the writer of a run.
func (s *server) hold(r *tracker.Run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs[r.ID] = r
}

func (s *server) held(id int64) *tracker.Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs[id]
}

func (s *server) release(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.runs, id)
}

// writer is the writer of a run that is running here, or was when it was lost. With reopen a run that has ended goes on.
func (s *server) writer(ctx context.Context, id string, reopen bool) (*tracker.Run, error) {
	if n, err := strconv.ParseInt(id, 10, 64); err == nil {
		if r := s.held(n); r != nil {
			return r, nil
		}
	}
	s.resuming.Lock()
	defer s.resuming.Unlock()
	i, err := s.info(ctx, id)
	if err != nil {
		return nil, err
	}
	if r := s.held(i.ID); r != nil { // another request has resumed it
		return r, nil
	}
	switch {
	case !i.Deleted.IsZero():
		return nil, invalid("run %d is deleted: restore it first", i.ID)
	case i.Status == tracker.Running || i.Status == tracker.Queued:
		return nil, &failure{http.StatusConflict, "RESOURCE_CONFLICT", fmt.Sprintf("run %d is %s, and not written here", i.ID, i.Status)}
	case i.Status != tracker.Lost && !reopen:
		return nil, invalid("run %d is %s: to log more, set its status to RUNNING first, as mlflow.start_run(run_id=\"%d\") does", i.ID, i.Status, i.ID)
	}
	r, err := s.store.Resume(context.WithoutCancel(ctx), i.ID, nil)
	if err == nil {
		s.hold(r)
	}
	return r, err
}

// write calls f with the writer of a run.
func (s *server) write(ctx context.Context, id string, f func(r *tracker.Run) error) error {
	r, err := s.writer(ctx, id, false)
	if err != nil {
		return err
	}
	err = f(r)
	if errors.Is(err, tracker.ErrTaken) { // by another process, which may also have ended it
		s.release(r.ID)
	}
	return err
}

func (s *server) updateRun(ctx context.Context, in struct {
	ofRun
	Name   string `json:"run_name"`
	Status string
},
) (any, error) {
	i, err := s.info(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if in.Name != "" && in.Name != i.Name {
		return nil, invalid("run %d is called %q, which cannot be changed", i.ID, i.Name)
	}
	ended := i.Status == tracker.Finished || i.Status == tracker.Failed || i.Status == tracker.Stopped
	if ended && in.Status == status[i.Status] {
		in.Status = ""
	}
	switch in.Status {
	case "":
	case "RUNNING":
		_, err = s.writer(ctx, in.ID, true)
	case "FINISHED":
		err = s.finish(ctx, in.ID, nil)
	case "KILLED":
		err = s.finish(ctx, in.ID, context.Canceled)
	case "FAILED":
		err = s.finish(ctx, in.ID, errors.New("said by MLflow's client, without a reason"))
	default:
		err = invalid("status %q; allowed: RUNNING, FINISHED, FAILED, KILLED", in.Status)
	}
	if err != nil {
		return nil, err
	}
	r, err := s.response(ctx, in.ID)
	return map[string]runInfo{"run_info": r.Info}, err
}

// finish ends a run, as [tracker.Run.Finish] does.
func (s *server) finish(ctx context.Context, id string, end error) error {
	r, err := s.writer(ctx, id, true)
	if err != nil {
		return err
	}
	err = r.Finish(ctx, end)
	if err == nil || errors.Is(err, tracker.ErrTaken) {
		s.release(r.ID)
	}
	return err
}

func (s *server) deleteRun(ctx context.Context, in ofRun) (any, error) {
	i, err := s.info(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return none{}, s.store.Delete(ctx, i.ID)
}

func (s *server) restoreRun(ctx context.Context, in ofRun) (any, error) {
	i, err := s.info(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return none{}, s.store.Restore(ctx, i.ID)
}

// texts are pairs by key. Of those with one key the last counts.
func texts(pairs []pair) (map[string]string, error) {
	out := map[string]string{}
	for _, p := range pairs {
		if p.Key == "" {
			return nil, invalid("a parameter or tag has no key")
		}
		out[p.Key] = p.Value
	}
	return out, nil
}

// values are parameters for the tracker: texts that are numbers become numbers, and stay written as they are.
func values(pairs []pair) (map[string]any, error) {
	out := map[string]any{}
	t, err := texts(pairs)
	for key, text := range t {
		out[key] = text
		number, parseErr := strconv.ParseFloat(text, 64)
		if parseErr == nil && !math.IsInf(number, 0) && json.Valid([]byte(text)) && strings.TrimSpace(text) == text {
			out[key] = json.Number(text)
		}
	}
	return out, err
}

func points(metrics []metric) ([]tracker.Point, error) {
	out := make([]tracker.Point, len(metrics))
	for i, m := range metrics {
		if m.Key == "" {
			return nil, invalid("a metric has no key")
		}
		if m.Step < 0 {
			return nil, invalid("metric %q: step %d; allowed: 0 or more", m.Key, m.Step)
		}
		out[i] = tracker.Point{Metric: m.Key, Step: int64(m.Step), Value: float64(m.Value)}
	}
	return out, nil
}

// record records a batch in one transaction.
func (s *server) record(ctx context.Context, id string, metrics []metric, params, tags []pair) (any, error) {
	var b tracker.Batch
	var errs [3]error
	b.Points, errs[0] = points(metrics)
	b.Params, errs[1] = values(params)
	b.Tags, errs[2] = texts(tags)
	if err := cmp.Or(errs[0], errs[1], errs[2]); err != nil {
		return nil, err
	}
	return none{}, s.write(ctx, id, func(r *tracker.Run) error { return r.Record(ctx, b) })
}

func (s *server) logBatch(ctx context.Context, in struct {
	ofRun
	Metrics []metric
	Params  []pair
	Tags    []pair
},
) (any, error) {
	return s.record(ctx, in.ID, in.Metrics, in.Params, in.Tags)
}

func (s *server) logMetric(ctx context.Context, in struct {
	ofRun
	metric
},
) (any, error) {
	return s.record(ctx, in.ID, []metric{in.metric}, nil, nil)
}

func (s *server) logParam(ctx context.Context, in struct {
	ofRun
	pair
},
) (any, error) {
	return s.record(ctx, in.ID, nil, []pair{in.pair}, nil)
}

func (s *server) setTag(ctx context.Context, in struct {
	ofRun
	pair
},
) (any, error) {
	i, err := s.info(ctx, in.ID)
	switch {
	case err != nil:
		return nil, err
	case in.Key == "":
		return nil, invalid("a tag has no key")
	case in.Key == nameTag && in.Value != i.Name:
		return nil, invalid("run %d is called %q, which cannot be changed", i.ID, i.Name)
	}
	return none{}, s.store.Tag(ctx, i.ID, in.Key, in.Value)
}

func (s *server) deleteTag(ctx context.Context, in struct {
	ofRun
	Key string
},
) (any, error) {
	i, err := s.info(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if _, ok := i.Tags[in.Key]; !ok {
		return nil, missing("run %d has no tag %q", i.ID, in.Key)
	}
	return none{}, s.store.Untag(ctx, i.ID, in.Key)
}

func (s *server) metricHistory(ctx context.Context, in struct {
	ofRun
	Key   string  `json:"metric_key"`
	Max   integer `json:"max_results"` // 0: no limit
	After string  `json:"page_token"`  // the last step of the page before
},
) (any, error) {
	i, err := s.info(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	after := int64(-1)
	if in.After != "" {
		if after, err = strconv.ParseInt(in.After, 10, 64); err != nil {
			return nil, invalid("page_token %q is none of this list", in.After)
		}
	}
	if in.Max < 0 {
		return nil, invalid("max_results %d; allowed: 0 or more", in.Max)
	}
	if in.Key == "" {
		return nil, invalid("metric_key is missing")
	}
	series, err := s.store.Series(ctx, []int64{i.ID}, []string{in.Key}, 0)
	if err != nil {
		return nil, err
	}
	metrics, next := []metric{}, ""
	for _, c := range series { // one, or none
		for k, step := range c.Steps {
			if step <= after {
				continue
			}
			if in.Max > 0 && len(metrics) == int(in.Max) {
				next = strconv.FormatInt(int64(metrics[len(metrics)-1].Step), 10)
				break
			}
			metrics = append(metrics, metric{in.Key, tracker.Float(c.Values[k]), integer(begin(i).UnixMilli()), integer(step)})
		}
	}
	return map[string]any{"metrics": metrics, "next_page_token": next}, nil
}

func (s *server) searchRuns(ctx context.Context, in struct {
	Experiments []string `json:"experiment_ids"`
	Filter      string
	View        string   `json:"run_view_type"`
	Max         integer  `json:"max_results"`
	Order       []string `json:"order_by"`
	After       string   `json:"page_token"` // the id of the last run of the page before
},
) (any, error) {
	const most = 50_000
	max := cmp.Or(int(in.Max), 1000)
	if max < 1 || max > most {
		return nil, invalid("max_results %d; allowed: 1 to %d", max, most)
	}
	all, err := s.experiments(ctx)
	if err != nil {
		return nil, err
	}
	among := slices.DeleteFunc(slices.Clone(all), func(e experiment) bool { return !slices.Contains(in.Experiments, e.ID) })
	if len(among) == 0 {
		return map[string]any{"runs": []run{}}, nil
	}
	q := tracker.Query{Limit: max + 1, Deleted: in.View == "ALL" || in.View == "DELETED_ONLY"}
	if in.After != "" {
		if q.After, err = strconv.ParseInt(in.After, 10, 64); err != nil || q.After < 1 {
			return nil, invalid("page_token %q is none of this search", in.After)
		}
	}
	if q.Where, err = where(in.Filter); err != nil {
		return nil, err
	}
	if q.Sort, err = sorting(in.Order); err != nil {
		return nil, err
	}
	if len(among) < len(all) {
		q.Where = strings.Join(append(slices.DeleteFunc([]string{q.Where}, func(w string) bool { return w == "" }), experimentsAre(among)), " and ")
	}
	deletedOnly := in.View == "DELETED_ONLY"
	if deletedOnly { // the tracker's filters do not know which are deleted
		q.Limit = 0
	}
	found, err := s.store.Runs(ctx, q)
	if fault, ok := errors.AsType[*tracker.QueryError](err); ok {
		return nil, invalid("%v", fault)
	} else if err != nil {
		return nil, err
	}
	if deletedOnly {
		found = slices.DeleteFunc(found, func(i tracker.Info) bool { return i.Deleted.IsZero() })
	}
	next := ""
	if len(found) > max {
		found = found[:max]
		next = strconv.FormatInt(found[max-1].ID, 10)
	}
	runs, err := s.convertAll(ctx, found)
	return map[string]any{"runs": runs, "next_page_token": next}, err
}
