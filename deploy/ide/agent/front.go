package main

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"time"

	"berth/internal/ide"
)

// front hands requests to a server inside the container as they came: Host
// stays, because code-server and dev servers compare it with Origin.
type front struct {
	dial   func(ctx context.Context) (net.Conn, error)
	moved  func() // bytes have moved on a connection that outlives its request; may be nil
	answer func(*http.Response) error
	absent func(w http.ResponseWriter, r *http.Request, err error) // when there is no answer
	proxy  *httputil.ReverseProxy
}

func newFront(f front, log *slog.Logger) *front {
	f.proxy = &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL.Scheme, pr.Out.URL.Host = "http", "inside"
			pr.Out.URL.RawQuery = pr.In.URL.RawQuery // not ours to clean
			for _, h := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
				if v, ok := pr.In.Header[h]; ok { // an edge's words
					pr.Out.Header[h] = v
				}
			}
			pr.Out.Header.Del(ide.ProbeHeader)
		},
		Transport: &http.Transport{
			DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return f.dial(ctx) },
			MaxIdleConnsPerHost: 32,
			IdleConnTimeout:     30 * time.Second,
			DisableCompression:  true,
		},
		FlushInterval:  -1, // dev servers stream
		ModifyResponse: f.answer,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() == nil {
				log.Debug("server inside did not answer", "path", r.URL.Path, "err", err)
			}
			f.absent(w, r, err)
		},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return &f
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.moved != nil {
		w = &meter{w, f.moved}
	}
	f.proxy.ServeHTTP(w, r)
}

// meter reports the bytes that go through an answer, or through the connection
// that a request has become.
type meter struct {
	http.ResponseWriter
	moved func()
}

func (m *meter) Unwrap() http.ResponseWriter { return m.ResponseWriter }

func (m *meter) Write(b []byte) (int, error) {
	m.moved()
	return m.ResponseWriter.Write(b)
}

func (m *meter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(m.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	return &meteredConn{conn, m.moved}, rw, nil
}

type meteredConn struct {
	net.Conn
	moved func()
}

func (c *meteredConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.moved()
	}
	return n, err
}

func (c *meteredConn) Write(b []byte) (int, error) {
	if len(b) > 0 {
		c.moved()
	}
	return c.Conn.Write(b)
}

// unixDialer dials a unix socket.
func unixDialer(path string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", path)
	}
}

// loopbackDialer dials a port of this host, by whichever family a server has it.
func loopbackDialer(port string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		d := net.Dialer{Timeout: 5 * time.Second}
		conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			if six, err6 := d.DialContext(ctx, "tcp", net.JoinHostPort("::1", port)); err6 == nil {
				return six, nil
			}
		}
		return conn, err
	}
}

// reachable says whether something accepts connections.
func reachable(dial func(context.Context) (net.Conn, error)) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := dial(ctx)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
