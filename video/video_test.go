package video

import (
	"context"
	"errors"
	"image"
	"image/color"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

// pattern is a source of n frames of 64x48 px, with a counter.
const pattern = "testsrc2=size=64x48:rate=25"

// probe is what ffprobe says, such as stream=width, of each stream or frame.
func probe(t *testing.T, path, stream, entries string) []string {
	t.Helper()
	text := program(t, "ffprobe", "-v", "error", "-select_streams", stream, "-show_entries", entries, "-of", "csv=p=0", path)
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '\n' })
}

func invert(_ int, frame *image.RGBA) (*image.NRGBA64, error) {
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
	parts, err := OpenParts(out, "")
	if err != nil {
		return err
	}
	defer parts.Close()
	return errors.Join(parts.Write(ctx, v, work), parts.Join(ctx, v, "inverted", out))
}

func TestConvert(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.mp4"), filepath.Join(dir, "out.mp4")
	ffmpeg(t, "-f", "lavfi", "-i", pattern, "-f", "lavfi", "-i", "sine", "-t", "5", "-c:v", "libx264", "-crf", "1", "-pix_fmt", "yuv420p", "-c:a", "aac", in)
	if err := convert(t.Context(), in, out, Work{Change: invert}); err != nil {
		t.Fatal(err)
	}
	for _, entries := range []string{"frame=pts", "stream=time_base,r_frame_rate,avg_frame_rate,width,height"} {
		if a, b := probe(t, in, "v", entries), probe(t, out, "v", entries); !slices.Equal(a, b) {
			t.Errorf("%s\n%q\n%q", entries, a, b)
		}
	}
}
