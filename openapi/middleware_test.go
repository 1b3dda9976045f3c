package openapi

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"berth/internal/ide"
)

func TestEveryAnswerHasTheSecurityHeaders(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, target := range []string{"/api/containers", "/api/nothing", "/livez", "/openapi.json", "/docs", "/metrics"} {
		h := b.call(rootKey, "GET", target, "").Header()
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
			"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "Permissions-Policy": "camera=()",
		} {
			if got := h.Get(name); !strings.HasPrefix(got, want) {
				t.Errorf("%s: %s is %q, want %q", target, name, got, want)
			}
		}
		if got := h.Get("Strict-Transport-Security"); got != "" {
			t.Errorf("%s: without TLS got %q", target, got)
		}
	}
	b.api = New(b.deps, Config{TLS: true})
	if got := b.call("", "GET", "/livez", "").Header().Get("Strict-Transport-Security"); !strings.HasPrefix(got, "max-age=") {
		t.Errorf("with TLS got %q", got)
	}
}

func TestPagesOfOtherOriginsOnlyWhereAllowed(t *testing.T) {
	t.Parallel()
	const app, start = "https://app.example.com", "/api/containers/start"
	b := newBench(t)
	preflight := func(origin string) http.Header {
		return b.call("", "OPTIONS", start, "", "Origin", origin, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type").Header()
	}
	if h := preflight(app); h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("off, but got %v", h)
	}
	b.api = New(b.deps, Config{Origins: []string{app}, Keys: []Key{{"alice", ide.Client, aliceKey}}})
	if h := preflight(app); h.Get("Access-Control-Allow-Origin") != app || h.Get("Access-Control-Allow-Methods") != "POST" || h.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("got %v", h)
	}
	if h := preflight("https://evil.example.com"); h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another origin: got %v", h)
	}
	post := func(origin string) (int, http.Header) {
		w := b.call(aliceKey, "POST", start, `{"s3Bucket":"workspace"}`, "Origin", origin, "Sec-Fetch-Site", "cross-site")
		return w.Code, w.Header()
	}
	if code, h := post(app); code != http.StatusAccepted || h.Get("Access-Control-Allow-Origin") != app || !strings.Contains(h.Get("Access-Control-Expose-Headers"), "Location") {
		t.Errorf("got %d, %v", code, h)
	}
	if code, h := post("https://evil.example.com"); code != http.StatusForbidden || h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another origin: got %d, %v", code, h)
	}
}

func TestOriginsAreWhatBrowsersSend(t *testing.T) {
	t.Parallel()
	if got, err := ParseOrigins([]string{"https://app.example.com", " http://localhost:3000"}); err != nil || len(got) != 2 {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"*", "app.example.com", "https://app.example.com/", "https://*.example.com", "ftp://a", ""} {
		if got, err := ParseOrigins([]string{bad}); err == nil {
			t.Errorf("%q: got %v", bad, got)
		}
	}
}

func TestPageOfTheAPI(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if _, err := os.Stat("page/dist/swagger-ui-bundle.js"); err != nil {
		b.refused(b.call("", "GET", "/docs", ""), http.StatusNotFound, ide.NotFound, "/docs")
		return
	}
	w := b.call("", "GET", "/docs", "")
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") || w.Header().Get("Content-Security-Policy") != pagePolicy {
		t.Fatalf("got %d, %v", w.Code, w.Header())
	}
	loads := 0
	for _, part := range strings.Split(w.Body.String(), `"`) {
		if strings.HasPrefix(part, "/docs/") {
			loads++
			got := b.call("", "GET", part, "")
			again := b.call("", "GET", part, "", "If-None-Match", got.Header().Get("ETag"))
			if got.Code != http.StatusOK || got.Body.Len() == 0 || again.Code != http.StatusNotModified {
				t.Errorf("%s: got %d, and again %d", part, got.Code, again.Code)
			}
		}
	}
	if loads != 4 || strings.Contains(w.Body.String(), "//") {
		t.Errorf("the page loads %d files, want 4, all its own: %s", loads, w.Body)
	}
	b.refused(b.call(rootKey, "GET", "/docs/other.js", ""), http.StatusNotFound, ide.NotFound, "/docs/other.js")
}
