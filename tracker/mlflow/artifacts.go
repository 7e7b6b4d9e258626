package mlflow

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"mime"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"hrlab/picture"
	"hrlab/tracker"
)

// maxArtifact is the largest file that is taken, in bytes.
const maxArtifact = 4 << 30

// root is where MLflow's client reads and writes the artifacts of a run: this server, which it calls mlflow-artifacts.
func root(run int64) string { return fmt.Sprintf("mlflow-artifacts:/%d", run) }

// file is an artifact, or a folder of them.
type file struct {
	Path   string `json:"path"`
	Folder bool   `json:"is_dir"`
	Size   *int64 `json:"file_size,omitempty"` // bytes; nil for a folder
}

// usable says whether an artifact's name is a path that stays below the run's folder wherever a client writes it.
func usable(name string) bool {
	return fs.ValidPath(name) && name != "." && !strings.ContainsAny(name, "\\\x00")
}

// list lists what is in a folder of a run's artifacts: files, and folders that the names of others begin with. Names are
// paths relative to the folder. The folder of the run itself is empty text.
func (s *server) list(ctx context.Context, run int64, folder string) ([]file, error) {
	artifacts, err := s.store.Artifacts(ctx, run)
	found := map[string]file{}
	for _, a := range artifacts {
		name, inside := a.Name, usable(a.Name)
		if inside && folder != "" {
			name, inside = strings.CutPrefix(name, folder+"/")
		}
		if first, _, deeper := strings.Cut(name, "/"); inside && deeper {
			found[first] = file{Path: first, Folder: true}
		} else if inside {
			found[name] = file{Path: name, Size: &a.Size}
		}
	}
	files := []file{}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		files = append(files, found[name])
	}
	return files, err
}

func (s *server) listArtifacts(ctx context.Context, in struct {
	ofRun
	Path string
},
) (any, error) {
	i, err := s.info(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	files, err := s.list(ctx, i.ID, in.Path)
	for k := range files { // here they are relative to the run's folder
		files[k].Path = path.Join(in.Path, files[k].Path)
	}
	return map[string]any{"root_uri": root(i.ID), "files": files}, err
}

func (s *server) listFiles(ctx context.Context, in struct{ Path string }) (any, error) {
	id, folder, _ := strings.Cut(in.Path, "/")
	i, err := s.info(ctx, id)
	if err != nil {
		return nil, err
	}
	files, err := s.list(ctx, i.ID, folder)
	return map[string]any{"files": files}, err
}

func (s *server) download(w http.ResponseWriter, r *http.Request) {
	i, err := s.info(r.Context(), r.PathValue("run"))
	if err != nil {
		refuse(w, err)
		return
	}
	name := r.PathValue("name")
	content, err := s.store.OpenArtifact(r.Context(), i.ID, name)
	if err != nil {
		refuse(w, err)
		return
	}
	defer content.Close()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(name)}))
	http.ServeContent(w, r, "", time.Time{}, content)
}

func (s *server) upload(w http.ResponseWriter, r *http.Request) {
	if err := s.keep(r.Context(), r.PathValue("run"), r.PathValue("name"), r.ContentLength, http.MaxBytesReader(w, r.Body, maxArtifact)); err != nil {
		refuse(w, err)
		return
	}
	send(w, http.StatusOK, none{})
}

// keep makes the content of a request an artifact of a run.
func (s *server) keep(ctx context.Context, id, name string, size int64, content io.Reader) error {
	if !usable(name) {
		return invalid("artifact %q; allowed: a path without . and .. and backslashes", name)
	}
	if size > maxArtifact {
		return &http.MaxBytesError{Limit: maxArtifact}
	}
	return s.write(ctx, id, func(r *tracker.Run) error {
		if err := r.LogArtifact(ctx, name, content); err != nil {
			return err
		}
		return s.show(ctx, r, name)
	})
}

// logged is the name that the client's log_image gives to the picture of a key at a step; a ~ in the key was a slash. Older
// clients have % for +. Beside it is a small copy, which ends in +compressed.webp.
var logged = regexp.MustCompile(`^images/(.+)[+%]step[+%](\d+)[+%]timestamp[+%]\d+[+%][0-9a-f-]+\.png$`)

// show makes an artifact that is a picture of log_image a picture of the run. One that cannot be read stays an artifact.
func (s *server) show(ctx context.Context, r *tracker.Run, name string) error {
	parts := logged.FindStringSubmatch(name)
	if parts == nil {
		return nil
	}
	step, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil {
		return nil // no step that a picture can have
	}
	s.decoding.Lock()
	defer s.decoding.Unlock()
	content, err := s.store.OpenArtifact(ctx, r.ID, name)
	if err != nil {
		return err
	}
	defer content.Close()
	p, err := picture.Read(name, content)
	if err != nil {
		return nil // no picture: it stays a file
	}
	return r.LogPicture(ctx, step, strings.ReplaceAll(parts[1], "~", "/"), p.Image)
}
