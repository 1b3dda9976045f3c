package swarmtest

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
)

// manifest is the part of an image's tar that says what it is called.
const manifest = "manifest.json"

// OfferImage has a registry give an image.
func (s *Server) OfferImage(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offered[name] = true
}

func imageTar(name string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	text, err := json.Marshal([]map[string][]string{{"RepoTags": {name}}})
	if err == nil {
		err = w.WriteHeader(&tar.Header{Name: manifest, Mode: 0o644, Size: int64(len(text))})
	}
	if err == nil {
		_, err = w.Write(text)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		panic(err) // nothing but memory is written to
	}
	return b.Bytes()
}

// namesIn reads what the images of a tar stream are called.
func namesIn(r io.Reader) ([]string, error) {
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if err != nil {
			return nil, err
		}
		if h.Name != manifest {
			continue
		}
		var list []struct{ RepoTags []string }
		if err := json.NewDecoder(t).Decode(&list); err != nil {
			return nil, err
		}
		var names []string
		for _, i := range list {
			names = append(names, i.RepoTags...)
		}
		return names, nil
	}
}

func (s *Server) serveImages(c request) bool {
	query := c.r.URL.Query()
	switch {
	case c.r.Method == http.MethodGet && c.kind == "distribution":
		status, said := http.StatusNotFound, "manifest unknown: manifest unknown"
		if s.registry != "" {
			status, said = http.StatusInternalServerError, s.registry
		}
		fail(c.w, status, "%s", said)
	case c.is("POST", "images", "create"):
		name := strings.TrimPrefix(strings.TrimPrefix(query.Get("fromImage"), "docker.io/"), "library/") + ":" + query.Get("tag")
		if !s.offered[name] {
			fail(c.w, http.StatusNotFound, "pull access denied for %s, repository does not exist or may require 'docker login'", name)
			return true
		}
		delete(s.lacking, name)
		reply(c.w, http.StatusOK, map[string]string{"status": "Downloaded newer image for " + name})
	case c.is("GET", "images", "get"):
		name := query.Get("names")
		if s.lacking[name] {
			fail(c.w, http.StatusNotFound, "No such image: %s", name)
			return true
		}
		c.w.Header().Set("Content-Type", "application/x-tar")
		c.w.Write(imageTar(name))
	case c.is("POST", "images", "load"):
		names, err := namesIn(c.r.Body)
		if err != nil {
			reply(c.w, http.StatusOK, map[string]string{"error": err.Error()})
			return true
		}
		for _, n := range names {
			delete(s.lacking, n)
		}
		reply(c.w, http.StatusOK, map[string]string{"stream": "Loaded image: " + strings.Join(names, ", ")})
	default:
		return false
	}
	return true
}
