package report

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	_ "image/png" // outputs are PNG

	"hrlab/tracker"

	"golang.org/x/image/draw"
)

// thumbnail is the JPEG of the first picture with that name that one of the runs has; nil where none has one.
func thumbnail(ctx context.Context, store *tracker.Store, runs []Run, name string) ([]byte, error) {
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
const maxPicture, maxPictureSide = 60_000, 512

// outputJPEG is the output of a run as a JPEG that is small enough for a report; nil where the run has none.
func outputJPEG(ctx context.Context, store *tracker.Store, run int64) ([]byte, error) {
	data, err := store.ReadArtifact(ctx, run, Output)
	if errors.Is(err, tracker.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	img, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("run %d: artifact %q: %w", run, Output, err)
	}
	if b := img.Bounds(); max(b.Dx(), b.Dy()) > maxPictureSide {
		scale := maxPictureSide / float64(max(b.Dx(), b.Dy()))
		small := image.NewRGBA(image.Rect(0, 0, int(float64(b.Dx())*scale), int(float64(b.Dy())*scale)))
		draw.CatmullRom.Scale(small, small.Rect, img, b, draw.Src, nil)
		img = small
	}
	var buf bytes.Buffer
	for quality := 88; ; quality -= 8 {
		buf.Reset()
		if err := jpeg.Encode(&buf, img, &jpeg.Options{Quality: quality}); err != nil {
			return nil, err
		}
		if buf.Len() <= maxPicture || quality <= 40 {
			return buf.Bytes(), nil
		}
	}
}
