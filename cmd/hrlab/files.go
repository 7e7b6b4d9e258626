package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"hrlab/hrstyle"
	"hrlab/picture"
	"hrlab/report"
)

// loadPair loads two pictures and prints their notes: what was converted, or could not be.
func loadPair(c *console, content, style string) (hrstyle.Pair, error) {
	pair, err := hrstyle.LoadPair(content, style)
	for _, p := range []picture.Picture{pair.Content, pair.Style} {
		for _, note := range p.Notes {
			fmt.Fprintln(c.messages, p.Name, note)
		}
	}
	return pair, err
}

// readable says why a picture cannot be read. It reads nothing, since a pipe can be read only once.
func readable(path string) error {
	if path == "-" {
		return nil
	}
	info, err := os.Stat(path)
	if err == nil && info.Mode().IsRegular() {
		var file *os.File
		if file, err = os.Open(path); err == nil {
			return file.Close()
		}
	}
	if pathErr, ok := errors.AsType[*os.PathError](err); ok {
		return fmt.Errorf("%s: %w", path, pathErr.Err)
	}
	if err == nil && info.IsDir() {
		return fmt.Errorf("%s: is a directory; name a picture", path)
	}
	return err
}

// apart fails where an output would overwrite an input or another output. Empty names are ignored.
func apart(outputs, inputs []string) error {
	read, written := map[any]bool{}, map[any]bool{}
	for _, in := range inputs {
		for _, key := range fileKeys(in) {
			read[key] = in != "-"
		}
	}
	for _, out := range outputs {
		keys := fileKeys(out)
		for _, key := range keys {
			switch {
			case read[key]:
				return fmt.Errorf("%s: is read and would be overwritten; name another file", out)
			case written[key]:
				return fmt.Errorf("%s: would be written twice; name another file", out)
			}
		}
		for _, key := range keys {
			written[key] = true
		}
	}
	return nil
}

// fileKeys identify a file: its absolute path, with links in its directory followed, and where it exists its device and
// inode. There are none for an empty name.
func fileKeys(path string) (keys []any) {
	if path == "" {
		return nil
	}
	if abs, err := filepath.Abs(path); err == nil {
		if dir, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
			abs = filepath.Join(dir, filepath.Base(abs))
		}
		keys = append(keys, abs)
	}
	if info, err := os.Stat(path); err == nil {
		if file, ok := info.Sys().(*syscall.Stat_t); ok {
			keys = append(keys, [2]any{file.Dev, file.Ino})
		}
	}
	return keys
}

// linked is the file that a link leads to: writing is to replace the file, not the link.
func linked(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// temporaryFolder makes a folder for temporary files.
func temporaryFolder() (string, error) {
	dir, err := os.MkdirTemp("", "hrlab-")
	if err != nil {
		if errno, ok := errors.AsType[syscall.Errno](err); ok {
			err = errno
		}
		return "", fmt.Errorf("%s: temporary files cannot be written there: %w; set TMPDIR to a folder that can be written", os.TempDir(), err)
	}
	return dir, nil
}

// checkTemporary checks that the compiler and the kernel can write temporary files.
func checkTemporary() error {
	dir, err := temporaryFolder()
	if err != nil {
		return err
	}
	return os.Remove(dir)
}

// stem is a file's name without directory and extension.
func stem(path string) string {
	if path == "-" {
		return "stdin"
	}
	base := filepath.Base(path)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

// option is a flag with its value for a POSIX shell. A value that begins with two hyphens would be taken for a flag.
func option(name, value string) string {
	if strings.HasPrefix(value, "--") {
		return "--" + name + "=" + quote(value)
	}
	return "--" + name + " " + quote(value)
}

// quote quotes a word for a POSIX shell where it needs to be.
func quote(s string) string { return report.Quote(s) }
