package openapi

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"

	"berth/internal/ide"
)

// pageFiles are the page that shows the document: ours, and in dist what
// `make docs-page` takes from the npm package swagger-ui-dist. A program that
// was built without has no page.
//
//go:embed page/index.html page/init.js all:page/dist
var pageFiles embed.FS

// pageRoutes says which file answers where.
var pageRoutes = map[string]string{
	"/docs":                      "page/index.html",
	"/docs/init.js":              "page/init.js",
	"/docs/swagger-ui-bundle.js": "page/dist/swagger-ui-bundle.js",
	"/docs/swagger-ui.css":       "page/dist/swagger-ui.css",
	"/docs/favicon-32x32.png":    "page/dist/favicon-32x32.png",
}

// pagePolicy lets the page load what this server has, and nothing else.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// page serves /docs and what it loads.
func (s *server) page(mux *http.ServeMux) {
	for route, name := range pageRoutes {
		mux.HandleFunc("GET "+route, s.file(name))
	}
}

func (s *server) file(name string) http.HandlerFunc {
	_, missing := pageFiles.ReadFile("page/dist/swagger-ui-bundle.js")
	content, err := pageFiles.ReadFile(name)
	sum := sha256.Sum256(content)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return func(w http.ResponseWriter, r *http.Request) {
		if err != nil || missing != nil {
			s.write(w, r, ide.Errorf(ide.NotFound, "This program was built without the API page: run make docs-page, then make build."))
			return
		}
		w.Header().Set("Content-Security-Policy", pagePolicy)
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("ETag", tag)
		http.ServeFileFS(w, r, pageFiles, name)
	}
}
