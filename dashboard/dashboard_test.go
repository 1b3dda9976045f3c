package dashboard

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

var script = bytes.Repeat([]byte("console.log('berth');\n"), 100)

// notFound refuses as the API does, with less.
func notFound(w http.ResponseWriter, _ *http.Request, err error) {
	http.Error(w, err.Error(), http.StatusNotFound)
}

// built is a page as `make ui` leaves it.
func built(t *testing.T, files fstest.MapFS) http.Handler {
	t.Helper()
	all, err := read(files)
	if err != nil {
		t.Fatal(err)
	}
	return &site{all, notFound}
}

var page = fstest.MapFS{
	".gitkeep":             {},
	"index.html":           {Data: []byte(`<!doctype html><script type="module" src="/dashboard/assets/index-a1b2.js"></script>`)},
	"favicon.svg":          {Data: []byte(`<svg/>`)},
	"assets/index-a1b2.js": {Data: script},
}

func get(h http.Handler, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestWhatIsServedWhere(t *testing.T) {
	t.Parallel()
	h := built(t, page)
	for target, want := range map[string]struct {
		status      int
		kind, cache string
	}{
		"/dashboard":                       {200, "text/html", "no-cache"},
		"/dashboard/":                      {200, "text/html", "no-cache"},
		"/dashboard/containers":            {200, "text/html", "no-cache"},
		"/dashboard/containers/k3x?q=a.js": {200, "text/html", "no-cache"},
		"/dashboard/index.html":            {200, "text/html", "no-cache"},
		"/dashboard/favicon.svg":           {200, "image/svg+xml", "no-cache"},
		"/dashboard/assets/index-a1b2.js":  {200, "text/javascript", "public, max-age=31536000, immutable"},
		"/dashboard/assets/index-0000.js":  {404, "text/plain", ""},
		"/dashboard/assets/gone":           {404, "text/plain", ""},
		"/dashboard/assets/":               {404, "text/plain", ""},
		"/dashboard/robots.txt":            {404, "text/plain", ""},
		"/dashboard/.gitkeep":              {404, "text/plain", ""},
	} {
		w := get(h, target)
		head := w.Header()
		if w.Code != want.status || !strings.HasPrefix(head.Get("Content-Type"), want.kind) || head.Get("Cache-Control") != want.cache {
			t.Errorf("%s: got %d, %v", target, w.Code, head)
		}
		if w.Code == http.StatusOK && head.Get("Content-Security-Policy") != policy {
			t.Errorf("%s: got the policy %q", target, head.Get("Content-Security-Policy"))
		}
	}
}

func TestPolicyIsTheStrictOne(t *testing.T) {
	t.Parallel()
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'", "base-uri 'none'", "form-action 'self'",
		"frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'"} {
		if !strings.Contains(policy+";", want+";") {
			t.Errorf("the policy lacks %q", want)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
		t.Errorf("got %q", policy)
	}
}

func TestCompression(t *testing.T) {
	t.Parallel()
	h := built(t, page)
	const target = "/dashboard/assets/index-a1b2.js"
	for accept, zipped := range map[string]bool{"": false, "gzip": true, "br, gzip;q=0.5": true, "deflate, GZIP": true, "gzip;q=0": false, "gzip; q=0.0": false, "gzipped": false, "identity": false} {
		w := get(h, target, "Accept-Encoding", accept)
		body := io.Reader(w.Body)
		if got := w.Header().Get("Content-Encoding") == "gzip"; got != zipped {
			t.Errorf("%q: compressed is %t", accept, got)
			continue
		}
		if size := w.Body.Len(); zipped {
			if size >= len(script)/2 {
				t.Errorf("%q: got %d bytes of %d", accept, size, len(script))
			}
			var err error
			if body, err = gzip.NewReader(w.Body); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, script) || w.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: got %d bytes, %v, %v", accept, len(got), err, w.Header())
		}
	}
	if w := get(h, "/dashboard/favicon.svg", "Accept-Encoding", "gzip"); w.Header().Get("Content-Encoding") != "" || w.Body.String() != "<svg/>" {
		t.Errorf("what gets no smaller: got %v", w.Header())
	}
	zipped, plain := get(h, target, "Accept-Encoding", "gzip").Header().Get("ETag"), get(h, target).Header().Get("ETag")
	if zipped == plain || get(h, target, "If-None-Match", plain).Code != http.StatusNotModified || get(h, target, "If-None-Match", zipped).Code != http.StatusOK {
		t.Errorf("the encodings have the tags %s and %s", zipped, plain)
	}
}

func TestProgramWithoutThePage(t *testing.T) {
	t.Parallel()
	h := built(t, fstest.MapFS{".gitkeep": {}})
	for _, target := range []string{"/dashboard", "/dashboard/containers", "/dashboard/assets/index-a1b2.js"} {
		if w := get(h, target); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "built without the dashboard: run make ui") {
			t.Errorf("%s: got %d %s", target, w.Code, w.Body)
		}
	}
	if _, err := New(notFound); err != nil {
		t.Errorf("this program's own: %v", err)
	}
}
