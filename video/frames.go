package video

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"
)

// second is the unit of frames' times.
const second = 1_000_000

// frame is a frame as ffmpeg decodes it. Its bytes are valid until the next is read.
type frame struct {
	at  int64 // its time in the file, in microseconds
	pix []byte
}

// decode decodes the frames for which pick holds, an expression of ffmpeg's filter select in which n is a frame's number, and changes
// them by filters, which may name files in dir. A frame has so many bytes. A damaged video ends with an error, after the frames before.
func (v *Video) decode(ctx context.Context, dir, pick, filters string, size int) iter.Seq2[frame, error] {
	return func(yield func(frame, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		// ffmpeg writes times to a pipe of their own, since raw frames have none.
		const times = "settb=1/1000000,metadata=add:key=frame:value=1,metadata=print:direct=1:file='pipe\\:3',"
		c, messages := command(ctx, "ffmpeg", "-v", "error", "-xerror", "-nostdin", "-copyts", "-i", local(v.path), "-map", fmt.Sprintf("0:%d", v.stream.Index),
			"-vf", v.whole()+"select='"+pick+"',"+times+filters, "-fps_mode", "passthrough", "-f", "rawvideo", "pipe:1")
		c.Dir = dir
		err := func() error {
			pixels, err := c.StdoutPipe()
			if err != nil {
				return err
			}
			read, write, err := os.Pipe()
			if err != nil {
				return err
			}
			defer read.Close()
			c.ExtraFiles = []*os.File{write}
			err = c.Start()
			write.Close()
			if err != nil {
				return failure(ctx, err, messages)
			}
			lines := bufio.NewScanner(read)
			f := frame{pix: make([]byte, size)}
			for {
				var ok bool
				if f.at, ok, err = nextTime(lines); err != nil || !ok {
					break
				}
				if _, err = io.ReadFull(pixels, f.pix); err != nil {
					break
				}
				if !yield(f, nil) {
					cancel()
					_ = c.Wait() // it was ended
					return nil
				}
			}
			return cmp.Or(failure(ctx, c.Wait(), messages), err)
		}()
		if err != nil {
			yield(frame{}, fmt.Errorf("%s: cannot be decoded as a whole: %w", v.Name, err))
		}
	}
}

// nextTime reads the time of the next frame; at the end there is none.
func nextTime(lines *bufio.Scanner) (at int64, ok bool, err error) {
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) > 1 && strings.HasPrefix(words[0], "frame:") {
			at, err := strconv.ParseInt(strings.TrimPrefix(words[1], "pts:"), 10, 64)
			if err != nil {
				return 0, false, errors.New("a frame has no time")
			}
			return at, true, nil
		}
	}
	return 0, false, lines.Err()
}

// whole makes whole frames of fields.
func (v *Video) whole() string {
	if f := v.stream.Fields; f == "" || f == "progressive" || f == "unknown" {
		return ""
	}
	return "yadif,"
}

// exact are the flags of ffmpeg's scaler, which also converts colours. Without them it is 2 to 3 levels off.
const exact = "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"

// toRGB are filters that make RGB of a decoded frame, in a pixel format.
func (v *Video) toRGB(format string) string {
	from := ""
	if !v.isRGB() {
		from = fmt.Sprintf(":in_color_matrix=%s:in_range=%s", v.matrix(), v.levels())
	}
	return fmt.Sprintf("scale=w=%d:h=%d%s:out_range=pc:%s,format=%s", v.Width, v.Height, from, exact, format)
}

// isRGB says whether the file has RGB, and no Y'CbCr.
func (v *Video) isRGB() bool {
	return v.stream.Matrix == "gbr" || slices.ContainsFunc([]string{"rgb", "bgr", "gbr", "argb", "abgr", "0rgb", "0bgr", "pal8"}, func(name string) bool {
		return strings.HasPrefix(v.stream.PixelFormat, name)
	})
}

// toYUV are filters that make Y'CbCr of an RGB frame, as the video has it, in 8 bits and 4:2:0.
func (v *Video) toYUV() string {
	w, h := v.size()
	return fmt.Sprintf("crop=%d:%d:0:0,scale=in_range=pc:out_color_matrix=%s:out_range=%s:%s,format=yuv420p", w, h, v.matrix(), v.levels(), exact)
}

// Pick decodes the frames with these numbers, which begin at 0 and ascend. Those past the end do not come.
func (v *Video) Pick(ctx context.Context, numbers []int) iter.Seq2[*image.RGBA, error] {
	return func(yield func(*image.RGBA, error) bool) {
		var terms []string
		for _, n := range numbers {
			terms = append(terms, fmt.Sprintf("eq(n,%d)", n))
		}
		left := len(terms)
		for f, err := range v.decode(ctx, "", strings.Join(terms, "+"), v.toRGB("rgb24"), 3*v.Width*v.Height) {
			if err != nil {
				yield(nil, err)
				return
			}
			left--
			if !yield(v.rgba(f.pix), nil) || left == 0 {
				return
			}
		}
	}
}

// rgba makes a picture of a frame in rgb24.
func (v *Video) rgba(rgb []byte) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, v.Width, v.Height))
	for i, j := 0, 0; j < len(rgb); i, j = i+4, j+3 {
		img.Pix[i], img.Pix[i+1], img.Pix[i+2], img.Pix[i+3] = rgb[j], rgb[j+1], rgb[j+2], 255
	}
	return img
}

// Scenes finds the cuts, by ffmpeg's filter scdet, and returns the number of the first frame of every scene and last the number of
// frames: a video without cuts has two numbers.
func (v *Video) Scenes(ctx context.Context) ([]int, error) {
	out, _, err := output(ctx, "ffmpeg", "-v", "error", "-xerror", "-nostdin", "-i", local(v.path), "-map", fmt.Sprintf("0:%d", v.stream.Index),
		"-vf", v.whole()+"scdet,metadata=print:file=-", "-fps_mode", "passthrough", "-f", "null", "-")
	if err != nil {
		return nil, fmt.Errorf("%s: cannot be decoded as a whole: %w", v.Name, err)
	}
	firsts, frames := []int{0}, 0
	for line := range bytes.Lines(out) {
		switch {
		case bytes.HasPrefix(line, []byte("frame:")):
			frames++
		case bytes.HasPrefix(line, []byte("lavfi.scd.time=")) && frames > 1:
			firsts = append(firsts, frames-1)
		}
	}
	if frames == 0 {
		return nil, fmt.Errorf("%s: has no frames", v.Name)
	}
	return append(firsts, frames), nil
}
