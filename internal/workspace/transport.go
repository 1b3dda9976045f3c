package workspace

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"berth/internal/ide"
)

// stall is how long a connection may be silent in the middle of a request.
const stall = 2 * time.Minute

// transport returns what requests to a store pass through; ca are PEM
// certificates that are trusted beside the system's.
func transport(ca []byte) (http.RoundTripper, error) {
	dialer := &net.Dialer{Timeout: 15 * time.Second}
	tr := &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return stallConn{c}, nil
		},
		MaxIdleConnsPerHost: 2 * workers, IdleConnTimeout: time.Minute,
		TLSHandshakeTimeout: 15 * time.Second, ResponseHeaderTimeout: stall,
		DisableCompression: true, // bodies are what was stored
	}
	if len(ca) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(ca) {
			return nil, ide.Errorf(ide.ValidationFailed, "The S3 CA file has no certificate in it.")
		}
		tr.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return lending{tr}, nil
}

// stallConn ends a read or write that makes no progress: a store that accepts
// a request and then says nothing must not hold a save for ever.
type stallConn struct{ net.Conn }

func (c stallConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(stall)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c stallConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(stall)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// lending is a transport that reads a request's body no longer than until its
// answer is closed. Another may (net/http, RoundTripper), if only for the end
// after the last byte: but the client sends the same reader again where an
// attempt has failed, and we fill the same buffer with the next file.
type lending struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t lending) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return t.RoundTripper.RoundTrip(r)
	}
	body := &lent{body: r.Body}
	r = r.WithContext(r.Context()) // a copy: the request is not ours to change
	r.Body = body
	res, err := t.RoundTripper.RoundTrip(r)
	if err != nil {
		body.Close()
		return nil, err
	}
	res.Body = answer{res.Body, body}
	return res, nil
}

// lent is a body that is at its end once it is closed.
type lent struct {
	mu   sync.Mutex
	body io.ReadCloser
	over bool
}

func (l *lent) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return 0, io.EOF
	}
	return l.body.Read(p)
}

func (l *lent) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return nil
	}
	l.over = true
	return l.body.Close()
}

// answer closes the body it answers with its own.
type answer struct {
	io.ReadCloser
	to *lent
}

func (a answer) Close() error {
	a.to.Close()
	return a.ReadCloser.Close()
}
