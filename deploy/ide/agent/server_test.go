package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"berth/internal/ide"
)

func TestWebServerInside(t *testing.T) {
	t.Parallel()
	a, _ := newFullAgent(t)
	site := a.services[2].handler.(*webServer)
	dead := func(context.Context) (net.Conn, error) { return net.Dial("unix", "/nowhere") }
	site.front.dial, site.listens = dead, func() bool { return false }
	w := do(a, "web", httptest.NewRequest("GET", "/", nil))
	if w.Code != 502 || w.Header().Get(ide.NoServerHeader) != "1" || !strings.Contains(w.Body.String(), testID) || a.services[2].up() {
		t.Errorf("no server: got %d %v %s", w.Code, w.Header(), w.Body)
	}
	put(t, a, "index.html", "static")
	if w := do(a, "web", httptest.NewRequest("GET", "/", nil)); w.Body.String() != "static" {
		t.Errorf("a page in the workspace: got %d %s", w.Code, w.Body)
	}
	if site.command() != nil {
		t.Error("a command out of nothing")
	}
	put(t, a, startFile, "#!/bin/sh\n")
	if site.command() != nil {
		t.Error("a script that is not executable is run")
	}
	os.Chmod(filepath.Join(a.cfg.Workspace, startFile), 0o755)
	if c := site.command(); c == nil || c.Path != filepath.Join(a.cfg.Workspace, startFile) {
		t.Errorf("script: got %v", c)
	}
	a.cfg.WebCommand = "serve --now"
	if c := site.command(); c == nil || c.Args[2] != "serve --now" {
		t.Errorf("command: got %v", c)
	}

	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/break" {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, "user's own")
	}))
	defer broken.Close()
	live := func(context.Context) (net.Conn, error) { return net.Dial("tcp", broken.Listener.Addr().String()) }
	site.front.dial, site.listens = live, func() bool { return true }
	noon := time.Now().Add(time.Hour)
	a.now = func() time.Time { return noon }
	a.cfg.Probe = "sesame"
	marked := func(value string) *http.Request {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set(ide.ProbeHeader, value)
		return r
	}
	do(a, "web", marked("sesame"))
	do(a, "web", httptest.NewRequest("GET", healthPath, nil))
	if at := a.lastActivity(); at.At.Equal(noon) {
		t.Errorf("a probe is activity: %+v", at)
	}
	for _, value := range []string{"1", "sesam", ""} {
		noon = noon.Add(time.Second)
		do(a, "web", marked(value))
		if at := a.lastActivity(); !at.At.Equal(noon) {
			t.Errorf("a visit that calls itself a probe with %q is none: %+v", value, at)
		}
	}
	if w := do(a, "web", httptest.NewRequest("GET", "/", nil)); w.Body.String() != "user's own" || !a.services[2].up() {
		t.Errorf("the user's server: got %d %s", w.Code, w.Body)
	}
	if at := a.lastActivity(); at.Source != "web" || !at.At.Equal(noon) {
		t.Errorf("after a visit: %+v", at)
	}
	if w := do(a, "web", httptest.NewRequest("GET", "/break", nil)); w.Code != 502 || w.Header().Get(ide.NoServerHeader) != "" {
		t.Errorf("broken off: got %d %v", w.Code, w.Header())
	}
}

// Most containers have no web server of their own, and are probed all the same.
func TestProbesOfAMissingServerAreNoActivity(t *testing.T) {
	t.Parallel()
	a, _ := newFullAgent(t)
	a.cfg.Probe = "sesame"
	site := a.services[2].handler.(*webServer)
	site.front.dial = func(context.Context) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
	}
	noon := time.Now().Add(time.Hour)
	a.now = func() time.Time { return noon }
	probe := httptest.NewRequest("GET", "/", nil)
	probe.Header.Set(ide.ProbeHeader, "sesame")
	if w := do(a, "web", probe); w.Code != http.StatusBadGateway || w.Header().Get(ide.NoServerHeader) == "" {
		t.Errorf("got %d %v", w.Code, w.Header())
	}
	if at := a.lastActivity(); at.At.Equal(noon) {
		t.Errorf("a probe is activity: %+v", at)
	}
	do(a, "web", httptest.NewRequest("GET", "/", nil))
	if at := a.lastActivity(); !at.At.Equal(noon) || at.Source != "web" {
		t.Errorf("a visit is none: %+v", at)
	}
}

func TestBytesOnAWebSocketAreActivity(t *testing.T) {
	t.Parallel()
	a, _ := newFullAgent(t)
	site := a.services[2].handler.(*webServer)
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		c := websocket.NetConn(r.Context(), ws, websocket.MessageBinary)
		io.Copy(c, c)
	}))
	defer echo.Close()
	site.front.dial = func(context.Context) (net.Conn, error) { return net.Dial("tcp", echo.Listener.Addr().String()) }
	srv := httptest.NewServer(a.own(a.services[2]))
	defer srv.Close()
	var clock atomic.Int64
	a.now = func() time.Time { return time.Unix(clock.Load(), 0) }
	clock.Store(1000)
	ws, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(srv.URL, "http"), &websocket.DialOptions{HTTPClient: srv.Client()})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	c := websocket.NetConn(t.Context(), ws, websocket.MessageBinary)
	if at := a.lastActivity(); at.At.Unix() != 1000 {
		t.Errorf("after the request: %+v", at)
	}
	clock.Store(2000)
	if at := a.lastActivity(); at.At.Unix() != 1000 {
		t.Errorf("an open socket is activity: %+v", at)
	}
	io.WriteString(c, "ping")
	io.ReadFull(c, make([]byte, 4))
	if at := a.lastActivity(); at.At.Unix() != 2000 {
		t.Errorf("after a message: %+v", at)
	}
}

func TestListensInside(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	if !listensInside("/proc/net", port) {
		t.Error("a server on the loopback is not seen")
	}
	l.Close()
	if listensInside("/proc/net", port) {
		t.Error("a closed one is")
	}
	const head = "  sl  local_address rem_address   st\n   0: "
	for line, want := range map[string]bool{
		"0100007F:0BB8 00000000:0000 0A":                         true,
		"00000000:0BB8 00000000:0000 0A":                         true,
		"0600610A:0BB8 00000000:0000 0A":                         false, // the agent's
		"0100007F:0BB9 00000000:0000 0A":                         false,
		"0100007F:0BB8 0100007F:8CA6 01":                         false,
		"0000000000000000FFFF00000100007F:0BB8 0000:0000 0A":     true,
		"00000000000000000000000001000000:0BB8 0000:0000 0A":     true,
		"00000000000000000000000000000000:0BB8 0000:0000 0A":     true,
		"000080FE00000000FF005450B6E5A1FE:0BB8 00000000:0000 0A": false,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "tcp6"), []byte(head+line+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := listensInside(dir, 3000); got != want {
			t.Errorf("%s: got %v, want %v", line, got, want)
		}
	}
}
