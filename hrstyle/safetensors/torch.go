package safetensors

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"strings"
)

// A file of torch.save is a zip archive of raw storages, and of a pickle that says where in them each tensor lies. Before
// PyTorch 1.6 it was a pickle followed by the storages; torchvision's vgg19 still is. A pickle is a program, but it is not run
// here. Only the opcodes that build a dictionary of tensors are known. Names of Python functions are mere names, and any
// other opcode is an error.
var (
	zipMagic    = []byte("PK\x03\x04")
	legacyMagic = []byte("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.")
)

// storageTypes are the types of this package's names of those that torch.save names.
var storageTypes = map[string]string{
	"torch.FloatStorage": "F32", "torch.HalfStorage": "F16", "torch.BFloat16Storage": "BF16", "torch.DoubleStorage": "F64",
	"torch.LongStorage": "I64", "torch.IntStorage": "I32", "torch.ShortStorage": "I16", "torch.CharStorage": "I8",
	"torch.ByteStorage": "U8", "torch.BoolStorage": "BOOL",
}

// maxPickle is the longest list of tensors read, in bytes; maxObjects bounds what it may build.
const maxPickle, maxObjects = 10_000_000, 1_000_000

// readTorch reads the list of tensors of a file of torch.save.
func readTorch(name string, r io.ReaderAt, size int64) (*File, error) {
	f := &File{name: name, r: r, close: func() error { return nil }, entries: map[string]entry{}}
	var state any
	offsets := map[string]int64{} // of each storage
	var err error
	if head := make([]byte, len(zipMagic)); readFull(r, head) && bytes.Equal(head, zipMagic) {
		state, err = readTorchZip(r, size, offsets)
	} else {
		state, err = readTorchLegacy(r, size, offsets)
	}
	if err == nil {
		err = f.addTensors(state, offsets, size)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: not a PyTorch file of tensors: %w", name, err)
	}
	return f, nil
}

func readFull(r io.ReaderAt, buf []byte) bool {
	n, _ := r.ReadAt(buf, 0)
	return n == len(buf)
}

func readTorchZip(r io.ReaderAt, size int64, offsets map[string]int64) (state any, err error) {
	archive, err := zip.NewReader(r, size)
	if err != nil {
		return nil, err
	}
	for _, member := range archive.File {
		dir, base := path.Split(member.Name)
		switch {
		case base == "data.pkl":
			in, err := member.Open()
			if err != nil {
				return nil, err
			}
			state, err = unpickle(bufio.NewReader(io.LimitReader(in, maxPickle)))
			if err := errors.Join(err, in.Close()); err != nil {
				return nil, err
			}
		case base == "byteorder" && member.UncompressedSize64 != uint64(len("little")):
			return nil, errors.New("its values are big-endian")
		case path.Base(dir) == "data":
			if member.Method != zip.Store {
				return nil, fmt.Errorf("%s is compressed", member.Name)
			}
			if offsets[base], err = member.DataOffset(); err != nil {
				return nil, err
			}
		}
	}
	return state, nil
}

func readTorchLegacy(r io.ReaderAt, size int64, offsets map[string]int64) (state any, err error) {
	section := io.NewSectionReader(r, 0, size)
	in := bufio.NewReader(io.LimitReader(section, maxPickle))
	var parts [5]any // magic number, protocol, system, tensors, keys of the storages
	for i := range parts {
		if parts[i], err = unpickle(in); err != nil {
			return nil, err
		}
	}
	keys, ok := parts[4].(*list)
	at, err := section.Seek(0, io.SeekCurrent)
	if !ok || err != nil {
		return nil, errors.New("no list of storages")
	}
	at -= int64(in.Buffered())
	widths := storageWidths(parts[3])
	for _, key := range keys.items {
		var count [8]byte
		if _, err := r.ReadAt(count[:], at); err != nil {
			return nil, fmt.Errorf("storage %v: %w", key, err)
		}
		k, _ := key.(string)
		n := binary.LittleEndian.Uint64(count[:])
		if n > uint64(size) {
			return nil, fmt.Errorf("storage %v has %d values in a file of %d bytes", key, n, size)
		}
		offsets[k] = at + 8
		at += 8 + int64(n)*widths[k]
	}
	return parts[3], nil
}

// storageWidths is the bytes of a value of each storage that the tensors of state lie in.
func storageWidths(state any) map[string]int64 {
	widths := map[string]int64{}
	if d, ok := state.(*dict); ok {
		for _, v := range d.items {
			if t, ok := v.(*torchTensor); ok {
				widths[t.storage.key] = width[t.storage.dtype]
			}
		}
	}
	return widths
}

// addTensors makes entries of the dictionary state; what is no tensor is passed over.
func (f *File) addTensors(state any, offsets map[string]int64, size int64) error {
	d, ok := state.(*dict)
	if !ok {
		return errors.New("no dictionary of tensors")
	}
	for key, v := range d.items {
		t, ok := v.(*torchTensor)
		if !ok {
			continue
		}
		begin, found := offsets[t.storage.key]
		if !found {
			return fmt.Errorf("tensor %q: its storage %q is missing", key, t.storage.key)
		}
		count := int64(1)
		for axis, n := range slices.Backward(t.shape) {
			if n > 1 && int64(t.strides[axis]) != count {
				return fmt.Errorf("tensor %q is not contiguous", key)
			}
			if n < 0 || n > 0 && count > size/int64(n) {
				return fmt.Errorf("tensor %q: shape %v is more than the file's %d bytes", key, t.shape, size)
			}
			count *= int64(n)
		}
		if t.offset < 0 || t.offset > size {
			return fmt.Errorf("tensor %q begins at value %d", key, t.offset)
		}
		begin += t.offset * width[t.storage.dtype]
		e := entry{t.storage.dtype, t.shape, []int64{begin, begin + count*width[t.storage.dtype]}}
		if err := e.check(size); err != nil {
			return fmt.Errorf("tensor %q: %w", key, err)
		}
		f.entries[key] = e
	}
	return nil
}

// What a pickle of tensors builds beside strings, integers, booleans and nil.
type (
	mark         struct{}
	global       string // the name of a Python function or class
	tuple        []any
	list         struct{ items []any }
	dict         struct{ items map[string]any } // keys that are no strings are left out
	torchStorage struct{ dtype, key string }
	torchTensor  struct {
		storage        torchStorage
		offset         int64
		shape, strides []int
	}
	unknown struct{} // what another function would have made
)

// unpickler reads one pickle of protocol 2. Opcodes and what they take: Python's Lib/pickletools.py.
type unpickler struct {
	in    *bufio.Reader
	stack []any
	memo  map[uint32]any
	made  int
}

func unpickle(in *bufio.Reader) (value any, err error) {
	u := &unpickler{in: in, memo: map[uint32]any{}}
	for {
		opcode, err := in.ReadByte()
		if err != nil {
			return nil, err
		}
		if opcode == '.' { // STOP
			return u.pop()
		}
		if u.made++; u.made > maxObjects {
			return nil, fmt.Errorf("more than %d objects", maxObjects)
		}
		if err := u.do(opcode); err != nil {
			return nil, err
		}
	}
}

func (u *unpickler) push(v any) { u.stack = append(u.stack, v) }

var errStack = errors.New("a pickle that takes more than it has")

func (u *unpickler) pop() (any, error) {
	if len(u.stack) == 0 {
		return nil, errStack
	}
	v := u.stack[len(u.stack)-1]
	u.stack = u.stack[:len(u.stack)-1]
	return v, nil
}

// popMark takes everything above the last mark, and the mark.
func (u *unpickler) popMark() ([]any, error) {
	for i, v := range slices.Backward(u.stack) {
		if _, ok := v.(mark); ok {
			items := slices.Clone(u.stack[i+1:])
			u.stack = u.stack[:i]
			return items, nil
		}
	}
	return nil, errStack
}

// popN takes n values.
func (u *unpickler) popN(n int) ([]any, error) {
	if len(u.stack) < n {
		return nil, errStack
	}
	items := slices.Clone(u.stack[len(u.stack)-n:])
	u.stack = u.stack[:len(u.stack)-n]
	return items, nil
}

// number reads n bytes, little-endian.
func (u *unpickler) number(n int) (uint32, error) {
	var buf [4]byte
	_, err := io.ReadFull(u.in, buf[:n])
	return binary.LittleEndian.Uint32(buf[:]), err
}

func (u *unpickler) text(length int) (string, error) {
	if length > math.MaxUint16 {
		return "", fmt.Errorf("a name of %d bytes", length)
	}
	buf := make([]byte, length)
	_, err := io.ReadFull(u.in, buf)
	return string(buf), err
}

func (u *unpickler) do(opcode byte) error {
	pushNumber := func(n int, value func(uint32) any) error {
		v, err := u.number(n)
		u.push(value(v))
		return err
	}
	unsigned := func(v uint32) any { return int64(v) }
	remember := func(n int) error {
		key, err := u.number(n)
		if err != nil || len(u.stack) == 0 {
			return errors.Join(err, errStack)
		}
		u.memo[key] = u.stack[len(u.stack)-1]
		return nil
	}
	recall := func(n int) error {
		key, err := u.number(n)
		u.push(u.memo[key])
		return err
	}
	pushTuple := func(items []any, err error) error {
		u.push(tuple(items))
		return err
	}
	switch opcode {
	case '\x80': // PROTO
		_, err := u.number(1)
		return err
	case '(':
		u.push(mark{})
	case 'N':
		u.push(nil)
	case '\x88', '\x89': // NEWTRUE, NEWFALSE
		u.push(opcode == '\x88')
	case 'J': // BININT
		return pushNumber(4, func(v uint32) any { return int64(int32(v)) })
	case 'K': // BININT1
		return pushNumber(1, unsigned)
	case 'M': // BININT2
		return pushNumber(2, unsigned)
	case '\x8a': // LONG1, of which the file's magic number is one
		return u.long()
	case 'X': // BINUNICODE
		length, err := u.number(4)
		if err != nil {
			return err
		}
		text, err := u.text(int(length))
		u.push(text)
		return err
	case '\x8c', 'U': // SHORT_BINUNICODE, SHORT_BINSTRING
		length, err := u.number(1)
		if err != nil {
			return err
		}
		text, err := u.text(int(length))
		u.push(text)
		return err
	case 'c': // GLOBAL
		module, err := u.line()
		if err != nil {
			return err
		}
		name, err := u.line()
		u.push(global(module + "." + name))
		return err
	case 'q': // BINPUT
		return remember(1)
	case 'r': // LONG_BINPUT
		return remember(4)
	case 'h': // BINGET
		return recall(1)
	case 'j': // LONG_BINGET
		return recall(4)
	case ')':
		return pushTuple(nil, nil)
	case '\x85', '\x86', '\x87': // TUPLE1, 2, 3
		return pushTuple(u.popN(int(opcode - '\x84')))
	case 't':
		return pushTuple(u.popMark())
	case ']':
		u.push(&list{})
	case 'a', 'e': // APPEND, APPENDS
		return u.appendItems(opcode)
	case '}':
		u.push(&dict{map[string]any{}})
	case 's', 'u': // SETITEM, SETITEMS
		return u.setItems(opcode)
	case 'b': // BUILD: the state of an object, which here is none
		_, err := u.pop()
		return err
	case 'Q': // BINPERSID
		return u.persistent()
	case 'R': // REDUCE: what a Python reader would call
		return u.reduce()
	default:
		return fmt.Errorf("opcode %q, which no dictionary of tensors needs", opcode)
	}
	return nil
}

func (u *unpickler) line() (string, error) {
	line, err := u.in.ReadSlice('\n')
	return strings.TrimSuffix(string(line), "\n"), err
}

func (u *unpickler) long() error {
	length, err := u.number(1)
	if err != nil {
		return err
	}
	digits, err := u.text(int(length))
	if len(digits) > 8 { // the magic number, and nothing that counts
		u.push(unknown{})
		return err
	}
	var buf [8]byte
	copy(buf[:], digits)
	u.push(int64(binary.LittleEndian.Uint64(buf[:]))) //nolint:gosec // two's complement
	return err
}

func (u *unpickler) appendItems(opcode byte) error {
	items, err := u.popN(1)
	if opcode == 'e' {
		u.stack = append(u.stack, items...)
		items, err = u.popMark()
	}
	if err != nil || len(u.stack) == 0 {
		return errors.Join(err, errStack)
	}
	if l, ok := u.stack[len(u.stack)-1].(*list); ok {
		l.items = append(l.items, items...)
	}
	return nil
}

func (u *unpickler) setItems(opcode byte) error {
	var items []any
	var err error
	if opcode == 's' {
		items, err = u.popN(2)
	} else {
		items, err = u.popMark()
	}
	if err != nil || len(u.stack) == 0 || len(items)%2 != 0 {
		return errors.Join(err, errStack)
	}
	if d, ok := u.stack[len(u.stack)-1].(*dict); ok {
		for i := 0; i < len(items); i += 2 {
			if key, ok := items[i].(string); ok {
				d.items[key] = items[i+1]
			}
		}
	}
	return nil
}

// persistent turns ("storage", type, key, place, count…) into a storage.
func (u *unpickler) persistent() error {
	id, err := u.pop()
	if err != nil {
		return err
	}
	t, _ := id.(tuple)
	if len(t) < 5 || t[0] != "storage" {
		return errors.New("a reference to something else than a storage")
	}
	class, _ := t[1].(global)
	key, ok := t[2].(string)
	dtype, known := storageTypes[string(class)]
	if !ok || !known {
		return fmt.Errorf("a storage of type %.100q", class)
	}
	u.push(torchStorage{dtype, key})
	return nil
}

func (u *unpickler) reduce() error {
	call, err := u.popN(2)
	if err != nil {
		return err
	}
	args, _ := call[1].(tuple)
	switch call[0] {
	case global("collections.OrderedDict"):
		u.push(&dict{map[string]any{}})
	case global("torch._utils._rebuild_parameter"):
		if len(args) == 0 {
			return errStack
		}
		u.push(args[0])
	case global("torch._utils._rebuild_tensor_v2"):
		t := &torchTensor{}
		if len(args) < 4 {
			return errors.New("a tensor without storage, offset, shape and strides")
		}
		var ok [4]bool
		t.storage, ok[0] = args[0].(torchStorage)
		t.offset, ok[1] = args[1].(int64)
		t.shape, ok[2] = ints(args[2])
		t.strides, ok[3] = ints(args[3])
		if ok != [4]bool{true, true, true, true} || len(t.shape) != len(t.strides) {
			return errors.New("a tensor without storage, offset, shape and strides")
		}
		u.push(t)
	default:
		u.push(unknown{})
	}
	return nil
}

func ints(v any) (values []int, ok bool) {
	t, ok := v.(tuple)
	for _, item := range t {
		n, isInt := item.(int64)
		values, ok = append(values, int(n)), ok && isInt
	}
	return values, ok
}
