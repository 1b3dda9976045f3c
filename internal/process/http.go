package process

import (
	"berth/internal/gateway"
	"berth/internal/store"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// front sends the containers' hosts to the gateway and all else to the API.
func front(gw *gateway.Gateway, api http.Handler, st *store.Store) http.Handler {
	if api == nil { // a health check asks by address, a visitor by a name
		mux := http.NewServeMux()
		mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
		mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
			if !gw.Ready() || st.Ping(r.Context()) != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		})
		mux.Handle("/", gw)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if byAddress(r.Host) {
				mux.ServeHTTP(w, r)
				return
			}
			gw.ServeHTTP(w, r)
		})
	}
	if gw == nil {
		return api
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if gw.Match(r.Host) {
			// A proxy may use one connection for the API and for containers; the API's deadline ends with its answer.
			_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
			gw.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})
}

// byAddress says whether a request's host is an IP address, or localhost.
func byAddress(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || host == "localhost"
}

// Serve serves until ctx ends, and then lets requests finish. Bodies and
// answers have no deadline here: those of containers may take for ever.
func Serve(ctx context.Context, l net.Listener, h http.Handler, header time.Duration) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: header, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := srv.Shutdown(end); err != nil {
		return errors.Join(err, srv.Close()) // a stream that does not end by itself
	}
	return nil
}
