package tracker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Path is the file of the database at url: a path, or sqlite:PATH.
func Path(url string) (string, error) {
	scheme, path, ok := strings.Cut(url, ":")
	switch {
	case !ok || strings.ContainsAny(scheme, `/\.`):
		path = url
	case scheme != "sqlite":
		return "", fmt.Errorf("%s: unknown kind of database %q; allowed: a path, sqlite:PATH", url, scheme)
	default:
		path = strings.TrimPrefix(path, "//")
	}
	if path == "" || path == ":memory:" {
		return "", fmt.Errorf("database %q: allowed: a path, sqlite:PATH", url)
	}
	return path, nil
}

// resolve is the file that a name leads to, through links, relative names and "..": its neighbours (-wal, .lock,
// .artifacts and others') lie beside it, whatever name it is reached by. A link to nothing leads to what it would make,
// as it does for SQLite.
func resolve(name string) (string, error) {
	path := name
	if !filepath.IsAbs(path) {
		here, err := os.Getwd()
		if err != nil {
			return "", err
		}
		path = here + "/" + path // Join would take "link/.." for "."
	}
	for range 40 { // as many links as Linux follows
		dir, file := filepath.Split(path)
		dir, err := filepath.EvalSymlinks(dir)
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, file)
		target, err := os.Readlink(path)
		if err != nil { // no link, or not there
			if was, err := os.Stat(name); err == nil { // links in /proc may name what no directory has any more
				if is, err := os.Stat(path); err != nil || !os.SameFile(was, is) {
					return "", errors.New("no directory has this file: name one that has a name")
				}
			}
			return path, nil
		}
		if path = target; !filepath.IsAbs(path) {
			path = dir + "/" + target
		}
	}
	return "", syscall.ELOOP
}

// ownName is the one name of the database at path by which it is opened: what lies beside another name would be lost, and
// two write-ahead logs damage it. Links that are not followed, and mounts, are seen here as far as the system tells.
func ownName(path string) (string, error) {
	path, err := unmounted(path)
	if err != nil || links(path) < 2 || links(path+".lock") == 1 {
		return path, err
	}
	return "", errors.New("a second name (hard link) of a database, whose files lie beside the first: use that, or a symbolic link to it")
}

// links is the number of names of a file; 0 where it is not there.
func links(path string) uint64 {
	info, err := os.Lstat(path)
	if err != nil {
		return 0
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Nlink) //nolint:unconvert // other systems have other types
	}
	return 1
}

// unmounted is the name of a file within a directory, where it is mounted by itself, as containers do.
func unmounted(path string) (string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return path, nil //nolint:nilerr // a system without
	}
	type mount struct{ device, root, point string }
	var mounts []mount
	own := -1
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 4 { // proc_pid_mountinfo(5)
			if mounts = append(mounts, mount{f[2], unescape.Replace(f[3]), unescape.Replace(f[4])}); mounts[len(mounts)-1].point == path {
				own = len(mounts) - 1
			}
		}
	}
	if own < 0 {
		return path, nil
	}
	file, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	for _, m := range mounts {
		inside, ok := strings.CutPrefix(mounts[own].root, m.root)
		if !ok || inside == "" || m.device != mounts[own].device {
			continue
		}
		other := filepath.Join(m.point, inside)
		if info, err := os.Stat(other); err == nil && os.SameFile(file, info) {
			return other, nil
		}
	}
	return "", errors.New("mounted by itself, so that what lies beside it is out of sight: mount its directory")
}

// checkFile says what is wrong with a file that is no database, in clearer words than SQLite.
func checkFile(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return errors.New("a directory; name a file")
	case !info.Mode().IsRegular():
		return errors.New("not a regular file")
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return errors.New("read-only; a tracker writes, even where it only lists: copy the file, or mend its permissions")
	} else if err != nil {
		return err
	}
	defer file.Close()
	magic := []byte("SQLite format 3\x00")
	head := make([]byte, len(magic))
	if n, err := io.ReadFull(file, head); n > 0 && (err != nil || !bytes.Equal(head, magic)) {
		return errors.New("not a database")
	}
	return nil
}
