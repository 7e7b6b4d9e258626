package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"os"
	"path/filepath"

	"hrlab/hrstyle"
	"hrlab/picture"
	"hrlab/video"
)

// isVideo says whether a video is done, as the names of the result or of the only picture tell.
func (a *applyCmd) isVideo() bool {
	return video.CheckName(a.Out) == nil || len(a.Pictures) == 1 && video.Is(a.Pictures[0])
}

// video applies the generator or the LUT to the frames of one video. What it has done lies beside the result until that is whole, so
// that the same command goes on after a stop.
func (a *applyCmd) video(ctx context.Context, c *console) error {
	out, err := a.videoOut()
	if err != nil {
		return err
	}
	l, err := a.look(ctx)
	if err != nil {
		return err
	}
	v, err := video.Open(ctx, a.Pictures[0])
	if err != nil {
		return err
	}
	for _, note := range v.Notes {
		fmt.Fprintln(c.messages, v.Name, note)
	}
	if out.made != "" {
		if err := os.MkdirAll(filepath.Dir(out.path), 0o777); err != nil {
			return err
		}
	}
	if err := picture.CheckWritable(out.path); err != nil {
		return err
	}
	digest, err := a.videoDigest(ctx, v, l)
	if err != nil {
		return err
	}
	parts, err := video.OpenParts(linked(out.path), digest)
	if err != nil {
		return err
	}
	defer parts.Close()
	if err := parts.CheckSound(ctx, v); err != nil {
		return err
	}
	if done := parts.Frames(); done > 0 {
		fmt.Fprintf(c.messages, "%s: goes on after %d of %d frames\n", v.Name, done, v.Frames)
	}
	comment := "hrlab: LUT " + filepath.Base(a.Cube)
	if l.cube != nil {
		err = a.byCube(ctx, c, v, parts, l.cube)
	} else {
		comment = "hrlab: " + a.source() + "; VGG19: " + l.generator.VGG
		err = a.byGenerator(ctx, c, v, parts, l.generator)
	}
	if err == nil {
		err = parts.Join(ctx, v, comment+a.describe())
	}
	if err == nil {
		err = out.write(func(path string) error { return parts.Move(linked(path)) })
	}
	switch {
	case err == nil:
		fmt.Fprintln(c.messages, out.path)
	case ctx.Err() != nil && parts.Frames() == 0:
		fmt.Fprintf(c.messages, "stopped: %s is not written\n", out.path)
		return ctx.Err()
	case ctx.Err() != nil:
		fmt.Fprintf(c.messages, "stopped: %d of %d frames are in %s; the same command goes on from there\n", parts.Frames(), v.Frames, parts.Dir)
		return ctx.Err()
	}
	return err
}

// videoOut is the place of the result.
func (a *applyCmd) videoOut() (place, error) {
	in := a.Pictures[0]
	out := place{path: a.Out}
	switch {
	case len(a.Pictures) > 1:
		return out, fmt.Errorf("%d names: a video is done alone; name one", len(a.Pictures))
	case a.Scenes && a.Cube != "":
		return out, errors.New("scenes: statistics are a generator's; --cube has none")
	case in == "-" || a.Out == "-":
		return out, errors.New("-: a video is read and written as a file")
	case isFolder(a.Out) || filepath.Ext(a.Out) == "":
		made := filepath.Join(a.Out, stem(in)+".mp4")
		out = place{unused(made, nil), made}
	default:
		if err := video.CheckName(a.Out); err != nil {
			return out, err
		}
	}
	if err := readable(in); err != nil {
		return out, err
	}
	return out, apart([]string{out.path}, []string{a.Generator, a.Cube, in})
}

// videoDigest stands for all that the frames of the result depend on.
func (a *applyCmd) videoDigest(ctx context.Context, v *video.Video, l look) (string, error) {
	info, err := os.Stat(v.Name)
	if err != nil {
		return "", err
	}
	program, err := video.Find(ctx)
	if err != nil {
		return "", err
	}
	var colours any
	if l.cube != nil {
		colours = *l.cube
	} else {
		colours = l.generator.Digest()
	}
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Appendln(nil, release, program, info.Size(), info.ModTime().UnixNano(), colours, a.Device, a.Strength, a.Scenes))), nil
}

// byCube has ffmpeg apply a LUT to all frames that are not done yet.
func (a *applyCmd) byCube(ctx context.Context, c *console, v *video.Video, parts *video.Parts, cube *picture.Cube) error {
	if err := picture.WriteFile(filepath.Join(parts.Dir, "look.cube"), cube.Blended(a.Strength).Encode()); err != nil {
		return err
	}
	progress, stop := frames(ctx, c.newCounter(1), v, parts)
	defer stop()
	return parts.Write(ctx, v, video.Work{Filter: "lut3d=file=look.cube:interp=tetrahedral", Progress: progress})
}

// frames shows how many frames are done, until stop is called.
func frames(ctx context.Context, bar *counter, v *video.Video, parts *video.Parts) (progress func(done int), stop func()) {
	before := parts.Frames()
	show, stop := bar.far(ctx, v.Name, fmt.Sprintf("%d frames of %dx%d px", v.Frames, v.Width, v.Height))
	return func(done int) { show(done-before, max(done, v.Frames)-before) }, stop
}

// byGenerator applies a generator to all frames that are not done yet.
func (a *applyCmd) byGenerator(ctx context.Context, c *console, v *video.Video, parts *video.Parts, g *hrstyle.Generator) error {
	if text := farLarger(g.Config.Size, v.Name, image.Pt(v.Width, v.Height)); text != "" {
		fmt.Fprintln(c.messages, text)
	}
	engine, err := engineFlags{a.Device, "none"}.open(ctx, c)
	if err != nil {
		return err
	}
	defer engine.Close()
	bar := c.newCounter(1)
	scenes, err := a.scenes(ctx, bar, v, parts, engine, g)
	if err != nil {
		return err
	}
	progress, stop := frames(ctx, bar, v, parts)
	defer stop()
	return parts.Write(ctx, v, video.Work{
		Progress: progress,
		Change: func(n int, frame *image.RGBA) (*image.NRGBA64, error) {
			p := picture.Picture{Name: fmt.Sprintf("%s: frame %d", v.Name, n), Image: frame}
			out, err := engine.Apply(ctx, g, p, hrstyle.Applying{Memory: a.Memory * 1e9, Statistics: scenes.of(n)})
			if err == nil {
				picture.Blend(out, p, a.Strength)
			}
			return out, err
		},
	})
}

// scenes are the statistics that frames are done with: those of their scene, or of the whole video.
type scenes []scene

type scene struct {
	First      int                // frame
	Statistics hrstyle.Statistics // of frames of it
}

func (s scenes) of(n int) hrstyle.Statistics {
	i := len(s) - 1
	for i > 0 && s[i].First > n {
		i--
	}
	return s[i].Statistics
}

// sampled is how many frames of a scene its statistics are measured on.
const sampled = 8

// scenes measures statistics, or reads those that were measured when the parts were begun: frames of all parts must have the same.
func (a *applyCmd) scenes(ctx context.Context, bar *counter, v *video.Video, parts *video.Parts, engine *hrstyle.Engine, g *hrstyle.Generator) (scenes, error) {
	path := filepath.Join(parts.Dir, "statistics.json")
	var all scenes
	if data, err := os.ReadFile(path); err == nil && json.Unmarshal(data, &all) == nil && len(all) > 0 {
		return all, nil
	}
	firsts := []int{0, v.Frames}
	if a.Scenes {
		bar.say(v.Name + ": looking for cuts")
		var err error
		if firsts, err = v.Scenes(ctx); err != nil {
			return nil, err
		}
		bar.say(fmt.Sprintf("%s: %d scenes", v.Name, len(firsts)-1))
	}
	var numbers []int
	for i, first := range firsts[:len(firsts)-1] {
		numbers = append(numbers, spread(first, firsts[i+1], sampled)...)
	}
	progress, stop := bar.far(ctx, v.Name, fmt.Sprintf("measuring %d frames", len(numbers)))
	defer stop()
	var frames []picture.Picture
	measure := func() error {
		s, err := engine.Statistics(ctx, g, frames, a.Memory*1e9)
		all, frames = append(all, scene{firsts[len(all)], s}), nil
		return err
	}
	at := 0
	for frame, err := range v.Pick(ctx, numbers) {
		if err != nil {
			return nil, err
		}
		if len(all)+2 < len(firsts) && numbers[at] >= firsts[len(all)+1] {
			if err := measure(); err != nil {
				return nil, err
			}
		}
		frames = append(frames, picture.Picture{Name: fmt.Sprintf("%s: frame %d", v.Name, numbers[at]), Image: frame})
		at++
		progress(at, len(numbers))
	}
	if frames == nil {
		return nil, fmt.Errorf("%s: has no frames", v.Name)
	}
	if err := measure(); err != nil {
		return nil, err
	}
	data, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	return all, picture.WriteFile(path, data)
}

// spread are n numbers of frames from first to the one before last, evenly, or all where there are not so many.
func spread(first, last, n int) (numbers []int) {
	n = min(n, last-first)
	for i := range n {
		numbers = append(numbers, first+(2*i+1)*(last-first)/(2*n))
	}
	return numbers
}
