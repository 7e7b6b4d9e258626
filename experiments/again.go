package experiments

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"hrlab/hrstyle"
	"hrlab/picture"
	"hrlab/report"
	"hrlab/tracker"
)

// Again are the pair and the settings of a run, so that it can be fitted again with others. The pictures are artifacts of the
// run, or the files that it names; files that have changed since are an error.
func Again(ctx context.Context, store *tracker.Store, run int64) (pair hrstyle.Pair, config hrstyle.Config, err error) {
	info, err := store.Run(ctx, strconv.FormatInt(run, 10))
	if err != nil {
		return pair, config, err
	}
	if name := info.Params["map"].Text; name != "" {
		return pair, config, fmt.Errorf("run %d began with a generator of a weight map, that of %s: hrlab fit --init fits it again", run, name)
	}
	if info.Params["init"].Text != "" {
		return pair, config, fmt.Errorf("run %d began with a generator: hrlab fit --init fits it again", run)
	}
	return recordedPair(ctx, store, info)
}

// Fitted is the pair of a run at the size that it was fitted at. The pictures and errors are those of [Again], but a run may have begun
// with a generator.
func Fitted(ctx context.Context, store *tracker.Store, run int64) (hrstyle.Pair, error) {
	info, err := store.Run(ctx, strconv.FormatInt(run, 10))
	if err != nil {
		return hrstyle.Pair{}, err
	}
	pair, config, err := recordedPair(ctx, store, info)
	if err != nil {
		return pair, err
	}
	return pair.Fitted(config)
}

// Content is the content picture of a run at its own size: the artifact of one that was queued, otherwise the file that the run
// names. One that is not there, or is another by now, is an error.
func Content(ctx context.Context, store *tracker.Store, run int64) (p picture.Picture, err error) {
	info, err := store.Run(ctx, strconv.FormatInt(run, 10))
	if err != nil {
		return p, err
	}
	j, broken, err := (&Queue{store: store}).remembered(ctx, run)
	switch {
	case err != nil || broken != nil:
		return p, errors.Join(err, broken)
	case j.Inputs[report.Content] == "": // no file is read that only somebody's parameter names
		return p, fmt.Errorf("run %d has no record of its content picture", run)
	case j.Content == "":
		p, err = fromArtifact(ctx, store, run, report.Content, readPicture)
	default:
		p, err = picture.Load(j.Content)
	}
	if err != nil {
		return p, err
	}
	p.Name = info.Params["content"].Text
	return p, SameContent(ctx, store, run, p)
}

// SameContent says whether a picture is the content picture that a run was made with: its pixels are.
func SameContent(ctx context.Context, store *tracker.Store, run int64, p picture.Picture) error {
	env, err := store.Environment(ctx, run)
	if err == nil && inputsOf(env)[report.Content] != p.Digest() {
		err = errAnother(report.Content, run)
	}
	return err
}

func errAnother(name string, run int64) error {
	return fmt.Errorf("the %s picture is another by now than that of run %d", name, run)
}

// recordedPair is the pair of a run and its settings.
func recordedPair(ctx context.Context, store *tracker.Store, info tracker.Info) (pair hrstyle.Pair, config hrstyle.Config, err error) {
	run := info.ID
	j, broken, err := (&Queue{store: store}).remembered(ctx, run)
	if err = errors.Join(err, broken); err != nil {
		return pair, config, err
	}
	if j.Content == "" {
		pair, err = LoadPair(ctx, store, run)
	} else {
		pair, err = hrstyle.LoadPair(j.Content, j.Style)
		pair.Content.Name, pair.Style.Name = info.Params["content"].Text, info.Params["style"].Text // as the run has them
	}
	if err != nil {
		return pair, config, err
	}
	for name, is := range map[string]string{"content": pair.Content.Digest(), "style": pair.Style.Digest()} {
		if was := j.Inputs[name]; was != "" && was != is {
			return pair, config, errAnother(name, run)
		}
	}
	return pair, j.Config, nil
}

// Vary queues a trial of a run's pair in the run's experiment, with the run's weights of VGG19 and its settings as change has
// changed them, and returns its run: one that is there already if the experiment has the same fit. What began with a weight map
// begins with it again, at the ratio of the changed weights; no other setting may be changed then. See [Again] for errors.
func (q *Queue) Vary(ctx context.Context, run int64, change func(c *hrstyle.Config)) (int64, error) {
	info, err := q.store.Run(ctx, strconv.FormatInt(run, 10))
	if err != nil {
		return 0, err
	}
	if info.Params["map"].Text != "" {
		return q.varyFromMap(ctx, info, change)
	}
	pair, config, err := Again(ctx, q.store, run)
	if err != nil {
		return 0, err
	}
	environment, err := q.store.Environment(ctx, run)
	if err != nil {
		return 0, err
	}
	change(&config)
	trials := []Trial{{Config: config}}
	if err := Validate(trials); err != nil {
		return 0, err
	}
	vgg := &hrstyle.VGG{Label: info.Params["vgg"].Text, Digest: inputsOf(environment)["vgg"]}
	ids, err := q.Enqueue(ctx, info.Experiment, vgg, pair, trials, int(info.Params["patience"].Number))
	if err != nil {
		return 0, err
	}
	return ids[0], nil
}

// varyFromMap is Vary of a run that began with a weight map.
func (q *Queue) varyFromMap(ctx context.Context, info tracker.Info, change func(c *hrstyle.Config)) (int64, error) {
	id, err := strconv.ParseInt(strings.TrimPrefix(info.Params["map"].Text, "run "), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("run %d began with the weight map %s, which is no run", info.ID, info.Params["map"].Text)
	}
	was := hrstyle.Config{ContentWeight: info.Params["content_weight"].Number, StyleWeight: info.Params["style_weight"].Number}
	is := was
	change(&is)
	ratio := is.ContentWeight / is.StyleWeight
	if is.ContentWeight, is.StyleWeight = was.ContentWeight, was.StyleWeight; is != was {
		return 0, fmt.Errorf("run %d began with a weight map; allowed are other weights, no other setting", info.ID)
	}
	ids, err := q.FromMap(ctx, id, info.Experiment, int(info.Params["steps"].Number), ratio)
	if err != nil {
		return 0, err
	}
	return ids[0], nil
}

// FromMap queues trials that begin with the generators which the weight map of a run has for these ratios, in the experiment, and
// returns their runs: see [MapTrials] and [Again]. With 0 steps they only measure the map.
func (q *Queue) FromMap(ctx context.Context, run int64, experiment string, steps int, ratios ...float64) ([]int64, error) {
	info, err := q.store.Run(ctx, strconv.FormatInt(run, 10))
	if err != nil {
		return nil, err
	}
	environment, err := q.store.Environment(ctx, run)
	if err != nil {
		return nil, err
	}
	m, err := LoadGenerator(ctx, q.store, run)
	if err != nil {
		return nil, err
	}
	trials, err := MapTrials(m, fmt.Sprintf("run %d", run), steps, ratios...)
	if err != nil {
		return nil, err
	}
	if err := Validate(trials); err != nil {
		return nil, err
	}
	pair, _, err := Again(ctx, q.store, run)
	if err != nil {
		return nil, err
	}
	vgg := &hrstyle.VGG{Label: info.Params["vgg"].Text, Digest: inputsOf(environment)["vgg"]}
	return q.Enqueue(ctx, experiment, vgg, pair, trials, 0)
}
