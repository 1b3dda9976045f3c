package openapi

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
)

// signIn exchanges a key and returns the cookie.
func (b *bench) signIn(key string, headers ...string) *http.Cookie {
	b.Helper()
	w := b.call("", "POST", "/api/session", `{"key":"`+key+`"}`, headers...)
	cookies := w.Result().Cookies()
	if w.Code != http.StatusNoContent || len(cookies) != 1 || w.Body.Len() != 0 {
		b.Fatalf("sign in: got %d %s, %v", w.Code, w.Body, cookies)
	}
	return cookies[0]
}

// with sends a request as a page of ours does.
func (b *bench) with(c *http.Cookie, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	b.Helper()
	return b.call("", method, target, body, append([]string{"Cookie", c.Name + "=" + c.Value, "Origin", "http://berth.test", "Sec-Fetch-Site", "same-origin"}, headers...)...)
}

func TestSession(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.signIn(aliceKey)
	if c.Name != plainCookie || c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Domain != "" || c.Path != "/" ||
		time.Until(c.Expires) > 12*time.Hour || time.Until(c.Expires) < 12*time.Hour-time.Minute || strings.Contains(c.Value, aliceKey[:8]) {
		t.Errorf("got %+v", c)
	}
	var who SessionAnswer
	b.read(b.with(c, "GET", "/api/session", ""), http.StatusOK, &who)
	if who.Name != "alice" || who.Role != ide.Client || who.Version != "v9" || who.QueueAdmin || who.ExpiresAt == nil || !who.ExpiresAt.Equal(c.Expires) {
		t.Errorf("got %+v", who)
	}
	var byKey SessionAnswer
	if b.get(rootKey, "/api/session", &byKey); byKey.Name != "root" || byKey.ExpiresAt != nil || !byKey.QueueAdmin {
		t.Errorf("with a key: got %+v", byKey)
	}
	if w := b.with(c, "POST", "/api/containers/check", `{"s3Bucket":"workspace"}`); w.Code != http.StatusOK {
		t.Errorf("a write with the cookie: got %d %s", w.Code, w.Body)
	}
	if w := b.with(c, "GET", "/api/keys", ""); w.Code != http.StatusForbidden {
		t.Errorf("what alice's key may not: got %d", w.Code)
	}
	other := b.signIn(aliceKey)
	out := b.with(c, "DELETE", "/api/session", "")
	if cleared := out.Result().Cookies(); out.Code != http.StatusNoContent || len(cleared) != 1 || cleared[0].MaxAge >= 0 || cleared[0].Value != "" {
		t.Errorf("sign out: got %d, %v", out.Code, cleared)
	}
	b.refused(b.with(c, "GET", "/api/session", ""), http.StatusUnauthorized, ide.AuthenticationFailed, "/api/session")
	if w := b.with(other, "GET", "/api/session", ""); w.Code != http.StatusOK {
		t.Errorf("another session of the same key: got %d", w.Code)
	}
	b.signIn(viewKey) // who changes nothing may still look
}

func TestWrongKeyIsNoSession(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	missing := b.refused(b.call("", "GET", "/api/session", ""), http.StatusUnauthorized, ide.AuthenticationFailed, "/api/session")
	for _, key := range []string{"x", strings.ToUpper(aliceKey), strings.Repeat("x", 40)} {
		w := b.call("", "POST", "/api/session", `{"key":"`+key+`"}`)
		if e := b.refused(w, http.StatusUnauthorized, ide.AuthenticationFailed, "/api/session"); e.Message != missing.Message || w.Header().Get("Set-Cookie") != "" || w.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%q: got %+v, %v", key, e, w.Header())
		}
	}
	for _, value := range []string{"", "x", aliceKey, digest(aliceKey)} {
		if w := b.with(&http.Cookie{Name: plainCookie, Value: value}, "GET", "/api/containers", ""); w.Code != http.StatusUnauthorized {
			t.Errorf("a cookie that nobody was given, %q: got %d", value, w.Code)
		}
	}
}

func TestSignInIsLimitedByAddress(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	proxies := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // where httptest's requests come from
	b.api = New(b.deps, Config{RateLimit: 5, TrustedProxies: proxies, Keys: []Key{{"alice", ide.Client, aliceKey}}})
	try := func(address, key string) *httptest.ResponseRecorder {
		return b.call("", "POST", "/api/session", `{"key":"`+key+`"}`, "X-Forwarded-For", address)
	}
	for range 5 {
		try("198.51.100.7", "wrong")
	}
	w := try("198.51.100.7", aliceKey)
	if b.refused(w, http.StatusTooManyRequests, ide.RateLimited, "/api/session"); w.Header().Get("Retry-After") == "" {
		t.Errorf("got %v, want when to try again", w.Header())
	}
	if w := try("198.51.100.8", aliceKey); w.Code != http.StatusNoContent {
		t.Errorf("another address: got %d", w.Code)
	}
	b.api = New(b.deps, Config{RateLimit: 1000, Keys: []Key{{"alice", ide.Client, aliceKey}}})
	if w := try("", aliceKey); w.Header().Get("RateLimit-Limit") != "30" {
		t.Errorf("got %v, want 30 attempts a minute at most", w.Header())
	}
}

// A session has requests of its own: the page goes on while a program has used
// up the key's.
func TestSessionsAndKeysAreLimitedApart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.api = New(b.deps, Config{RateLimit: 2, Keys: []Key{{"alice", ide.Client, aliceKey}}})
	c := b.signIn(aliceKey)
	for range 3 {
		b.call(aliceKey, "GET", "/api/jobs", "")
	}
	if w := b.with(c, "GET", "/api/jobs", ""); w.Code != http.StatusOK || w.Header().Get("RateLimit-Limit") != "12" {
		t.Errorf("got %d, %v, want another limit than the key's", w.Code, w.Header())
	}
}

func TestCookieUnderTLS(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	safe := func(c *http.Cookie) bool {
		return c.Name == "__Host-berth" && c.Secure && c.HttpOnly && c.SameSite == http.SameSiteStrictMode && c.Domain == "" && c.Path == "/"
	}
	if c := b.signIn(aliceKey, "X-Forwarded-Proto", "https"); safe(c) {
		t.Error("a stranger's word is believed about TLS")
	}
	keys := []Key{{"alice", ide.Client, aliceKey}}
	b.api = New(b.deps, Config{Keys: keys, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	c := b.signIn(aliceKey, "X-Forwarded-Proto", "https")
	if !safe(c) {
		t.Errorf("behind a proxy that ends TLS: got %+v", c)
	}
	if w := b.with(c, "GET", "/api/session", "", "X-Forwarded-Proto", "https"); w.Code != http.StatusOK || w.Header().Get("Strict-Transport-Security") == "" {
		t.Errorf("got %d, %v", w.Code, w.Header())
	}
	b.api = New(b.deps, Config{Keys: keys, TLS: true})
	if c := b.signIn(aliceKey); !safe(c) {
		t.Errorf("with URL_SCHEME=https: got %+v", c)
	}
	plain := &http.Cookie{Name: plainCookie, Value: c.Value} // as a container on a sub-domain can set it
	if w := b.with(plain, "GET", "/api/session", ""); w.Code != http.StatusUnauthorized {
		t.Errorf("a cookie that another host could have set: got %d", w.Code)
	}
}

// A page in a container, x-web.berth.test, is of the same site as the API: its
// requests carry the cookie.
func TestPagesOfContainersCannotUseTheCookie(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.api = New(b.deps, Config{Origins: []string{"http://app.berth.test"}, Keys: []Key{{"root", ide.Admin, rootKey}, {"alice", ide.Client, aliceKey}}})
	c := b.signIn(aliceKey)
	send := func(method, origin, site string, more ...string) int {
		h := append([]string{"Cookie", c.Name + "=" + c.Value, "Origin", origin, "Sec-Fetch-Site", site}, more...)
		return b.call("", method, map[string]string{"POST": "/api/containers/check", "GET": "/api/containers"}[method], `{"s3Bucket":"workspace"}`, h...).Code
	}
	for name, tc := range map[string]struct {
		method, origin, site string
		want                 int
	}{
		"our own page writes":                           {"POST", "http://berth.test", "same-origin", 200},
		"our own page, of an older browser":             {"POST", "http://berth.test", "", 200},
		"a container's page writes":                     {"POST", "http://x-web.berth.test", "same-site", 403},
		"a container's page, of an older browser":       {"POST", "http://x-web.berth.test", "", 403},
		"a page without an origin":                      {"POST", "null", "", 403},
		"another site":                                  {"POST", "http://evil.test", "cross-site", 403},
		"a write without a word of whose page it is":    {"POST", "", "", 401},
		"an origin that may use keys, not cookies":      {"POST", "http://app.berth.test", "same-site", 401},
		"a container's page reads":                      {"GET", "http://x-web.berth.test", "same-site", 401},
		"our own page reads":                            {"GET", "", "same-origin", 200},
		"a browser that says nothing reads":             {"GET", "", "", 200},
		"what was typed into the address bar is ours":   {"GET", "", "none", 200},
		"another port of the same host writes":          {"POST", "http://berth.test:8443", "same-site", 403},
		"another port of the same host, older browsers": {"POST", "http://berth.test:8443", "", 403},
	} {
		if got := send(tc.method, tc.origin, tc.site); got != tc.want {
			t.Errorf("%s: got %d, want %d", name, got, tc.want)
		}
	}
	// and nobody is signed in by another's page
	w := b.call("", "POST", "/api/session", `{"key":"`+aliceKey+`"}`, "Origin", "http://x-web.berth.test", "Sec-Fetch-Site", "same-site")
	if w.Code != http.StatusForbidden || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("a container's page signs its user in: got %d, %v", w.Code, w.Header())
	}
}

// A session ends with its key, at every replica, and another key of the same
// name does not bring it back.
func TestSessionEndsWithItsKey(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	other := benchOn(t, b.rdb)
	newKey := func() string {
		t.Helper()
		var made NewKeyAnswer
		b.read(b.call(rootKey, "POST", "/api/keys", `{"name":"course-1","role":"viewer"}`), http.StatusCreated, &made)
		return made.Key
	}
	c := b.signIn(newKey())
	for i, replica := range []*bench{b, other} {
		if w := replica.with(c, "GET", "/api/session", ""); w.Code != http.StatusOK {
			t.Fatalf("replica %d: got %d", i, w.Code)
		}
	}
	if w := b.call(rootKey, "DELETE", "/api/keys/course-1", ""); w.Code != http.StatusNoContent {
		t.Fatalf("revoke: got %d", w.Code)
	}
	for i, replica := range []*bench{b, other} {
		if w := replica.with(c, "GET", "/api/session", ""); w.Code != http.StatusUnauthorized {
			t.Errorf("replica %d, after the key was revoked: got %d", i, w.Code)
		}
	}
	newKey()
	if w := b.with(c, "GET", "/api/session", ""); w.Code != http.StatusUnauthorized {
		t.Errorf("with another key of that name: got %d", w.Code)
	}
	// one of the environment ends when the operator changes it
	root := b.signIn(rootKey)
	b.api = New(b.deps, Config{Keys: []Key{{"root", ide.Admin, strings.ToUpper(rootKey)}}})
	if w := b.with(root, "GET", "/api/session", ""); w.Code != http.StatusUnauthorized {
		t.Errorf("after the environment's key was changed: got %d", w.Code)
	}
}

func TestNothingOfASessionIsKeptThatOpensOne(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.signIn(aliceKey)
	w := walk{bench: b}
	for key, value := range w.everything(t) {
		for _, secret := range []string{c.Value, aliceKey, digest(aliceKey)} {
			if strings.Contains(key+value, secret) {
				t.Errorf("%s holds %s", key, value)
			}
		}
	}
	if log := b.log.String(); strings.Contains(log, c.Value) || strings.Contains(log, aliceKey) || !strings.Contains(log, `"path":"/api/session","status":204,"operation":"create-session","key":"alice"`) {
		t.Errorf("the log: %s", log)
	}
	ttl := b.rdb.PTTL(t.Context(), "{berth}:session:"+digest(c.Value)).Val()
	if ttl > sessionTime || ttl < sessionTime-time.Minute {
		t.Errorf("it is kept for %s", ttl)
	}
}

// A stream that was opened with a cookie ends when its user signs out.
func TestSigningOutEndsStreams(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.follow()
	srv := httptest.NewServer(b.api)
	t.Cleanup(srv.Close)
	c := b.signIn(aliceKey)
	opened := func() *http.Response {
		return ask(t, srv, "", "/api/events", "Cookie", c.Name+"="+c.Value)
	}
	first := opened()
	if first.StatusCode != http.StatusOK {
		t.Fatalf("got %s", first.Status)
	}
	b.with(c, "DELETE", "/api/session", "")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for buf := make([]byte, 4096); ; {
			if _, err := first.Body.Read(buf); err != nil {
				return
			}
		}
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("the stream goes on")
	}
	if again := opened(); again.StatusCode != http.StatusUnauthorized {
		t.Errorf("again: got %s", again.Status)
	}
}
