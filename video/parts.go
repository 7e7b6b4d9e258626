package video

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"hrlab/picture"

	"github.com/gofrs/flock"
)

// partFrames is how many frames a part has: what a kill costs at most.
const partFrames = 60

// Parts are the parts of a video that is being written. They lie in a folder beside the result, so that a process that ended before
// the last was written can be followed by one that goes on. A part is written whole or not at all.
type Parts struct {
	Dir string // for other files too, which go with the parts

	lock *flock.Flock
	list []part
}

// part is a part of a video. Its file's name has all of it: 000060-60-2400000.mp4.
type part struct {
	first, frames int
	at            int64 // the time of the first frame, in microseconds
}

func (p part) file() string { return fmt.Sprintf("%06d-%d-%d.mp4", p.first, p.frames, p.at) }

// OpenParts opens the parts of the result to, in the folder to.parts. Those that were made of something else, as the digest tells,
// are removed. Another process that has them is an error.
func OpenParts(to, digest string) (_ *Parts, err error) {
	p := &Parts{Dir: to + ".parts"}
	if err := os.MkdirAll(p.Dir, 0o777); err != nil {
		return nil, unwritten(p.Dir, err)
	}
	p.lock = flock.New(filepath.Join(p.Dir, "lock"), flock.SetPermissions(0o666))
	switch free, err := p.lock.TryLock(); {
	case err != nil:
		return nil, unwritten(p.Dir, err)
	case !free:
		return nil, fmt.Errorf("%s: another process is writing this video", p.Dir)
	}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	of := filepath.Join(p.Dir, "digest")
	if before, err := os.ReadFile(of); err != nil || string(before) != digest {
		if err := p.empty(); err != nil {
			return nil, err
		}
		if err := picture.WriteFile(of, []byte(digest)); err != nil {
			return nil, err
		}
	}
	return p, p.find()
}

// empty removes what is in the folder, but for the lock.
func (p *Parts) empty() error {
	entries, err := os.ReadDir(p.Dir)
	for _, e := range entries {
		if e.Name() != "lock" {
			err = errors.Join(err, os.Remove(filepath.Join(p.Dir, e.Name())))
		}
	}
	return err
}

// find lists the parts that are there, as far as they follow one another.
func (p *Parts) find() error {
	names, err := filepath.Glob(filepath.Join(glob(p.Dir), "*-*-*.mp4"))
	var all []part
	for _, name := range names {
		var of part
		if n, err := fmt.Sscanf(filepath.Base(name), "%d-%d-%d.mp4", &of.first, &of.frames, &of.at); n == 3 && err == nil {
			all = append(all, of)
		}
	}
	slices.SortFunc(all, func(a, b part) int { return a.first - b.first })
	for _, of := range all {
		if of.first == p.Frames() && of.frames > 0 {
			p.list = append(p.list, of)
		}
	}
	return err
}

// glob quotes what has a meaning in patterns.
func glob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// Frames is how many frames are done.
func (p *Parts) Frames() int {
	if len(p.list) == 0 {
		return 0
	}
	last := p.list[len(p.list)-1]
	return last.first + last.frames
}

// Close leaves the parts to the next process. A folder without parts is removed.
func (p *Parts) Close() {
	if len(p.list) == 0 {
		_ = os.RemoveAll(p.Dir) // what cannot be removed is found the next time
	}
	_ = p.lock.Unlock() // the process's end does it too
}

// Work says what becomes of frames: by Change or by Filter.
type Work struct {
	// Change changes a frame, whose number begins at 0, and returns one of the same size.
	Change func(n int, frame *image.RGBA) (*image.NRGBA64, error)
	// Filter is a filter of ffmpeg that changes frames in RGB of 16 bits (gbrp16le, in which lut3d is four times as quick as in 8 bits), as "lut3d=file=look.cube". The
	// files that it names are in Parts.Dir.
	Filter string
	// Progress is called after every frame with the number of those that are done; may be nil.
	Progress func(done int)
}

// Write writes the parts that are missing. It returns the cause of ctx when that is cancelled; what is written by then stays.
func (p *Parts) Write(ctx context.Context, v *Video, work Work) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	to, filters, size := v.deep(), v.toRGB("rgb24"), 3*v.Width*v.Height
	if work.Filter != "" {
		to = v.planar()
		filters, size = v.toRGB("gbrp16le")+","+work.Filter+","+v.toYUV(), to.width*to.height*3/2
	}
	saved := make(chan error, 1) // of the part before, which is ended while the next begins
	saved <- nil
	var e *encoder
	hand := func() error {
		if err := <-saved; err != nil {
			saved <- nil
			return err
		}
		of, ended := part{p.Frames(), e.frames, e.began}, e
		e = nil
		go func() { saved <- p.save(ctx, of, ended) }()
		return nil
	}
	err := func() error {
		n, last := p.Frames(), int64(math.MinInt64/2)
		for f, err := range v.decode(ctx, p.Dir, "gte(n,"+strconv.Itoa(n)+")", filters, size) {
			if err != nil {
				return err
			}
			pix := f.pix
			if work.Change != nil {
				changed, err := work.Change(n, v.rgba(f.pix))
				if err != nil {
					return err
				}
				pix = changed.Pix
			}
			if e == nil {
				if e, err = v.encode(ctx, to); err != nil {
					return err
				}
			}
			last = max(f.at, last+second/int64(v.ticks)) // damaged files have a time twice
			if err := e.write(last, pix); err != nil {
				_, why := e.finish(ctx)
				e = nil
				return cmp.Or(why, err)
			}
			if n++; work.Progress != nil {
				work.Progress(n)
			}
			if e.frames == partFrames {
				if err := hand(); err != nil {
					return err
				}
			}
		}
		if n == 0 {
			return fmt.Errorf("%s: has no frames", v.Name)
		}
		if e != nil {
			return hand()
		}
		return nil
	}()
	if err != nil {
		cancel() // what an encoder has of a part is no part
	}
	if e != nil {
		_, _ = e.finish(ctx)
	}
	return cmp.Or(err, <-saved)
}

// save writes the file of a part.
func (p *Parts) save(ctx context.Context, of part, e *encoder) error {
	data, err := e.finish(ctx)
	if err != nil {
		return err
	}
	if err := picture.WriteFile(filepath.Join(p.Dir, of.file()), data); err != nil {
		return err
	}
	p.list = append(p.list, of)
	return nil
}

// CheckSound says why the sound of the video would not go into the result: formats hold some codecs and not others.
func (p *Parts) CheckSound(ctx context.Context, v *Video) error {
	if !v.sound {
		return nil
	}
	trial := p.result()
	defer os.Remove(trial) //nolint:errcheck // the result takes its place
	if _, _, err := output(ctx, "ffmpeg", "-v", "error", "-xerror", "-nostdin", "-y", "-i", local(v.path), "-map", "0:a", "-c", "copy", "-t", "0", local(trial)); err != nil {
		return fmt.Errorf("%s: its sound does not go into %s: %w; .mkv takes nearly every sound", v.Name, filepath.Ext(trial), err)
	}
	return nil
}

// result is the file in which parts are joined.
func (p *Parts) result() string {
	return filepath.Join(p.Dir, "result"+filepath.Ext(strings.TrimSuffix(p.Dir, ".parts")))
}

// Join puts the parts together, with the sound and the metadata of the video and a comment.
func (p *Parts) Join(ctx context.Context, v *Video, comment string) (err error) {
	result := p.result()
	defer func() {
		if err != nil {
			_ = os.Remove(result) // it is no part, and the disk may be full
		}
	}()
	var list strings.Builder
	list.WriteString("ffconcat version 1.0\n")
	for i, of := range p.list {
		fmt.Fprintf(&list, "file %s\n", of.file())
		if i+1 < len(p.list) {
			fmt.Fprintf(&list, "duration %dus\n", p.list[i+1].at-of.at)
		}
	}
	names := filepath.Join(p.Dir, "list")
	if err := picture.WriteFile(names, []byte(list.String())); err != nil {
		return err
	}
	offset := func(at int64) string { return fmt.Sprintf("%dus", at-v.start) } // results begin at 0
	if _, _, err := output(ctx, "ffmpeg", "-v", "error", "-xerror", "-nostdin", "-y", "-copyts", "-itsoffset", offset(p.list[0].at), "-f", "concat", "-i", local(names),
		"-itsoffset", offset(0), "-i", local(v.path), "-map", "0:v", "-map", "1:a?", "-c", "copy", "-map_metadata", "1", "-map_chapters", "1", "-metadata", "comment="+comment,
		"-video_track_timescale", strconv.Itoa(v.ticks), local(result)); err != nil {
		return unwritten(result, err)
	}
	joined, err := Open(ctx, result)
	if err == nil && joined.Frames != p.Frames() {
		err = fmt.Errorf("%s: cannot be written: %d of %d frames are in it", result, joined.Frames, p.Frames())
	}
	return err
}

// Move gives what Join has made its name, once it is on the disk. What is at to is replaced. Close then removes the parts.
func (p *Parts) Move(to string) error {
	if err := moved(p.result(), to); err != nil {
		return unwritten(to, err)
	}
	p.list = nil
	return nil
}

// moved moves a file to another name in the same file system once it is on the disk.
func moved(from, to string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// unwritten says why a file was not written.
func unwritten(path string, err error) error {
	if pathErr, ok := errors.AsType[*os.PathError](err); ok {
		err = pathErr.Err
	}
	return fmt.Errorf("%s: cannot be written: %w", path, err)
}
