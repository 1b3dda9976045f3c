package main

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/ide"
)

func TestNoWebServer(t *testing.T) {
	t.Parallel()
	a, _ := newTestAgent(t)
	put(t, a, "index.txt", "x")
	if err := os.Mkdir(filepath.Join(a.cfg.Workspace, "index.html"), 0o755); err != nil {
		t.Fatal(err)
	}
	w := do(a, "web", httptest.NewRequest("GET", "/", nil))
	if w.Code != 502 || w.Header().Get(ide.NoServerHeader) != "1" || !strings.Contains(w.Body.String(), testID) {
		t.Errorf("got %d %v, want 502, the header and the container's ID", w.Code, w.Header())
	}
}

func TestSite(t *testing.T) {
	t.Parallel()
	a, _ := newTestAgent(t)
	put(t, a, "index.html", "top")
	put(t, a, ".env", "hush")
	put(t, a, ".git/config", "hush")
	put(t, a, "docs/index.html", "docs")
	put(t, a, "src/main.go", "package main")
	outside := filepath.Join(t.TempDir(), "secret")
	os.WriteFile(outside, []byte("hush"), 0o644)
	os.Symlink(outside, filepath.Join(a.cfg.Workspace, "out.txt"))
	for path, want := range map[string]struct {
		status int
		body   string
	}{
		"/":              {200, "top"},
		"/docs/":         {200, "docs"},
		"/src/main.go":   {200, "package main"},
		"/src/":          {404, ""}, // no listing
		"/.env":          {404, ""},
		"/.git/config":   {404, ""},
		"/out.txt":       {404, ""},
		"/none":          {404, ""},
		"/../secret":     {404, ""},
		"/%2e%2e/x":      {404, ""},
		"/src/..%2f.env": {404, ""},
	} {
		w := do(a, "web", httptest.NewRequest("GET", path, nil))
		if w.Code != want.status || !strings.Contains(w.Body.String(), want.body) || strings.Contains(w.Body.String(), "hush") {
			t.Errorf("%s: got %d %q, want %d %q", path, w.Code, w.Body, want.status, want.body)
		}
		if w.Header().Get("Berth-Container") != testID {
			t.Errorf("%s does not say whose it is", path)
		}
	}
	if w := do(a, "web", httptest.NewRequest("POST", "/", nil)); w.Code != 405 {
		t.Errorf("POST: got %d, want 405", w.Code)
	}

	put(t, a, "public/index.html", "published")
	if w := do(a, "web", httptest.NewRequest("GET", "/", nil)); w.Body.String() != "published" {
		t.Errorf("got %q, want public first", w.Body)
	}
	if w := do(a, "web", httptest.NewRequest("GET", "/src/main.go", nil)); w.Code != 404 {
		t.Errorf("outside public: got %d, want 404", w.Code)
	}
}
