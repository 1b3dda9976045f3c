package gateway

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"berth/internal/ide"
)

// visit is one request on its way to a container.
type visit struct {
	to    *upstream
	port  ide.Port
	id    string
	probe bool
	seen  *counter
	now   func() time.Time
}

type visitKey struct{}

func visitOf(ctx context.Context) *visit { return ctx.Value(visitKey{}).(*visit) }

// forward hands a request to its container and counts it.
func (g *Gateway) forward(w http.ResponseWriter, r *http.Request, rt *route, port ide.Port, probe bool) {
	ctx := context.WithValue(r.Context(), visitKey{}, &visit{
		to: rt.to, port: port, id: rt.ID, probe: probe, seen: rt.seen, now: g.now,
	})
	if r.Header.Get("Upgrade") != "" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		h := &held{cancel: cancel}
		release, ok := rt.to.hold(h)
		if ok && g.draining.Load() {
			release()
			ok = false
		}
		if !ok {
			g.answer(w, r, starting)
			return
		}
		defer release()
		w = &hijacker{ResponseWriter: w, ctx: ctx}
		if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			w.(*hijacker).held = h
		}
	}
	if !probe {
		rt.seen.touch(port, g.now())
		rt.seen.requests.Add(1)
		rt.seen.open.Add(1)
		defer rt.seen.open.Add(-1)
	}
	g.proxy.ServeHTTP(w, r.WithContext(ctx))
}

// rewrite aims the outgoing request at the visit's address and port, and at
// nothing else. Host stays as the client sent it: code-server compares it with
// Origin.
func (g *Gateway) rewrite(pr *httputil.ProxyRequest) {
	v := visitOf(pr.In.Context())
	pr.Out.URL.Scheme = "http"
	pr.Out.URL.Host = net.JoinHostPort(v.to.address, strconv.Itoa(int(v.port.Number)))
	pr.Out.URL.User = nil
	pr.Out.URL.RawQuery = pr.In.URL.RawQuery // not ours to clean: nothing here reads it
	if !v.probe {
		pr.Out.Header.Del(ide.ProbeHeader) // a client's word
	}

	in := pr.In.Header
	if !g.trusted(pr.In.RemoteAddr) {
		for name := range pr.Out.Header {
			if strings.HasPrefix(name, "X-Forwarded-") || name == "X-Real-Ip" {
				delete(pr.Out.Header, name)
			}
		}
		pr.SetXForwarded()
		return
	}
	pr.Out.Header["X-Forwarded-For"] = in["X-Forwarded-For"]
	pr.SetXForwarded()
	for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto"} {
		if v := in.Get(name); v != "" {
			pr.Out.Header.Set(name, v)
		}
	}
}

// trusted says whether a connection's peer is one of TrustedProxies.
func (g *Gateway) trusted(remote string) bool {
	if len(g.cfg.TrustedProxies) == 0 {
		return false
	}
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	for _, p := range g.cfg.TrustedProxies {
		if p.Contains(peer.Addr().Unmap()) {
			return true
		}
	}
	return false
}

// upstreamFailed answers where the container did not. The container's own
// answers, errors included, never come here.
func (g *Gateway) upstreamFailed(w http.ResponseWriter, r *http.Request, err error) {
	v := visitOf(r.Context())
	g.cfg.Log.DebugContext(r.Context(), "container did not answer", "container", v.id, "port", v.port.Name, "err", err)
	g.answer(w, r, unreachable)
}

// transport is the round trip of the one ReverseProxy: that of each request's
// own upstream.
type transport struct{}

func (transport) RoundTrip(r *http.Request) (*http.Response, error) {
	return visitOf(r.Context()).to.transport.RoundTrip(r)
}

// hijacker closes a hijacked connection when ctx ends. ReverseProxy then closes
// the container's side only, and waits for a client that may never answer.
type hijacker struct {
	http.ResponseWriter
	ctx  context.Context
	held *held // of a WebSocket
}

func (h *hijacker) Unwrap() http.ResponseWriter { return h.ResponseWriter }

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err == nil {
		context.AfterFunc(h.ctx, func() { conn.Close() })
	}
	if err == nil && h.held != nil {
		h.held.mu.Lock()
		defer h.held.mu.Unlock()
		h.held.wire = &wire{Conn: conn}
		return h.held.wire, rw, nil
	}
	return conn, rw, err
}

// buffers are the copy buffers, 32 KiB each as in ReverseProxy without a pool.
var buffers bufferPool

type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) Get() []byte {
	if b, ok := p.pool.Get().(*[32 << 10]byte); ok {
		return b[:]
	}
	return new([32 << 10]byte)[:]
}

func (p *bufferPool) Put(b []byte) { p.pool.Put((*[32 << 10]byte)(b)) }
