package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"hrlab/tracker/web/slider"
)

// policy is what pages may load: nothing that is not of this server, and no script or style within a page.
const policy = "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// cookie holds the token.
const cookie = "hrlab_token"

// guard checks every request before next answers it.
func (s *Server) guard(next http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, http.StatusForbidden, errors.New("the request comes from a page of another site"))
	}))
	next = origin.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		switch {
		case !s.hostAllowed(r.Host):
			s.fail(w, r, http.StatusForbidden, fmt.Errorf("host %q; allowed: an address, %s", r.Host, strings.Join(append([]string{"localhost"}, s.options.Hosts...), ", ")))
		case s.options.TokenHash == "" || s.authorized(r) || strings.HasPrefix(r.URL.Path, "/assets/"):
			if err := s.there(r.Context()); err != nil && !strings.HasPrefix(r.URL.Path, "/assets/") {
				s.Fail(w, r, err)
				return
			}
			next.ServeHTTP(w, r)
		case r.URL.Path == "/login" && r.Method == http.MethodPost:
			origin.Handler(http.HandlerFunc(s.login)).ServeHTTP(w, r)
		default:
			s.askForToken(w, r, "")
		}
	})
}

// hostAllowed says whether a request may be for this host. An address cannot be rebound, as a name can.
func (s *Server) hostAllowed(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	return name == "localhost" || net.ParseIP(name) != nil || slices.Contains(s.options.Hosts, name)
}

// TokenHash is what [Options] takes of a token.
func TokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func (s *Server) right(token string) bool {
	return subtle.ConstantTimeCompare([]byte(TokenHash(token)), []byte(s.options.TokenHash)) == 1
}

func (s *Server) authorized(r *http.Request) bool {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return s.right(token)
	}
	c, err := r.Cookie(cookie)
	return err == nil && s.right(c.Value)
}

// login sets the cookie of who knows the token.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	const enough = 4096
	r.Body = http.MaxBytesReader(w, r.Body, enough)
	token := strings.TrimSpace(r.FormValue("token"))
	if !s.right(token) {
		s.askForToken(w, r, "This is not the token.")
		return
	}
	const lasts = 30 * 24 * time.Hour
	http.SetCookie(w, &http.Cookie{Name: cookie, Value: token, Path: "/", HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode, MaxAge: int(lasts.Seconds())})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s *Server) askForToken(w http.ResponseWriter, r *http.Request, fault string) {
	w.Header().Set("WWW-Authenticate", "Bearer")
	if isAPI(r) {
		s.fail(w, r, http.StatusUnauthorized, errors.New("a token is needed: Authorization: Bearer TOKEN"))
		return
	}
	s.show(w, r, http.StatusUnauthorized, Page{Title: "Token", Template: body("login"), Data: fault})
}

// there says whether the database is of a schema that is known, and a file is still the one that it was, for SQLite would go on with
// one that was removed.
func (s *Server) there(ctx context.Context) error {
	if s.store.Server() {
		return s.store.Readable(ctx)
	}
	info, err := os.Stat(s.store.Path())
	switch {
	case err != nil:
		return fmt.Errorf("the database is gone: %w", err)
	case s.file != nil && !os.SameFile(info, s.file):
		return fmt.Errorf("%s is another file by now: start the server again", s.store.Path())
	}
	return s.store.Readable(ctx)
}

// assets serves style sheets and scripts.
func (s *Server) assets() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := path.Clean(strings.TrimPrefix(r.URL.Path, "/assets/"))
		var data []byte
		var err error
		switch name {
		case "slider.js":
			data = []byte(slider.Module)
		case "slider.css":
			data = []byte(slider.Style)
		default:
			data, err = fs.ReadFile(assetFiles, "assets/"+name)
		}
		if err != nil {
			s.Fail(w, r, notFound(r))
			return
		}
		Asset(w, r, name, data)
	})
}

// Asset answers with a style sheet or a script, which the browser asks for again only when it has changed. Its tag is a weak one,
// since that of what is compressed is the same.
func Asset(w http.ResponseWriter, r *http.Request, name string, data []byte) {
	sum := sha256.Sum256(data)
	w.Header().Set("ETag", `W/"`+hex.EncodeToString(sum[:8])+`"`)
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(data))
}

// shown are the kinds of files that a browser may show and not only save: pictures, which run no script.
var shown = []string{"image/png", "image/jpeg", "image/webp", "image/gif"}

// artifact sends a file of a run: to be saved, or with ?show, where it is a picture, to be shown.
func (s *Server) artifact(w http.ResponseWriter, r *http.Request) error {
	run, err := s.run(r)
	if err != nil {
		return err
	}
	name := r.PathValue("name")
	file, err := s.store.OpenArtifact(r.Context(), run.ID, name)
	if err != nil {
		return err
	}
	defer file.Close()
	head := make([]byte, 512)
	n, err := file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	kind := http.DetectContentType(head[:n])
	disposition := "attachment"
	if !slices.Contains(shown, kind) {
		kind = "application/octet-stream"
	} else if r.URL.Query().Has("show") {
		disposition = "inline"
	}
	saved := path.Base(name)
	if extensions := map[string]string{"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/gif": ".gif"}; path.Ext(saved) == "" {
		saved += extensions[kind]
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Disposition", mime.FormatMediaType(disposition, map[string]string{"filename": saved}))
	w.Header().Set("Cache-Control", "private, no-cache")
	http.ServeContent(w, r, "", run.Ended, file)
	return nil
}

// thumbnail sends the picture with a digest, which never changes.
func (s *Server) thumbnail(w http.ResponseWriter, r *http.Request) error {
	jpeg, err := s.store.Thumbnail(r.Context(), strings.TrimSuffix(r.PathValue("digest"), ".jpg"))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "image/jpeg")
	w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
	_, err = w.Write(jpeg)
	return ignoreGone(err)
}

// ignoreGone is nil: an answer that cannot be written has nobody who waits for it.
func ignoreGone(error) error { return nil }

// File is the address of an artifact of a run. With "?show" behind it a browser shows it where it is a picture. Slashes are
// escaped, or a browser would follow the dots of a name such as ../x.
func File(run int64, artifact string) string {
	return fmt.Sprintf("/runs/%d/files/%s", run, url.PathEscape(artifact))
}

// Thumb is the address of the thumbnail of a picture.
func Thumb(digest string) string { return "/thumbs/" + digest + ".jpg" }
