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

// Path is the path of the database's file, of a url that is a path or sqlite:PATH.
func Path(url string) (string, error) {
	scheme, path, ok := strings.Cut(url, ":")
	switch {
	case !ok || strings.ContainsAny(scheme, `/\.`):
		path = url
	case scheme != "sqlite":
		return "", fmt.Errorf("%s: unknown kind of database %q; allowed: a path, sqlite:PATH, postgres://USER@HOST/DATABASE", url, scheme)
	default:
		path = strings.TrimPrefix(path, "//")
	}
	if path == "" || path == ":memory:" {
		return "", fmt.Errorf("database %q: allowed: a path, sqlite:PATH", url)
	}
	return path, nil
}

// resolve is the absolute path of the file that a name leads to, through symbolic links, relative names and "..". What
// belongs to the database (-wal, .lock, .artifacts and more) lies beside that file, by whatever name it is opened. A
// link whose target does not exist leads to the target, which is then created, as SQLite does.
func resolve(name string) (string, error) {
	path := name
	if !filepath.IsAbs(path) {
		here, err := os.Getwd()
		if err != nil {
			return "", err
		}
		path = here + "/" + path // filepath.Join would turn "link/.." into "."
	}
	for range 40 { // as many links as Linux follows
		dir, file := filepath.Split(path)
		dir, err := filepath.EvalSymlinks(dir)
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, file)
		target, err := os.Readlink(path)
		if err != nil { // it is no link, or does not exist
			if was, err := os.Stat(name); err == nil { // a link in /proc may lead to a file that is in no directory any more
				if is, err := os.Stat(path); err != nil || !os.SameFile(was, is) {
					return "", errors.New("no directory contains this file: name one that is in a directory")
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

// ownName is the one path by which the database at path is opened. With another hard link, or a file that is mounted by
// itself, the write-ahead log would lie elsewhere, and two of them damage a database. They are noticed as far as the
// system tells.
func ownName(path string) (string, error) {
	path, err := unmounted(path)
	if err != nil || links(path) < 2 || links(path+".lock") == 1 {
		return path, err
	}
	return "", errors.New("a second name (hard link) of a database, whose files lie beside the first: use that, or a symbolic link to it")
}

// links is the number of hard links to a file, 0 if it does not exist.
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

// unmounted is the path of a file in its own directory, if path is a mount of that file alone, as in some containers.
func unmounted(path string) (string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return path, nil //nolint:nilerr // a system that has no such file
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
	return "", errors.New("mounted without its directory, where files of the database lie: mount the directory")
}

// checkFile says, in clearer words than SQLite, why a file cannot be a database.
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
	if _, err := os.Lstat(path + ".lock"); err == nil {
		return nil // opened before, perhaps by this process, whose locks would be lost if it opened and closed the file here
	}
	file, err := os.Open(path)
	if err != nil {
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
