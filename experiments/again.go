package experiments

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"hrlab/hrstyle"
	"hrlab/tracker"
)

// Again are the pair and the settings of a run, so that it can be fitted again with others. The pictures are artifacts of the
// run, or the files that it names; files that have changed since are an error.
func Again(ctx context.Context, store *tracker.Store, run int64) (pair hrstyle.Pair, config hrstyle.Config, err error) {
	info, err := store.Run(ctx, strconv.FormatInt(run, 10))
	if err != nil {
		return pair, config, err
	}
	if info.Params["init"].Text != "" {
		return pair, config, fmt.Errorf("run %d began with a generator: hrlab fit --init fits it again", run)
	}
	j, broken, err := (&Queue{store: store}).remembered(ctx, run)
	if err = errors.Join(err, broken); err != nil {
		return pair, config, err
	}
	if j.Content == "" {
		pair, err = LoadPair(ctx, store, run)
	} else {
		pair, err = hrstyle.LoadPair(j.Content, j.Style)
	}
	if err != nil {
		return pair, config, err
	}
	for name, is := range map[string]string{"content": pair.Content.Digest(), "style": pair.Style.Digest()} {
		if was := j.Inputs[name]; was != "" && was != is {
			return pair, config, fmt.Errorf("the %s picture is another by now than that of run %d", name, run)
		}
	}
	return pair, j.Config, nil
}
