package tracker

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"image"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain is also the other processes of the tests: HRLAB_TEST_CHILD names what to do with the database that is the
// first argument.
func TestMain(m *testing.M) {
	if job := os.Getenv("HRLAB_TEST_CHILD"); job != "" {
		if err := map[string]func(path string) error{"open": childOpen, "log": childLog, "write": childWrite, "idle": childIdle, "import": childImport, "keep": childKeep}[job](os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(ctx context.Context, job, path string) *exec.Cmd {
	c := exec.CommandContext(ctx, os.Args[0], path)
	c.Env = append(os.Environ(), "HRLAB_TEST_CHILD="+job)
	return c
}

func childOpen(path string) error {
	s, err := Open(context.Background(), path)
	if err != nil {
		return err
	}
	return s.Close()
}

// childLog logs 2,000 steps.
func childLog(path string) error {
	ctx := context.Background()
	s, err := Open(ctx, path)
	if err != nil {
		return err
	}
	r, err := s.Start(ctx, NewRun{})
	if err != nil {
		return err
	}
	for i := range int64(2000) {
		if err := r.Log(ctx, i, map[string]float64{"a": float64(i), "b": float64(-i)}); err != nil {
			return err
		}
	}
	return errors.Join(r.Finish(ctx, nil), s.Close())
}

// childIdle begins a run and does nothing but live, until it is killed.
func childIdle(path string) error {
	ctx := context.Background()
	s, err := Open(ctx, path)
	if err != nil {
		return err
	}
	if ahead, err := time.ParseDuration(os.Getenv("HRLAB_TEST_AHEAD")); err == nil { // a clock that is wrong
		s.clock.now = func() time.Time { return time.Now().Add(ahead) }
	}
	if host := os.Getenv("HRLAB_TEST_HOST"); host != "" {
		s.self.host = host
	}
	r, err := s.Start(ctx, NewRun{})
	if err != nil {
		return err
	}
	fmt.Println(r.ID)
	select {}
}

// childImport imports standard input.
func childImport(path string) error {
	s, err := Open(context.Background(), path)
	if err != nil {
		return err
	}
	_, err = s.Import(context.Background(), os.Stdin)
	return errors.Join(err, s.Close())
}

// childKeep queues two runs that share standard input, and is killed before it commits.
func childKeep(path string) error {
	s, err := Open(context.Background(), path)
	if err != nil {
		return err
	}
	return s.Keep(context.Background(), []io.Reader{strings.NewReader("style"), os.Stdin}, func(t *sql.Tx, files []*File) error {
		if _, err := queue(context.Background(), s, t, files); err != nil {
			return err
		}
		fmt.Println("named")
		select {}
	})
}

// childWrite logs until it is killed, and says what was acknowledged.
func childWrite(path string) error {
	ctx := context.Background()
	s, err := Open(ctx, path)
	if err != nil {
		return err
	}
	r, err := s.Start(ctx, NewRun{Name: strconv.Itoa(os.Getpid())})
	if err != nil {
		return err
	}
	fmt.Println("run", r.ID)
	for i := int64(0); ; i++ {
		if err := r.Log(ctx, i, map[string]float64{"m": float64(i)}); err != nil {
			return err
		}
		fmt.Println("metric", i)
		if i%5 == 0 {
			img := image.NewGray(image.Rect(0, 0, 8, 8))
			img.Pix[0], img.Pix[1] = uint8(i), uint8(os.Getpid())
			if err := r.LogPicture(ctx, i, "p", img); err != nil {
				return err
			}
			fmt.Println("picture", i)
			if err := r.LogArtifact(ctx, "a"+strconv.FormatInt(i, 10), strings.NewReader(fmt.Sprint(os.Getpid(), " ", i))); err != nil {
				return err
			}
			fmt.Println("artifact", i)
		}
	}
}

// rounds is n, or many more with HRLAB_TEST_SOAK.
func rounds(n, many int) int {
	if os.Getenv("HRLAB_TEST_SOAK") != "" {
		return many
	}
	return n
}

// kill -9 at any moment: everything acknowledged is there, the database is whole, the run is lost and can be resumed.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hrlab.db")
	random := rand.New(rand.NewPCG(7, uint64(os.Getpid())))
	for round := range rounds(30, 200) {
		c := child(t.Context(), "write", path)
		out, err := c.StdoutPipe()
		must(t, err, c.Start())
		var acknowledged []string
		begun, read := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(read)
			lines := bufio.NewScanner(out)
			for lines.Scan() {
				if acknowledged = append(acknowledged, lines.Text()); len(acknowledged) == 1 {
					close(begun)
				}
			}
		}()
		if round%4 > 0 { // every fourth may be killed before it has begun
			select {
			case <-begun:
			case <-read:
			}
		}
		time.Sleep(time.Duration(random.IntN(150)) * time.Millisecond)
		must(t, c.Process.Kill())
		<-read
		_ = c.Wait()
		if len(acknowledged) == 0 {
			continue // killed before it began
		}

		s, err := Open(t.Context(), path)
		must(t, err)
		id, err := strconv.ParseInt(strings.TrimPrefix(acknowledged[0], "run "), 10, 64)
		must(t, err)
		i := info(t, s, id)
		if i.Status != Lost {
			t.Errorf("round %d: run %d is %s", round, id, i.Status)
		}
		series, err := s.Series(t.Context(), []int64{id}, []string{"m"}, 0)
		must(t, err)
		pictures, err := s.Pictures(t.Context(), id)
		must(t, err)
		has := map[string]bool{}
		for _, c := range series {
			for k, step := range c.Steps {
				has[fmt.Sprint("metric ", step)] = c.Values[k] == float64(step)
			}
		}
		for _, p := range pictures {
			_, err := s.Thumbnail(t.Context(), p.Digest)
			has[fmt.Sprint("picture ", p.Step)] = err == nil
		}
		for _, line := range acknowledged[1:] {
			if step, ok := strings.CutPrefix(line, "artifact "); ok {
				f, err := s.OpenArtifact(t.Context(), id, "a"+step)
				if err == nil {
					text, _ := io.ReadAll(f)
					has[line] = string(text) == fmt.Sprint(c.Process.Pid, " ", step)
					f.Close()
				}
			}
			if !has[line] {
				t.Errorf("round %d: %q was acknowledged and is not there", round, line)
			}
		}
		for _, f := range check(t, s) { // a file whose row the kill prevented is no damage
			if !f.Leftover {
				t.Errorf("round %d: %v", round, f)
			}
		}
		r, err := s.Resume(t.Context(), id)
		must(t, err)
		must(t, r.Log(t.Context(), 1_000_000, map[string]float64{"m": 1}), r.Finish(t.Context(), nil), s.Close())
	}
}

func check(t *testing.T, s *Store) []Finding {
	t.Helper()
	findings, err := s.Check(t.Context(), false)
	must(t, err)
	return findings
}

// many runs n processes at once and fails the test with what any of them says.
func many(t *testing.T, n int, job, path string) {
	t.Helper()
	var wait sync.WaitGroup
	for range n {
		wait.Go(func() {
			if out, err := child(t.Context(), job, path).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", job, err, out)
			}
		})
	}
	wait.Wait()
}

// Eight processes make one new database.
func TestOpenAtOnce(t *testing.T) {
	for range rounds(30, 200) {
		many(t, 8, "open", filepath.Join(t.TempDir(), "hrlab.db"))
	}
}

// Eight processes write 2,000 steps each into one database.
func TestLogAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hrlab.db")
	many(t, 8, "log", path)
	s := open(t, path)
	runs, err := s.Runs(t.Context(), Query{})
	if err != nil || len(runs) != 8 {
		t.Fatalf("%d runs, %v", len(runs), err)
	}
	for _, r := range runs {
		series, err := s.Series(t.Context(), []int64{r.ID}, nil, 0)
		must(t, err)
		if r.Status != Finished || len(series) != 2 || len(series[0].Steps) != 2000 || r.Metrics["b"].Min != -1999 {
			t.Errorf("run %d: %s, %d curves", r.ID, r.Status, len(series))
		}
	}
	whole(t, s)
}

// A full disk is said clearly, and what was acknowledged before stays.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skip("no small disk can be mounted here: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	s, err := Open(t.Context(), filepath.Join(dir, "hrlab.db"))
	must(t, err)
	r := start(t, s, NewRun{})
	last := int64(-1)
	for i := range int64(1000) {
		var points []Point
		for k := range 200 {
			points = append(points, Point{fmt.Sprint("m", k), i, 1})
		}
		if err = r.LogBatch(t.Context(), points); err != nil {
			break
		}
		last = i
	}
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "disk") {
		t.Errorf("on a full disk: %v", err)
	}
	if err := r.LogArtifact(t.Context(), "a", bytes.NewReader(make([]byte, 3<<20))); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("an artifact on a full disk: %v", err)
	}
	_ = s.Close() // the last change may not fit either
	must(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=16m"))
	s = open(t, filepath.Join(dir, "hrlab.db"))
	whole(t, s)
	if m := info(t, s, r.ID).Metrics["m7"]; m.LastStep != last || last < 1 {
		t.Errorf("last step %d, acknowledged %d", m.LastStep, last)
	}
}

// Files that are no database of ours get one clear line each, and stay as they are.
func TestBadDatabases(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, data []byte, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, data, mode))
		return path
	}
	good := filepath.Join(dir, "good.db")
	s, err := Open(t.Context(), good)
	must(t, err)
	r := start(t, s, NewRun{})
	for i := range int64(300) {
		must(t, r.LogBatch(t.Context(), []Point{{"a long name of a metric", i, 1}, {"b", i, 2}, {"c", i, 3}}))
	}
	must(t, s.Close())
	data, err := os.ReadFile(good)
	must(t, err)
	bent := bytes.Clone(data)
	for i := 4096; i < len(bent)-4096; i += 4096 {
		copy(bent[i:], bytes.Repeat([]byte{0xa5}, 64)) // the head of every page but the first
	}
	other := filepath.Join(dir, "other.db")
	if out, err := exec.Command("python3", "-c", "import sqlite3; sqlite3.connect('"+other+"').execute('create table t (a)')").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	newer := filepath.Join(dir, "newer.db")
	must(t, os.WriteFile(newer, data, 0o666))
	n := open(t, newer)
	_, err = n.db.writer.ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)")
	must(t, err)

	for path, want := range map[string]string{
		dir:                                     "a directory; name a file",
		filepath.Join(dir, "none", "x.db"):      "no such file or directory",
		file("text.db", []byte("hello"), 0o666): "not a database",
		file("zeros.db", make([]byte, 9000), 0o666): "not a database",
		other: "a database of another program: name another file",
		newer: "made by a newer hrlab (schema 999, this one knows 2): update hrlab",
	} {
		_, err := Open(t.Context(), path)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	if os.Geteuid() != 0 { // root may write everything
		if _, err := Open(t.Context(), file("readonly.db", data, 0o444)); err == nil || !strings.Contains(err.Error(), "read-only") {
			t.Error(err)
		}
		path := filepath.Join(dir, "closed", "hrlab.db")
		must(t, os.Mkdir(filepath.Dir(path), 0o777), os.WriteFile(path, data, 0o666), os.Chmod(filepath.Dir(path), 0o555)) //nolint:gosec // a directory
		if _, err := Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), "its directory is read-only") {
			t.Error(err)
		}
		must(t, os.Chmod(filepath.Dir(path), 0o755)) //nolint:gosec // so that it can be removed
	}
	path := file("bent.db", bent, 0o666)
	s, err = Open(t.Context(), path)
	if err == nil {
		var findings []Finding
		findings, err = s.Check(t.Context(), false)
		if err == nil && len(findings) == 0 {
			t.Error("no damage found")
		}
		_ = s.Close()
	}
	if err != nil && (!strings.Contains(err.Error(), "damaged") && !strings.Contains(err.Error(), "not a database") || strings.Contains(err.Error(), "\n")) {
		t.Errorf("damaged pages: %v", err)
	}
}

// A file system that is mounted read-only is told apart from other troubles.
func TestReadOnlyDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skip("no disk can be mounted here: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	path := filepath.Join(dir, "hrlab.db")
	must(t, childOpen(path), syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	if _, err := Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), "read-only") || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
}

// Samples tell the load of the process, and of the GPU where nvidia-smi knows one.
func TestSamples(t *testing.T) {
	bin := t.TempDir()                                                                                                                                                 // no NVIDIA GPU is needed to see what is made of nvidia-smi's lines
	must(t, os.WriteFile(filepath.Join(bin, "nvidia-smi"), []byte("#!/bin/sh\necho \"$*\" >"+bin+"/asked\necho '[N/A], 3'\necho '37, 2048'\nexec sleep 60\n"), 0o777)) //nolint:gosec // a program
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("CUDA_VISIBLE_DEVICES", "3,4")
	s := fresh(t)
	r := start(t, s, NewRun{})
	var samples []Sample
	for i := 0; len(samples) == 0 || samples[len(samples)-1].GPU == nil; i++ {
		if i == 300 {
			t.Fatalf("no sample with a GPU after half a minute: %v", samples)
		}
		for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); { // some load
		}
		var err error
		samples, err = s.Samples(t.Context(), r.ID)
		must(t, err)
	}
	for _, a := range samples {
		if a.CPU < 1 || a.Memory < 1<<20 {
			t.Errorf("%+v", a)
		}
	}
	if g := samples[len(samples)-1].GPU; *g != (GPULoad{37, 2 << 30}) {
		t.Errorf("%+v", *g)
	}
	if asked, err := os.ReadFile(bin + "/asked"); err != nil || !strings.Contains(string(asked), "--query-gpu=utilization.gpu,memory.used ") || !strings.Contains(string(asked), " --id=3 ") {
		t.Errorf("%s %v", asked, err)
	}
}

// The owner of a run is gone when its process is, or another has its id. What cannot be known is not said.
func TestOwner(t *testing.T) {
	self := thisProcess()
	expect := func(what string, o owner, want fate) {
		t.Helper()
		if got := o.fate(self); got != want {
			t.Errorf("%s: fate %d, want %d", what, got, want)
		}
	}
	expect("this process", self, alive)
	reused := self
	reused.start -= 60
	expect("one that had this id before", reused, gone)
	ended := exec.Command("sleep", "1000")
	must(t, ended.Start())
	dead := self
	dead.pid = int64(ended.Process.Pid)
	var err error
	dead.start, err = started(dead.pid)
	must(t, err)
	expect("a process that runs", dead, alive)
	// A row of an earlier version has milliseconds since 1970.
	old := dead
	old.start, err = created(old.pid)
	must(t, err)
	if old.start < earliest || dead.start > earliest/1000 {
		t.Errorf("starts %d and %d", old.start, dead.start)
	}
	expect("one that runs, of an earlier version", old, alive)
	shifted := old
	shifted.start -= time.Hour.Milliseconds()
	expect("one that runs, of an earlier version, and the clock was set or the id is another's", shifted, unknown)
	must(t, ended.Process.Kill())
	for dead.fate(self) != gone { // nobody has waited for it: it becomes a zombie
		if t.Context().Err() != nil {
			t.Fatal("a zombie is taken for the owner")
		}
	}
	expect("a zombie, of an earlier version", old, gone)
	_ = ended.Wait()
	expect("one that has ended", dead, gone)
	expect("one that has ended, of an earlier version", old, gone)
	expect("one of another host", owner{"another host", 1, 1}, unknown)
}
