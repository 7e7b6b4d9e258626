package safetensors

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// stall is how long a server may be silent. firstWait is the pause before the second try; later ones are twice as long each.
var stall, firstWait = 30 * time.Second, time.Second

// tries is how often a fetch is tried without getting any further.
const tries = 5

// maxRemoteHeader is the longest header fetched, in bytes.
const maxRemoteHeader = 10_000_000

// Source is a remote file.
type Source struct {
	URL    string
	SHA256 string // of the whole file, in hexadecimal, or empty if not known; checked where the whole file is read
}

// Fetch copies the tensors in wanted, which must have the shapes given there, from a remote safetensors file to the file at
// path. It asks for their bytes alone, by HTTP range requests, if the server can do that. It uses the proxies of the
// environment.
//
// A fetch that is interrupted keeps what it has in path+".part". The next one goes on from there, unless the remote file has
// changed. There is a file at path only when it is complete and all its values are finite. Of two processes that fetch to the
// same path, the second waits. report is called with the stage, the bytes that are done, and how many there are.
func Fetch(ctx context.Context, source Source, path string, wanted map[string][]int, report func(stage string, done, total int64)) (err error) {
	lock := flock.New(path+".lock", flock.SetPermissions(0o666))
	if free, err := lock.TryLock(); err != nil {
		return plain(path, err)
	} else if !free {
		report("wait for another process that fetches it", 0, 0)
		if _, err := lock.TryLockContext(ctx, time.Second/4); err != nil {
			return fmt.Errorf("%s: wait for another process that fetches it: %w", path, err)
		}
		if _, err := os.Stat(path); err == nil {
			return lock.Unlock()
		}
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()

	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = (&net.Dialer{Timeout: stall / 2}).DialContext
	transport.TLSHandshakeTimeout, transport.ResponseHeaderTimeout = stall, stall
	defer transport.CloseIdleConnections()
	f := &fetcher{source: source, client: &http.Client{Transport: transport}, path: path, wanted: wanted, report: report}

	wait := firstWait
	for left := tries; ; {
		before := f.done
		err := f.try(ctx)
		var temporary *temporaryError
		if err == nil || ctx.Err() != nil || !errors.As(err, &temporary) {
			return err
		}
		if f.done > before { // it gets on: never give up
			left, wait = tries, firstWait
		}
		if left--; left == 0 || temporary.wait > 2*time.Minute {
			return fmt.Errorf("%w; try again later, it goes on where it stopped", err)
		}
		pause := cmp.Or(temporary.wait, wait)
		report(fmt.Sprintf("%v; again in %v", err, pause), f.done, f.total)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		wait *= 2
	}
}

// temporaryError is worth another try, after wait if that is not 0.
type temporaryError struct {
	error
	wait time.Duration
}

func (e *temporaryError) Unwrap() error { return e.error }

type fetcher struct {
	source      Source
	client      *http.Client
	path        string
	wanted      map[string][]int
	report      func(stage string, done, total int64)
	done, total int64 // bytes of the file at path+".part"
}

func (f *fetcher) fail(format string, args ...any) error {
	return fmt.Errorf("%s: %w", f.source.URL, fmt.Errorf(format, args...))
}

func (f *fetcher) temporary(format string, args ...any) error {
	return &temporaryError{error: f.fail(format, args...)}
}

// try fetches what the partial file lacks.
func (f *fetcher) try(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &stream{fetcher: f, ctx: ctx, cancel: cancel, hash: sha256.New()}
	defer s.close()

	remote, err := f.remoteHeader(s)
	if err != nil {
		return err
	}
	names := slices.Collect(maps.Keys(f.wanted))
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(remote.entries[a].begin(), remote.entries[b].begin()) })
	local, end := map[string]entry{}, int64(0)
	for _, name := range names {
		e, err := remote.entry(name, f.wanted[name])
		if err != nil {
			return err
		}
		length := e.Offsets[1] - e.Offsets[0]
		local[name] = entry{e.DType, e.Shape, []int64{end, end + length}}
		end += length
	}
	head := header(local, map[string]string{"source": f.source.URL, "source_version": s.version})
	f.total = int64(len(head)) + end

	part, err := f.openPart(head)
	if err != nil {
		return err
	}
	defer part.Close()
	for _, name := range names {
		have := f.done - int64(len(head)) - local[name].Offsets[0]
		e := remote.entries[name]
		if have >= e.Offsets[1]-e.Offsets[0] {
			continue
		}
		if err := s.copy(part, remote.data+e.Offsets[0]+have, remote.data+e.Offsets[1], remote.lastOf(names, name)); err != nil {
			return err
		}
	}
	if s.whole && s.hashed && f.source.SHA256 != "" {
		if err := s.copy(io.Discard, s.at, s.size, s.size); err != nil {
			return err
		}
		if sum := hex.EncodeToString(s.hash.Sum(nil)); sum != f.source.SHA256 {
			return errors.Join(os.Remove(part.Name()), f.fail("its sha256 is %s; it must be %s", sum, f.source.SHA256))
		}
	}
	return f.finish(part)
}

func (e entry) begin() int64 {
	if len(e.Offsets) == 0 {
		return 0
	}
	return e.Offsets[0]
}

// lastOf is where the run of wanted tensors that name belongs to ends, in bytes of the file: one request for all.
func (f *File) lastOf(names []string, name string) int64 {
	end := f.entries[name].Offsets[1]
	for _, next := range names[slices.Index(names, name)+1:] {
		if f.entries[next].Offsets[0] != end {
			break
		}
		end = f.entries[next].Offsets[1]
	}
	return f.data + end
}

func (f *fetcher) remoteHeader(s *stream) (*File, error) {
	var head bytes.Buffer
	if err := s.copy(&head, 0, 8, 8); err != nil {
		return nil, err
	}
	if magic := head.Bytes(); bytes.HasPrefix(magic, zipMagic) || bytes.HasPrefix(legacyMagic, magic) {
		return nil, f.fail("a PyTorch file cannot be fetched in parts: download it and name the file instead of the URL")
	}
	length := binary.LittleEndian.Uint64(head.Bytes())
	if length > maxRemoteHeader {
		return nil, f.fail("not a safetensors file: a header of %d bytes", length)
	}
	if err := s.copy(&head, 8, 8+int64(length), 8+int64(length)); err != nil {
		return nil, err
	}
	return Read(f.source.URL, bytes.NewReader(head.Bytes()), s.size)
}

// openPart opens the partial file at its end; one that does not begin with head is begun again.
func (f *fetcher) openPart(head []byte) (*os.File, error) {
	part, err := os.OpenFile(f.path+".part", os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, plain(f.path, err)
	}
	have := make([]byte, len(head))
	n, _ := io.ReadFull(part, have)
	size, err := part.Seek(0, io.SeekEnd)
	if err == nil && (n < len(head) || !bytes.Equal(have, head) || size > f.total) {
		size = int64(len(head))
		if err = part.Truncate(0); err == nil {
			_, err = part.WriteAt(head, 0)
		}
		if err == nil {
			_, err = part.Seek(size, io.SeekStart)
		}
	}
	if err != nil {
		return nil, errors.Join(plain(f.path, err), part.Close())
	}
	f.done = size
	return part, nil
}

// finish checks the partial file and gives it its name. One with wrong values is removed: it would never get better.
func (f *fetcher) finish(part *os.File) error {
	file, err := Read(f.source.URL, part, f.total)
	for name, shape := range f.wanted {
		if err == nil {
			_, err = file.Tensor(name, shape...)
		}
	}
	if err != nil {
		return errors.Join(err, os.Remove(part.Name()))
	}
	if err := errors.Join(part.Sync(), os.Rename(part.Name(), f.path)); err != nil {
		return plain(f.path, err)
	}
	return nil
}

// stream is an answer of the server that is being read. Where the server does not know ranges it is the whole file, and
// is read through.
type stream struct {
	*fetcher
	ctx    context.Context
	cancel context.CancelCauseFunc

	body    io.ReadCloser
	at, end int64 // of body, in bytes of the remote file
	whole   bool  // the server sends everything
	hashed  bool  // hash has seen every byte up to at
	size    int64 // of the remote file
	version string
	hash    interface {
		io.Writer
		Sum([]byte) []byte
	}
}

func (s *stream) close() {
	if s.body != nil {
		s.body.Close() //nolint:errcheck // only read
		s.body = nil
	}
}

// copy writes the remote file's bytes from begin to end to w. A new request asks for the bytes up to ahead.
func (s *stream) copy(w io.Writer, begin, end, ahead int64) error {
	if s.body == nil || s.at > begin || !s.whole && (s.at != begin || s.end < end) {
		if err := s.request(begin, max(end, ahead)); err != nil {
			return err
		}
	}
	quiet := time.AfterFunc(stall, func() { s.cancel(fmt.Errorf("no byte for %v", stall)) })
	defer quiet.Stop()
	buf := make([]byte, 1<<16)
	for s.at < end {
		n := min(int64(len(buf)), end-s.at)
		if s.at < begin { // a server without ranges: pass over what is not wanted
			n = min(n, begin-s.at)
		}
		got, err := s.body.Read(buf[:n])
		quiet.Reset(stall)
		s.hash.Write(buf[:got]) //nolint:errcheck // a hash takes everything
		if s.at >= begin {
			if _, err := w.Write(buf[:got]); err != nil {
				return plain(s.path, err)
			}
			if file, ok := w.(*os.File); ok {
				s.done += int64(got)
				s.report("fetch "+file.Name(), s.done, s.total)
			}
		}
		if s.whole && (s.at < begin || w == io.Discard) {
			s.report("read past what is not needed: the server knows no ranges", s.at, s.size)
		}
		s.at += int64(got)
		if err != nil && s.at < end {
			s.close()
			if cause := context.Cause(s.ctx); cause != nil {
				err = cause
			}
			if errors.Is(err, context.Canceled) {
				return err
			}
			return s.temporary("broke off at byte %d of %d: %w", s.at, end, err)
		}
	}
	return nil
}

// request asks for the bytes from begin to end and checks that the answer is about them.
func (s *stream) request(begin, end int64) error {
	s.close()
	request, err := http.NewRequestWithContext(s.ctx, http.MethodGet, s.source.URL, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", begin, end-1))
	request.Header.Set("Accept-Encoding", "identity")
	response, err := s.client.Do(request) //nolint:bodyclose // s.close does
	if err != nil {
		if s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		if urlErr, ok := errors.AsType[*url.Error](err); ok {
			err = urlErr.Err // it repeats method and URL
		}
		if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op != "read" && s.total == 0 {
			return s.fail("%w", err) // no network, or no such server: trying again helps nobody
		}
		return s.temporary("%w", err)
	}
	s.body = response.Body
	size, version := response.ContentLength, cmp.Or(response.Header.Get("ETag"), response.Header.Get("Last-Modified"))
	switch code := response.StatusCode; {
	case code == http.StatusPartialContent:
		s.at, s.end, s.whole, s.hashed = begin, end, false, false
		from, total, ok := strings.Cut(strings.TrimPrefix(response.Header.Get("Content-Range"), "bytes "), "/")
		size, err = strconv.ParseInt(total, 10, 64)
		if want := fmt.Sprintf("%d-%d", begin, end-1); !ok || err != nil || from != want {
			return s.fail("was asked for bytes %s and answers with %q", want, response.Header.Get("Content-Range"))
		}
	case code == http.StatusOK:
		s.at, s.end, s.whole, s.hashed = 0, size, true, true
		s.hash = sha256.New()
		if size < 0 {
			return s.fail("does not say how long the file is")
		}
	case code == http.StatusRequestedRangeNotSatisfiable:
		return s.fail("has no bytes %d to %d: the file there is shorter than its header says", begin, end)
	case code == http.StatusTooManyRequests || code >= 500:
		return &temporaryError{s.fail("answers %s", response.Status), retryAfter(response.Header.Get("Retry-After"))}
	default:
		return s.fail("answers %s", response.Status)
	}
	if s.size != 0 && (size != s.size || version != s.version) {
		return s.temporary("changed while it was read")
	}
	s.size, s.version = size, version
	return nil
}

// retryAfter reads the header Retry-After: seconds or a date.
func retryAfter(value string) time.Duration {
	if seconds, err := strconv.Atoi(value); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(time.Until(at), time.Second)
	}
	return 0
}
