package video

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// ffmpeg runs ffmpeg, whose videos the tests compare with. make test installs it.
func ffmpeg(t *testing.T, args ...string) string {
	t.Helper()
	return program(t, "ffmpeg", append([]string{"-v", "error", "-y"}, args...)...)
}

func program(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil && os.Getenv("HRLAB_TEST_REQUIRE_FFMPEG") == "" {
		t.Skip("no ffmpeg: apt-get install ffmpeg")
	}
	out, err := exec.CommandContext(t.Context(), name, args...).Output()
	if err != nil {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return string(out)
}

// pattern is a source of frames of 64x48 px with a counter, and tone one of sound.
const (
	pattern = "testsrc2=size=64x48:rate=25"
	tone    = "sine"
)

// probe is what ffprobe says of the first stream of a type, v or a, by names; nothing where there is none.
func probe(t *testing.T, path, stream string) map[string]string {
	t.Helper()
	text := program(t, "ffprobe", "-v", "error", "-count_frames", "-select_streams", stream+":0", "-show_streams", "-of", "default=noprint_wrappers=1", path)
	all := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		all[name] = value
	}
	return all
}

// times are the times of frames in units of the stream's time base.
func times(t *testing.T, path string) string {
	t.Helper()
	text := program(t, "ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "frame=pts", "-of", "csv=p=0", path)
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '\n' }), " ")
}

// psnr is the peak signal to noise ratio in dB of two videos whose frames should be alike, as ffmpeg computes it: of the frame where
// it is lowest.
func psnr(t *testing.T, in, out string) float64 {
	t.Helper()
	of := probe(t, out, "v")
	text := program(t, "ffmpeg", "-v", "error", "-i", out, "-i", in, "-lavfi",
		fmt.Sprintf("[1:v]crop=%s:%s:0:0,scale=out_color_matrix=bt709:out_range=tv,format=yuv420p[in];[0:v]scale=out_color_matrix=bt709:out_range=tv,format=yuv420p[out];[out][in]psnr=stats_file=-", of["width"], of["height"]), "-f", "null", "-")
	lowest := math.Inf(1)
	for word := range strings.FieldsSeq(text) {
		if value, ok := strings.CutPrefix(word, "psnr_y:"); ok && value != "inf" {
			dB, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			lowest = min(lowest, dB)
		}
	}
	return lowest
}

// start is how many seconds the moving pictures begin after the sound, or after 0.
func start(t *testing.T, path string) float64 {
	t.Helper()
	var times [2]float64
	for i, stream := range []string{"v", "a"} {
		times[i], _ = strconv.ParseFloat(probe(t, path, stream)["start_time"], 64) // 0 without sound
	}
	return times[0] - times[1]
}

// sound is the MD5 of the packets of sound.
func sound(t *testing.T, path string) string {
	t.Helper()
	if len(probe(t, path, "a")) == 0 {
		return "none"
	}
	return program(t, "ffmpeg", "-v", "error", "-i", path, "-map", "0:a", "-c", "copy", "-f", "md5", "-")
}

// same is work that leaves frames as they are, and inverted one that inverts colours.
func same(_ int, frame *image.RGBA) (*image.NRGBA64, error) {
	out := image.NewNRGBA64(frame.Rect)
	draw.Draw(out, out.Rect, frame, image.Point{}, draw.Src)
	return out, nil
}

func inverted(_ int, frame *image.RGBA) (*image.NRGBA64, error) {
	out := image.NewNRGBA64(frame.Rect)
	for y := range frame.Rect.Dy() {
		for x := range frame.Rect.Dx() {
			c := frame.RGBAAt(x, y)
			out.SetNRGBA64(x, y, color.NRGBA64{257 * uint16(255-c.R), 257 * uint16(255-c.G), 257 * uint16(255-c.B), 65535})
		}
	}
	return out, nil
}

// convert writes a video by work, from what is there of it.
func convert(ctx context.Context, in, out string, work Work) error {
	v, err := Open(ctx, in)
	if err != nil {
		return err
	}
	parts, err := OpenParts(out, "digest")
	if err != nil {
		return err
	}
	defer parts.Close()
	if err := parts.CheckSound(ctx, v); err != nil {
		return err
	}
	if err := parts.Write(ctx, v, work); err != nil {
		return err
	}
	if err := parts.Join(ctx, v, "a comment"); err != nil {
		return err
	}
	return parts.Move(out)
}

// What a video has stays: its frames and their times, sound, colours' names and range, the shape of pixels. ffmpeg and ffprobe are the
// referees.
func TestConvert(t *testing.T) {
	const x264 = "-c:v libx264 -crf 1 -pix_fmt yuv420p"
	for _, c := range []struct {
		name    string // of the video
		args    string // that ffmpeg makes it with
		out     string
		changed string // what does not stay, of entries; H.264 has no word for the range tv, which it means where it says nothing
		note    string // what is said of it
	}{
		{"sound.mp4", "-f lavfi -i " + pattern + " -f lavfi -i " + tone + " -t 3 -c:a aac -metadata title=boat " + x264, ".mp4", "", ""},
		{"film.mov", "-f lavfi -i testsrc2=size=64x48:rate=24000/1001 -f lavfi -i " + tone + " -t 0.5 -c:a pcm_s16le " + x264, ".mov", "", ""},
		{"late.mkv", "-f lavfi -i " + tone + " -itsoffset 0.48 -f lavfi -i " + pattern + " -t 1 -c:a aac " + x264, ".mkv", "", ""},
		{"variable.mp4", "-f lavfi -i " + pattern + ` -vf select='not(mod(n,3))+not(mod(n,7))' -fps_mode vfr -t 6 ` + x264, ".mp4", "", ""},
		{"bt709.mp4", "-f lavfi -i " + pattern + " -t 0.4 -vf scale=out_color_matrix=bt709 -colorspace bt709 -color_primaries bt709 -color_trc bt709 " + x264, ".mp4", "", ""},
		{"full.mp4", "-f lavfi -i " + pattern + " -t 0.4 -vf scale=out_range=pc -color_range pc " + x264, ".mp4", "", ""},
		{"wide.mp4", "-f lavfi -i " + pattern + " -t 0.4 -aspect 16:9 " + x264, ".mp4", "", ""},
		{"odd.mkv", "-f lavfi -i " + pattern + " -t 0.4 -vf scale=65:49,format=yuv444p -c:v ffv1", ".mkv", "width height pix_fmt color_range", "becomes 64x48: H.264 with colours of half the size has even sides only"},
		{"ten.mkv", "-f lavfi -i " + pattern + " -t 0.4 -c:v libx264 -crf 1 -pix_fmt yuv420p10le", ".mkv", "pix_fmt color_range", "has more than 8 bits a channel (yuv420p10le): it is done in 8"},
		{"rgb.avi", "-f lavfi -i " + pattern + " -t 0.4 -c:v png", ".mkv", "pix_fmt color_range color_space time_base pts", ""},
		{"anim.gif", "-f lavfi -i " + pattern + " -t 0.4", ".mp4", "pix_fmt color_range color_space", ""},
		{"broadcast.ts", "-f lavfi -i " + pattern + " -f lavfi -i " + tone + " -t 0.4 -c:v mpeg2video -q:v 1 -c:a mp2", ".mkv", "time_base pts color_range", ""},
	} {
		if testing.Short() && c.name != "sound.mp4" {
			continue // ffmpeg's work, not ours
		}
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			in, out := filepath.Join(dir, c.name), filepath.Join(dir, "out "+c.name+c.out)
			ffmpeg(t, append(strings.Fields(c.args), in)...)
			if err := convert(t.Context(), in, out, Work{Change: same}); err != nil {
				t.Fatal(err)
			}
			before, after := probe(t, in, "v"), probe(t, out, "v")
			before["pts"], after["pts"] = times(t, in), times(t, out)
			for _, name := range []string{"nb_read_frames", "width", "height", "r_frame_rate", "time_base", "pts", "pix_fmt", "color_range", "color_space", "color_primaries", "color_transfer", "sample_aspect_ratio"} {
				if before[name] != after[name] && !strings.Contains(c.changed, name) {
					t.Errorf("%s: %s became %s", name, before[name], after[name])
				}
			}
			if before, after := start(t, in), start(t, out); math.Abs(before-after) > 0.001 {
				t.Errorf("moving pictures begin %g s after the sound, and now %g s", before, after)
			}
			if dB := psnr(t, in, out); dB < 38 {
				t.Errorf("frames are changed: %.1f dB", dB)
			}
			if before, after := sound(t, in), sound(t, out); before != after {
				t.Errorf("sound %s became %s", before, after)
			}
			v, err := Open(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if text := strings.Join(v.Notes, "; "); text != c.note {
				t.Errorf("%q, want %q", text, c.note)
			}
			if left, err := filepath.Glob(filepath.Join(dir, "*.parts")); err != nil || left != nil {
				t.Errorf("left: %q, %v", left, err)
			}
		})
	}
}
