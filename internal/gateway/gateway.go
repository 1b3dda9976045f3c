// Package gateway is the edge: it answers <id>-vnc, <id>-code and <id>-web
// under CONTAINER_DOMAIN and hands requests and WebSockets on to the address
// of that container's task. What it knows of containers is a table in memory
// that follows the event stream, so a request costs no look-up; what it sees
// of their traffic it reports, which is how an idle container is found.
package gateway

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"berth/internal/ide"
)

// Times of the loops. A reload that nothing asked for mends what the stream
// could not tell: a Redis that came back without its data says nothing of the
// routes that a rebuild then finds.
const (
	reportEvery   = 2 * time.Second
	reloadEvery   = 30 * time.Second
	reportTimeout = 5 * time.Second
	backoffMin    = 100 * time.Millisecond
	backoffMax    = 5 * time.Second
)

// Config is what a Gateway needs. Routes, Changes and Report are methods of
// *store.Store.
type Config struct {
	Domain string // CONTAINER_DOMAIN, "host" or "host:port"; the port is ignored when matching

	// Routes returns all routes, and the stream position before they were read.
	Routes func(ctx context.Context) (routes []ide.Route, cursor string, err error)
	// Changes returns the events after cursor and the cursor to go on from. It
	// blocks up to about a second for the first.
	Changes func(ctx context.Context, cursor string) (events []ide.Event, next string, err error)
	// Report takes what was seen since the last report that succeeded.
	Report func(ctx context.Context, seen []ide.Activity) error

	ReportEvery time.Duration // 0 is 2 s

	// TrustedProxies are the peers whose X-Forwarded-* headers are believed and
	// added to. Those of all others are replaced.
	TrustedProxies []netip.Prefix

	// Dial connects to "<address>:<port>" of a container; nil is a net.Dialer.
	// It exists because the three ports are fixed: a process that does not
	// share a network with the containers (a test, a tunnel) maps them here.
	// Its context ends after DialTimeout.
	Dial        func(ctx context.Context, network, addr string) (net.Conn, error)
	DialTimeout time.Duration // 0 is 3 s

	// Grace is how long upgraded connections may take to end when Run does; 0 cuts
	// them at once.
	Grace time.Duration

	Log *slog.Logger
}

// Gateway is an http.Handler for the hosts of containers.
type Gateway struct {
	cfg    Config
	suffix string // "." + the domain, lower case, without port
	proxy  httputil.ReverseProxy
	now    func() time.Time

	ready    atomic.Bool
	draining atomic.Bool
	mu       sync.RWMutex
	routes   map[string]*route
}

// New returns a gateway that knows no container until Run has loaded them.
func New(cfg Config) *Gateway {
	if cfg.ReportEvery <= 0 {
		cfg.ReportEvery = reportEvery
	}
	if cfg.DialTimeout <= 0 {
		cfg.DialTimeout = dialTimeout
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	g := &Gateway{cfg: cfg, now: time.Now, routes: map[string]*route{}}
	host, _ := splitPort(strings.ToLower(cfg.Domain))
	g.suffix = "." + strings.TrimSuffix(host, ".")
	g.proxy = httputil.ReverseProxy{
		Rewrite:        g.rewrite,
		Transport:      transport{},
		FlushInterval:  -1,
		BufferPool:     &buffers,
		ModifyResponse: countMoved,
		ErrorHandler:   g.upstreamFailed,
		ErrorLog:       slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	return g
}

// Ready says whether the routes were loaded once.
func (g *Gateway) Ready() bool { return g.ready.Load() }

// Match says whether host has the form of a container's host under the domain,
// whether or not such a container, or such a port of it, exists.
func (g *Gateway) Match(host string) bool {
	_, _, ok := g.parse(host)
	return ok
}

// ServeHTTP answers a request to a container's host.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect {
		g.answer(w, r, methodRefused)
		return
	}
	id, port, ok := g.parse(r.Host)
	switch {
	case ok && !g.Ready():
		g.answer(w, r, notLoaded)
		return
	case !ok || port == (ide.Port{}):
		g.answer(w, r, notFound)
		return
	}
	rt := g.lookup(id)
	if rt == nil {
		g.answer(w, r, notFound)
		return
	}
	probe := rt.isProbe(r)
	switch {
	case rt.Status == ide.Starting && (!probe || rt.to == nil), rt.Status == ide.Running && rt.to == nil:
		g.answer(w, r, starting)
	case rt.to == nil:
		g.answer(w, r, notRunning(rt.Status))
	default:
		g.forward(w, r, rt, port, probe)
	}
}

// Run loads the routes, follows their changes and reports activity until ctx
// ends. When the source fails, the routes known so far stay in force, and once
// it answers again all are loaded anew, so that no change is missed. On the way
// out it reports a last time, with no connection open: none outlives this process.
// Then it has the upgraded connections end, which an http.Server's Shutdown does
// not know of. It returns nil.
func (g *Gateway) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { g.follow(ctx) })
	wg.Go(func() { g.report(ctx) })
	wg.Wait()
	g.draining.Store(true)
	g.drain()
	g.closeUpgraded()
	g.draining.Store(false) // by now there is no upstream to upgrade to
	return nil
}

// follow keeps the table true to the source.
func (g *Gateway) follow(ctx context.Context) {
	var cursor string
	var loaded time.Time // zero: load before the next change
	fails := 0
	for ctx.Err() == nil {
		var err error
		if time.Since(loaded) >= reloadEvery {
			if cursor, err = g.load(ctx); err == nil {
				loaded = time.Now()
			}
		} else {
			var events []ide.Event
			events, cursor, err = g.cfg.Changes(ctx, cursor)
			for _, e := range events {
				if e.Route != nil {
					g.apply(*e.Route)
				}
			}
			if err == nil && fails > 0 {
				g.cfg.Log.InfoContext(ctx, "routes are followed again", "failures", fails)
				fails = 0
			}
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			loaded = time.Time{}
			if fails++; fails == 1 {
				g.cfg.Log.WarnContext(ctx, "routes cannot be followed, the known ones stay", "err", err)
			}
			pause(ctx, fails)
		}
	}
}

// load replaces the table by what the source has now.
func (g *Gateway) load(ctx context.Context) (cursor string, err error) {
	all, cursor, err := g.cfg.Routes(ctx)
	if err != nil {
		return "", err
	}
	g.replace(all)
	g.ready.Store(true)
	return cursor, nil
}

// report hands on what was seen, every ReportEvery and once at the end.
func (g *Gateway) report(ctx context.Context) {
	tick := time.NewTicker(g.cfg.ReportEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			if err := g.reportOnce(context.WithoutCancel(ctx), true); err != nil {
				g.cfg.Log.WarnContext(ctx, "last activity was not reported", "err", err)
			}
			return
		case <-tick.C:
		}
		err := g.reportOnce(ctx, false)
		if err != nil && ctx.Err() == nil && !failing {
			g.cfg.Log.WarnContext(ctx, "activity cannot be reported, it is kept for later", "err", err)
		}
		failing = err != nil
	}
}

// pause waits before try n+1, longer each time and never quite as long as the
// other edges do.
func pause(ctx context.Context, n int) {
	d := min(backoffMin<<min(n-1, 10), backoffMax)
	t := time.NewTimer(d/2 + rand.N(d/2))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
