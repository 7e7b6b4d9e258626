package video

import (
	"context"
	"errors"
	"image"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hrlab/picture"
)

// A filter of ffmpeg does what a change in Go does.
func TestFilter(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "in.mkv")
	ffmpeg(t, "-f", "lavfi", "-i", pattern, "-t", "0.4", "-vf", "scale=65:49,format=yuv444p", "-c:v", "ffv1", in)
	changed, filtered := filepath.Join(dir, "changed.mkv"), filepath.Join(dir, "filtered.mkv")
	if err := errors.Join(convert(t.Context(), in, changed, Work{Change: inverted}), convert(t.Context(), in, filtered, Work{Filter: "negate"})); err != nil {
		t.Fatal(err)
	}
	if dB := psnr(t, changed, filtered); dB < 45 {
		t.Errorf("%.1f dB", dB)
	}
	if dB := psnr(t, in, filtered); dB > 20 {
		t.Errorf("nothing is changed: %.1f dB", dB)
	}
}

// What was stopped goes on: the result has the bytes of one that was not. Until it is whole there is no result.
func TestGoesOn(t *testing.T) {
	dir := t.TempDir()
	in, whole, out := filepath.Join(dir, "in.mp4"), filepath.Join(dir, "whole.mp4"), filepath.Join(dir, "[out]*.mp4")
	ffmpeg(t, "-f", "lavfi", "-i", pattern, "-f", "lavfi", "-i", tone, "-frames:v", "150", "-shortest", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", in)
	if err := convert(t.Context(), in, whole, Work{Change: same}); err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	for _, stop := range []struct {
		at   int // frame
		left int // frames that are kept
	}{{10, 0}, {70, 60}, {100, 60}, {149, 120}} {
		ctx, cancel := context.WithCancelCause(t.Context())
		err := convert(ctx, in, out, Work{Change: func(n int, frame *image.RGBA) (*image.NRGBA64, error) {
			if n == stop.at {
				cancel(enough)
			}
			return same(n, frame)
		}})
		if !errors.Is(err, enough) {
			t.Fatalf("stopped at frame %d: %v", stop.at, err)
		}
		if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("stopped at frame %d there is a result: %v", stop.at, err)
		}
		parts, err := OpenParts(out, "digest")
		if err != nil {
			t.Fatal(err)
		}
		if parts.Frames() != stop.left {
			t.Errorf("stopped at frame %d: %d frames are kept, want %d", stop.at, parts.Frames(), stop.left)
		}
		if _, err := OpenParts(out, "digest"); err == nil || !strings.HasSuffix(err.Error(), ".parts: another process is writing this video") {
			t.Errorf("two at once: %v", err)
		}
		parts.Close()
	}
	if _, err := os.Stat(out + ".parts"); err != nil {
		t.Error(err)
	}
	first := -1
	if err := convert(t.Context(), in, out, Work{Change: func(n int, frame *image.RGBA) (*image.NRGBA64, error) {
		if first < 0 {
			first = n
		}
		return same(n, frame)
	}}); err != nil {
		t.Fatal(err)
	}
	a, errA := os.ReadFile(whole)
	b, errB := os.ReadFile(out)
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(a, b) || first != 120 {
		t.Errorf("the result differs, or went on at frame %d and not 120", first)
	}
	if _, err := os.Stat(out + ".parts"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("parts are left: %v", err)
	}
}

// Parts of something else are removed, as are files that are no parts in a row; a result that cannot be joined leaves them.
func TestParts(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.mp4")
	open := func(digest string) *Parts {
		t.Helper()
		p, err := OpenParts(out, digest)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := open("a")
	for _, name := range []string{"000000-60-0.mp4", "000060-60-2400000.mp4", "000180-60-7200000.mp4", "x-y-z.mp4"} {
		if err := picture.WriteFile(filepath.Join(p.Dir, name), nil); err != nil {
			t.Fatal(err)
		}
	}
	p.list = make([]part, 1) // so that the folder stays
	p.Close()
	if p = open("a"); p.Frames() != 120 {
		t.Errorf("%d frames", p.Frames())
	}
	p.Close()
	if p = open("b"); p.Frames() != 0 {
		t.Errorf("of something else: %d frames", p.Frames())
	}
	p.Close()
	if _, err := os.Stat(p.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty folder is left: %v", err)
	}
}

// Cuts are found where they are: ffmpeg joins what is cut here.
func TestScenes(t *testing.T) {
	in := filepath.Join(t.TempDir(), "in.mp4")
	ffmpeg(t, "-f", "lavfi", "-i", "color=c=white:size=64x48:rate=25:duration=0.4", "-f", "lavfi", "-i", pattern+":duration=0.6", "-f", "lavfi", "-i",
		"color=c=black:size=64x48:rate=25:duration=0.2", "-lavfi", "concat=n=3", "-pix_fmt", "yuv420p", in)
	v, err := Open(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if scenes, err := v.Scenes(t.Context()); err != nil || !slices.Equal(scenes, []int{0, 10, 25, 30}) {
		t.Errorf("%v, %v", scenes, err)
	}
	var levels []uint8
	for frame, err := range v.Pick(t.Context(), []int{0, 9, 29, 40}) {
		if err != nil {
			t.Fatal(err)
		}
		levels = append(levels, frame.RGBAAt(5, 5).G)
	}
	if !slices.Equal(levels, []uint8{255, 255, 0}) {
		t.Errorf("%v", levels)
	}
}

// A sensor's picture that is to be shown turned comes upright: its upper left corner was the lower left.
func TestUpright(t *testing.T) {
	dir := t.TempDir()
	flat, in := filepath.Join(dir, "flat.mp4"), filepath.Join(dir, "in.mp4")
	ffmpeg(t, "-f", "lavfi", "-i", "color=c=black:size=64x48:rate=25:duration=0.2", "-pix_fmt", "yuv420p", "-vf", "drawbox=0:24:32:24:white:fill,setsar=4/3", "-c:v", "libx264", "-crf", "1", flat)
	ffmpeg(t, "-i", flat, "-c", "copy", "-metadata:s:v", "rotate=270", in)
	out := filepath.Join(dir, "out.mp4")
	if err := convert(t.Context(), in, out, Work{Change: same}); err != nil {
		t.Fatal(err)
	}
	v, err := Open(t.Context(), out)
	if err != nil {
		t.Fatal(err)
	}
	if v.Width != 48 || v.Height != 64 || v.stream.Aspect != "3:4" || len(v.Notes) > 0 {
		t.Errorf("%dx%d, pixels %s, %q", v.Width, v.Height, v.stream.Aspect, v.Notes)
	}
	for frame, err := range v.Pick(t.Context(), []int{2}) {
		if err != nil {
			t.Fatal(err)
		}
		if a, b := frame.RGBAAt(5, 5).G, frame.RGBAAt(40, 60).G; a < 240 || b > 15 {
			t.Errorf("upper left %d, lower right %d", a, b)
		}
	}
}

// What is no video, or none that can be done, is one line.
func TestRefused(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	const x264 = "-f lavfi -i " + pattern + " -t 2 -c:v libx264 -pix_fmt yuv420p -movflags faststart "
	make := func(name, args string) {
		t.Helper()
		ffmpeg(t, append(strings.Fields(args), file(name))...)
	}
	make("in.mp4", x264)
	make("in.mkv", x264)
	make("sound.mp4", "-f lavfi -i "+tone+" -t 0.2")
	make("hdr.mp4", x264+"-color_trc smpte2084")
	make("pcm.mkv", "-f lavfi -i "+tone+" "+x264+"-c:a pcm_s16le")
	for from, to := range map[string]string{"in.mp4": "cut.mp4", "in.mkv": "cut.mkv"} {
		data, err := os.ReadFile(file(from))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file(to), data[:len(data)/2], 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file("text.mp4"), []byte("text"), 0o666); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"text.mp4":  ": is no video: ",
		"none.mp4":  ": is no video: No such file or directory",
		"sound.mp4": ": is no video: it has no stream of moving pictures",
		"cut.mp4":   ": is cut off: its end is missing",
		"cut.mkv":   ": is cut off: its end is missing",
		"hdr.mp4":   ": is HDR (smpte2084), which is not done",
		"pcm.mkv":   ": its sound does not go into .mp4: Could not find tag for codec pcm_s16le",
		"":          ": not a regular file",
	} {
		err := convert(t.Context(), file(name), file("out.mp4"), Work{Change: same})
		if err == nil || !strings.HasPrefix(err.Error(), file(name)+want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
		if left, err := filepath.Glob(file("out*")); err != nil || left != nil {
			t.Errorf("%s: left: %q, %v", name, left, err)
		}
	}
	t.Setenv("PATH", dir)
	if _, err := Open(t.Context(), file("in.mp4")); !errors.Is(err, ErrMissing) {
		t.Errorf("without ffmpeg: %v", err)
	}
}

// A video that is damaged somewhere ends there, with what is done before kept.
func TestDamaged(t *testing.T) {
	in := filepath.Join(t.TempDir(), "in.mp4")
	ffmpeg(t, "-f", "lavfi", "-i", pattern, "-frames:v", "100", "-c:v", "mpeg4", "-q:v", "1", "-g", "1", "-movflags", "faststart", in)
	data, err := os.ReadFile(in)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(data) * 3 / 4; i < len(data)*3/4+8000; i++ {
		data[i] = 0
	}
	if err := os.WriteFile(in, data, 0o666); err != nil {
		t.Fatal(err)
	}
	err = convert(t.Context(), in, in+".mp4", Work{Change: same})
	if err == nil || !strings.HasPrefix(err.Error(), in+": cannot be decoded as a whole: ") {
		t.Error(err)
	}
	if left, err := filepath.Glob(in + ".mp4.parts/*-60-*"); err != nil || len(left) != 1 {
		t.Errorf("%q, %v", left, err)
	}
}
