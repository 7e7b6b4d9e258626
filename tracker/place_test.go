package tracker

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gofrs/flock"
)

// mount mounts for the time of the test, or skips it.
func mount(t *testing.T, from, to, kind string, flags uintptr, data string) {
	t.Helper()
	if err := syscall.Mount(from, to, kind, flags, data); err != nil {
		t.Skip("nothing can be mounted here: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(to, syscall.MNT_DETACH) })
}

// A database is the same one, with all that lies beside it, by whatever name it is reached.
func TestSameByEveryName(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	disk, here := filepath.Join(dir, "disk"), filepath.Join(dir, "here")
	path := filepath.Join(disk, "real", "hrlab.db")
	must(t, os.MkdirAll(filepath.Dir(path), 0o777), os.MkdirAll(filepath.Join(here, "sub"), 0o777)) //nolint:gosec // directories
	t.Chdir(here)
	must(t, os.Symlink(path, "file.db"), os.Symlink("file.db", "twice.db"), os.Symlink("../disk/real/hrlab.db", "relative.db"), os.Symlink(filepath.Dir(path), "folder"),
		os.Symlink("../disk/real/../real/hrlab.db", "dots.db"))
	first := open(t, path)
	r := start(t, first, NewRun{Name: "r"})
	must(t, r.LogArtifact(t.Context(), "a", strings.NewReader("content")))
	file, err := os.Open(path)
	must(t, err)
	defer file.Close()
	names := map[string]string{
		"absolute": path, "a link": filepath.Join(here, "file.db"), "a relative name of a link": "file.db", "a link to a link": "./twice.db", "a relative link": "relative.db",
		"a link with dots": "sub/../dots.db", "a link to a directory": "folder/hrlab.db", "dots behind a link": "folder/../real/hrlab.db", "sqlite:": "sqlite:file.db",
		"a relative name": "../disk/real/hrlab.db", "slashes": "..//disk/./real///hrlab.db", "an open file": "/proc/self/fd/" + strconv.Itoa(int(file.Fd())),
	}
	mounted := t.Run("mount", func(t *testing.T) {
		must(t, os.WriteFile("mounted.db", nil, 0o666), os.Mkdir("mounted", 0o777)) //nolint:gosec // a directory
		mount(t, path, filepath.Join(here, "mounted.db"), "", syscall.MS_BIND, "")
		if s, err := Open(t.Context(), "mounted.db"); err != nil || s.Path() != path {
			t.Error(s, err)
		} else {
			must(t, s.Close())
		}
		mount(t, filepath.Dir(path), filepath.Join(here, "mounted"), "", syscall.MS_BIND, "")
		s := open(t, "mounted/hrlab.db") // its neighbours are there too
		if text, err := s.ReadArtifact(t.Context(), r.ID, "a"); err != nil || string(text) != "content" {
			t.Errorf("%q %v", text, err)
		}
	})
	must(t, os.RemoveAll("mounted.db"), os.RemoveAll("mounted"))
	before := tree(t, here)
	for what, name := range names {
		t.Run(what, func(t *testing.T) {
			given := strings.TrimPrefix(name, "sqlite:")
			if a, err := os.Stat(given); err != nil {
				t.Fatal(err)
			} else if b, err := os.Stat(path); err != nil || !os.SameFile(a, b) {
				t.Fatal("the system takes it for another file")
			}
			s := open(t, name)
			if s.Path() != path {
				t.Errorf("%s, want %s", s.Path(), path)
			}
			if text, err := s.ReadArtifact(t.Context(), r.ID, "a"); err != nil || string(text) != "content" {
				t.Errorf("%q %v", text, err)
			}
			own := start(t, s, NewRun{Name: what})
			must(t, own.LogArtifact(t.Context(), "a", strings.NewReader(what)), own.Finish(t.Context(), nil))
			if text, err := first.ReadArtifact(t.Context(), own.ID, "a"); err != nil || string(text) != what {
				t.Errorf("%q %v", text, err)
			}
			must(t, first.Locked(t.Context(), func() error {
				if free, err := flock.New(s.Path() + ".lock").TryLock(); err != nil || free {
					t.Errorf("its lock is free: %v", err)
				}
				return nil
			}))
			whole(t, s)
			copied := filepath.Join(t.TempDir(), "copy.db")
			must(t, s.Backup(t.Context(), copied))
			if text, err := open(t, copied).ReadArtifact(t.Context(), own.ID, "a"); err != nil || string(text) != what {
				t.Errorf("%q %v", text, err)
			}
		})
	}
	if after := tree(t, here); mounted && !slices.Equal(after, before) {
		t.Errorf("beside the links is now %q, was %q", after, before)
	}
	whole(t, first)
}

// tree lists what is below a directory.
func tree(t *testing.T, dir string) (paths []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	}))
	return paths
}

// Other kinds of databases, and those without a file, are refused.
func TestURLs(t *testing.T) {
	for url, want := range map[string]string{"mysql://x": `unknown kind of database "mysql"`, "": "allowed: a path", ":memory:": "allowed: a path"} {
		if _, err := Open(t.Context(), url); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// A link to nothing makes the file that it names, as SQLite does, and all else beside that.
func TestDanglingLink(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	must(t, os.Mkdir(filepath.Join(dir, "disk"), 0o777)) //nolint:gosec // a directory
	for name, make := range map[string]func(link string) error{
		"sqlite.db": func(link string) error {
			_, err := exec.Command("python3", "-c", "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('create table t (a)')", link).Output()
			return err
		},
		"tracker.db": childOpen,
	} {
		link, target := filepath.Join(dir, name), filepath.Join(dir, "disk", name)
		must(t, os.Symlink("disk/"+name, link), make(link))
		if info, err := os.Stat(target); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("%s is no link any more: %v", name, err)
		}
	}
	if beside, _ := filepath.Glob(filepath.Join(dir, "tracker.db*")); len(beside) != 1 {
		t.Errorf("beside the link: %q", beside)
	}
}

// Any name that a file system takes is a name of a database, and messages about it are one line.
func TestOddDatabaseNames(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	for _, name := range []string{"ä漢\u0301.db", "a b.db", "100%20.db", "what?.db", "a#b.db", "it's \"x\".db", "a&b=c.db", "new\nline.db", "-.db", "bad\xff.db", strings.Repeat("漢", 70) + ".db", " ", "a\\b"} {
		path := filepath.Join(dir, name)
		s, err := Open(ctx, path)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		r := start(t, s, NewRun{Name: name})
		must(t, r.LogArtifact(ctx, name, strings.NewReader("x")), r.Finish(ctx, nil), s.Backup(ctx, path+"2"), s.Close())
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%q: %v", name, err)
		}
		copied, err := Open(ctx, path+"2")
		must(t, err)
		if text, err := copied.ReadArtifact(ctx, r.ID, name); err != nil || string(text) != "x" {
			t.Errorf("%q: %q %v", name, text, err)
		}
		if _, err := copied.Run(ctx, "never"); err == nil {
			t.Errorf("%q: there is no such run", name)
		}
		must(t, copied.Close())
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 13*6 { // each with .lock and .artifacts, and so its copy
		t.Errorf("%d files: %v", len(entries), err)
	}
}

// Names by which a database would lose what lies beside it are refused in one line, and nothing is made.
func TestRefusedNames(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	t.Chdir(dir)
	must(t, childOpen("real.db"), os.Link("real.db", "second.db"), os.Symlink("loop.db", "loop.db"), os.Symlink("second.db", "tosecond.db"), os.Symlink("none/x.db", "nowhere.db"),
		os.WriteFile("gone.db", nil, 0o666), os.WriteFile("file", nil, 0o666), os.Symlink("/dev/null", "device.db"))
	gone, err := os.Open("gone.db")
	must(t, err, os.Remove("gone.db"))
	defer gone.Close()
	before := tree(t, dir)
	for name, want := range map[string]string{
		"second.db":   "a second name (hard link) of a database",
		"tosecond.db": "a second name (hard link) of a database",
		"loop.db":     "too many", "nowhere.db": "no such file or directory", "none/../real.db": "no such file or directory", "file/x.db": "not a directory",
		"/proc/self/fd/" + strconv.Itoa(int(gone.Fd())): "no directory contains this file", "device.db": "not a regular file", "./": "a directory",
	} {
		if _, err := Open(t.Context(), name); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	if after := tree(t, dir); !slices.Equal(after, before) {
		t.Errorf("now there is %q, was %q", after, before)
	}
	must(t, childOpen("real.db")) // by the name that its files lie beside it is still there
	t.Run("mount", func(t *testing.T) {
		// Nothing shows the directory of a file whose disk is unmounted elsewhere.
		must(t, os.Mkdir("disk", 0o777), os.WriteFile("alone.db", nil, 0o666)) //nolint:gosec // a directory
		mount(t, "tmpfs", "disk", "tmpfs", 0, "size=4m")
		must(t, childOpen("disk/x.db"))
		mount(t, "disk/x.db", "alone.db", "", syscall.MS_BIND, "")
		must(t, syscall.Unmount("disk", syscall.MNT_DETACH))
		if _, err := Open(t.Context(), "alone.db"); err == nil || !strings.Contains(err.Error(), "mounted without its directory") || strings.Contains(err.Error(), "\n") {
			t.Error(err)
		}
	})
}

// What an earlier version left beside a link is found by the link.
func TestArtifactsBesideLink(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "real.db"), filepath.Join(dir, "link.db")
	must(t, os.Symlink("real.db", link))
	s := open(t, link)
	r := start(t, s, NewRun{})
	must(t, r.LogArtifact(t.Context(), "a", strings.NewReader("content")), os.Rename(path+".artifacts", link+".artifacts"))
	if text, err := s.ReadArtifact(t.Context(), r.ID, "a"); err != nil || string(text) != "content" {
		t.Errorf("%q %v", text, err)
	}
	whole(t, s)
	copied := filepath.Join(dir, "copy.db")
	must(t, s.Backup(t.Context(), copied))
	whole(t, open(t, copied))
	byName := open(t, path)
	if findings := check(t, byName); len(findings) != 1 || !findings[0].Missing || findings[0].Repair != "" {
		t.Errorf("%v", findings)
	}
	if freed, err := byName.GC(t.Context()); err != nil || freed.Files != 0 {
		t.Errorf("%+v %v", freed, err)
	}
	whole(t, s)
}

// The directory of artifacts may be a link to another disk.
func TestLinkedArtifacts(t *testing.T) {
	s, disk := fresh(t), t.TempDir()
	must(t, os.Symlink(disk, dir(s).path))
	r := start(t, s, NewRun{})
	must(t, r.LogArtifact(t.Context(), "a", strings.NewReader("content")))
	if text, err := s.ReadArtifact(t.Context(), r.ID, "a"); err != nil || string(text) != "content" {
		t.Errorf("%q %v", text, err)
	}
	whole(t, s)
	must(t, os.WriteFile(filepath.Join(disk, temporary+"1"), []byte("left"), 0o666))
	if findings := check(t, s); len(findings) != 1 || !findings[0].Leftover {
		t.Errorf("%v", findings)
	}
	if freed, err := s.GC(t.Context()); err != nil || freed.Files != 1 {
		t.Errorf("%+v %v", freed, err)
	}
	whole(t, s)
}

// A directory of artifacts that was moved away can be moved back: who looks for files, or frees some, makes none in its
// place.
func TestDirectoryPutBack(t *testing.T) {
	s, ctx := fresh(t), t.Context()
	r := start(t, s, NewRun{})
	must(t, r.LogArtifact(ctx, "a", strings.NewReader("content")), r.LogArtifact(ctx, "b", strings.NewReader("other")))
	away := s.Path() + ".away"
	must(t, os.Rename(dir(s).path, away))
	if _, err := s.ReadArtifact(ctx, r.ID, "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if findings := check(t, s); len(findings) != 2 || !findings[0].Missing {
		t.Errorf("%v", findings)
	}
	if err := s.Backup(ctx, s.Path()+".copy"); err == nil {
		t.Error("a backup without files says nothing")
	}
	must(t, r.Finish(ctx, nil, "b"))
	if freed, err := s.GC(ctx); err != nil || freed.Files != 0 {
		t.Errorf("%+v %v", freed, err)
	}
	if _, err := os.Lstat(dir(s).path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in place of the directory: %v", err)
	}
	must(t, os.RemoveAll(dir(s).path), os.Rename(away, dir(s).path))
	if freed, err := s.GC(ctx); err != nil || freed.Files != 1 {
		t.Errorf("%+v %v", freed, err)
	}
	whole(t, s)
}

// What keeps an artifact from being written is told in the same words each time.
func TestReadOnlyArtifacts(t *testing.T) {
	s, ctx := fresh(t), t.Context()
	r := start(t, s, NewRun{})
	must(t, r.LogArtifact(ctx, "a", strings.NewReader("content")))
	mount(t, dir(s).path, dir(s).path, "", syscall.MS_BIND, "")
	must(t, syscall.Mount("", dir(s).path, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	first, second := r.LogArtifact(ctx, "b", strings.NewReader("b")), r.LogArtifact(ctx, "b", strings.NewReader("b"))
	if !errors.Is(first, syscall.EROFS) || second == nil || first.Error() != second.Error() {
		t.Errorf("%v\n%v", first, second)
	}
	whole(t, s)
}
