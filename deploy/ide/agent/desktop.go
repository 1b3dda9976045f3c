package main

import (
	"bytes"
	"context"
	"crypto/des"
	"errors"
	"fmt"
	"math/bits"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"berth/internal/ide"
)

// desktop is an X server that speaks RFB on a unix socket, a window manager,
// and noVNC's pages with the WebSocket that they need.
type desktop struct {
	a        *agent
	x, wm    *program
	rfb      string // Xvnc's socket. Whoever only looks whether it answers is counted as a wrong password
	page     []byte // noVNC's, under the container's name
	guesses  guesses
	watching atomic.Int64 // open WebSockets
	pages    http.Handler
}

const (
	display     = ":1"
	displayLock = "/tmp/.X1-lock"
	displaySock = "/tmp/.X11-unix/X1"
)

func newDesktop(a *agent) (*desktop, error) {
	d := &desktop{a: a, rfb: a.file("rfb.sock")}
	d.guesses.of = map[string]guess{}
	password := a.file("rfb-password")
	if err := writePrivate(password, vncPasswordFile(a.cfg.Secrets.VNCPassword)); err != nil {
		return nil, fmt.Errorf("write desktop's password: %w", err)
	}
	page, err := os.ReadFile(filepath.Join(a.cfg.Image.NoVNC, "vnc.html"))
	if err != nil {
		return nil, fmt.Errorf("read noVNC: %w", err)
	}
	d.page = bytes.Replace(page, []byte("<title>noVNC</title>"), []byte("<title>Desktop · "+a.cfg.ID+"</title>"), 1)
	d.pages = http.FileServer(http.Dir(a.cfg.Image.NoVNC))

	d.x = a.program("vnc", func() (*exec.Cmd, error) {
		for _, left := range []string{displayLock, displaySock, d.rfb} { // by one that was killed
			if err := os.Remove(left); err != nil && !os.IsNotExist(err) {
				return nil, fmt.Errorf("clear display: %w", err)
			}
		}
		cmd := exec.Command(a.cfg.Image.Xvnc, display, "-geometry", "1280x800", "-depth", "24", "-desktop", "Berth "+a.cfg.ID,
			"-SecurityTypes", "VncAuth", "-PasswordFile", password,
			"-rfbport", "-1", "-rfbunixpath", d.rfb, "-rfbunixmode", "0600", "-nolisten", "tcp", "-noreset", "-AlwaysShared",
			// All connections come from the agent: Xvnc would lock out everybody.
			// The agent counts wrong passwords by client.
			"-BlacklistThreshold", "1000000")
		cmd.Env = a.environ()
		return cmd, nil
	})
	x := unixDialer(displaySock)
	d.x.answers = func() bool { return reachable(x) }
	d.wm = a.program("desktop", func() (*exec.Cmd, error) {
		cmd := exec.Command(a.cfg.Image.WindowManager)
		cmd.Env, cmd.Dir = a.environ(), a.cfg.Workspace
		return cmd, nil
	})
	d.wm.after = d.x
	d.wm.yields = ide.PortWeb.Number
	return d, nil
}

func (d *desktop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case healthPath:
		alive(w, r)
	case "/":
		http.Redirect(w, r, "/vnc.html?autoconnect=true&resize=remote", http.StatusFound)
	case "/vnc.html":
		if !d.x.now().Up {
			d.a.notYet(w, "Desktop", "The desktop is starting.")
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("Content-Security-Policy", "frame-ancestors 'self'")
		w.Write(d.page)
	case "/websockify":
		d.bridge(w, r)
	default:
		w.Header().Set("Cache-Control", "no-cache")
		d.pages.ServeHTTP(w, r)
	}
}

// bridge turns a WebSocket into a connection of Xvnc's.
func (d *desktop) bridge(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"binary"}})
	if err != nil {
		return // it has answered
	}
	defer ws.CloseNow()
	d.watching.Add(1)
	defer d.watching.Add(-1)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	server, err := unixDialer(d.rfb)(ctx)
	if err != nil {
		ws.Close(websocket.StatusTryAgainLater, "The desktop is starting.")
		return
	}
	defer server.Close()
	person := websocket.NetConn(ctx, ws, websocket.MessageBinary)
	who := client(r)
	try := func() (wait time.Duration) { return d.guesses.try(who, d.a.now()) }
	right, err := authenticate(person, server, try)
	switch {
	case errors.Is(err, errRefused):
		ws.Close(websocket.StatusPolicyViolation, "Too many wrong passwords.")
		return
	case err != nil:
		return
	case right:
		d.guesses.right(who)
	default:
		d.a.log.Warn("wrong password", "container", d.a.cfg.ID, "service", "vnc", "client", who)
	}
	pipe(person, server)
	ws.Close(websocket.StatusNormalClosure, "")
}

// lastInput asks X when keyboard or mouse were last used.
func (d *desktop) lastInput(ctx context.Context) (time.Time, bool) {
	x := d.x.now()
	if !x.Up {
		return time.Time{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.a.cfg.Image.IdleTime)
	cmd.Env = d.a.environ()
	out, err := cmd.Output()
	if err != nil {
		return time.Time{}, false
	}
	idle, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	at := d.a.now().Add(-time.Duration(idle) * time.Millisecond)
	// A new X server counts from its start, which is nobody's doing.
	return at, at.After(x.Started.Add(3 * time.Second))
}

// vncPasswordFile is what vncpasswd would write: the password encrypted with a
// key that everybody knows, so it only keeps it from being read by chance. RFB
// uses eight characters.
func vncPasswordFile(password string) []byte {
	key := []byte{23, 82, 107, 6, 35, 78, 88, 7}
	for i := range key { // RFB counts a key's bits from the other end
		key[i] = bits.Reverse8(key[i])
	}
	c, err := des.NewCipher(key)
	if err != nil {
		panic(err)
	}
	b := make([]byte, 8)
	copy(b, password)
	c.Encrypt(b, b)
	return b
}
