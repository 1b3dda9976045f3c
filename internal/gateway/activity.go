package gateway

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"berth/internal/ide"
)

// counter is what was seen of one container's traffic. Probes are not.
type counter struct {
	requests atomic.Int64 // since the last report
	open     atomic.Int64 // requests under way and upgraded connections
	last     atomic.Int64 // Unix nanoseconds of the last activity

	reportedOpen, reportedLast int64 // of report alone
}

// touch notes activity. Clocks of several goroutines may disagree about which
// was last by a moment that does not matter.
func (c *counter) touch(now time.Time) { c.last.Store(now.UnixNano()) }

// reportOnce hands on what was seen since the last time. A container is in it
// when something is new, and as long as it has open connections, so that the
// report of an edge that died can be told by its age. leaving says that this
// process is about to end, and its connections with it.
//
// A report that failed half-way may count requests twice; it never loses any.
func (g *Gateway) reportOnce(ctx context.Context, leaving bool) error {
	var seen []ide.Activity
	var counters []*counter
	g.mu.RLock()
	for id, rt := range g.routes {
		c := rt.seen
		a := ide.Activity{ID: id, Requests: c.requests.Swap(0), Connections: int(c.open.Load())}
		last := c.last.Load()
		if leaving {
			a.Connections = 0
		}
		if a.Requests == 0 && a.Connections == 0 && c.reportedOpen == 0 && c.reportedLast == last {
			continue
		}
		a.LastActivity = time.Unix(0, last).UTC()
		seen, counters = append(seen, a), append(counters, c)
	}
	g.mu.RUnlock()
	if len(seen) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	err := g.cfg.Report(ctx, seen)
	for i, c := range counters {
		if err != nil {
			c.requests.Add(seen[i].Requests)
		} else {
			c.reportedOpen, c.reportedLast = int64(seen[i].Connections), seen[i].LastActivity.UnixNano()
		}
	}
	return err
}

// countUpgraded notes the bytes of an upgraded connection as they move: an open
// WebSocket alone is no activity.
func countUpgraded(res *http.Response) error {
	body, ok := res.Body.(io.ReadWriteCloser)
	v := visitOf(res.Request.Context())
	if !ok || res.StatusCode != http.StatusSwitchingProtocols || v.probe {
		return nil
	}
	res.Body = &countedConn{ReadWriteCloser: body, visit: v}
	return nil
}

type countedConn struct {
	io.ReadWriteCloser
	visit *visit
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.ReadWriteCloser.Read(b)
	if n > 0 {
		c.visit.seen.touch(c.visit.now())
	}
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.ReadWriteCloser.Write(b)
	if n > 0 {
		c.visit.seen.touch(c.visit.now())
	}
	return n, err
}

// CloseWrite passes the end of one direction on; ReverseProxy asks for it.
func (c *countedConn) CloseWrite() error {
	if w, ok := c.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return c.Close()
}
