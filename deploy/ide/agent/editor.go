package main

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"
)

// errForm is a form that does not parse.
var errForm = errors.New("read form")

// editor is the small file editor on the code port. It works without scripts;
// the one it has saves on Ctrl+S and warns before work is lost.
//
//	GET  /?path=     a folder's list, or a file
//	GET  /raw?path=  a file as a download
//	POST /save       path, base, text
//	POST /new        dir, name, kind (file or folder)
//	POST /delete     path
func (a *agent) editor() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.browse)
	mux.HandleFunc("GET /raw", a.download)
	mux.HandleFunc("POST /save", a.change(a.saveFile))
	mux.HandleFunc("POST /new", a.change(a.newFile))
	mux.HandleFunc("POST /delete", a.change(a.deleteFile))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { a.failed(w, r, errMissing) })
	return mux
}

// folder is a folder as its page shows it.
type folder struct {
	Path    string
	Entries []entry
	More    bool // there are more than are shown
}

func (a *agent) browse(w http.ResponseWriter, r *http.Request) {
	p, err := clean(r.URL.Query().Get("path"))
	if err != nil {
		a.failed(w, r, err)
		return
	}
	info, err := a.root.Stat(p)
	if err != nil {
		a.failed(w, r, known(err))
		return
	}
	v := view{Title: "Editor", Path: p, Inside: true}
	if info.IsDir() {
		entries, more, err := a.list(p)
		if err != nil {
			a.failed(w, r, err)
			return
		}
		v.Data = folder{Path: p, Entries: entries, More: more}
		a.render(w, http.StatusOK, "list.html", v)
		return
	}
	doc, err := a.read(p)
	if err != nil {
		a.failed(w, r, err)
		return
	}
	if r.URL.Query().Has("saved") {
		v.Message = "Saved."
	}
	v.Data = doc
	a.render(w, http.StatusOK, "edit.html", v)
}

// download hands a file out as data: what is in the workspace must not run as a
// page of the editor's own host, which holds the session.
func (a *agent) download(w http.ResponseWriter, r *http.Request) {
	p, err := clean(r.URL.Query().Get("path"))
	if err != nil {
		a.failed(w, r, err)
		return
	}
	f, info, err := a.openRegular(p)
	if err != nil {
		a.failed(w, r, err)
		return
	}
	defer f.Close()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(p)}))
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, "", info.ModTime(), f)
}

// change wraps what writes: a bounded form, a redirect when it went well, and
// the note that somebody works here.
func (a *agent) change(do func(form url.Values) (to string, err error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		// Every byte of a text may take three in a form, and line ends double.
		r.Body = http.MaxBytesReader(w, r.Body, 6*maxEdit)
		if err := r.ParseForm(); err != nil {
			a.failed(w, r, fmt.Errorf("%w: %w", errForm, err))
			return
		}
		to, err := do(r.PostForm)
		switch {
		case errors.Is(err, errChanged):
			a.conflict(w, r.PostForm)
			return
		case err != nil:
			a.failed(w, r, err)
			return
		}
		a.touch("editor")
		http.Redirect(w, r, to, http.StatusSeeOther)
	}
}

func (a *agent) saveFile(form url.Values) (string, error) {
	p, err := clean(form.Get("path"))
	if err != nil {
		return "", err
	}
	return at(p) + "&saved", a.save(p, form.Get("base"), form.Get("text"))
}

// conflict shows the text that was not saved, with the present file as the base
// of the next try: nothing typed is lost, and nothing is overwritten unseen.
func (a *agent) conflict(w http.ResponseWriter, form url.Values) {
	doc, _ := a.read(form.Get("path"))
	doc.Path, doc.Text, doc.Editable = form.Get("path"), form.Get("text"), true
	a.render(w, http.StatusConflict, "edit.html", view{
		Title: "Editor", Path: doc.Path, Inside: true, Data: doc, Bad: true,
		Message: "The file has changed since you opened it. This is your text, not saved yet: saving again replaces the other.",
	})
}

func (a *agent) newFile(form url.Values) (string, error) {
	dir, err := clean(form.Get("dir"))
	if err != nil {
		return "", err
	}
	p, err := clean(path.Join(dir, strings.Trim(form.Get("name"), " /")))
	if err != nil || p == dir {
		return "", errPath
	}
	return at(p), a.create(p, form.Get("kind") == "folder")
}

func (a *agent) deleteFile(form url.Values) (string, error) {
	p, err := clean(form.Get("path"))
	if err != nil {
		return "", err
	}
	return at(path.Dir(p)), a.remove(p)
}

// at is the address of a file or folder in the editor.
func at(p string) string { return "/?" + url.Values{"path": {p}}.Encode() }

// failed shows what is wrong. A system's error is logged and not shown.
func (a *agent) failed(w http.ResponseWriter, r *http.Request, err error) {
	var tooBig *http.MaxBytesError
	status, message := http.StatusInternalServerError, "That did not work. The container's log says why."
	switch {
	case errors.As(err, &tooBig):
		status, message = http.StatusRequestEntityTooLarge, "The text is too long for this editor."
	case errors.Is(err, errForm):
		status, message = http.StatusBadRequest, "This form cannot be read."
	case errors.Is(err, errMissing):
		status, message = http.StatusNotFound, "There is no such file."
	case errors.Is(err, errPath):
		status, message = http.StatusBadRequest, "This is not a path inside the workspace."
	case errors.Is(err, errSpecial):
		status, message = http.StatusBadRequest, "This is not a regular file."
	case errors.Is(err, errExists):
		status, message = http.StatusConflict, "A file or folder of this name is already there."
	default:
		a.log.Error("editor request failed", "container", a.cfg.ID, "path", r.URL.Path, "err", err)
	}
	a.render(w, status, "message.html", view{Title: "Editor", Inside: true, Bad: true, Message: message})
}
