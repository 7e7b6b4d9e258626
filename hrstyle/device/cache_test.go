package device

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// cachePlugin skips the test where there is no plugin that keeps what it compiles, and makes dir its cache.
func cachePlugin(t *testing.T, dir string) {
	t.Helper()
	path := realpath(t, plugin(t))
	if filepath.Base(filepath.Dir(path)) != cpuFolder() {
		skip(t, path+" is not the plugin of this version")
	}
	t.Setenv(CacheVariable, dir)
	t.Setenv("TF_CPP_MIN_LOG_LEVEL", "3")
}

// compile runs the n-th of some graphs on d, compiled or from the cache, and returns the bits of what it computes.
func compile(t *testing.T, d *Device, n int) string {
	t.Helper()
	run := MustNewExec(d.Backend, func(x *Node) *Node {
		return ReduceAllSum(Mul(Exp(MulScalar(Dot(x, x).Product(), 1e-3)), AddScalar(x, float64(n))))
	})
	defer run.Finalize()
	x := make([]float32, 64*64)
	for i := range x {
		x[i] = float32(math.Sin(float64(i)))
	}
	y := run.MustCall1(tensors.FromFlatDataAndDimensions(x, 64, 64))
	return fmt.Sprintf("%08x", math.Float32bits(y.Value().(float32)))
}

// ownFolder is a temporary folder that only this user may look into.
func ownFolder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "cache")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// opened opens XLA:CPU until the test ends.
func opened(t *testing.T) *Device {
	t.Helper()
	d, err := Open(CPU)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Finalize)
	return d
}

// entries are the names of the files of entries in dir; all other files must be expected.
func entries(t *testing.T, dir string, expected ...string) (names []string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), ".xla") {
			names = append(names, f.Name())
		} else if !slices.Contains(expected, f.Name()) {
			t.Errorf("%s was left in the cache", f.Name())
		}
	}
	return names
}

// unused is what a computation gives without a cache.
func unused(t *testing.T, n int) string {
	t.Helper()
	t.Setenv(CacheVariable, "off")
	return compile(t, opened(t), n)
}

// An entry is used, by another client too, and computes the same bits as without a cache.
func TestCacheUsed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "cache")
	cachePlugin(t, dir)
	want := unused(t, 1)
	t.Setenv(CacheVariable, dir)
	for range 2 {
		if got := compile(t, opened(t), 1); got != want {
			t.Errorf("%s, without a cache %s", got, want)
		}
	}
	names := entries(t, dir)
	if len(names) != 1 {
		t.Fatalf("%d entries, want 1", len(names))
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Error(info.Mode(), err)
	}
	found := FindCache()
	if found.Dir != dir || found.Entries != 1 || found.Bytes < 1000 || found.Problem != "" {
		t.Errorf("%+v", found)
	}
	keep := filepath.Join(dir, "keep.xla")
	if err := errors.Join(os.WriteFile(keep, nil, 0o600), found.Empty()); err != nil {
		t.Fatal(err)
	}
	if left := entries(t, dir); !slices.Equal(left, []string{"keep.xla"}) {
		t.Errorf("after emptying: %v", left)
	}
}

// Other threads or flags are other entries; flags that want compilation to be seen keep the cache out of it.
func TestCacheKey(t *testing.T) {
	if os.Getenv("HRLAB_TEST_CHILD") != "" {
		fmt.Println("bits", compile(t, opened(t), 1))
		return
	}
	dir := ownFolder(t)
	cachePlugin(t, dir)
	for i, environment := range [][]string{{}, {"NPROC=7"}, {"XLA_FLAGS=--xla_cpu_use_fusion_emitters=false"}, {"XLA_FLAGS=--xla_dump_to=" + t.TempDir()}, {}} {
		if out, err := child(t, "TestCacheKey", environment...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if got, want := len(entries(t, dir)), min(i+1, 3); got != want {
			t.Errorf("after %v: %d entries, want %d", environment, got, want)
		}
	}
}

// Entries that are damaged, cut, empty, of another key, or sound but no program, are compiled again and mended.
func TestCacheDamaged(t *testing.T) {
	dir := ownFolder(t)
	cachePlugin(t, dir)
	want := unused(t, 1)
	t.Setenv(CacheVariable, dir)
	d := opened(t)
	compile(t, d, 2)
	other := filepath.Join(dir, entries(t, dir)[0])
	compile(t, d, 1)
	names := slices.DeleteFunc(entries(t, dir), func(name string) bool { return filepath.Join(dir, name) == other })
	path, key := filepath.Join(dir, names[0]), must(hex.DecodeString(strings.TrimSuffix(names[0], ".xla")))
	whole := must(os.ReadFile(path))
	damaged := func(what string, bytes []byte, complaint string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path, bytes, 0o600), os.RemoveAll(filepath.Join(dir, problem))); err != nil {
			t.Fatal(err)
		}
		if got := compile(t, d, 1); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
		if got := FindCache().Problem; !strings.HasPrefix(got, complaint) || (complaint == "") != (got == "") {
			t.Errorf("%s: problem %q, want %q", what, got, complaint)
		}
		if err := os.RemoveAll(filepath.Join(dir, problem)); err != nil {
			t.Fatal(err)
		}
		if got := compile(t, d, 1); got != want || FindCache().Problem != "" {
			t.Errorf("%s: not mended: %s, want %s; %s", what, got, want, FindCache().Problem)
		}
	}
	damaged("whole", whole, "")
	for i := 0; i < len(whole); i += 1 + min(i/64, 1)*499 { // every byte of the head, and some of the content
		flipped := bytes.Clone(whole)
		flipped[i] ^= 1 << (i % 8)
		damaged(fmt.Sprint("byte ", i), flipped, "damaged")
	}
	for _, size := range []int{0, 1, 31, 32, 63, 64, 65, len(whole) / 2, len(whole) - 1} {
		damaged(fmt.Sprint("cut to ", size), whole[:size], "damaged")
	}
	damaged("longer", append(bytes.Clone(whole), 0), "damaged")
	damaged("of another key", must(os.ReadFile(other)), "damaged")
	sum := func(texts ...[]byte) []byte {
		var all []byte
		for _, text := range texts {
			h := sha256.Sum256(text)
			all = append(all, h[:]...)
		}
		h := sha256.Sum256(all)
		return h[:]
	}
	damaged("refused by the loader", slices.Concat(key, sum(key, []byte("nonsense")), []byte("nonsense")), "not loaded: ")

	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	if got := compile(t, d, 1); got != want {
		t.Errorf("a folder in an entry's place: %s, want %s", got, want)
	}
}

// The entry that was not used for longest goes first, and so do the remains of killed processes.
func TestCacheBounded(t *testing.T) {
	dir := ownFolder(t)
	cachePlugin(t, dir)
	d := opened(t)
	compile(t, d, 1)
	first := filepath.Join(dir, entries(t, dir)[0])
	old := time.Now().Add(-48 * time.Hour)
	sparse := func(name string, size int64, age time.Time) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, size), os.Chtimes(path, age, age)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	older := sparse(strings.Repeat("0", 64)+".xla", 128<<20, old.Add(time.Hour))
	newer := sparse(strings.Repeat("1", 64)+".xla", 127<<20, old.Add(2*time.Hour))
	left := sparse("tmp-abcdef", 10, old)
	writing := sparse("tmp-fedcba", 10, time.Now())
	foreign := sparse("holiday.tar", 1<<30, old)
	if err := os.Chtimes(first, old, old); err != nil {
		t.Fatal(err)
	}
	compile(t, d, 1)                                                            // the first one is used, so no longer the oldest
	sparse(strings.Repeat("2", 64)+".xla", 2<<20, time.Now().Add(-time.Minute)) // too much together
	compile(t, d, 2)
	for path, want := range map[string]bool{first: true, older: false, newer: true, left: false, writing: true, foreign: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", filepath.Base(path), err == nil, want)
		}
	}
}

// A folder where others may write is not used, and a cache that is off writes nothing.
func TestCacheRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil { //nolint:gosec // the point
		t.Fatal(err)
	}
	cachePlugin(t, dir)
	compile(t, opened(t), 1)
	if found := FindCache(); len(entries(t, dir)) != 0 || found.Problem != "not used, because others may write there" {
		t.Errorf("%+v", found)
	}
	t.Chdir(ownFolder(t))
	for _, value := range []string{"off", "", "relative"} {
		t.Setenv(CacheVariable, value)
		compile(t, opened(t), 1)
		if left := entries(t, "."); len(left) != 0 || FindCache() != (Cache{Problem: CacheVariable + "=" + value}) {
			t.Errorf("%q: %v, %+v", value, left, FindCache())
		}
	}
}

// Eight processes begin with an empty cache at once; all compute the same, and leave sound entries.
func TestCacheProcesses(t *testing.T) {
	if os.Getenv("HRLAB_TEST_CHILD") != "" {
		d := opened(t)
		for n := range 3 {
			fmt.Println("bits", compile(t, d, n))
		}
		return
	}
	dir := ownFolder(t)
	cachePlugin(t, dir)
	var outputs [9]string
	run := func(i int) {
		out, err := child(t, "TestCacheProcesses").CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		outputs[i] = bits(out)
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() { run(i) })
	}
	all.Wait()
	run(8)
	for i, output := range outputs {
		if output != outputs[0] || strings.Count(output, "bits") != 3 {
			t.Errorf("process %d: %q, process 0: %q", i, output, outputs[0])
		}
	}
	if n := len(entries(t, dir)); n != 3 {
		t.Errorf("%d entries, want 3", n)
	}
}

// Processes are killed while they write. What they leave is sound, or is not taken for an entry.
func TestCacheKilled(t *testing.T) {
	if os.Getenv("HRLAB_TEST_CHILD") != "" {
		d := opened(t)
		for n := 0; ; n++ {
			compile(t, d, n)
		}
	}
	dir := ownFolder(t)
	cachePlugin(t, dir)
	writing := func() (names []string) {
		names, _ = filepath.Glob(filepath.Join(dir, "tmp-*"))
		return names
	}
	for range 5 {
		for _, path := range writing() {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		killed := child(t, "TestCacheKilled")
		if err := killed.Start(); err != nil {
			t.Fatal(err)
		}
		for t.Context().Err() == nil && len(writing()) == 0 {
			continue // a file is being written for microseconds
		}
		_ = killed.Process.Kill()
		_ = killed.Wait()
	}
	d := opened(t)
	for n := range 10 {
		compile(t, d, n)
	}
	if found := FindCache(); found.Problem != "" {
		t.Error(found.Problem)
	}
}

// Where the disk is full, work goes on.
func TestCacheFull(t *testing.T) {
	if os.Getenv("HRLAB_TEST_CHILD") != "" {
		d := opened(t)
		fmt.Println("bits", compile(t, d, 1))
		fmt.Println("bits", compile(t, d, 1))
		entries(t, os.Getenv(CacheVariable), problem)
		fmt.Println(FindCache().Problem)
		return
	}
	dir := ownFolder(t)
	cachePlugin(t, dir)
	if err := exec.Command("unshare", "--mount", "true").Run(); err != nil {
		t.Skip("a small disk needs root: ", err)
	}
	want := "bits " + unused(t, 1)
	t.Setenv(CacheVariable, dir)
	full := child(t, "TestCacheFull")
	full.Args = append([]string{"unshare", "--mount", "sh", "-c", `mount -t tmpfs -o size=8k,mode=700 none "$0" && head -c 4096 /dev/zero >"$0/problem" && exec "$@"`, dir}, full.Args...)
	full.Path = must(exec.LookPath("unshare"))
	out, err := full.CombinedOutput()
	if err != nil || bits(out) != want+"\n"+want || !strings.Contains(string(out), "cannot be written: No space left on device") {
		t.Errorf("%v, want %s\n%s", err, want, out)
	}
}

// child is this test in a process of its own.
func child(t *testing.T, name string, environment ...string) *exec.Cmd {
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+name+"$")
	c.Env = append(append(os.Environ(), "HRLAB_TEST_CHILD=1"), environment...)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return c
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// bits are the lines of a child's output with what it computed.
func bits(out []byte) string {
	lines := strings.Split(string(out), "\n")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return !strings.HasPrefix(l, "bits ") }), "\n")
}
