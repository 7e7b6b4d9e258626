package video

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"

	"github.com/at-wat/ebml-go"
	"github.com/at-wat/ebml-go/mkv"
)

// Preset and Quality are those of x264: how much time it takes to make files small, and its constant rate factor. With 18 a result is
// taken for its original.
const (
	Preset  = "veryfast"
	Quality = 18
)

// encoder encodes a part of a video.
type encoder struct {
	command  *exec.Cmd
	in       io.WriteCloser
	out      bytes.Buffer
	messages *bytes.Buffer
	began    int64 // the time of its first frame
	frames   int
}

// The format of frames on their way to ffmpeg: uncompressed in Matroska (RFC 9559), which has their times. They are in
// microseconds. Every frame is a cluster, since a block's own time has 16 bits.
type (
	header struct {
		Header  *mkv.EBMLHeader `ebml:"EBML"`
		Segment struct {
			Info   mkv.Info `ebml:"Info"`
			Tracks struct {
				TrackEntry track `ebml:"TrackEntry"`
			} `ebml:"Tracks"`
		} `ebml:"Segment,size=unknown"`
	}
	track struct {
		TrackNumber uint64 `ebml:"TrackNumber"`
		TrackUID    uint64 `ebml:"TrackUID"`
		TrackType   uint64 `ebml:"TrackType"`
		CodecID     string `ebml:"CodecID"`
		Video       struct {
			PixelWidth  uint64 `ebml:"PixelWidth"`
			PixelHeight uint64 `ebml:"PixelHeight"`
			ColourSpace []byte `ebml:"ColourSpace"` // FourCC
		} `ebml:"Video"`
	}
	cluster struct {
		Cluster struct {
			Timecode    uint64     `ebml:"Timecode"`
			SimpleBlock ebml.Block `ebml:"SimpleBlock"`
		} `ebml:"Cluster"`
	}
)

// layout is how the pixels of frames lie in memory on their way to the encoder, and the filters that then make Y'CbCr of them.
type layout struct {
	fourCC        string
	width, height int
	filters       string
}

// deep is the layout of *image.NRGBA64; planar that of frames which a filter of ffmpeg has changed.
func (v *Video) deep() layout { return layout{"\x40RBA", v.Width, v.Height, v.toYUV() + ","} }

func (v *Video) planar() layout {
	w, h := v.size()
	return layout{"I420", w, h, ""}
}

// encode begins a part. Frames have no references to later ones, so that parts can be put together at any frame.
func (v *Video) encode(ctx context.Context, l layout) (*encoder, error) {
	timeBase := strconv.Itoa(v.ticks)
	e := &encoder{}
	e.command, e.messages = command(ctx, "ffmpeg", "-v", "error", "-xerror", "-f", "matroska", "-i", "pipe:0", "-vf", l.filters+v.tags(), "-fps_mode", "passthrough",
		"-enc_time_base", "1:"+timeBase, "-c:v", "libx264", "-preset", Preset, "-crf", strconv.Itoa(Quality), "-bf", "0",
		"-video_track_timescale", timeBase, "-f", "mp4", "-movflags", "frag_keyframe+empty_moov+default_base_moof", "pipe:1")
	e.command.Stdout = &e.out
	var err error
	if e.in, err = e.command.StdinPipe(); err == nil {
		err = e.command.Start()
	}
	if err != nil {
		return nil, failure(ctx, err, e.messages)
	}
	h := header{Header: mkv.DefaultEBMLHeader}
	h.Segment.Info = mkv.Info{TimecodeScale: 1e9 / second, MuxingApp: "hrlab", WritingApp: "hrlab"}
	h.Segment.Tracks.TrackEntry = track{TrackNumber: 1, TrackUID: 1, TrackType: 1, CodecID: "V_UNCOMPRESSED"}
	picture := &h.Segment.Tracks.TrackEntry.Video
	picture.PixelWidth, picture.PixelHeight, picture.ColourSpace = uint64(l.width), uint64(l.height), []byte(l.fourCC)
	_ = ebml.Marshal(&h, e.in) // where ffmpeg has ended, finish says why
	return e, nil
}

// tags are filters that name colours and the shape of pixels as the video has them.
func (v *Video) tags() string {
	s := v.stream
	names := []string{"range=" + v.levels()}
	if v.isRGB() {
		s.Matrix = v.matrix()
	}
	for _, tag := range [][2]string{{"colorspace", s.Matrix}, {"color_primaries", s.Primaries}, {"color_trc", s.Transfer}} {
		if name := tag[1]; name != "" && name != "unknown" && name != "reserved" {
			names = append(names, tag[0]+"="+name)
		}
	}
	filters := "setparams=" + strings.Join(names, ":")
	if w, h, ok := ratio(s.Aspect, ":"); ok {
		filters += fmt.Sprintf(",setsar=%d/%d", w, h)
	}
	return filters
}

// write encodes a frame with its time.
func (e *encoder) write(at int64, pix []byte) error {
	if e.frames == 0 {
		e.began = at
	}
	e.frames++
	var c cluster
	c.Cluster.Timecode = uint64(at - e.began)
	c.Cluster.SimpleBlock = ebml.Block{TrackNumber: 1, Keyframe: true, Data: [][]byte{pix}}
	return ebml.Marshal(&c, e.in)
}

// finish returns the part: a fragmented MP4 file.
func (e *encoder) finish(ctx context.Context) ([]byte, error) {
	_ = e.in.Close() // where it fails ffmpeg has ended, and says why
	if err := failure(ctx, e.command.Wait(), e.messages); err != nil {
		return nil, fmt.Errorf("ffmpeg: encoding: %w", err)
	}
	return e.out.Bytes(), nil
}
