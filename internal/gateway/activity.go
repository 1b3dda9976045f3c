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
	web      atomic.Int64 // the same on the web port alone

	reportedOpen, reportedLast int64 // of report alone
}

// touch notes activity on a port. Clocks of several goroutines may disagree
// about which was last by a moment that does not matter.
func (c *counter) touch(p ide.Port, now time.Time) {
	c.last.Store(now.UnixNano())
	if p == ide.PortWeb {
		c.web.Store(now.UnixNano())
	}
}

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
		if web := c.web.Load(); web != 0 {
			a.Web = time.Unix(0, web).UTC()
		}
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

// countMoved notes the bytes of an answer, or of an upgraded connection, as they
// move: a long download is activity to its end, an open WebSocket alone is not.
func countMoved(res *http.Response) error {
	v := visitOf(res.Request.Context())
	if v.probe {
		return nil
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		res.Body = &countedBody{ReadCloser: res.Body, visit: v}
	} else if body, ok := res.Body.(io.ReadWriteCloser); ok {
		res.Body = &countedConn{ReadWriteCloser: body, visit: v}
	}
	return nil
}

type countedBody struct {
	io.ReadCloser
	visit *visit
}

func (c *countedBody) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	if n > 0 {
		c.visit.seen.touch(c.visit.port, c.visit.now())
	}
	return n, err
}

type countedConn struct {
	io.ReadWriteCloser
	visit *visit
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.ReadWriteCloser.Read(b)
	if n > 0 {
		c.visit.seen.touch(c.visit.port, c.visit.now())
	}
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.ReadWriteCloser.Write(b)
	if n > 0 {
		c.visit.seen.touch(c.visit.port, c.visit.now())
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
