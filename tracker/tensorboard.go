package tracker

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/renameio/v2"
	"google.golang.org/protobuf/encoding/protowire"
)

// ExportTensorBoard writes one event file per run, in folders ID-NAME below dir. Metrics are scalars. Thumbnails are
// images called pictures/NAME: TensorBoard would drop an image that has the name of a scalar. Steps have no times of
// their own, so they are spread evenly over the time of the run. Thumbnails that are damaged are left out, and named by
// an [IncompleteError].
func (s *Store) ExportTensorBoard(ctx context.Context, dir string, runs []Info) error {
	var missing []error
	for _, r := range runs {
		damaged, err := s.exportEvents(ctx, dir, r)
		if err != nil {
			return err
		}
		missing = append(missing, damaged...)
	}
	return incomplete(missing)
}

func (s *Store) exportEvents(ctx context.Context, dir string, r Info) (damaged []error, err error) {
	folder := filepath.Join(dir, fmt.Sprintf("%d-%s", r.ID, fileName(r.Name)))
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return nil, err
	}
	begin, end := r.Started, r.Ended
	if begin.IsZero() {
		begin = r.Created
	}
	if end.Before(begin) {
		end = begin
	}
	file, err := renameio.NewPendingFile(filepath.Join(folder, fmt.Sprintf("events.out.tfevents.%d.hrlab", begin.Unix())),
		renameio.WithPermissions(0o666), renameio.WithTempDir(folder))
	if err != nil {
		return nil, err
	}
	defer file.Cleanup() //nolint:errcheck // removes the file if it is not complete
	out := bufio.NewWriter(file)

	var last int64
	for _, m := range r.Metrics {
		last = max(last, m.LastStep)
	}
	at := func(step int64) float64 {
		t := begin
		if last > 0 {
			t = begin.Add(time.Duration(float64(end.Sub(begin)) * float64(step) / float64(last)))
		}
		return float64(t.UnixNano()) / 1e9
	}
	// Fields of tensorflow.Event, Summary and Summary.Value: tensorflow/core/{util/event,framework/summary}.proto.
	event := protowire.AppendFixed64(protowire.AppendTag(nil, 1, protowire.Fixed64Type), math.Float64bits(at(0)))
	event = protowire.AppendString(protowire.AppendTag(event, 3, protowire.BytesType), "brain.Event:2")
	if err := record(out, event); err != nil {
		return nil, err
	}
	put := func(step int64, tag string, value []byte) error {
		value = append(protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), tag), value...)
		summary := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), value)
		event := protowire.AppendFixed64(protowire.AppendTag(nil, 1, protowire.Fixed64Type), math.Float64bits(at(step)))
		event = protowire.AppendVarint(protowire.AppendTag(event, 2, protowire.VarintType), uint64(step)) //nolint:gosec // 0 or more
		return record(out, protowire.AppendBytes(protowire.AppendTag(event, 5, protowire.BytesType), summary))
	}
	series, err := s.Series(ctx, []int64{r.ID}, nil, 0)
	if err != nil {
		return nil, err
	}
	for _, c := range series {
		for i, step := range c.Steps {
			scalar := protowire.AppendFixed32(protowire.AppendTag(nil, 2, protowire.Fixed32Type), math.Float32bits(float32(c.Values[i])))
			if err := put(step, c.Metric, scalar); err != nil {
				return nil, err
			}
		}
	}
	damaged, err = s.eachPicture(ctx, r.ID, func(p Picture, jpeg []byte, size image.Config) error {
		var img []byte
		for i, v := range []int{size.Height, size.Width, 3} { // 3: RGB
			img = protowire.AppendVarint(protowire.AppendTag(img, protowire.Number(i+1), protowire.VarintType), uint64(v)) //nolint:gosec // above 0
		}
		img = protowire.AppendBytes(protowire.AppendTag(img, 4, protowire.BytesType), jpeg)
		return put(p.Step, "pictures/"+p.Name, protowire.AppendBytes(protowire.AppendTag(nil, 4, protowire.BytesType), img))
	})
	if err != nil {
		return nil, err
	}
	if err := out.Flush(); err != nil {
		return nil, err
	}
	return damaged, file.CloseAtomicallyReplace()
}

// fileName turns a name into one that every file system takes.
func fileName(name string) string {
	const longest = 100 // bytes
	var b strings.Builder
	for _, c := range name {
		if strings.ContainsRune(`/\:*?"<>|`, c) || unicode.IsControl(c) {
			c = '_'
		}
		if b.Len()+utf8.RuneLen(c) > longest {
			break
		}
		b.WriteRune(c)
	}
	return b.String()
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// record writes a TFRecord: length, data, and a masked CRC-32C of each (tensorflow/core/lib/io/record_writer.h).
func record(w io.Writer, data []byte) error {
	masked := func(b []byte) uint32 {
		crc := crc32.Checksum(b, castagnoli)
		return (crc>>15 | crc<<17) + 0xa282ead8
	}
	head := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	head = binary.LittleEndian.AppendUint32(head, masked(head))
	_, err := w.Write(binary.LittleEndian.AppendUint32(append(head, data...), masked(data)))
	return err
}
