// Package video reads and writes videos by the programs ffmpeg and ffprobe of the system, version 5.1 or newer. It knows nothing of
// what they are for.
//
//	v, err := video.Open(ctx, "boat.mp4")
//	parts, err := video.OpenParts("out.mp4", digest)
//	defer parts.Close()
//	err = parts.Write(ctx, v, video.Work{Change: func(n int, frame *image.RGBA) (*image.NRGBA64, error) { … }})
//	err = parts.Join(ctx, v, "a comment")
//	err = parts.Move("out.mp4")
//
// Frames go through pipes, as they are decoded. They come back with the times that they had, whatever the rate. Results are H.264 in
// 8 bits and 4:2:0, in .mp4, .mov or .mkv, with the sound of the video as it is.
//
// video.go asks ffprobe what a video is, frames.go decodes, encode.go encodes a part of a video, parts.go keeps the parts in a folder
// beside the result and joins them.
package video

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// inputs and outputs are the extensions of videos that are read and written.
var (
	inputs  = []string{".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mts", ".m2ts", ".ts", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv"}
	outputs = []string{".mp4", ".mov", ".mkv"}
)

// Is says whether the extension of a file name is that of a video. Capitals do not matter.
func Is(name string) bool { return slices.Contains(inputs, strings.ToLower(filepath.Ext(name))) }

// CheckName says why a video cannot be written to a file of this name.
func CheckName(path string) error {
	if !slices.Contains(outputs, strings.ToLower(filepath.Ext(path))) {
		return fmt.Errorf("%s: unknown format %q of a video; allowed: %s", path, filepath.Ext(path), strings.Join(outputs, ", "))
	}
	return nil
}

// Video is a file with moving pictures.
type Video struct {
	Name          string
	Width, Height int      // in pixels, upright
	Frames        int      // how many the file says that it has; decoding may give others
	Notes         []string // for the user, about how it is read, as "has 10 bits a channel: it is done in 8"

	path   string // absolute
	stream stream
	sound  bool
	start  int64 // the time at which the first of its streams begins, in microseconds
	ticks  int   // in a second, which frames' times are multiples of
}

// stream is what ffprobe says of a stream.
type stream struct {
	Index       int            `json:"index"`
	Type        string         `json:"codec_type"`
	Codec       string         `json:"codec_name"`
	Width       int            `json:"width"`
	Height      int            `json:"height"`
	PixelFormat string         `json:"pix_fmt"`
	Range       string         `json:"color_range"`
	Matrix      string         `json:"color_space"`
	Primaries   string         `json:"color_primaries"`
	Transfer    string         `json:"color_transfer"`
	Aspect      string         `json:"sample_aspect_ratio"` // of a pixel
	Fields      string         `json:"field_order"`
	TimeBase    string         `json:"time_base"`
	Packets     string         `json:"nb_read_packets"`
	Disposition map[string]int `json:"disposition"`
	SideData    []struct {
		Rotation float64 `json:"rotation"` // counter-clockwise, in degrees
	} `json:"side_data_list"`
}

// Open looks at a video: its first stream of moving pictures, which is what is done, and its sound. Errors are one line that begins
// with the path. HDR (PQ and HLG) is refused, because a look is one of SDR.
func Open(ctx context.Context, path string) (*Video, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() { // a named pipe could not be read twice
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	out, messages, err := output(ctx, "ffprobe", "-v", "error", "-count_packets", "-show_streams", "-show_format", "-of", "json", local(absolute))
	switch {
	case errors.Is(err, ErrMissing) || ctx.Err() != nil:
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%s: is no video: %s", path, strings.TrimPrefix(err.Error(), local(absolute)+": "))
	case strings.Contains(messages, "ended prematurely") || strings.Contains(messages, "partial file"):
		return nil, fmt.Errorf("%s: is cut off: its end is missing", path)
	}
	var found struct {
		Streams []stream `json:"streams"`
		Format  struct {
			Start string `json:"start_time"` // in seconds
		} `json:"format"`
	}
	if err := json.Unmarshal(out, &found); err != nil {
		return nil, fmt.Errorf("%s: ffprobe: %w", path, err)
	}
	moving := func(s stream) bool { return s.Type == "video" && s.Disposition["attached_pic"] == 0 }
	at := slices.IndexFunc(found.Streams, moving)
	if at < 0 {
		return nil, fmt.Errorf("%s: is no video: it has no stream of moving pictures", path)
	}
	v := &Video{Name: path, path: absolute, stream: found.Streams[at]}
	if seconds, err := strconv.ParseFloat(found.Format.Start, 64); err == nil { // "N/A" is 0
		v.start = int64(math.Round(seconds * second))
	}
	var left []string
	for i, s := range found.Streams {
		switch {
		case s.Type == "audio":
			v.sound = true
		case i != at:
			left = append(left, fmt.Sprintf("%d (%s)", s.Index, s.Type))
		}
	}
	if left != nil {
		v.note("streams that are left out: %s", strings.Join(left, ", "))
	}
	return v, v.read()
}

// read takes over what the stream says.
func (v *Video) read() error {
	s := &v.stream
	if s.Transfer == "smpte2084" || s.Transfer == "arib-std-b67" {
		return fmt.Errorf("%s: is HDR (%s), which is not done; make it SDR first, as with ffmpeg's filters zscale and tonemap", v.Name, s.Transfer)
	}
	v.Width, v.Height = s.Width, s.Height
	for _, side := range s.SideData {
		if side.Rotation == 0 {
			continue
		}
		v.note("is turned upright, by %g°", -side.Rotation)
		if math.Mod(side.Rotation, 180) != 0 {
			v.Width, v.Height = v.Height, v.Width
			if w, h, ok := ratio(s.Aspect, ":"); ok {
				s.Aspect = fmt.Sprintf("%d:%d", h, w)
			}
		}
	}
	if v.Width < 2 || v.Height < 2 {
		return fmt.Errorf("%s: %dx%d is smaller than 2 px", v.Name, v.Width, v.Height)
	}
	if w, h := v.size(); w != v.Width || h != v.Height {
		v.note("becomes %dx%d: H.264 with colours of half the size has even sides only", w, h)
	}
	if slices.ContainsFunc([]string{"p9", "p10", "p12", "p14", "p16", "p010", "48", "64", "gray10", "gray12", "gray16"}, func(deep string) bool {
		return strings.Contains(s.PixelFormat, deep)
	}) {
		v.note("has more than 8 bits a channel (%s): it is done in 8", s.PixelFormat)
	}
	if s.Fields != "" && s.Fields != "progressive" && s.Fields != "unknown" {
		v.note("is interlaced: two fields become one frame (ffmpeg's yadif)")
	}
	_, ticks, ok := ratio(s.TimeBase, "/")
	if !ok {
		return fmt.Errorf("%s: ffprobe: time base %q", v.Name, s.TimeBase)
	}
	v.ticks = min(ticks, second)
	if v.Frames, _ = strconv.Atoi(s.Packets); v.Frames == 0 {
		return fmt.Errorf("%s: has no frames", v.Name)
	}
	return nil
}

func (v *Video) note(format string, args ...any) {
	v.Notes = append(v.Notes, fmt.Sprintf(format, args...))
}

// size is that of the result, whose sides are even.
func (v *Video) size() (w, h int) { return v.Width / 2 * 2, v.Height / 2 * 2 }

// matrix is that between the video's Y'CbCr and RGB. Where the file names none it is what players take: BT.709 for HD.
func (v *Video) matrix() string {
	switch m := v.stream.Matrix; m {
	case "bt709", "smpte170m", "fcc", "smpte240m":
		return m
	case "bt470bg":
		return "bt470"
	case "bt2020nc":
		return "bt2020"
	}
	if v.Width >= 1280 || v.Height > 576 {
		return "bt709"
	}
	return "smpte170m"
}

// levels is the range of values that the video has: tv (16 to 235) or pc (0 to 255).
func (v *Video) levels() string {
	if v.stream.Range == "pc" && v.stream.Matrix != "gbr" { // RGB always is, and becomes Y'CbCr
		return "pc"
	}
	return "tv"
}

// ratio reads two whole numbers above 0.
func ratio(text, between string) (a, b int, ok bool) {
	first, second, ok := strings.Cut(text, between)
	a, errA := strconv.Atoi(first)
	b, errB := strconv.Atoi(second)
	return a, b, ok && errA == nil && errB == nil && a > 0 && b > 0
}

// local names a file for ffmpeg, which takes what is before a colon for a protocol, and a hyphen for an option.
func local(path string) string { return "file:" + path }

// command prepares ffmpeg or ffprobe. Ctrl-C in a terminal reaches this process alone: a decoder that ends early looks like a video
// that does.
func command(ctx context.Context, name string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	c := exec.CommandContext(ctx, name, args...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	messages := &bytes.Buffer{}
	c.Stderr = firstBytes{messages}
	return c, messages
}

// firstBytes keeps the beginning of what is written: a damaged video has a message a frame.
type firstBytes struct{ *bytes.Buffer }

func (b firstBytes) Write(text []byte) (int, error) {
	if b.Len() < 1<<16 {
		b.Buffer.Write(text)
	}
	return len(text), nil
}

// output runs ffmpeg or ffprobe and returns what it prints, and its messages.
func output(ctx context.Context, name string, args ...string) ([]byte, string, error) {
	c, messages := command(ctx, name, args...)
	var out bytes.Buffer
	c.Stdout = &out
	err := failure(ctx, c.Run(), messages)
	return out.Bytes(), messages.String(), err
}

// ErrMissing says that ffmpeg is not installed.
var ErrMissing = errors.New("videos need ffmpeg and ffprobe, which are not there: apt-get install ffmpeg")

// failure is the error of a command in a line: the first that it printed, without the part of ffmpeg that it is of.
func failure(ctx context.Context, err error, messages *bytes.Buffer) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if errors.Is(err, exec.ErrNotFound) {
		return ErrMissing
	}
	line, _, _ := strings.Cut(strings.TrimSpace(messages.String()), "\n")
	if part, text, ok := strings.Cut(line, "] "); ok && strings.HasPrefix(part, "[") {
		line = text
	}
	if line == "" {
		return err
	}
	return errors.New(line)
}

// Find says which ffmpeg there is, as "ffmpeg version 5.1.9", or ErrMissing.
func Find(ctx context.Context) (string, error) {
	out, _, err := output(ctx, "ffmpeg", "-version")
	if err != nil {
		return "", err
	}
	if _, err := exec.LookPath("ffprobe"); err != nil {
		return "", ErrMissing
	}
	words := strings.Fields(string(out))
	return strings.Join(words[:min(3, len(words))], " "), nil
}
