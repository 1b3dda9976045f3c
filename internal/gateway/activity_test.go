package gateway

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"berth/internal/ide"
)

// clock is a time that moves only when told.
type clock struct{ ns atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(0, c.ns.Load()).UTC() }
func (c *clock) forward(d time.Duration) { c.ns.Add(int64(d)) }

// newClocked returns an edge that stands at noon, with a WebSocket echo as
// container A's code-server and an empty page as its web server.
func newClocked(t *testing.T, src *source) (*edge, *clock) {
	t.Helper()
	e := newEdge(t, newSource(), nil)
	e.stop() // its loops; the tests call report themselves
	e.src = src
	c := &clock{}
	c.ns.Store(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	e.Gateway.now = c.now
	e.cfg.Report = src.Report
	e.replace(src.routes)
	e.backend(t, "10.1.0.5:8080", echo)
	e.backend(t, "10.1.0.5:3000", func(http.ResponseWriter, *http.Request) {})
	return e, c
}

// echo answers each message with itself.
func echo(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer ws.CloseNow()
	for {
		kind, msg, err := ws.Read(r.Context())
		if err != nil {
			return
		}
		if err := ws.Write(r.Context(), kind, msg); err != nil {
			return
		}
	}
}

func (e *edge) dialWS(t *testing.T, host string, h http.Header) *websocket.Conn {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), e.url, &websocket.DialOptions{HTTPClient: visitor, Host: host, HTTPHeader: h})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.CloseNow() })
	return ws
}

func say(t *testing.T, ws *websocket.Conn, msg string) {
	t.Helper()
	if err := ws.Write(t.Context(), websocket.MessageText, []byte(msg)); err != nil {
		t.Fatal(err)
	}
	if _, got, err := ws.Read(t.Context()); err != nil || string(got) != msg {
		t.Fatalf("got %q, %v; want %q back", got, err, msg)
	}
}

// reported makes one report and returns it.
func (e *edge) reported(t *testing.T) []ide.Activity {
	t.Helper()
	if err := e.reportOnce(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	select {
	case seen := <-e.src.reports:
		return seen
	default:
		return nil
	}
}

func TestActivity(t *testing.T) {
	t.Parallel()
	e, c := newClocked(t, newSource(running(idA, "10.1.0.5"), running(idB, "")))
	noon := c.now()
	want := func(what string, w ...ide.Activity) {
		t.Helper()
		if diff := cmp.Diff(w, e.reported(t)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	want("nothing happened")

	e.get(t, idA+"-web.localhost", "/")
	e.get(t, idA+"-web.localhost", "/")
	want("two requests", ide.Activity{ID: idA, Requests: 2, LastActivity: noon, Web: noon})
	want("and no more")

	c.forward(time.Minute)
	ws := e.dialWS(t, idA+"-code.localhost", nil)
	say(t, ws, "hello")
	want("a WebSocket", ide.Activity{ID: idA, Requests: 1, Connections: 1, LastActivity: noon.Add(time.Minute), Web: noon})

	c.forward(time.Hour)
	want("an idle WebSocket is no activity", ide.Activity{ID: idA, Connections: 1, LastActivity: noon.Add(time.Minute), Web: noon})
	say(t, ws, "again")
	want("a message is", ide.Activity{ID: idA, Connections: 1, LastActivity: noon.Add(61 * time.Minute), Web: noon})
	e.get(t, idB+"-web.localhost", "/") // answered here, not there
	want("a visit to a container that is not there is none", ide.Activity{ID: idA, Connections: 1, LastActivity: noon.Add(61 * time.Minute), Web: noon})
}

func TestADownloadIsActivityToItsEnd(t *testing.T) {
	t.Parallel()
	e, c := newClocked(t, newSource(running(idA, "10.1.0.5")))
	more := make(chan struct{})
	e.backend(t, "10.1.0.5:6080", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "first ")
		http.NewResponseController(w).Flush()
		<-more
		io.WriteString(w, "second")
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = idA + "-vnc.localhost"
	res, err := visitor.Transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.ReadFull(res.Body, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	c.forward(time.Hour)
	close(more)
	if _, err := io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	if got := e.reported(t); len(got) != 1 || !got[0].LastActivity.Equal(c.now()) || !got[0].Web.IsZero() {
		t.Errorf("got %+v, want activity at the end of the download, and none on the web port", got)
	}
}

func TestProbesAreNoActivity(t *testing.T) {
	t.Parallel()
	rt := running(idA, "10.1.0.5")
	rt.Probe = "sesame"
	e, c := newClocked(t, newSource(rt))
	e.get(t, idA+"-web.localhost", "/", ide.ProbeHeader, "sesame")
	ws := e.dialWS(t, idA+"-code.localhost", http.Header{ide.ProbeHeader: {"sesame"}})
	say(t, ws, "hello")
	if got := e.reported(t); got != nil {
		t.Errorf("got %v, want no report", got)
	}
	e.get(t, idA+"-web.localhost", "/", ide.ProbeHeader, "guess")
	want := []ide.Activity{{ID: idA, Requests: 1, LastActivity: c.now(), Web: c.now()}}
	if diff := cmp.Diff(want, e.reported(t)); diff != "" {
		t.Errorf("a wrong probe is a request as any (-want +got):\n%s", diff)
	}
}

func TestFailedReportIsMadeUpFor(t *testing.T) {
	t.Parallel()
	src := newSource(running(idA, "10.1.0.5"))
	e, c := newClocked(t, src)
	e.get(t, idA+"-web.localhost", "/")
	src.deaf = errors.New("redis is down")
	if err := e.reportOnce(t.Context(), false); err == nil {
		t.Error("no error from a report that failed")
	}
	src.deaf = nil
	e.get(t, idA+"-web.localhost", "/")
	want := []ide.Activity{{ID: idA, Requests: 2, LastActivity: c.now(), Web: c.now()}}
	if diff := cmp.Diff(want, e.reported(t)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestRunReports sees the loop at work: reports while it runs, failures logged
// once, and a last report that says that nothing is open any more.
func TestRunReports(t *testing.T) {
	t.Parallel()
	src := newSource(running(idA, "10.1.0.5"))
	src.deaf = errors.New("redis is down")
	e := newEdge(t, src, func(c *Config) { c.ReportEvery = time.Millisecond })
	e.backend(t, "10.1.0.5:8080", echo)
	ws := e.dialWS(t, idA+"-code.localhost", nil)
	say(t, ws, "hello")
	for range 3 {
		<-src.tried
	}
	src.mu.Lock()
	src.deaf = nil
	src.mu.Unlock()
	first := <-src.reports
	if len(first) != 1 || first[0].Requests != 1 || first[0].Connections != 1 {
		t.Errorf("got %+v, want one request and one connection", first)
	}
	e.stop()
	if _, _, err := ws.Read(t.Context()); err == nil {
		t.Error("the WebSocket outlived Run")
	}
	last := first
	for len(src.reports) > 0 {
		last = <-src.reports
	}
	if len(last) != 1 || last[0].Connections != 0 {
		t.Errorf("last report: got %+v, want 0 connections", last)
	}
	if ws, _, err := websocket.Dial(t.Context(), e.url, &websocket.DialOptions{HTTPClient: visitor, Host: idA + "-code.localhost"}); err == nil {
		ws.CloseNow()
		t.Error("a WebSocket opened after Run")
	}
}

func TestRouteChangeClosesUpgradedConnections(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		to   ide.Route
		open bool
	}{
		"stopping":            {ide.Route{ID: idA, Status: ide.Stopping, Address: "10.1.0.5"}, false},
		"failed":              {ide.Route{ID: idA, Status: ide.Failed}, false},
		"another address":     {running(idA, "10.1.0.6"), false},
		"a new start":         {ide.Route{ID: idA, Status: ide.Starting, Address: "10.1.0.5"}, false},
		"gone":                {ide.Route{ID: idA, Gone: true}, false},
		"nothing has changed": {running(idA, "10.1.0.5"), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := newSource(running(idA, "10.1.0.5"))
			e := newEdge(t, src, nil)
			e.backend(t, "10.1.0.5:8080", echo)
			ws := e.dialWS(t, idA+"-code.localhost", nil)
			say(t, ws, "hello")
			src.change(c.to)
			if c.open {
				say(t, ws, "still here")
				return
			}
			if _, _, err := ws.Read(t.Context()); err == nil {
				t.Error("a message on a connection that had to be closed")
			}
		})
	}
}

// TestRouteChangeFreesADeafClient: one that neither reads nor closes must not
// keep its connection, also after the container has closed its side.
func TestRouteChangeFreesADeafClient(t *testing.T) {
	t.Parallel()
	src := newSource(running(idA, "10.1.0.5"))
	e := newEdge(t, src, nil)
	e.backend(t, "10.1.0.5:6080", func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
		rw.Flush()
		conn.Close()
	})
	conn, err := net.Dial("tcp", e.url[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	key, done := e.visit()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s-vnc.localhost\r\n%s: %s\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n", idA, doneHeader, key)
	if _, err := io.ReadAll(conn); err != nil { // up to the container's end of it
		t.Fatal(err)
	}
	src.change(ide.Route{ID: idA, Status: ide.Stopped})
	<-done // or the test runs into its time limit
}
