package openapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"runtime/debug"
	"slices"
	"time"

	"berth/internal/ide"
	"berth/internal/store"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"go.opentelemetry.io/otel/trace"
)

// call is what is learned of a request on its way in, for the log and the
// metrics.
type call struct {
	id        string
	key       string         // name of the API key
	session   *store.Session // that its cookie is of; nil is none
	secured   bool           // the browser came over TLS
	operation string         // its ID in the OpenAPI document
}

type callKey struct{}

// callOf returns what is known of the request that a context belongs to.
func callOf(ctx interface{ Value(any) any }) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{}
}

// sane is a request ID that may be taken over from a caller.
var sane = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// identify gives every request an ID, the caller's if it sent a sane one, and
// every answer the headers that no answer should lack.
func (s *server) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Request-ID")
		if !sane.MatchString(id) {
			id = ide.NewID()
		}
		h := w.Header()
		h.Set("X-Request-ID", id)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()")
		secured := s.secured(r)
		if secured {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callKey{}, &call{id: id, secured: secured})))
	})
}

// recover turns a panic into a 500 and a line in the log.
func (s *server) recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler {
				panic(p)
			}
			s.log.Error("panic in a handler", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			s.write(w, r, ide.Errorf(ide.Internal, "panic"))
		}()
		next.ServeHTTP(w, r)
	})
}

// access counts every request, and logs all but the probes of load balancers.
func (s *server) access(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := &statusWriter{ResponseWriter: w, control: http.NewResponseController(w), status: http.StatusOK}
		defer func() {
			if p := recover(); p != nil {
				rec.status = http.StatusInternalServerError
				s.done(r, rec.status, time.Since(start))
				panic(p)
			}
			s.done(r, rec.status, time.Since(start))
		}()
		next.ServeHTTP(rec, r)
	})
}

// done is told of every request that is over. Neither the query nor a header
// is logged: they may hold what is secret.
func (s *server) done(r *http.Request, status int, took time.Duration) {
	c := callOf(r.Context())
	s.metrics.request(c.operation, status, took)
	if public(r.URL.Path) && status < http.StatusInternalServerError {
		return
	}
	s.log.Info("request", "method", r.Method, "path", r.URL.Path, "status", status, "operation", c.operation, "key", c.key,
		"took", took.Round(time.Microsecond), "request", c.id)
}

// writeTimeout is how long one write of an answer may take: a client that
// takes nothing for so long is gone.
const writeTimeout = 10 * time.Second

// statusWriter remembers the status of an answer, and gives every write its
// time.
type statusWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	status  int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *statusWriter) Write(b []byte) (int, error) {
	_ = w.control.SetWriteDeadline(time.Now().Add(writeTimeout)) // a recorder in a test has none
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController find Flush and deadlines.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// slow cuts clients that send their body too slowly: connections are what a
// server has least of.
func (s *server) slow(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			control := http.NewResponseController(w)
			if control.SetReadDeadline(time.Now().Add(s.cfg.readTimeout())) == nil {
				r.Body = &timedBody{r.Body, control}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// timedBody lifts the deadline once the body is there: from then on it would
// end requests that wait for something.
type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
}

// Read implements io.Reader.
func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = b.control.SetReadDeadline(time.Time{}) // it could be set
	}
	return n, err
}

// enter notes which operation a request is for, and refuses those that are not for
// the caller's role.
func (s *server) enter(ctx huma.Context, next func(huma.Context)) {
	op := ctx.Operation()
	callOf(ctx.Context()).operation = op.OperationID
	trace.SpanFromContext(ctx.Context()).SetName(op.OperationID)
	err := mayAsk(op, ide.PrincipalOf(ctx.Context()))
	if err == nil {
		err = wellFormed(ctx)
	}
	if err != nil {
		r, w := humago.Unwrap(ctx)
		s.write(w, r, err)
		return
	}
	next(ctx)
}

// wellFormed refuses a query that Huma would read in part: pairs that cannot be
// decoded, and a second value of what has one.
func wellFormed(ctx huma.Context) error {
	u := ctx.URL()
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return validation("", []error{&huma.ErrorDetail{Location: "query", Message: "must be pairs NAME=VALUE with & between them, and two hexadecimal digits after each %"}})
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if len(query[name]) == 1 || slices.ContainsFunc(ctx.Operation().Parameters, func(p *huma.Param) bool {
			return p.In == "query" && p.Name == name && p.Explode != nil && *p.Explode
		}) {
			continue
		}
		return validation("", []error{&huma.ErrorDetail{Location: "query." + name, Message: "must be given once"}})
	}
	return nil
}
