package openapi

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"runtime/debug"
	"time"

	"berth/internal/ide"
)

type requestIDKey struct{}

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
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id)))
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

// access logs every request but the probes of load balancers.
func (s *server) access(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(rec, r)
		if public(r.URL.Path) && rec.status < http.StatusInternalServerError {
			return
		}
		id, _ := r.Context().Value(requestIDKey{}).(string)
		s.log.Info("request", "method", r.Method, "path", r.URL.Path, "status", rec.status, "took", time.Since(start).Round(time.Microsecond),
			"request", id)
	})
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController find Flush and deadlines.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
