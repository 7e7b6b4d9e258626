package tracker

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"slices"

	"hrlab/picture"

	"golang.org/x/image/draw"
)

// thumbnailSize is the longer side of a thumbnail in pixels. Smaller pictures keep their size.
const thumbnailSize = 320

// Thumbnail is a picture at a step, ready to be recorded by [Run.Record]: see [NewThumbnail].
type Thumbnail struct {
	name   string
	step   int64
	digest string
	size   image.Point // of the picture
	jpeg   []byte
}

// NewThumbnail makes a thumbnail of a picture at a step, which must be 0 or more: a JPEG whose longer side is at most 320 pixels.
func NewThumbnail(step int64, name string, picture image.Image) (t Thumbnail, err error) {
	if step < 0 {
		return t, fmt.Errorf("picture %s: step %d; allowed: 0 or more", name, step)
	}
	size := picture.Bounds().Size()
	if size.X < 1 || size.Y < 1 {
		return t, fmt.Errorf("picture %s: %dx%d pixels; allowed: 1x1 or more", name, size.X, size.Y)
	}
	t = Thumbnail{name: name, step: step, digest: pixelDigest(picture), size: size}
	t.jpeg, err = encodeThumbnail(picture)
	return t, err
}

// LogPicture records a picture at a step as [NewThumbnail] makes it. Pictures with the same pixels share one thumbnail.
func (r *Run) LogPicture(ctx context.Context, step int64, name string, picture image.Image) error {
	t, err := NewThumbnail(step, name, picture)
	if err != nil {
		return err
	}
	return r.Record(ctx, Batch{Pictures: []Thumbnail{t}})
}

// addPicture inserts a picture, and its thumbnail if that is not nil.
func (t tx) addPicture(run int64, p Thumbnail) error {
	if p.jpeg != nil {
		if _, err := t.exec(sqlAddThumbnail, p.digest, p.size.X, p.size.Y, p.jpeg); err != nil {
			return err
		}
	}
	_, err := t.exec(sqlAddPicture, run, clean(p.name), p.step, p.digest)
	return err
}

// nrgba converts a picture to one type, so that the same pixels are the same bytes.
func nrgba(picture image.Image) *image.NRGBA {
	bounds := image.Rectangle{Max: picture.Bounds().Size()}
	if p, ok := picture.(*image.NRGBA); ok && p.Rect == bounds && p.Stride == 4*bounds.Dx() {
		return p
	}
	p := image.NewNRGBA(bounds)
	draw.Draw(p, bounds, picture, picture.Bounds().Min, draw.Src)
	return p
}

// pixelDigest is the sha256 of the picture's size and pixels.
func pixelDigest(picture image.Image) string {
	p := nrgba(picture)
	hash := sha256.New()
	size := binary.LittleEndian.AppendUint32(nil, uint32(p.Rect.Dx()))
	hash.Write(binary.LittleEndian.AppendUint32(size, uint32(p.Rect.Dy())))
	hash.Write(p.Pix[:4*p.Rect.Dx()*p.Rect.Dy()])
	return hex.EncodeToString(hash.Sum(nil))
}

func encodeThumbnail(img image.Image) ([]byte, error) { return picture.JPEG(img, thumbnailSize, 0) }

// Picture describes a picture that a run has at a step.
type Picture struct {
	Name   string `json:"name"`
	Step   int64  `json:"step"`
	Digest string `json:"digest"` // of the pixels: what [Store.Thumbnail] takes
	Width  int    `json:"width"`  // in pixels, of the picture and not of the thumbnail
	Height int    `json:"height"`
}

// Pictures lists the pictures of a run, in the order of steps and names.
func (s *Store) Pictures(ctx context.Context, run int64) (pictures []Picture, err error) {
	err = each(ctx, s.db.reads(), sqlPictures, []any{run}, func(scan func(...any) error) error {
		var p Picture
		err := scan(&p.Name, &p.Step, &p.Digest, &p.Width, &p.Height)
		pictures = append(pictures, p)
		return err
	})
	return pictures, s.plain(err)
}

// PicturesOf are the pictures of several runs, by run, each in the order of steps and names.
func (s *Store) PicturesOf(ctx context.Context, runs []int64) (map[int64][]Picture, error) {
	const atOnce = 500
	pictures := map[int64][]Picture{}
	for chunk := range slices.Chunk(runs, atOnce) {
		args := make([]any, len(chunk))
		for i, id := range chunk {
			args[i] = id
		}
		err := each(ctx, s.db.reads(), fmt.Sprintf(sqlPicturesOf, list(1, len(chunk))), args, func(scan func(...any) error) error {
			var run int64
			var p Picture
			err := scan(&run, &p.Name, &p.Step, &p.Digest, &p.Width, &p.Height)
			pictures[run] = append(pictures[run], p)
			return err
		})
		if err != nil {
			return nil, s.plain(err)
		}
	}
	return pictures, nil
}

// Thumbnail returns the thumbnail of the picture with this digest, a JPEG.
func (s *Store) Thumbnail(ctx context.Context, digest string) (jpeg []byte, err error) {
	err = value(ctx, s.db.reads(), []any{&jpeg}, sqlThumbnail, digest)
	if errors.Is(err, sql.ErrNoRows) {
		err = fmt.Errorf("picture %s: %w", digest, ErrNotFound)
	}
	return jpeg, s.plain(err)
}
