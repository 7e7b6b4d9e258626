// Package safetensors reads and writes tensors in the safetensors format: eight bytes of header length, a JSON
// header of names, types, shapes and offsets, then the values in little-endian order.
//
// Values are float32 in memory. F32, F16 and BF16 are read, F32 is written. Every offset in a header is checked before
// memory is allocated, so a damaged or hostile file cannot take more memory than its size.
//
// Open and Read also take files that torch.save wrote (.pth). Their pickles are read, not run.
//
// Format: https://github.com/huggingface/safetensors, "Format".
package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/compute/dtypes/float16"
	"github.com/google/renameio/v2"
)

// maxHeader is the longest header accepted, in bytes. The reference implementation has the same limit.
const maxHeader = 100_000_000

// Tensor is a dense array of float32 in row-major order; len(Data) is the product of Shape.
type Tensor struct {
	Shape []int
	Data  []float32
}

// entry is a tensor as the header describes it.
type entry struct {
	DType   string  `json:"dtype"`
	Shape   []int   `json:"shape"`
	Offsets []int64 `json:"data_offsets"` // begin and end, counted from the end of the header
}

// File is an open safetensors file. Tensors are read by Tensor, one by one.
type File struct {
	Metadata map[string]string

	name    string
	r       io.ReaderAt
	close   func() error
	data    int64 // where the values begin
	entries map[string]entry
}

// Open opens the file at path and reads its header, of 100 MB at most. Close it when done. Errors are one line that begins
// with the path.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, plain(path, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a regular file", path)
	}
	var file *File
	if err == nil {
		file, err = Read(path, f, info.Size())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	file.close = f.Close
	return file, nil
}

// plain drops the system call from a file error: "weights.safetensors: no such file or directory".
func plain(path string, err error) error {
	if pathErr, ok := errors.AsType[*os.PathError](err); ok {
		err = pathErr.Err
	}
	return fmt.Errorf("%s: %w", path, err)
}

// Read reads the header of a file whose size bytes are r's, as Open does. Errors begin with name. r is read again by Tensor;
// Close does not close it.
func Read(name string, r io.ReaderAt, size int64) (*File, error) {
	if magic := make([]byte, len(legacyMagic)); readFull(r, magic) && (bytes.HasPrefix(magic, zipMagic) || bytes.Equal(magic, legacyMagic)) {
		return readTorch(name, r, size)
	}
	bad := func(format string, args ...any) (*File, error) {
		return nil, fmt.Errorf("%s: not a safetensors file: %s", name, fmt.Sprintf(format, args...))
	}
	var head [8]byte
	if size < 8 {
		return bad("%d bytes is too short for a header", size)
	}
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return nil, plain(name, err)
	}
	length := binary.LittleEndian.Uint64(head[:])
	if length > maxHeader || int64(length) > size-8 {
		return bad("a header of %d bytes in a file of %d", length, size)
	}
	header := make([]byte, length)
	if _, err := r.ReadAt(header, 8); err != nil {
		return nil, plain(name, err)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(header, &raw); err != nil {
		return bad("the header is no JSON: %v", err)
	}
	f := &File{name: name, r: r, close: func() error { return nil }, data: 8 + int64(length), entries: map[string]entry{}}
	for key, message := range raw {
		if key == "__metadata__" {
			if err := json.Unmarshal(message, &f.Metadata); err != nil {
				return bad("__metadata__ is no map of strings")
			}
			continue
		}
		var e entry
		if err := json.Unmarshal(message, &e); err != nil {
			return bad("tensor %q: %v", key, err)
		}
		if err := e.check(size - f.data); err != nil {
			return nil, fmt.Errorf("%s: tensor %q: %w", name, key, err)
		}
		f.entries[key] = e
	}
	return f, nil
}

// width is the bytes of a value of each type of the format.
var width = map[string]int64{
	"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
	"I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8,
}

// check says whether the entry's type, shape and offsets agree and lie within the size bytes of values.
func (e entry) check(size int64) error {
	count := int64(1)
	for _, n := range e.Shape {
		if n < 0 || n > 0 && count > size/int64(n) {
			return fmt.Errorf("shape %v is more than the file's %d bytes", e.Shape, size)
		}
		count *= int64(n)
	}
	bytes, ok := width[e.DType]
	switch {
	case !ok:
		return fmt.Errorf("unknown type %q", e.DType)
	case len(e.Offsets) != 2 || e.Offsets[0] < 0 || e.Offsets[1] < e.Offsets[0]:
		return fmt.Errorf("offsets %v are no range", e.Offsets)
	case e.Offsets[1] > size:
		return fmt.Errorf("ends at byte %d of %d: the file is truncated", e.Offsets[1], size)
	case e.Offsets[1]-e.Offsets[0] != count*bytes:
		return fmt.Errorf("%s of shape %v takes %d bytes, but the header gives it %d", e.DType, e.Shape, count*bytes, e.Offsets[1]-e.Offsets[0])
	}
	return nil
}

// entry finds the entry called name, which must have the given shape (none: any).
func (f *File) entry(name string, shape []int) (entry, error) {
	e, ok := f.entries[name]
	switch {
	case !ok:
		return e, fmt.Errorf("%s: tensor %q is missing", f.name, name)
	case len(shape) > 0 && !slices.Equal(shape, e.Shape):
		return e, fmt.Errorf("%s: tensor %q has shape %v; it must be %v", f.name, name, e.Shape, shape)
	}
	return e, nil
}

// Has says whether the file has a tensor of this name.
func (f *File) Has(name string) bool {
	_, ok := f.entries[name]
	return ok
}

// Tensor reads the tensor called name. Its shape must be the one given, if one is, and its values must be finite.
func (f *File) Tensor(name string, shape ...int) (Tensor, error) {
	fail := func(format string, args ...any) (Tensor, error) {
		return Tensor{}, fmt.Errorf("%s: tensor %q %s", f.name, name, fmt.Sprintf(format, args...))
	}
	e, err := f.entry(name, shape)
	if err != nil {
		return Tensor{}, err
	}
	raw := make([]byte, e.Offsets[1]-e.Offsets[0])
	if _, err := f.r.ReadAt(raw, f.data+e.Offsets[0]); err != nil && len(raw) > 0 {
		return fail("cannot be read: %v", err)
	}
	t := Tensor{Shape: e.Shape, Data: make([]float32, len(raw)/int(width[e.DType]))}
	switch e.DType {
	case "F32":
		for i := range t.Data {
			t.Data[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
	case "F16":
		for i := range t.Data {
			t.Data[i] = float16.FromBits(binary.LittleEndian.Uint16(raw[2*i:])).Float32()
		}
	case "BF16":
		for i := range t.Data {
			t.Data[i] = bfloat16.FromBits(binary.LittleEndian.Uint16(raw[2*i:])).Float32()
		}
	default:
		return fail("is %s; allowed: F32, F16, BF16", e.DType)
	}
	for i, v := range t.Data {
		if v-v != 0 { // NaN and both infinities
			return fail("holds %v at index %d; every value must be finite", v, i)
		}
	}
	return t, nil
}

// Close closes the file that Open opened.
func (f *File) Close() error { return f.close() }

// Write writes tensors as F32, and metadata, to a file at path. It writes a temporary file first, so that a crash leaves the
// old file or the new one. It panics if the data of a tensor do not fit its shape.
func Write(path string, tensors map[string]Tensor, metadata map[string]string) error {
	if err := renameio.WriteFile(path, Encode(tensors, metadata), 0o666, renameio.WithTempDir(filepath.Dir(path))); err != nil {
		return plain(path, err)
	}
	return nil
}

// Encode returns what Write writes.
func Encode(tensors map[string]Tensor, metadata map[string]string) []byte {
	names, entries, end := slices.Sorted(maps.Keys(tensors)), map[string]entry{}, int64(0)
	for _, name := range names {
		t, count := tensors[name], 1
		for _, n := range t.Shape {
			count *= n
		}
		if count != len(t.Data) {
			panic(fmt.Sprintf("tensor %q of shape %v has %d values", name, t.Shape, len(t.Data)))
		}
		entries[name] = entry{"F32", t.Shape, []int64{end, end + 4*int64(count)}}
		end += 4 * int64(count)
	}
	buf := header(entries, metadata)
	for _, name := range names {
		for _, v := range tensors[name].Data {
			buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(v))
		}
	}
	return buf
}

// header is what comes before the values.
func header(entries map[string]entry, metadata map[string]string) []byte {
	all := map[string]any{}
	if len(metadata) > 0 {
		all["__metadata__"] = metadata
	}
	for name, e := range entries {
		all[name] = e
	}
	text, err := json.Marshal(all)
	if err != nil {
		panic(err) // strings and numbers
	}
	for len(text)%8 != 0 { // values begin at a multiple of eight, as the format recommends
		text = append(text, ' ')
	}
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
}
