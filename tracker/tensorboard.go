package tracker

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/renameio/v2"
	"google.golang.org/protobuf/encoding/protowire"
)

// ExportTensorBoard writes one event file per run, in folders ID-NAME below dir. The values of the parameters in shown
// are in the name of the folder, which TensorBoard shows as that of the run: ID-NAME-PARAMETER=VALUE. Metrics are scalars,
// and parameters are hyperparameters for TensorBoard's HParams. Thumbnails are images called pictures/NAME: TensorBoard
// would drop an image that has the name of a scalar. Steps have no times of their own, so they are spread evenly over the
// time of the run. Thumbnails that are damaged are left out, and named by an [IncompleteError].
func (s *Store) ExportTensorBoard(ctx context.Context, dir string, runs []Info, shown ...string) error {
	var missing []error
	for _, r := range runs {
		damaged, err := s.exportEvents(ctx, filepath.Join(dir, folderName(r, shown)), r)
		if err != nil {
			return err
		}
		missing = append(missing, damaged...)
	}
	return incomplete(missing)
}

func (s *Store) exportEvents(ctx context.Context, folder string, r Info) (damaged []error, err error) {
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
	// put writes the fields of a Summary.Value after its tag.
	put := func(step int64, tag string, value []byte) error {
		value = append(protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), tag), value...)
		summary := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), value)
		event := protowire.AppendFixed64(protowire.AppendTag(nil, 1, protowire.Fixed64Type), math.Float64bits(at(step)))
		event = protowire.AppendVarint(protowire.AppendTag(event, 2, protowire.VarintType), uint64(step)) //nolint:gosec // 0 or more
		return record(out, protowire.AppendBytes(protowire.AppendTag(event, 5, protowire.BytesType), summary))
	}
	for _, h := range hyperparameters(r, begin, end) {
		if err := put(0, h.tag, h.value); err != nil {
			return nil, err
		}
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

// tagged is a tag, and the fields of a Summary.Value after it.
type tagged struct {
	tag   string
	value []byte
}

// hyperparameters are the summaries by which HParams knows a run: its parameters, when it was begun and when and how it
// ended. They are messages of tensorboard/plugins/hparams/plugin_data.proto in the metadata of values that are empty.
func hyperparameters(r Info, begin, end time.Time) (list []tagged) {
	const start, ended = 3, 4 // fields of HParamsPluginData
	put := func(tag string, field protowire.Number, message []byte) {
		plugin := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "hparams")
		plugin = appendMessage(plugin, 2, appendMessage(nil, field, message))
		tensor := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1) // DT_FLOAT
		tensor = appendMessage(tensor, 2, appendMessage(nil, 2, nil))                          // of no values
		list = append(list, tagged{"_hparams_/" + tag, appendMessage(appendMessage(nil, 9, appendMessage(nil, 1, plugin)), 8, tensor)})
	}
	seconds := func(message []byte, field protowire.Number, t time.Time) []byte {
		return protowire.AppendFixed64(protowire.AppendTag(message, field, protowire.Fixed64Type), math.Float64bits(float64(t.UnixMicro())/1e6))
	}
	var message []byte
	for _, name := range slices.Sorted(maps.Keys(r.Params)) {
		v := r.Params[name]
		value := protowire.AppendString(protowire.AppendTag(nil, 3, protowire.BytesType), v.Text) // google.protobuf.Value
		if v.IsNumber {
			value = protowire.AppendFixed64(protowire.AppendTag(nil, 2, protowire.Fixed64Type), math.Float64bits(v.Number))
		}
		message = appendMessage(message, 1, appendMessage(protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), name), 2, value))
	}
	put("session_start_info", start, seconds(message, 5, begin))
	if r.Status == Queued || r.Status == Running {
		return list
	}
	status := map[Status]uint64{Finished: 1, Failed: 2, Lost: 2}[r.Status] // success, failure; 0 is unknown
	put("session_end_info", ended, seconds(protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), status), 2, end))
	return list
}

func appendMessage(b []byte, field protowire.Number, message []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), message)
}

// folderName is unique by the id. What is shown of the parameters stays whole, however long the name is.
func folderName(r Info, shown []string) string {
	parts := []string{strconv.FormatInt(r.ID, 10)}
	if name := fileName(r.Name); name != "" {
		parts = append(parts, name)
	}
	for _, name := range shown {
		if v, ok := r.Params[name]; ok {
			parts = append(parts, fileName(name+"="+v.Text))
		}
	}
	return strings.Join(parts, "-")
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
