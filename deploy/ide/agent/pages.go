package main

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"strings"
)

var (
	//go:embed pages
	pages embed.FS

	style  = mustPage("style.css")
	script = mustPage("editor.js")

	templates = parsePages("login.html", "list.html", "edit.html", "message.html")

	// Style and script stand in the page and the policy names them by hash. A
	// page on the web port could not ask for them: its paths are the user's.
	pagePolicy = "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'; style-src 'sha256-" +
		hash(style) + "'; script-src 'sha256-" + hash(script) + "'"
)

// view is what a page is made of.
type view struct {
	Title   string // what this port is
	Message string
	Bad     bool   // the message says that something went wrong
	Path    string // of the folder or file shown, in the workspace
	Inside  bool   // behind a login
	Data    any
}

// render writes a page. All pages show whose they are.
func (a *agent) render(w http.ResponseWriter, status int, name string, v view) {
	var b bytes.Buffer
	err := templates[name].ExecuteTemplate(&b, "layout.html", map[string]any{
		"View": v, "ID": a.cfg.ID, "Style": template.CSS(style), "Script": template.JS(script),
	})
	if err != nil {
		a.log.Error("page cannot be made", "container", a.cfg.ID, "page", name, "err", err)
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

// noDesktop is the page of the desktop's port.
func (a *agent) noDesktop(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		a.render(w, http.StatusNotFound, "message.html", view{Title: "Desktop", Inside: true, Bad: true, Message: "There is nothing here."})
		return
	}
	a.render(w, http.StatusOK, "message.html", view{Title: "Desktop", Inside: true,
		Message: "This container runs the slim image, which has no desktop. A container started from the full image has one here."})
}

func mustPage(name string) string {
	b, err := pages.ReadFile("pages/" + name)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func parsePages(names ...string) map[string]*template.Template {
	all := map[string]*template.Template{}
	funcs := template.FuncMap{"size": size, "steps": steps, "base": path.Base}
	for _, n := range names {
		all[n] = template.Must(template.New(n).Funcs(funcs).ParseFS(pages, "pages/layout.html", "pages/"+n))
	}
	return all
}

// size writes a number of bytes for people.
func size(n int64) string {
	f, unit := float64(n), "B"
	for _, u := range []string{"KiB", "MiB", "GiB"} {
		if f < 1024 {
			break
		}
		f, unit = f/1024, u
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, unit)
}

// steps are the folders on the way to a path, for the line above a page.
func steps(p string) []entry {
	all := []entry{{Name: "workspace", Path: ""}}
	if p == "" || p == "." {
		return all
	}
	parts := strings.Split(p, "/")
	for i, name := range parts {
		all = append(all, entry{Name: name, Path: strings.Join(parts[:i+1], "/")})
	}
	return all
}
