package tracker

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// person is a user of the machine, who has a group of her own and shares another one.
type person struct {
	uid, group, shared uint32
	program            string // a copy of the test's program that she may read
}

// people are two of them, and the folder of their group. Only root can run processes of other users.
func people(t *testing.T) (anna, bert person, folder string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can be two users")
	}
	dir := t.TempDir()
	const shared = 54003
	folder = filepath.Join(dir, "group")
	program := filepath.Join(dir, "tracker.test")
	must(t, os.Chmod(filepath.Dir(dir), 0o755), copyFile(os.Args[0], program), os.Chmod(program, 0o755), //nolint:gosec // for the others
		os.Mkdir(folder, 0o770), os.Chown(folder, 0, shared), os.Chmod(folder, 0o770|fs.ModeSetgid)) //nolint:gosec // a folder of a group
	must(t, os.Mkdir(filepath.Join(dir, "tmp"), 0o777), os.Chmod(filepath.Join(dir, "tmp"), 0o777|fs.ModeSticky)) //nolint:gosec // everybody's
	anna, bert = person{54001, 54001, shared, program}, person{54002, 54002, shared, program}
	look := exec.Command("/usr/bin/test", "-x", program)
	look.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: anna.uid, Gid: anna.group}}
	if err := look.Run(); err != nil {
		t.Skip("other users cannot reach the folder of temporary files: ", err)
	}
	return anna, bert, folder
}

// child is a process of hers.
func (p person) child(t *testing.T, umask, job, path string, more ...string) *exec.Cmd {
	c := exec.CommandContext(t.Context(), "/bin/sh", slices.Concat([]string{"-c", `umask "$0"; exec "$@"`, umask, p.program, path}, more)...)
	c.Env = append(os.Environ(), "HRLAB_TEST_CHILD="+job, "TMPDIR="+filepath.Join(filepath.Dir(p.program), "tmp"), "HOME=/")
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: p.uid, Gid: p.group, Groups: []uint32{p.shared}}}
	c.Stderr = os.Stderr
	return c
}

// childShare records a run, says so, and ends it when its input ends.
func childShare(path string) error {
	ctx := context.Background()
	s, err := Open(ctx, path)
	if err != nil {
		return err
	}
	r, err := s.Start(ctx, NewRun{Name: strconv.Itoa(os.Getuid())})
	if err != nil {
		return err
	}
	if err := errors.Join(r.Log(ctx, 1, map[string]float64{"m": 1}), r.LogArtifact(ctx, "same", strings.NewReader("same")),
		r.LogArtifact(ctx, "own", strings.NewReader(strconv.Itoa(os.Getuid()))), s.Backup(ctx, path+"."+strconv.Itoa(os.Getpid()))); err != nil {
		return err
	}
	fmt.Println("recorded")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	freed, err := s.GC(ctx)
	if err == nil && freed.Files > 0 {
		err = fmt.Errorf("%+v", freed)
	}
	findings, checkErr := s.Check(ctx, false)
	if len(findings) > 0 {
		err = errors.Join(err, fmt.Errorf("%v", findings))
	}
	return errors.Join(err, checkErr, r.Finish(ctx, nil, "own"), s.Close())
}

// begun starts a process and waits until it has recorded something.
func begun(t *testing.T, c *exec.Cmd) (end func()) {
	t.Helper()
	in, err := c.StdinPipe()
	must(t, err)
	out, err := c.StdoutPipe()
	must(t, err, c.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "recorded\n" {
		t.Fatalf("%q %v", line, err)
	}
	return func() { must(t, in.Close(), c.Wait()) }
}

// Two users of a group's folder record into one database at once. What is made has the permissions that umask leaves, and
// the folder's group.
func TestTwoUsers(t *testing.T) {
	anna, bert, folder := people(t)
	path := filepath.Join(folder, "hrlab.db")
	annaEnds := begun(t, anna.child(t, "002", "share", path))
	bertEnds := begun(t, bert.child(t, "002", "share", path))
	permissions(t, folder, 0o002, anna.shared)
	annaEnds()
	begun(t, anna.child(t, "002", "share", path))()
	bertEnds()
	permissions(t, folder, 0o002, anna.shared)
	s := open(t, path)
	whole(t, s)
	if runs, err := s.Runs(t.Context(), Query{Where: "status = finished"}); err != nil || len(runs) != 3 {
		t.Errorf("%+v %v", runs, err)
	}
}

// What one user keeps to herself by her umask stays so.
func TestUmask(t *testing.T) {
	for _, umask := range []string{"022", "077", "027"} {
		anna, _, folder := people(t)
		end := begun(t, anna.child(t, umask, "share", filepath.Join(folder, "hrlab.db")))
		mask, err := strconv.ParseUint(umask, 8, 32)
		must(t, err)
		permissions(t, folder, fs.FileMode(mask), anna.shared)
		end()
	}
}

// permissions fails the test where something in a folder has not those that umask leaves, or another group.
func permissions(t *testing.T, folder string, umask fs.FileMode, group uint32) {
	t.Helper()
	n := 0
	must(t, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == folder {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		n++
		want := 0o666 &^ umask
		if entry.IsDir() {
			want = (0o777 &^ umask) | fs.ModeDir | fs.ModeSetgid
		}
		if gid := info.Sys().(*syscall.Stat_t).Gid; info.Mode() != want || gid != group {
			t.Errorf("%s: %v of group %d, want %v of %d", path, info.Mode(), gid, want, group)
		}
		return nil
	}))
	if n < 8 {
		t.Errorf("%d files", n)
	}
}

// A lock that an earlier version made for its owner alone: who cannot open it is told what mends it, and reads; the owner
// mends it by opening the database.
func TestOldLock(t *testing.T) {
	anna, bert, folder := people(t)
	path := filepath.Join(folder, "hrlab.db")
	begun(t, anna.child(t, "002", "share", path))()
	for i, lock := range []string{path + ".lock", path + ".artifacts/.lock"} {
		must(t, os.Chmod(lock, 0o600))
		out, err := bert.child(t, "002", "read", path, strconv.Itoa(1+2*i)).Output()
		if err != nil || !strings.Contains(string(out), "chmod g+rw "+lock) || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%q %v", out, err)
		}
		begun(t, anna.child(t, "002", "share", path))()
		begun(t, bert.child(t, "002", "share", path))()
	}
	permissions(t, folder, 0o002, anna.shared)
}

// childRead reads everything in a database that cannot be written, tries everything that would write, and prints why
// fails. Its second argument is the number of runs that there are.
func childRead(path string) error {
	ctx := context.Background()
	s, err := Open(ctx, path)
	if err != nil {
		return err
	}
	why := s.ReadOnly()
	if why == nil {
		return errors.New("it can be written")
	}
	runs, err := s.Runs(ctx, Query{Where: "metrics.m = 1", Sort: "id"})
	if err != nil || strconv.Itoa(len(runs)) != os.Args[2] {
		return fmt.Errorf("%d runs, not %s: %w", len(runs), os.Args[2], err)
	}
	text, err := s.ReadArtifact(ctx, runs[0].ID, "same")
	if err != nil || string(text) != "same" {
		return fmt.Errorf("%q: %w", text, err)
	}
	series, err := s.Series(ctx, []int64{runs[0].ID}, nil, 0)
	if err != nil || len(series) != 1 {
		return fmt.Errorf("%v: %w", series, err)
	}
	if _, _, err := s.Watch(ctx, 0); err != nil {
		return err
	}
	if _, err := s.Diff(ctx, runs[0].ID, runs[0].ID); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the system does it some day
	if err := errors.Join(s.Backup(ctx, dir+"/copy.db"), s.ExportTensorBoard(ctx, dir+"/events", runs), s.ExportJSON(ctx, io.Discard, runs), s.ExportCSV(ctx, io.Discard, runs)); err != nil {
		return err
	}
	copied, err := Open(ctx, dir+"/copy.db")
	if err != nil {
		return err
	}
	if findings, err := copied.Check(ctx, false); err != nil || len(findings) > 0 {
		return fmt.Errorf("the backup: %v: %w", findings, err)
	}
	if err := copied.Close(); err != nil {
		return err
	}
	if findings, err := s.Check(ctx, false); err != nil || len(findings) > 0 {
		return fmt.Errorf("%v: %w", findings, err)
	}
	id := runs[0].ID
	for what, write := range map[string]func() error{
		"start":  func() error { _, err := s.Start(ctx, NewRun{}); return err },
		"resume": func() error { _, err := s.Resume(ctx, id, nil); return err },
		"tag":    func() error { return s.Tag(ctx, id, "k", "v") },
		"note":   func() error { return s.Note(ctx, id, "n") },
		"delete": func() error { return s.Delete(ctx, id) },
		"gc":     func() error { _, err := s.GC(ctx); return err },
		"import": func() error { _, _, err := s.Import(ctx, strings.NewReader("")); return err },
		"keep": func() error {
			return s.Keep(ctx, []io.Reader{strings.NewReader("x")}, func(*sql.Tx, []*File) error { return nil })
		},
		"locked": func() error { return s.Locked(ctx, func() error { return nil }) },
	} {
		if err := write(); err == nil || err.Error() != why.Error() {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	fmt.Println(why)
	return s.Close()
}

// A database that cannot be written is read, whatever keeps it from being written and however it was left. Nothing is made
// beside it, and what would write says why it cannot.
func TestReadOnly(t *testing.T) {
	for _, left := range []string{"closed", "killed", "killed, without -shm", "being written"} {
		for _, c := range []struct {
			name, want string
			freeze     func(t *testing.T, folder string)
		}{
			{"file", "hrlab.db cannot be written: permission denied (owner 54001, mode 0444)", func(t *testing.T, folder string) { must(t, os.Chmod(folder+"/hrlab.db", 0o444)) }}, //nolint:gosec // for reading
			{"folder", "nothing can be written: permission denied", func(t *testing.T, folder string) { must(t, os.Chmod(folder, 0o555)) }},                                        //nolint:gosec // for reading
			{"disk", "nothing can be written: read-only file system", func(t *testing.T, folder string) {
				mount(t, folder, folder, "", syscall.MS_BIND, "")
				must(t, syscall.Mount("", folder, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
			}},
			{"CD", "nothing can be written: ", func(t *testing.T, folder string) { // everything belongs to somebody else, and can only be read
				must(t, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
					mode := fs.FileMode(0o444)
					if entry.IsDir() {
						mode = 0o555
					}
					return errors.Join(err, os.Chown(path, 0, 0), os.Chmod(path, mode))
				}))
			}},
		} {
			t.Run(left+"/"+c.name, func(t *testing.T) {
				anna, bert, folder := people(t)
				path := filepath.Join(folder, "hrlab.db")
				runs := "1"
				begun(t, anna.child(t, "002", "share", path))()
				if left != "closed" {
					writer := anna.child(t, "002", "share", path)
					end := begun(t, writer)
					runs = "2"
					if left == "being written" {
						if c.name == "CD" {
							end()
							t.Skip("nobody writes to a CD")
						}
						defer func() { must(t, os.Chmod(folder, 0o770|fs.ModeSetgid)); end() }() //nolint:gosec // the folder of a group
					} else {
						must(t, writer.Process.Kill())
						_ = writer.Wait()
						if info, err := os.Stat(path + "-wal"); err != nil || info.Size() == 0 {
							t.Fatal("there is no log to replay: ", err)
						}
						if left == "killed, without -shm" {
							must(t, os.Remove(path+"-shm"))
						}
					}
				}
				c.freeze(t, folder)
				before := listing(t, folder)
				out, err := bert.child(t, "002", "read", path, runs).Output()
				if text := string(out); err != nil || !strings.HasPrefix(text, path+": read-only: ") || !strings.Contains(text, c.want) || strings.Count(text, "\n") != 1 {
					t.Errorf("%q %v", text, err)
				}
				if after := listing(t, folder); left != "being written" && !slices.Equal(after, before) {
					t.Errorf("now there is %q, was %q", after, before)
				}
				if left == "being written" && c.name == "disk" {
					must(t, syscall.Unmount(folder, syscall.MNT_DETACH))
				}
			})
		}
	}
}

// listing lists what is in a folder, with digests.
func listing(t *testing.T, folder string) (all []string) {
	t.Helper()
	must(t, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			var digest string
			digest, err = fileDigest(path)
			path += " " + digest
		}
		all = append(all, path)
		return err
	}))
	return all
}

// The private copy is the database at one moment, while others write it, move the log into the file and begin it anew.
func TestSnapshotWhileWriting(t *testing.T) {
	s, dir := fresh(t), t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := start(t, s, NewRun{})
	must(t, r.Log(ctx, 0, map[string]float64{"m": 0}))
	done := make(chan error)
	go func() {
		for i := int64(1); ctx.Err() == nil; i++ {
			err := r.Log(ctx, i, map[string]float64{"m": float64(i)})
			if err == nil && i%50 == 0 { // so that the log is begun anew
				_, err = s.db.writes().ExecContext(ctx, "PRAGMA wal_checkpoint(RESTART)")
			}
			if err != nil && ctx.Err() == nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for i := range 30 {
		file := filepath.Join(dir, fmt.Sprint(i, ".db"))
		must(t, s.db.(*sqlite).snapshot(ctx, file))
		// SQLite's own opinion of the copy: it is whole, and the values that its summary counts are there.
		out, err := exec.Command("python3", "-c", `import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
print(db.execute("PRAGMA integrity_check").fetchall(), db.execute("SELECT (SELECT count(*) FROM metric) = count FROM summary").fetchall())`, file).CombinedOutput()
		if text := string(out); err != nil || text != "[('ok',)] [(1,)]\n" {
			t.Fatalf("%s %v", text, err)
		}
	}
	cancel()
	must(t, <-done)
}

// A database of an earlier schema that cannot be written is read, and stays as it is.
func TestReadOnlyOldSchema(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "hrlab.db")
	must(t, copyFile("testdata/schema/1.db", path))
	before := listing(t, dir)
	mount(t, dir, dir, "", syscall.MS_BIND, "")
	must(t, syscall.Mount("", dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	s := open(t, path)
	if runs, err := s.Runs(t.Context(), Query{}); err != nil || len(runs) == 0 || s.ReadOnly() == nil {
		t.Errorf("%+v %v", runs, err)
	}
	if after := listing(t, dir); !slices.Equal(after, before) {
		t.Errorf("now there is %q, was %q", after, before)
	}
}
