package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/ide"
)

func TestNotReadyBeforeRoutesAreLoaded(t *testing.T) {
	t.Parallel()
	g := New(Config{Domain: "localhost"})
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "http://"+idA+"-code.localhost/", nil)
	g.ServeHTTP(w, r)
	if g.Ready() || w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "2" {
		t.Errorf("ready %v, status %d, Retry-After %q; want false, 503, 2", g.Ready(), w.Code, w.Header().Get("Retry-After"))
	}
}

func TestChangesAreInForceAtOnce(t *testing.T) {
	t.Parallel()
	src := newSource()
	e := newEdge(t, src, nil)
	for _, a := range []string{"10.1.0.5", "10.1.0.6"} {
		e.backend(t, a+":8080", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, a) })
	}
	host := idA + "-code.localhost:8080"
	if res, _ := e.get(t, host, "/"); res.StatusCode != 404 {
		t.Errorf("unknown: got %d, want 404", res.StatusCode)
	}
	src.change(running(idA, "10.1.0.5"))
	if _, body := e.get(t, host, "/"); body != "10.1.0.5" {
		t.Errorf("got %q, want the first address", body)
	}
	src.change(running(idA, "10.1.0.6"))
	if _, body := e.get(t, host, "/"); body != "10.1.0.6" {
		t.Errorf("got %q, want the second address", body)
	}
	src.change(ide.Route{ID: idA, Status: ide.Stopping, Address: "10.1.0.6"})
	if res, _ := e.get(t, host, "/"); res.StatusCode != 503 {
		t.Errorf("stopping: got %d, want 503", res.StatusCode)
	}
	src.change(ide.Route{ID: idA, Gone: true})
	if res, _ := e.get(t, host, "/"); res.StatusCode != 404 {
		t.Errorf("gone: got %d, want 404", res.StatusCode)
	}
	src.change(ide.Route{ID: idB, Gone: true}) // one that was never there
}

func TestRoutesSurviveASourceThatFails(t *testing.T) {
	t.Parallel()
	src := newSource(running(idA, "10.1.0.5"))
	e := newEdge(t, src, nil)
	e.backend(t, "10.1.0.5:3000", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "A") })
	e.backend(t, "10.1.0.7:3000", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "B") })
	<-src.loaded

	src.set(errors.New("redis is down"))
	// Two tries that failed have passed through the table and left it alone.
	for before := src.loads.Load(); src.loads.Load() < before+2; {
		if _, body := e.get(t, idA+"-web.localhost", "/"); body != "A" {
			t.Fatalf("while the source is down: got %q, want A", body)
		}
	}
	if !e.Ready() {
		t.Error("not ready any more: want ready, the routes are known")
	}
	src.set(nil, running(idB, "10.1.0.7"))
	<-src.loaded
	src.events <- nil
	if _, body := e.get(t, idB+"-web.localhost", "/"); body != "B" {
		t.Errorf("after the source is back: got %q, want B", body)
	}
	if res, _ := e.get(t, idA+"-web.localhost", "/"); res.StatusCode != 404 {
		t.Errorf("removed meanwhile: got %d, want 404", res.StatusCode)
	}
	e.stop()
	for _, line := range []string{"routes cannot be followed", "routes are followed again"} {
		if n := strings.Count(e.log.String(), line); n != 1 {
			t.Errorf("%q stands in the log %d times, want once", line, n)
		}
	}
}

func TestRunLoadsWhenTheSourceComesLate(t *testing.T) {
	t.Parallel()
	src := newSource()
	src.set(errors.New("not yet"))
	e := newEdge(t, src, nil)
	if e.Ready() {
		t.Error("ready without routes")
	}
	src.set(nil, running(idA, ""))
	src.events <- nil
	if !e.Ready() {
		t.Error("not ready after a load")
	}
	// Running without an address is a moment of a start.
	if res, _ := e.get(t, idA+"-web.localhost", "/"); res.StatusCode != 503 || res.Header.Get("Retry-After") != "2" {
		t.Errorf("no address: got %d, want 503", res.StatusCode)
	}
}

// TestRequestsWhileRoutesFlap is for the race detector: look-ups, upgrades and
// changes at the same time.
func TestRequestsWhileRoutesFlap(t *testing.T) {
	t.Parallel()
	src := newSource(running(idA, "10.1.0.5"))
	e := newEdge(t, src, nil)
	for _, a := range []string{"10.1.0.5", "10.1.0.6"} {
		e.backend(t, a+":8080", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, a) })
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				res, _ := e.get(t, idA+"-code.localhost", "/", "Connection", "Upgrade", "Upgrade", "websocket")
				if c := res.StatusCode; c != 200 && c != 502 && c != 503 {
					t.Errorf("got %d", c)
				}
			}
		})
	}
	for i := range 100 {
		src.change(running(idA, []string{"10.1.0.5", "10.1.0.6"}[i%2]))
	}
	wg.Wait()
	if n := e.lookup(idA).seen.open.Load(); n != 0 {
		t.Errorf("%d connections left open in the count, want 0", n)
	}
}

func TestADialEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		g := New(Config{Domain: "localhost", Dial: dial})
		u := newUpstream("10.1.0.5", g.cfg.Dial, g.cfg.DialTimeout)
		began := time.Now()
		_, err := u.transport.DialContext(t.Context(), "tcp", "10.1.0.5:8080")
		if took := time.Since(began); took != dialTimeout || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v after %v, want the end of the time after %v", err, took, dialTimeout)
		}
	})
}
