package main

import (
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// TestDesktop speaks RFB through a WebSocket.
func TestDesktop(t *testing.T) {
	t.Parallel()
	a, log := newFullAgent(t)
	srv := httptest.NewServer(a.own(a.services[0]))
	defer srv.Close()
	get := func(path string) (int, string) {
		res, err := srv.Client().Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(b)
	}
	if code, body := get("/"); code != 503 || !strings.Contains(body, "starting") {
		t.Errorf("before X is up: got %d %s", code, body)
	}
	a.desktop.x.set(func(s *programState) { s.Up = true })
	if code, body := get("/"); code != 200 || !strings.Contains(body, "<title>Desktop · "+testID) {
		t.Errorf("got %d %s", code, body)
	}
	if code, body := get("/app/ui.js"); code != 200 || body != "// noVNC" {
		t.Errorf("noVNC's file: got %d %s", code, body)
	}
	if code, body := get(healthPath); code != 200 || !strings.Contains(body, "alive") {
		t.Errorf("health: got %d %s", code, body)
	}

	l, err := net.Listen("unix", a.desktop.rfb)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // an Xvnc whose password is 16 times r
				defer c.Close()
				io.WriteString(c, rfbVersion+"\x01\x02"+strings.Repeat("c", 16))
				b := make([]byte, 12+1+16)
				io.ReadFull(c, b)
				if string(b[13:]) != strings.Repeat("r", 16) {
					io.WriteString(c, "\x00\x00\x00\x01")
					return
				}
				io.WriteString(c, "\x00\x00\x00\x00")
				io.Copy(c, c)
			}()
		}
	}()
	connect := func(response string) (net.Conn, string) {
		ws, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(srv.URL, "http")+"/websockify", &websocket.DialOptions{HTTPClient: srv.Client()})
		if err != nil {
			t.Fatal(err)
		}
		c := websocket.NetConn(t.Context(), ws, websocket.MessageBinary)
		io.WriteString(c, rfbVersion+"\x02"+response)
		b := make([]byte, 12+2+16+4)
		io.ReadFull(c, b)
		return c, string(b[30:])
	}
	c, verdict := connect(strings.Repeat("r", 16))
	if verdict != "\x00\x00\x00\x00" {
		t.Fatalf("right password: got %q", verdict)
	}
	io.WriteString(c, "ping")
	b := make([]byte, 4)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "ping" {
		t.Errorf("behind the handshake: got %q %v", b, err)
	}
	if s := a.status(); s.Services[0].Connections != 1 || s.Connections != 1 {
		t.Errorf("open connections: %+v", s)
	}
	c.Close()
	for range freeTries {
		if c, verdict = connect(strings.Repeat("x", 16)); verdict != "\x00\x00\x00\x01" {
			t.Errorf("wrong password: got %q", verdict)
		}
		c.Close()
	}
	c, verdict = connect(strings.Repeat("r", 16))
	rest, _ := io.ReadAll(c)
	if verdict != "\x00\x00\x00\x01" || !strings.Contains(string(rest), "Too many wrong passwords") {
		t.Errorf("the right one too soon: got %q %q", verdict, rest)
	}
	if n := strings.Count(log.String(), `"wrong password"`); n != freeTries {
		t.Errorf("%d wrong passwords in the log, want %d", n, freeTries)
	}
}
