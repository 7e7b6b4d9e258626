package tracker

import (
	"bufio"
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
	"testing"
	"time"
)

// TestMain is also the other processes of the tests: HRLAB_TEST_CHILD names what to do with the database that is the
// first argument.
func TestMain(m *testing.M) {
	if job := os.Getenv("HRLAB_TEST_CHILD"); job != "" {
		if err := map[string]func(path string) error{"open": childOpen, "log": childLog, "write": childWrite, "idle": childIdle, "import": childImport, "keep": childKeep, "share": childShare, "read": childRead}[job](os.Args[1]); err != nil {
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
	_, _, err = s.Import(context.Background(), os.Stdin)
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
func (db suite) openAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector, which -short is for, sees nothing between processes")
	}
	for range rounds(30, 200) {
		many(t, 8, "open", db.empty(t))
	}
}

// Eight processes write 2,000 steps each into one database.
func (db suite) logAtOnce(t *testing.T) {
	url := db.empty(t)
	many(t, 8, "log", url)
	s := open(t, url)
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
		r, err := s.Resume(t.Context(), id, nil)
		must(t, err)
		must(t, r.Log(t.Context(), 1_000_000, map[string]float64{"m": 1}), r.Finish(t.Context(), nil), s.Close())
	}
}

// Where the process is killed while it writes the files, or before it commits, there are no runs, and gc frees the
// files.
func TestKeepKilled(t *testing.T) {
	for _, named := range []bool{false, true} {
		t.Run(fmt.Sprint("named ", named), func(t *testing.T) {
			s, ctx := fresh(t), t.Context()
			c := child(ctx, "keep", s.Path())
			in, err := c.StdinPipe()
			must(t, err)
			out, err := c.StdoutPipe()
			must(t, err, c.Start())
			_, err = io.WriteString(in, "half")
			must(t, err)
			if named {
				must(t, in.Close())
				line, err := bufio.NewReader(out).ReadString('\n')
				if err != nil || line != "named\n" {
					t.Fatal(line, err)
				}
			} else {
				for digests, unnamed := kept(t, s); len(digests) == 0 || unnamed == 0; digests, unnamed = kept(t, s) { // until it writes the second
				}
			}
			must(t, c.Process.Kill())
			_ = c.Wait()
			if runs, err := s.Runs(ctx, Query{Deleted: true}); err != nil || len(runs) > 0 {
				t.Errorf("%+v %v", runs, err)
			}
			if findings := check(t, s); len(findings) != 2 || !findings[0].Leftover || !findings[1].Leftover {
				t.Errorf("%v", findings)
			}
			if freed, err := s.GC(ctx); err != nil || freed.Files != 2 {
				t.Errorf("%+v %v", freed, err)
			}
			whole(t, s)
		})
	}
}

// Of an import that is killed nothing is to be seen, and gc frees what is left.
func TestImportKilled(t *testing.T) {
	text := export(t)
	path := filepath.Join(t.TempDir(), "hrlab.db")
	s := open(t, path)
	c := child(t.Context(), "import", path)
	in, err := c.StdinPipe()
	must(t, err, c.Start())
	_, err = io.WriteString(in, text)
	must(t, err)
	for { // until the last line is there
		all, err := s.Runs(t.Context(), Query{Deleted: true})
		must(t, err)
		if len(all) == 1 {
			artifacts, err := s.Artifacts(t.Context(), all[0].ID)
			must(t, err)
			if visible, err := s.Runs(t.Context(), Query{}); err != nil || len(visible) > 0 {
				t.Fatal(visible, err)
			}
			if len(artifacts) == 1 {
				break
			}
		}
	}
	if freed, err := s.GC(t.Context()); err != nil || freed.Runs > 0 { // it is being written
		t.Errorf("%+v %v", freed, err)
	}
	must(t, c.Process.Kill())
	_ = c.Wait()
	if runs, err := s.Runs(t.Context(), Query{}); err != nil || len(runs) > 0 {
		t.Errorf("%+v %v", runs, err)
	}
	imported(t, s, text)
	if freed, err := s.GC(t.Context()); err != nil || freed.Runs != 1 {
		t.Errorf("%+v %v", freed, err)
	}
	whole(t, s)
}
