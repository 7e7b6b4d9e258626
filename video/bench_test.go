package video

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"hrlab/hrstyle/sample"
	"hrlab/picture"
)

// A video of 1920x1080 px by a 3D LUT, beside ffmpeg alone in one process, which can neither be stopped and go on nor keep variable
// rates: frames a second from file to file, and the ratio of the times.
func BenchmarkFilter(b *testing.B) {
	dir := b.TempDir()
	in, still := filepath.Join(dir, "in.mp4"), filepath.Join(dir, "still.png")
	if err := picture.Save(still, sample.Content(1952, 1112), picture.Encoding{}); err != nil {
		b.Fatal(err)
	}
	const frames = 120
	run := func(args ...string) {
		if out, err := exec.CommandContext(b.Context(), "ffmpeg", append([]string{"-v", "error", "-y"}, args...)...).CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
	// A camera that pans over a picture with a little noise.
	run("-loop", "1", "-framerate", "25", "-i", still, "-vf", "crop=1920:1080:mod(n\\,32):mod(n\\,32),noise=alls=4:allf=t", "-frames:v", strconv.Itoa(frames),
		"-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-pix_fmt", "yuv420p", in)
	cube := picture.Cube{Size: 33, Max: [3]float32{1, 1, 1}}
	for i := range 33 * 33 * 33 {
		cube.Nodes = append(cube.Nodes, [3]float32{1 - float32(i%33)/32, float32(i/33%33) / 32, float32(i/33/33) / 32})
	}
	look := filepath.Join(dir, "look.cube")
	if err := picture.WriteFile(look, cube.Encode()); err != nil {
		b.Fatal(err)
	}
	filter := "lut3d=file=" + look
	for b.Loop() {
		began := b.Elapsed()
		if err := convert(b.Context(), in, filepath.Join(dir, "out.mp4"), Work{Filter: filter}); err != nil {
			b.Fatal(err)
		}
		ours := b.Elapsed() - began
		run("-i", in, "-vf", "format=gbrp16le,"+filter+",format=yuv420p", "-c:v", "libx264", "-preset", Preset, "-crf", strconv.Itoa(Quality), filepath.Join(dir, "peer.mp4"))
		peer := b.Elapsed() - began - ours
		b.ReportMetric(frames/ours.Seconds(), "frames/s")
		b.ReportMetric(frames/peer.Seconds(), "ffmpeg-frames/s")
		b.ReportMetric(float64(ours)/float64(peer), "ratio")
	}
}
