package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// post is a form sent by a page of the same host.
func post(path string, form url.Values, cookies ...*http.Cookie) *http.Request {
	r := httptest.NewRequest("POST", path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for _, c := range cookies {
		r.AddCookie(c)
	}
	return r
}

// login returns the session of one who knows the password.
func login(t *testing.T, a *agent, port, password string) *http.Cookie {
	t.Helper()
	w := do(a, port, post("/login", url.Values{"password": {password}}))
	cookies := w.Result().Cookies()
	if w.Code != http.StatusSeeOther || len(cookies) != 1 {
		t.Fatalf("login: got %d with %d cookies", w.Code, len(cookies))
	}
	return cookies[0]
}

func TestLogin(t *testing.T) {
	t.Parallel()
	a, _ := newTestAgent(t)
	w := do(a, "code", post("/login", url.Values{"password": {"wrong"}}))
	if w.Code != http.StatusUnauthorized || len(w.Result().Cookies()) != 0 || !strings.Contains(w.Body.String(), "not the password") {
		t.Errorf("wrong password: got %d %v", w.Code, w.Result().Cookies())
	}
	c := login(t, a, "code", "code-password")
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure || c.Path != "/" {
		t.Errorf("cookie %+v", c)
	}
	in := httptest.NewRequest("GET", "/", nil)
	in.AddCookie(c)
	if w := do(a, "code", in); w.Code != 200 || !strings.Contains(w.Body.String(), testID) {
		t.Errorf("with the session: got %d", w.Code)
	}
	if w := do(a, "vnc", in); w.Code != 401 {
		t.Errorf("the editor's session on the desktop: got %d, want 401", w.Code)
	}
	other := httptest.NewRequest("GET", "/", nil)
	other.AddCookie(&http.Cookie{Name: "berth_vnc", Value: c.Value})
	if w := do(a, "vnc", other); w.Code != 401 {
		t.Errorf("under the desktop's name: got %d, want 401", w.Code)
	}
	now := time.Now()
	a.now = func() time.Time { return now.Add(sessionTime + time.Minute) }
	if w := do(a, "code", in); w.Code != 401 {
		t.Errorf("after its time: got %d, want 401", w.Code)
	}
	a.now = time.Now
	if w := do(a, "code", post("/logout", nil, c)); w.Code != 303 || w.Result().Cookies()[0].MaxAge >= 0 {
		t.Errorf("logout: got %d", w.Code)
	}

	tls := post("/login", url.Values{"password": {"vnc-pass"}})
	tls.Header.Set("X-Forwarded-Proto", "https")
	w = do(a, "vnc", tls)
	if c := w.Result().Cookies(); len(c) != 1 || !c[0].Secure {
		t.Errorf("behind TLS: cookie %v, want Secure", c)
	}
	page := httptest.NewRequest("GET", "/", nil)
	page.AddCookie(w.Result().Cookies()[0])
	if w := do(a, "vnc", page); w.Code != 200 || !strings.Contains(w.Body.String(), "no desktop") {
		t.Errorf("desktop: got %d %s", w.Code, w.Body)
	}
}

func TestForgedSessions(t *testing.T) {
	t.Parallel()
	a, _ := newTestAgent(t)
	good := login(t, a, "code", "code-password").Value
	for name, v := range map[string]string{"empty": "", "not base64": "!", "short": good[:20], "changed": "B" + good[1:]} {
		r := httptest.NewRequest("GET", "/", nil)
		r.AddCookie(&http.Cookie{Name: "berth_code", Value: v})
		if w := do(a, "code", r); w.Code != 401 {
			t.Errorf("%s: got %d, want 401", name, w.Code)
		}
	}
}

func TestStrangersAreSentToTheForm(t *testing.T) {
	t.Parallel()
	a, _ := newTestAgent(t)
	r := httptest.NewRequest("GET", "/?path=a", nil)
	r.Header.Set("Accept", "text/html,*/*")
	w := do(a, "code", r)
	if got, want := w.Header().Get("Location"), "/login?next=%2F%3Fpath%3Da"; w.Code != 303 || got != want {
		t.Errorf("got %d %s, want 303 %s", w.Code, got, want)
	}
	if w := do(a, "code", httptest.NewRequest("GET", "/login?next=/%3Fpath=a", nil)); !strings.Contains(w.Body.String(), `value="/?path=a"`) {
		t.Errorf("the form forgets where to: %s", w.Body)
	}
	if w := do(a, "code", post("/login", url.Values{"password": {"code-password"}, "next": {"/?path=a"}})); w.Header().Get("Location") != "/?path=a" {
		t.Errorf("after login: sent to %q", w.Header().Get("Location"))
	}
	for _, evil := range []string{"//evil.example", "https://evil.example", `/\evil.example`, "", "x", "/\t/evil.example"} {
		if got := next(evil); got != "/" {
			t.Errorf("next(%q): got %q, want /", evil, got)
		}
	}
}

func TestOtherSitesCannotPost(t *testing.T) {
	t.Parallel()
	a, _ := newTestAgent(t)
	c := login(t, a, "code", "code-password")
	for _, path := range []string{"/login", "/new", "/logout"} {
		r := post(path, url.Values{"password": {"code-password"}, "name": {"x"}, "kind": {"file"}}, c)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		if w := do(a, "code", r); w.Code != http.StatusForbidden {
			t.Errorf("%s: got %d, want 403", path, w.Code)
		}
	}
}

func TestWrongTriesCostTime(t *testing.T) {
	t.Parallel()
	a, log := newTestAgent(t)
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	a.now = func() time.Time { return now }
	try := func(password, from string) *httptest.ResponseRecorder {
		r := post("/login", url.Values{"password": {password}})
		r.Header.Set("X-Forwarded-For", from+", 10.0.0.2")
		return do(a, "code", r)
	}
	for i := range freeTries {
		if w := try("guess", "203.0.113.9"); w.Code != 401 {
			t.Errorf("try %d: got %d, want 401", i+1, w.Code)
		}
	}
	for _, seconds := range []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
		w := try("code-password", "203.0.113.9")
		if w.Code != 429 || w.Header().Get("Retry-After") != strconv.Itoa(seconds) {
			t.Fatalf("got %d, Retry-After %q; want 429, %d: even for the right password", w.Code, w.Header().Get("Retry-After"), seconds)
		}
		now = now.Add(time.Duration(seconds) * time.Second)
		if w := try("guess", "203.0.113.9"); w.Code != 401 {
			t.Fatalf("after %d s: got %d, want 401", seconds, w.Code)
		}
	}
	if w := try("code-password", "203.0.113.10"); w.Code != 303 {
		t.Errorf("somebody else: got %d, want 303", w.Code)
	}
	now = now.Add(longestWait)
	if w := try("code-password", "203.0.113.9"); w.Code != 303 {
		t.Errorf("the right password in time: got %d, want 303", w.Code)
	}
	if w := try("guess", "203.0.113.9"); w.Code != 401 {
		t.Errorf("and all is forgotten: got %d, want 401", w.Code)
	}
	if !strings.Contains(log.String(), "203.0.113.9") || strings.Contains(log.String(), "guess\"") {
		t.Errorf("the log should name the client and no password:\n%s", log)
	}
}

func TestGuessesAreBounded(t *testing.T) {
	t.Parallel()
	g := guesses{of: map[string]guess{}}
	now := time.Now()
	for i := range maxGuessers + 10 {
		g.try(strconv.Itoa(i), now.Add(time.Duration(i)))
	}
	if _, kept := g.of["5"]; len(g.of) != maxGuessers || kept {
		t.Errorf("%d clients kept, want %d without the oldest", len(g.of), maxGuessers)
	}
	for range 2 {
		g.try("4100", now.Add(time.Second))
	}
	if g.try("4100", now.Add(time.Second)) == 0 {
		t.Error("no wait after three tries")
	}
	if g.try("4100", now.Add(forgetAfter+time.Minute)); g.of["4100"].n != 1 {
		t.Errorf("counts %d after a long silence, want 1", g.of["4100"].n)
	}
}

func TestClientWithoutForwarding(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "[fd00::1]:99"
	if got := client(r); got != "fd00::1" {
		t.Errorf("got %q", got)
	}
	if r.RemoteAddr = "pipe"; client(r) != "pipe" {
		t.Errorf("got %q", client(r))
	}
}
