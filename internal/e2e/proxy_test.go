package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// barrier is a place in the traffic with the engine: before a call reaches
// it, or after it has answered and before the caller hears of it.
type barrier struct {
	name  string
	call  *regexp.Regexp // "METHOD /path" without the version
	after bool
}

// engineProxy stands between a worker and its engine. It can hold the next
// call that matches a barrier, until all are let go, and refuse everything.
type engineProxy struct {
	Host string // what DOCKER_HOST takes

	mu      sync.Mutex
	armed   *barrier
	parked  chan string // the barrier's name, when a call is held
	down    bool
	release chan struct{} // closed when what is held may go on
	done    chan struct{} // closed when the test ends
}

var apiVersion = regexp.MustCompile(`^/v\d+\.\d+`)

func newEngineProxy(t testing.TB, engine string) *engineProxy {
	t.Helper()
	dir, err := os.MkdirTemp("", "berth")
	if err != nil {
		t.Fatal(err)
	}
	p := &engineProxy{Host: "unix://" + filepath.Join(dir, "e"), parked: make(chan string, 1), release: make(chan struct{}), done: make(chan struct{})}
	l, err := net.Listen("unix", filepath.Join(dir, "e"))
	if err != nil {
		t.Fatal(err)
	}
	target := &url.URL{Scheme: "http", Host: "engine"}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		FlushInterval: -1,
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", strings.TrimPrefix(engine, "unix://"))
		}},
		ModifyResponse: func(r *http.Response) error { return p.hold(r.Request, true) },
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, _ error) { panic(http.ErrAbortHandler) },
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.isDown() || p.hold(r, false) != nil {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	})}
	go srv.Serve(l)
	t.Cleanup(func() { close(p.done); srv.Close(); os.RemoveAll(dir) })
	return p
}

// arm holds the next call that matches.
func (p *engineProxy) arm(b barrier) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = &b
}

// letGo lets every call that is held go on.
func (p *engineProxy) letGo() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.release)
	p.release = make(chan struct{})
}

// hold blocks a call that the armed barrier matches, until it may go on, or the
// caller has gone.
func (p *engineProxy) hold(r *http.Request, after bool) error {
	call := r.Method + " " + apiVersion.ReplaceAllString(r.URL.Path, "")
	p.mu.Lock()
	b := p.armed
	if b == nil || b.after != after || !b.call.MatchString(call) {
		p.mu.Unlock()
		return nil
	}
	p.armed = nil
	release := p.release
	p.mu.Unlock()
	p.parked <- b.name
	select {
	case <-release:
		return nil
	case <-p.done:
	case <-r.Context().Done():
	}
	return fmt.Errorf("held at %s", b.name)
}

// setDown refuses every call, or lets them pass again.
func (p *engineProxy) setDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

func (p *engineProxy) isDown() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.down
}

// await returns when a call is held.
func (p *engineProxy) await(t testing.TB) {
	t.Helper()
	select {
	case <-p.parked:
	case <-time.After(patience):
		p.mu.Lock()
		defer p.mu.Unlock()
		t.Fatalf("nothing came to the barrier %+v", p.armed)
	}
}

// redisProxy stands between an API process and Redis. It cuts the connection
// and says so when a request holds a given text.
type redisProxy struct {
	addr string
	hit  chan struct{}

	mu   sync.Mutex
	text string
}

// newRedisProxy listens on loopback in the network of the process ns.
func newRedisProxy(t testing.TB, ns int, target string) *redisProxy {
	t.Helper()
	l, err := listenIn(ns, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &redisProxy{addr: l.Addr().String(), hit: make(chan struct{}, 1)}
	t.Cleanup(func() { l.Close() })
	dial := dialIn(ns)
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := dial(context.Background(), "tcp", target)
			if err != nil {
				in.Close()
				continue
			}
			go func() { io.Copy(in, out); in.Close() }()
			go func() { p.pass(out, in); out.Close(); in.Close() }()
		}
	}()
	return p
}

// pass copies requests until one holds the text.
func (p *redisProxy) pass(to, from net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		cut := p.text != "" && strings.Contains(string(buf[:n]), p.text)
		p.mu.Unlock()
		if cut {
			select {
			case p.hit <- struct{}{}:
			default:
			}
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// cutAt cuts connections on which a request holds text.
func (p *redisProxy) cutAt(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = text
}
