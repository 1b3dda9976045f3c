package gateway

import (
	"context"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"berth/internal/ide"
)

const (
	dialTimeout     = 3 * time.Second
	idleTimeout     = 60 * time.Second // shorter than the agent's, so that the gateway closes first
	idlePerHost     = 16
	maxHeaderAnswer = 1 << 20 // bytes
)

// route is one line of the table. It never changes; a change makes a new one,
// which takes over what still holds of the old.
type route struct {
	ide.Route
	to   *upstream // nil: requests lead nowhere
	seen *counter
}

// isProbe says whether a request is the control plane's own.
func (rt *route) isProbe(r *http.Request) bool {
	h := r.Header.Get(ide.ProbeHeader)
	return rt.Probe != "" && h != "" && subtle.ConstantTimeCompare([]byte(h), []byte(rt.Probe)) == 1
}

func (g *Gateway) lookup(id string) *route {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.routes[id]
}

// apply takes one change over into the table.
func (g *Gateway) apply(r ide.Route) {
	g.mu.Lock()
	old := g.set(r)
	g.mu.Unlock()
	old.close()
}

// replace makes the table say exactly what all says.
func (g *Gateway) replace(all []ide.Route) {
	var left []*upstream
	g.mu.Lock()
	keep := make(map[string]bool, len(all))
	for _, r := range all {
		keep[r.ID] = true
		left = append(left, g.set(r))
	}
	for id, rt := range g.routes {
		if !keep[id] {
			delete(g.routes, id)
			left = append(left, rt.to)
		}
	}
	g.mu.Unlock()
	for _, u := range left {
		u.close()
	}
}

// set writes one line of the table, under the lock. It returns the upstream
// that is no longer in use, or nil; the caller closes it after the table says
// the new truth, so that who finds it closed looks again and finds that.
func (g *Gateway) set(r ide.Route) (left *upstream) {
	was := g.routes[r.ID]
	if r.Gone {
		delete(g.routes, r.ID)
		if was != nil {
			return was.to
		}
		return nil
	}
	now := &route{Route: r}
	if was != nil {
		now.seen = was.seen
	} else {
		now.seen = &counter{}
	}
	_, err := netip.ParseAddr(r.Address)
	reachable := err == nil && (r.Status == ide.Starting || r.Status == ide.Running)
	same := was != nil && was.to != nil && was.Address == r.Address && (was.Status == r.Status || r.Status == ide.Running)
	switch {
	case reachable && same:
		now.to = was.to
	case reachable:
		now.to = newUpstream(r.Address, g.cfg.Dial, g.cfg.DialTimeout)
		fallthrough
	default:
		if was != nil {
			left = was.to
		}
	}
	g.routes[r.ID] = now
	return left
}

// closeUpgraded ends every upgraded connection.
func (g *Gateway) closeUpgraded() {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for _, rt := range g.routes {
		rt.to.close()
	}
}

// upstream is one run of a container at one address. Each has connections of
// its own: Swarm gives addresses to other tasks later, and a pooled connection
// must never be shared by two containers.
type upstream struct {
	address   string
	transport *http.Transport

	mu       sync.Mutex
	closed   bool
	upgraded map[*held]struct{}
}

func newUpstream(address string, dial func(ctx context.Context, network, addr string) (net.Conn, error), timeout time.Duration) *upstream {
	return &upstream{
		address: address,
		transport: &http.Transport{
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				ctx, cancel := context.WithTimeout(ctx, timeout)
				defer cancel()
				return dial(ctx, network, addr)
			},
			DisableCompression:     true, // a body passes as it is
			MaxIdleConnsPerHost:    idlePerHost,
			IdleConnTimeout:        idleTimeout,
			ExpectContinueTimeout:  time.Second,
			MaxResponseHeaderBytes: maxHeaderAnswer,
		},
	}
}

// hold has a connection cut when the upstream is no longer in use, until release.
// Not ok means that this is already so.
func (u *upstream) hold(h *held) (release func(), ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return nil, false
	}
	if u.upgraded == nil {
		u.upgraded = map[*held]struct{}{}
	}
	u.upgraded[h] = struct{}{}
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.upgraded, h)
	}, true
}

// close ends the upgraded connections and the idle ones. Plain requests under
// way may end by themselves: the container is given time to stop, and a save
// may be among them.
func (u *upstream) close() {
	if u == nil {
		return
	}
	u.mu.Lock()
	u.closed = true
	for h := range u.upgraded {
		h.cancel()
	}
	u.mu.Unlock()
	u.transport.CloseIdleConnections()
}
