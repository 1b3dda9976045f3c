package main

import (
	"crypto/subtle"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"

	"berth/internal/ide"
)

// web is the user's web server where nobody can start one, and where nobody has:
// it serves the workspace's public folder, or the workspace itself when that has
// an index.html, read-only. Without either nothing is there, and it says so in
// the words the control plane knows.
func (a *agent) web(w http.ResponseWriter, r *http.Request) {
	if a.byPerson(r) {
		a.touch("web")
	}
	a.show(w, r)
}

// show is web without a look at who asks.
func (a *agent) show(w http.ResponseWriter, r *http.Request) {
	site, ok := a.site()
	if !ok {
		message := "No web server is running yet. Put an index.html into the workspace, or into its public folder, and it appears here."
		if a.cfg.Image.full() {
			message = "No web server is running yet. Start one on port 3000, or put an index.html into the workspace or into its public folder, and it appears here."
		}
		w.Header().Set(ide.NoServerHeader, "1")
		a.render(w, http.StatusBadGateway, "message.html", view{Title: "Web server", Message: message})
		return
	}
	defer site.root.Close()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "These files can only be read.", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Berth-Container", a.cfg.ID)
	w.Header().Set("Cache-Control", "no-cache") // the next save must show
	http.FileServerFS(site).ServeHTTP(w, r)
}

// byPerson says whether a request on the web port is somebody's visit, and not
// a look whether it answers. Only the control plane knows how to mark its own.
func (a *agent) byPerson(r *http.Request) bool {
	mark := r.Header.Get(ide.ProbeHeader)
	probe := a.cfg.Probe != "" && subtle.ConstantTimeCompare([]byte(mark), []byte(a.cfg.Probe)) == 1
	return r.URL.Path != healthPath && !probe
}

func (a *agent) hasSite() bool {
	site, ok := a.site()
	if ok {
		site.root.Close()
	}
	return ok
}

// site opens what there is to serve; the caller closes it.
func (a *agent) site() (siteFS, bool) {
	for _, dir := range []string{"public", "."} {
		info, err := a.root.Stat(path.Join(dir, "index.html"))
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		if root, err := a.root.OpenRoot(dir); err == nil {
			return siteFS{root}, true
		}
	}
	return siteFS{}, false
}

// siteFS is a folder as the world may see it: regular files and folders with an
// index.html, and nothing whose name begins with a dot (.env, .git).
type siteFS struct{ root *os.Root }

// Open implements fs.FS.
func (s siteFS) Open(name string) (fs.File, error) {
	missing := &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") && part != "." {
			return nil, missing
		}
	}
	info, err := s.root.Stat(name)
	if err == nil && info.IsDir() {
		_, err = s.root.Stat(path.Join(name, "index.html"))
	} else if err == nil && !info.Mode().IsRegular() {
		err = missing
	}
	if err != nil {
		return nil, missing
	}
	return s.root.Open(name)
}
