package main

import (
	"errors"
	"fmt"
	"image"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hrlab/picture"
)

// place is the file that a result goes to. A file that the person named is written over. A name that was made up never is that of
// a file that is there: it gets a number.
type place struct {
	path string
	made string // the made-up name, without a number; empty where the person named the file
}

// checkpointName is what the names of checkpoints end in, before the extension.
const checkpointName = ".checkpoint"

// newPlace places a result where the person wants it: given is a file or -, or a folder, in which the result gets the name made,
// or empty, for that name in the working directory. A folder that ends in / is made where it is missing.
func newPlace(given, made string) (place, error) {
	if given != "" && !isFolder(given) {
		return place{path: given}, nil
	}
	if given != "" {
		if err := os.MkdirAll(given, 0o777); err != nil {
			return place{}, err
		}
	}
	path := filepath.Join(given, made)
	return place{unused(path, nil), path}, nil
}

// isFolder says whether a name is that of a folder: it is one, or ends in /.
func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir() || strings.HasSuffix(path, "/")
}

// unused is path, or where that is there, or among others, the first of NAME_2.EXT, NAME_3.EXT … that is not.
func unused(path string, others []string) string {
	extension := filepath.Ext(path)
	if name := strings.TrimSuffix(path, extension); strings.HasSuffix(name, checkpointName) {
		extension = checkpointName + extension
	}
	for n, name := 1, path; ; n++ {
		if n > 1 {
			name = fmt.Sprintf("%s_%d%s", strings.TrimSuffix(path, extension), n, extension)
		}
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) && !slices.Contains(others, name) || err != nil && !errors.Is(err, fs.ErrNotExist) {
			return name // an error of another kind will come up again when it is written
		}
	}
}

// write writes the result by save. A made-up name that another process took in the meantime gets the next number.
func (p *place) write(save func(path string) error) error {
	if p.made == "" {
		return save(p.path)
	}
	for {
		file, err := os.OpenFile(p.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
		if err == nil {
			file.Close()
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return save(p.path) // which fails too, and says why
		}
		p.path = unused(p.made, nil)
	}
	err := save(p.path)
	if err != nil {
		_ = os.Remove(p.path)
	}
	return err
}

// encoded returns what writes a picture to a place. It encodes a picture whose name was made up at once, before [place.write]
// takes the name by an empty file: a large one takes seconds, and a kill meanwhile would leave that file.
func (p place) encoded(img image.Image, how picture.Encoding) (save func(path string) error) {
	if p.made == "" {
		return func(path string) error { return picture.Save(path, img, how) }
	}
	data, err := how.Encode(filepath.Ext(p.made), img)
	return func(path string) error {
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return picture.WriteFile(path, data)
	}
}

// endsIn refuses a file whose name has another extension than these.
func endsIn(path string, extensions ...string) error {
	if extension := filepath.Ext(path); extension == "" || slices.Contains(extensions, strings.ToLower(extension)) {
		return nil
	}
	return fmt.Errorf("%s: unknown extension %q; allowed: %s", path, filepath.Ext(path), strings.Join(extensions, ", "))
}
