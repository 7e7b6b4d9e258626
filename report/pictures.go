package report

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"hrlab/picture"
	"hrlab/tracker"
)

// thumbnail is the JPEG of the first picture with that name that one of the runs has; nil where none has one.
func thumbnail(ctx context.Context, store *tracker.Store, runs []tracker.Info, name string) ([]byte, error) {
	for _, r := range runs {
		pictures, err := store.Pictures(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		for _, p := range pictures {
			if p.Name != name {
				continue
			}
			if jpeg, err := store.Thumbnail(ctx, p.Digest); !errors.Is(err, tracker.ErrNotFound) {
				return jpeg, err
			}
		}
	}
	return nil, nil
}

// maxPicture is the most bytes of an output in a report where its quality allows, maxPictureSide its longer side in pixels.
// With more than manyRuns outputs they are smaller, so that a browser opens the page at once.
const maxPicture, maxPictureSide = 60_000, 512

const manyRuns, manyPicture, manyPictureSide = 100, 20_000, 320

// outputJPEG is the output of a run as a JPEG that is small enough for a report of so many runs; nil where the run has none.
func outputJPEG(ctx context.Context, store *tracker.Store, run int64, runs int) ([]byte, error) {
	data, err := store.ReadArtifact(ctx, run, Output)
	if errors.Is(err, tracker.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	img, err := picture.Read(fmt.Sprintf("run %d: artifact %q", run, Output), bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if runs > manyRuns {
		return picture.JPEG(img, manyPictureSide, manyPicture)
	}
	return picture.JPEG(img, maxPictureSide, maxPicture)
}
