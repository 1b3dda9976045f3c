// Package dashboard is what an operator looks at: the page that is built from
// dashboard/web, and beside it the queue's own.
package dashboard

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"berth/internal/ide"
)

// Path is where the dashboard is.
const Path = "/dashboard"

// dist is what `make ui` has built; without it the program has no dashboard.
//
//go:embed all:dist
var dist embed.FS

// policy lets the page load what this server has, and nothing that stands in
// it; no text becomes markup or a script (Trusted Types).
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// unbuilt is the answer of a program without the page.
const unbuilt = "This program was built without the dashboard: run make ui, then make build."

// file is one of the page's, in both encodings.
type file struct {
	kind   string // content type
	plain  []byte
	zipped []byte // nil where it would not be smaller
	tag    string
	fixed  bool // its name has a hash of its content
}

// site is the page: each of its files at its path, and every other path below
// Path is one of its views.
type site struct {
	files  map[string]file
	refuse func(http.ResponseWriter, *http.Request, error)
}

// New returns the page's handler. refuse answers with an error.
func New(refuse func(http.ResponseWriter, *http.Request, error)) (http.Handler, error) {
	files, err := own()
	return &site{files, refuse}, err
}

// own has the program's own files, which are compressed once.
var own = sync.OnceValues(func() (map[string]file, error) {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		return nil, err
	}
	return read(files)
})

// read returns all files by their path, compressed.
func read(files fs.FS) (map[string]file, error) {
	all := map[string]file{}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") {
			return err
		}
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		all[name], err = load(name, content)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the dashboard's files: %w", err)
	}
	return all, nil
}

// kinds are content types that not every machine's table has.
var kinds = map[string]string{
	".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8", ".svg": "image/svg+xml",
	".woff2": "font/woff2", ".webmanifest": "application/manifest+json", ".txt": "text/plain; charset=utf-8", ".json": "application/json", ".png": "image/png",
}

func load(name string, content []byte) (file, error) {
	ext := path.Ext(name)
	f := file{kind: kinds[ext], plain: content, fixed: strings.HasPrefix(name, "assets/")}
	if f.kind == "" {
		f.kind = mime.TypeByExtension(ext)
	}
	if f.kind == "" {
		f.kind = "application/octet-stream"
	}
	sum := sha256.Sum256(content)
	f.tag = hex.EncodeToString(sum[:8])
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return f, err
	}
	if _, err := w.Write(content); err != nil {
		return f, err
	}
	if err := w.Close(); err != nil {
		return f, err
	}
	if out.Len() < len(content) {
		f.zipped = out.Bytes()
	}
	return f, nil
}

// ServeHTTP implements http.Handler. A path that names a file which is not
// there is no view: a browser that is given the page in the place of a script
// says something that helps nobody.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, built := s.files["index.html"]; !built {
		s.refuse(w, r, ide.Errorf(ide.NotFound, unbuilt))
		return
	}
	name := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, Path), "/")
	f, ok := s.files[name]
	switch {
	case ok:
	case strings.HasPrefix(name, "assets/") || path.Ext(name) != "":
		s.refuse(w, r, ide.Errorf(ide.NotFound, "The dashboard has no such file."))
		return
	default:
		f = s.files["index.html"]
	}
	f.serve(w, r)
}

func (f file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", "no-cache")
	if f.fixed {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	body, tag := f.plain, f.tag
	if f.zipped != nil {
		h.Set("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header.Get("Accept-Encoding")) {
			h.Set("Content-Encoding", "gzip")
			body, tag = f.zipped, f.tag+"-gz"
		}
	}
	h.Set("ETag", `"`+tag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// acceptsGzip reads Accept-Encoding (RFC 9110, section 12.5.3).
func acceptsGzip(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		coding, weight, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			weight = strings.ReplaceAll(weight, " ", "")
			return strings.Trim(strings.TrimPrefix(weight, "q="), "0.") != "" || weight == ""
		}
	}
	return false
}
