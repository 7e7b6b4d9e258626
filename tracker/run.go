package tracker

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// NewRun says what a run is about.
type NewRun struct {
	Experiment string // "default" where empty
	Name       string // need not be unique
	// Params is a struct or a map whose JSON is an object: numbers become numbers, other values text, and the names
	// within inner objects are joined by a dot.
	Params any
	Tags   map[string]string
	// Inputs are the digests of what the run reads.
	Inputs map[string]string
	// Environment adds to what is found out about process, program and working directory: the device, for one.
	Environment map[string]string
}

// Run is a run being written, by this process alone. Its methods may be called from many goroutines.
type Run struct {
	ID int64

	store *Store
	token int64
	stop  context.CancelFunc // of the beats

	began time.Time     // when this process took the run
	up    time.Duration // what uptime was then

	mu      sync.Mutex
	metrics map[string]*summary

	finishing sync.Mutex
	end       *ending // what a Finish could not write
	endedLate bool    // by a beat
}

// ending is how a run ends.
type ending struct {
	status Status
	text   string
	at     time.Time
	drop   []string
}

// now is the time of day, counted from when this process took the run: setting the clock changes nothing.
func (r *Run) now() time.Time { return r.began.Add(uptime() - r.up) }

// summary is what a run has of a metric; NaN counts in last alone, where there are other values.
type summary struct {
	id    int64 // of the name
	count int64
	Metric
}

// Point is a value of a metric at a step.
type Point struct {
	Metric string
	Step   int64
	Value  float64
}

// Start begins a run.
func (s *Store) Start(ctx context.Context, n NewRun) (*Run, error) {
	env := s.environment() // asks git, for which no writer should wait
	return s.beating(s.start(ctx, func(t tx) (int64, error) { return s.enqueue(t, n, env, commandLine()) }, Queued))
}

// beating begins the beats of a run that was taken.
func (s *Store) beating(r *Run, err error) (*Run, error) {
	if err == nil {
		ctx, stop := context.WithCancel(s.closing)
		r.stop = stop
		s.beats.Go(func() { r.beat(ctx) })
	}
	return r, err
}

// Enqueue makes a queued run within a transaction of [Store.DB], so that a job and its run come about together.
func (s *Store) Enqueue(ctx context.Context, t *sql.Tx, n NewRun) (int64, error) {
	id, err := s.enqueue(tx{ctx, t}, n, s.environment(), commandLine())
	return id, s.plain(err)
}

// Requeue makes a run that failed, was stopped or is lost a queued one, within a transaction of [Store.DB].
func (s *Store) Requeue(ctx context.Context, t *sql.Tx, id int64) error {
	w := tx{ctx, t}
	err := w.all(nil, sqlNextChange)
	if err == nil {
		_, err = w.exec(sqlRequeue, id)
	}
	return s.plain(err)
}

// CancelQueued makes those of the runs stopped that are queued or lost, within a transaction of [Store.DB], and returns
// their ids. Runs of any other status stay as they are.
func (s *Store) CancelQueued(ctx context.Context, t *sql.Tx, ids []int64) (stopped []int64, err error) {
	w := tx{ctx, t}
	if err := w.all(nil, sqlNextChange); err != nil {
		return nil, s.plain(err)
	}
	now := micros(s.clock.now())
	for _, id := range ids {
		n, err := w.exec(sqlCancelQueued, id, now)
		if err != nil {
			return nil, s.plain(err)
		}
		if n > 0 {
			stopped = append(stopped, id)
		}
	}
	return stopped, nil
}

// Take begins a queued run, or goes on with a lost one. Of several processes that try, all but one get [ErrTaken].
func (s *Store) Take(ctx context.Context, id int64) (*Run, error) {
	return s.resume(ctx, id, Queued, Lost)
}

// Resume goes on with a run that has ended. What was recorded stays; a step that is recorded again replaces its values.
func (s *Store) Resume(ctx context.Context, id int64) (*Run, error) {
	return s.resume(ctx, id, Lost, Stopped, Failed, Finished)
}

func (s *Store) resume(ctx context.Context, id int64, from ...Status) (*Run, error) {
	if err := s.findLost(ctx, true); err != nil {
		return nil, err
	}
	return s.beating(s.start(ctx, func(tx) (int64, error) { return id, nil }, from...))
}

// newRun is a run that this process is to write.
func (s *Store) newRun() *Run {
	return &Run{store: s, token: rand.Int64(), metrics: map[string]*summary{}, stop: func() {}}
}

// take makes r, whose id is known, one of this process.
func (t tx) take(r *Run) error {
	if err := t.all(nil, sqlNextChange); err != nil {
		return err
	}
	self := r.store.self
	r.began, r.up = r.store.clock.now(), uptime()
	return t.all([]any{r.ID, micros(r.now()), self.host, self.pid, self.start, r.token}, sqlTake)
}

// start makes the run that prepare returns one of this process, if its status is one of from.
func (s *Store) start(ctx context.Context, prepare func(t tx) (int64, error), from ...Status) (*Run, error) {
	r := s.newRun()
	err := s.write(ctx, func(t tx) (err error) {
		if r.ID, err = prepare(t); err != nil {
			return err
		}
		var status Status
		var deleted bool
		var o owner
		var beat, token int64
		err = t.value([]any{&status, &deleted, &o.host, &o.pid, &o.start, &beat, &token}, sqlState, r.ID)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return fmt.Errorf("run %d: %w", r.ID, ErrNotFound)
		case err != nil:
			return err
		case deleted:
			return fmt.Errorf("run %d is deleted: restore it first", r.ID)
		case status == Running:
			host, _, _ := strings.Cut(o.host, " ")
			return fmt.Errorf("run %d is running (process %d on %s): %w", r.ID, o.pid, host, ErrTaken)
		case !slices.Contains(from, status):
			return fmt.Errorf("run %d is %s: %w", r.ID, status, ErrTaken)
		}
		if err := t.take(r); err != nil {
			return err
		}
		return each(t.ctx, t, sqlRunSummaries, []any{r.ID}, func(scan func(...any) error) error {
			var name string
			m := &summary{}
			if err := m.scan(scan, &name, &m.id); err != nil {
				return err
			}
			r.metrics[name] = m
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// scan reads the columns first and then those of a summary.
func (m *summary) scan(scan func(...any) error, first ...any) error {
	var last, low, high sql.NullFloat64
	err := scan(append(first, &m.count, &last, &m.LastStep, &low, &m.MinStep, &high, &m.MaxStep)...)
	m.Last, m.Min, m.Max = fromNull(last), fromNull(low), fromNull(high)
	return err
}

// NULL is NaN in a summary.
func fromNull(v sql.NullFloat64) float64 {
	if !v.Valid {
		return math.NaN()
	}
	return v.Float64
}

// enqueue inserts a queued run, of an environment to which that of n is added.
func (s *Store) enqueue(t tx, n NewRun, env map[string]string, command string) (id int64, err error) {
	params, err := flatten(n.Params)
	if err != nil {
		return 0, fmt.Errorf("parameters: %w", err)
	}
	experiment := clean(cmp.Or(n.Experiment, "default"))
	if err := t.all(nil, sqlNextChange); err != nil {
		return 0, err
	}
	if _, err := t.exec(sqlAddExperiment, experiment); err != nil {
		return 0, err
	}
	if err := t.value([]any{&id}, sqlAddRun, experiment, clean(n.Name), micros(s.clock.now())); err != nil {
		return 0, err
	}
	all := map[string]string{}
	maps.Copy(all, env)
	maps.Copy(all, n.Environment)
	for name, digest := range n.Inputs {
		all["input."+name] = digest
	}
	return id, errors.Join(t.setParams(id, params), t.setTags(id, n.Tags), t.setEnvironment(id, all, command))
}

// commandLine is this process's, quoted where words hold spaces.
func commandLine() string {
	words := slices.Clone(os.Args)
	for i, w := range words {
		if w == "" || strings.ContainsAny(w, " \t\n'\"\\$`*?;&|<>()#") {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

func (t tx) setEnvironment(run int64, env map[string]string, command string) error {
	digest, err := t.addEnvironment(env)
	if err == nil {
		_, err = t.exec(sqlSetEnvironment, run, digest, clean(command))
	}
	return err
}

// addEnvironment inserts an environment where it is missing, and returns its digest.
func (t tx) addEnvironment(env map[string]string) (digest string, err error) {
	text, err := json.Marshal(env) // in the order of the keys
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	digest = hex.EncodeToString(sum[:])
	_, err = t.exec(sqlAddEnvironment, digest, clean(string(text)))
	return digest, err
}

func (t tx) setParams(run int64, params map[string]Value) error {
	for key, v := range params {
		number := sql.NullFloat64{Float64: v.Number, Valid: v.IsNumber}
		if _, err := t.exec(sqlSetParam, run, clean(key), clean(v.Text), number); err != nil {
			return err
		}
	}
	return nil
}

func (t tx) setTags(run int64, tags map[string]string) error {
	for key, value := range tags {
		if _, err := t.exec(sqlSetTag, run, clean(key), clean(value)); err != nil {
			return err
		}
	}
	return nil
}

// Value is a parameter: a number, or text.
type Value struct {
	Text     string // a number's as it was written
	Number   float64
	IsNumber bool
}

func (v Value) String() string { return v.Text }

// MarshalJSON writes a number or a string.
func (v Value) MarshalJSON() ([]byte, error) {
	if v.IsNumber {
		return json.Marshal(json.Number(v.Text))
	}
	return json.Marshal(v.Text)
}

// flatten makes parameters of a struct or map.
func flatten(params any) (map[string]Value, error) {
	out := map[string]Value{}
	if params == nil {
		return out, nil
	}
	text, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		return nil, fmt.Errorf("%T is no object: %w", params, err)
	}
	return out, flattenInto(out, "", object)
}

func flattenInto(out map[string]Value, prefix string, object map[string]any) error {
	for key, v := range object {
		switch v := v.(type) {
		case nil:
		case map[string]any:
			if err := flattenInto(out, prefix+key+".", v); err != nil {
				return err
			}
		case string:
			out[prefix+key] = Value{Text: v}
		case json.Number:
			number, err := v.Float64()
			if err != nil {
				return fmt.Errorf("%s: %w", prefix+key, err)
			}
			out[prefix+key] = Value{v.String(), number, true}
		default: // lists and truth values
			text, err := json.Marshal(v)
			if err != nil {
				return err
			}
			out[prefix+key] = Value{Text: string(text)}
		}
	}
	return nil
}

// write runs f in a transaction, if the run is still this process's.
func (r *Run) write(ctx context.Context, f func(t tx) error) error {
	return r.store.write(ctx, func(t tx) error {
		if err := t.all(nil, sqlNextChange); err != nil {
			return err
		}
		if n, err := t.exec(sqlFence, r.ID, r.token); err != nil {
			return err
		} else if n == 0 {
			return fmt.Errorf("run %d: %w", r.ID, ErrTaken)
		}
		return f(t)
	})
}

// Log records values of metrics at a step.
func (r *Run) Log(ctx context.Context, step int64, values map[string]float64) error {
	points := make([]Point, 0, len(values))
	for name, v := range values {
		points = append(points, Point{name, step, v})
	}
	return r.LogBatch(ctx, points)
}

// LogBatch records many values at once: all of them, or with an error none.
func (r *Run) LogBatch(ctx context.Context, points []Point) error {
	for _, p := range points {
		if p.Step < 0 {
			return fmt.Errorf("metric %s: step %d; allowed: 0 or more", p.Metric, p.Step)
		}
	}
	points = unique(named(points))
	r.mu.Lock()
	defer r.mu.Unlock()
	changed := map[string]*summary{}
	if err := r.write(ctx, func(t tx) error { return r.log(t, points, changed) }); err != nil {
		return err
	}
	maps.Copy(r.metrics, changed)
	return nil
}

// maxRows is the number of rows of one INSERT.
const maxRows = 100

// log inserts points and leaves the summaries they change in changed.
func (r *Run) log(t tx, points []Point, changed map[string]*summary) error {
	var recount []*summary // those whose smallest or largest value was replaced
	args := []any{r.ID}
	for i, p := range points {
		m := changed[p.Metric]
		if m == nil {
			var err error
			if m, err = r.summary(t, p.Metric); err != nil {
				return err
			}
			changed[p.Metric] = m
		}
		known := false
		if m.count > 0 && p.Step <= m.LastStep {
			var one int
			err := t.value([]any{&one}, sqlMetricAt, r.ID, m.id, p.Step)
			if known = err == nil; !known && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
		}
		if known && (p.Step == m.MinStep || p.Step == m.MaxStep) {
			recount = append(recount, m)
		}
		m.add(m.count == 0, p.Step, p.Value)
		if !known {
			m.count++
		}
		args = append(args, m.id, p.Step, null(p.Value), math.IsNaN(p.Value))
		if n := (len(args) - 1) / 4; n == maxRows || i == len(points)-1 {
			if _, err := t.exec(addMetrics(n), args...); err != nil {
				return err
			}
			args = args[:1]
		}
	}
	for _, m := range recount {
		if err := m.recount(t.ctx, t, r.ID); err != nil {
			return err
		}
	}
	return setSummaries(t, r.ID, changed)
}

// summary is a copy of what the run has of a metric.
func (r *Run) summary(t tx, name string) (*summary, error) {
	if m := r.metrics[name]; m != nil {
		c := *m
		return &c, nil
	}
	id, err := metricID(t, name)
	return &summary{id: id}, err
}

func metricID(t tx, name string) (id int64, err error) {
	if _, err := t.exec(sqlAddMetricName, name); err != nil {
		return 0, err
	}
	return id, t.value([]any{&id}, sqlMetricName, name)
}

// add takes in a value.
func (m *Metric) add(first bool, step int64, value float64) {
	if first || step >= m.LastStep {
		m.Last, m.LastStep = value, step
	}
	if first || value < m.Min || m.Min != m.Min && value == value {
		m.Min, m.MinStep = value, step
	}
	if first || value > m.Max || m.Max != m.Max && value == value {
		m.Max, m.MaxStep = value, step
	}
}

// recount makes the summary anew from the values of the run.
func (m *summary) recount(ctx context.Context, q querier, run int64) error {
	m.count, m.Metric = 0, Metric{}
	return eachValue(ctx, q, run, m.id, func(step int64, value float64) {
		m.add(m.count == 0, step, value)
		m.count++
	})
}

// eachValue reads the values of a metric of a run by step. NULL is NaN.
func eachValue(ctx context.Context, q querier, run, name int64, f func(step int64, value float64)) error {
	var step int64
	var value sql.NullFloat64
	dest := []any{&step, &value} // once, for there may be a million rows
	return each(ctx, q, sqlMetricSteps, []any{run, name}, func(scan func(...any) error) error {
		err := scan(dest...)
		f(step, fromNull(value))
		return err
	})
}

func setSummaries(t tx, run int64, metrics map[string]*summary) error {
	args := []any{run}
	for _, m := range metrics {
		args = append(args, m.id, m.count, null(m.Last), m.LastStep, null(m.Min), m.MinStep, null(m.Max), m.MaxStep)
		if n := (len(args) - 1) / 8; n == maxRows {
			if _, err := t.exec(addSummaries(n), args...); err != nil {
				return err
			}
			args = args[:1]
		}
	}
	if len(args) == 1 {
		return nil
	}
	_, err := t.exec(addSummaries((len(args)-1)/8), args...)
	return err
}

// null is NULL for NaN.
func null(v float64) sql.NullFloat64 { return sql.NullFloat64{Float64: v, Valid: !math.IsNaN(v)} }

// named cleans the names of metrics: two that the database has as one are one.
func named(points []Point) []Point {
	for i, p := range points {
		if clean(p.Metric) != p.Metric {
			points = slices.Clone(points)
			for k := i; k < len(points); k++ {
				points[k].Metric = clean(points[k].Metric)
			}
			break
		}
	}
	return points
}

// unique drops all but the last value of each metric and step, if any comes twice.
func unique(points []Point) []Point {
	last := map[string]int64{}
	for _, p := range points {
		if step, ok := last[p.Metric]; ok && p.Step <= step {
			return lastOfEach(points)
		}
		last[p.Metric] = p.Step
	}
	return points
}

func lastOfEach(points []Point) []Point {
	type key struct {
		metric string
		step   int64
	}
	at := map[key]int{}
	var out []Point
	for _, p := range points {
		k := key{p.Metric, p.Step}
		if i, ok := at[k]; ok {
			out[i] = p
			continue
		}
		at[k] = len(out)
		out = append(out, p)
	}
	return out
}

// SetParams sets parameters, which are given as those of [NewRun]; what the run has under other names stays.
func (r *Run) SetParams(ctx context.Context, params any) error {
	values, err := flatten(params)
	if err != nil {
		return fmt.Errorf("parameters: %w", err)
	}
	return r.write(ctx, func(t tx) error { return t.setParams(r.ID, values) })
}

// SetEnvironment records that this process makes the run now, where another began or queued it, with more as in
// [NewRun.Environment]. The digests of what the run reads and the command stay.
func (r *Run) SetEnvironment(ctx context.Context, more map[string]string) error {
	env, err := r.store.Environment(ctx, r.ID)
	if err != nil {
		return err
	}
	maps.DeleteFunc(env, func(name, _ string) bool { return !strings.HasPrefix(name, "input.") })
	maps.Copy(env, r.store.environment())
	maps.Copy(env, more)
	return r.write(ctx, func(t tx) error {
		digest, err := t.addEnvironment(env)
		if err == nil {
			_, err = t.exec(sqlMoveEnvironment, r.ID, digest)
		}
		return err
	})
}

// Tag sets a tag.
func (r *Run) Tag(ctx context.Context, key, value string) error {
	return r.write(ctx, func(t tx) error { return t.setTags(r.ID, map[string]string{key: value}) })
}

// Note adds a note.
func (r *Run) Note(ctx context.Context, text string) error {
	return r.write(ctx, func(t tx) error { return t.all([]any{r.ID, micros(r.now()), clean(text)}, sqlAddNote) })
}

// Finish ends the run: finished where err is nil, stopped where it is [context.Canceled], else failed with its text. In
// the same transaction the run forgets the artifacts named by drop, those it has. It is recorded even when ctx is done,
// which is why a run ends as a rule. With an error, of a full disk for one, nothing of this has happened; the run goes on
// until another Finish, or a beat of this process which does what the last one could not.
func (r *Run) Finish(ctx context.Context, err error, drop ...string) error {
	r.finishing.Lock()
	defer r.finishing.Unlock()
	if r.endedLate {
		return nil
	}
	r.end = &ending{status: Finished, at: r.now(), drop: drop}
	switch {
	case errors.Is(err, ErrLeft):
		r.end.status = Queued
	case errors.Is(err, context.Canceled):
		r.end.status = Stopped
	case err != nil:
		r.end.status, r.end.text = Failed, err.Error()
	}
	return r.writeEnd(context.WithoutCancel(ctx))
}

// finishLate does what a Finish could not, and says whether it could.
func (r *Run) finishLate(ctx context.Context) bool {
	r.finishing.Lock()
	defer r.finishing.Unlock()
	r.endedLate = r.end != nil && r.writeEnd(ctx) == nil
	return r.endedLate
}

// writeEnd writes the end.
func (r *Run) writeEnd(ctx context.Context) error {
	var dropped []string
	err := r.write(ctx, func(t tx) error {
		for _, name := range r.end.drop {
			digest, err := t.dropArtifact(r.ID, name)
			if err != nil {
				return err
			}
			dropped = append(dropped, digest)
		}
		return t.all([]any{r.ID, r.end.status, micros(r.end.at), clean(r.end.text)}, sqlFinish)
	})
	if err != nil {
		return err
	}
	r.end = nil
	r.stop()
	for _, digest := range dropped {
		r.store.freeArtifact(context.WithoutCancel(ctx), digest)
	}
	return nil
}
