package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/internal/ide"
)

const (
	idA = "k3xqh5zt2mwfa"
	idB = "b2b2b2b2b2b2b"
)

// source is what the store is to the gateway: a list, a stream and a place for
// reports.
type source struct {
	mu     sync.Mutex
	routes []ide.Route
	fail   error // what Routes and Changes answer while set
	deaf   error // what Report answers while set

	events  chan []ide.Event
	broken  chan struct{} // closed by set, which wakes a blocked Changes
	loads   atomic.Int64
	loaded  chan struct{} // one token per successful load
	reports chan []ide.Activity
	tried   chan struct{} // one token per failed report
}

func newSource(routes ...ide.Route) *source {
	return &source{
		routes: routes, events: make(chan []ide.Event), broken: make(chan struct{}),
		loaded: make(chan struct{}, 1000), reports: make(chan []ide.Activity, 1000), tried: make(chan struct{}, 1000),
	}
}

// set says what the source answers from now on; a call of Changes that waits
// fails if the answer is an error.
func (s *source) set(fail error, routes ...ide.Route) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail, s.routes = fail, routes
	if fail != nil {
		close(s.broken)
		s.broken = make(chan struct{})
	}
}

func (s *source) Routes(context.Context) ([]ide.Route, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads.Add(1)
	if s.fail != nil {
		return nil, "", s.fail
	}
	s.loaded <- struct{}{}
	return s.routes, "1-0", nil
}

func (s *source) Changes(ctx context.Context, cursor string) ([]ide.Event, string, error) {
	s.mu.Lock()
	fail, broken := s.fail, s.broken
	s.mu.Unlock()
	if fail != nil {
		return nil, cursor, fail
	}
	select {
	case e := <-s.events:
		return e, cursor, nil
	case <-broken:
		return nil, cursor, errors.New("connection lost")
	case <-ctx.Done():
		return nil, cursor, ctx.Err()
	}
}

func (s *source) Report(_ context.Context, seen []ide.Activity) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deaf != nil {
		s.tried <- struct{}{}
		return s.deaf
	}
	s.reports <- seen
	return nil
}

// change sends a route through the stream and returns once it is in force: the
// second send is taken only when the first batch has been applied.
func (s *source) change(r ide.Route) {
	s.events <- []ide.Event{{Type: "container.changed", Route: &r}}
	s.events <- nil
}

// edge is a running gateway behind a real server, with a map from container
// addresses to loopback servers.
type edge struct {
	*Gateway
	url  string
	src  *source
	stop func() // ends Run and waits for it
	log  *bytes.Buffer

	mu       sync.Mutex
	backends map[string]string // "address:port" -> "127.0.0.1:n"

	visits sync.Map // value of doneHeader -> chan struct{}
}

// doneHeader names a request whose end at the gateway a test waits for: the
// client has the whole answer a moment before the gateway has counted it.
const doneHeader = "Test-Done"

// visit returns the header value that names one request, and the channel that
// is closed when the gateway is done with it.
func (e *edge) visit() (key string, done <-chan struct{}) {
	c := make(chan struct{})
	key = ide.NewID()
	e.visits.Store(key, c)
	return key, c
}

func newEdge(t *testing.T, src *source, edit func(*Config)) *edge {
	t.Helper()
	e := &edge{src: src, backends: map[string]string{}, log: &bytes.Buffer{}}
	cfg := Config{
		Domain: "localhost:8080", Routes: src.Routes, Changes: src.Changes, Report: src.Report,
		ReportEvery: time.Hour, Dial: e.dial, DialTimeout: time.Minute, Log: slog.New(slog.NewTextHandler(e.log, nil)),
	}
	if edit != nil {
		edit(&cfg)
	}
	e.Gateway = New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.Run(ctx)
	}()
	e.stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(e.stop)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get(doneHeader)
		r.Header.Del(doneHeader)
		if done, ok := e.visits.Load(key); ok {
			defer close(done.(chan struct{}))
		}
		e.Gateway.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	e.url = srv.URL
	src.mu.Lock()
	ok := src.fail == nil
	src.mu.Unlock()
	if ok {
		src.events <- nil // taken after the load
	}
	return e
}

func (e *edge) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	e.mu.Lock()
	to, ok := e.backends[addr]
	e.mu.Unlock()
	if !ok {
		return nil, errors.New("connect: no route to host")
	}
	var d net.Dialer
	return d.DialContext(ctx, network, to)
}

// backend serves h as "address:port" of a container.
func (e *edge) backend(t *testing.T, addr string, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.backends[addr] = srv.Listener.Addr().String()
	return srv
}

// visitor has connections of its own: an httptest.Server that closes closes the
// idle ones of http.DefaultTransport, those of other tests with them.
var visitor = &http.Client{Transport: &http.Transport{}}

// get asks for path on a host and returns status, headers and body.
func (e *edge) get(t *testing.T, host, path string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest("GET", e.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	key, done := e.visit()
	r.Header.Set(doneHeader, key)
	res, err := visitor.Transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	<-done
	return res, string(body)
}

func running(id, address string) ide.Route {
	return ide.Route{ID: id, Status: ide.Running, Address: address}
}
