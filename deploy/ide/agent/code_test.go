package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

// onSocket serves a handler where the agent expects a program's socket.
func onSocket(t *testing.T, name string, h http.Handler) {
	t.Helper()
	l, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
}

// fakeCodeServer logs in who knows the password, as code-server does.
func fakeCodeServer(logins *atomic.Int64) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		logins.Add(1)
		if r.FormValue("password") != testSecrets.CodePassword {
			panic("a wrong password came through")
		}
		w.Header().Set("Set-Cookie", "code-server-session=1")
		http.Redirect(w, r, "/", http.StatusFound)
	})
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cookie") != "" {
			http.Redirect(w, r, "/", http.StatusFound)
			return
		}
		w.Header().Set("ETag", "x")
		io.WriteString(w, "<form>fields</form>")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Host, " ", r.URL.RequestURI(), " ", r.Header.Get("X-Forwarded-Proto"))
	})
	return mux
}

func TestCodeServerBehindTheAgent(t *testing.T) {
	t.Parallel()
	a, log := newFullAgent(t)
	if w := do(a, "code", httptest.NewRequest("GET", "/", nil)); w.Code != 503 || w.Header().Get("Refresh") == "" || !strings.Contains(w.Body.String(), testID) {
		t.Errorf("before it answers: got %d %s, want a page that asks again", w.Code, w.Body)
	}
	var logins atomic.Int64
	onSocket(t, a.file("code.sock"), fakeCodeServer(&logins))

	r := httptest.NewRequest("GET", "/?folder=a;b&x=%2f", nil)
	r.Host = testID + "-code.example.com"
	r.Header.Set("X-Forwarded-Proto", "https")
	if w := do(a, "code", r); w.Code != 200 || w.Body.String() != testID+"-code.example.com /?folder=a;b&x=%2f https" {
		t.Errorf("got %d %s, want host, query and scheme as they came", w.Code, w.Body)
	}
	try := func(path, password string) *httptest.ResponseRecorder {
		r := post(path, url.Values{"password": {password}})
		r.Header.Set("Cookie", "code-server-session=old")
		return do(a, "code", r)
	}
	if w := try("/login", "code-password"); w.Code != 302 || w.Header().Get("Set-Cookie") == "" {
		t.Errorf("right password: got %d", w.Code)
	}
	for _, path := range []string{"/login", "/LOGIN/", "//login"} {
		w := try(path, "guess")
		if w.Code != 401 || !strings.Contains(w.Body.String(), `<div class="error">That is not the password.</div></form>`) {
			t.Errorf("wrong password at %s: got %d %s", path, w.Code, w.Body)
		}
	}
	w := try("/login", "code-password")
	if w.Code != 429 || w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), "Try again in 1 s") {
		t.Errorf("the right one too soon: got %d %s", w.Code, w.Body)
	}
	if n := logins.Load(); n != 1 {
		t.Errorf("code-server saw %d logins, want 1", n)
	}
	if strings.Contains(log.String(), "guess") || !strings.Contains(log.String(), "wrong password") {
		t.Errorf("log: %s", log)
	}
	if at := a.lastActivity(); at.Source != "start" {
		t.Errorf("requests to the editor count as activity: %+v", at)
	}
}

func TestSecretsStayInPrivateFiles(t *testing.T) {
	t.Parallel()
	a, _ := newFullAgent(t)
	for _, p := range a.programs[:3] {
		cmd, err := p.command()
		if err != nil {
			t.Fatal(err)
		}
		seen := strings.Join(append(cmd.Args, cmd.Env...), "\n")
		for _, secret := range []string{testSecrets.AgentToken, testSecrets.CodePassword, testSecrets.VNCPassword} {
			if strings.Contains(seen, secret) {
				t.Errorf("%s shows %q", p.name, secret)
			}
		}
	}
	for _, name := range []string{"code-server.yaml", "rfb-password"} {
		info, err := os.Stat(a.file(name))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := os.ReadFile(a.file(name))
		if info.Mode().Perm() != 0o600 || strings.Contains(string(b), testSecrets.CodePassword) || strings.Contains(string(b), testSecrets.VNCPassword) {
			t.Errorf("%s: mode %v, content %s", name, info.Mode(), b)
		}
	}
}
