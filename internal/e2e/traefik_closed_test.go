package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/internal/ide"
)

// security sees what protects everybody, container or not.
func (s *stack) security(t *testing.T) {
	t.Helper()
	for url, want := range map[string]int{
		"https://api." + stackDomain + "/livez":                         http.StatusNoContent,
		"https://" + ide.NewID() + "-code." + containerDomain:           http.StatusNotFound,
		"https://nothing." + containerDomain:                            http.StatusNotFound,
		"https://nothing." + containerDomain + "/readyz":                http.StatusNotFound,
		"https://traefik." + stackDomain + "/api/overview":              http.StatusUnauthorized,
		"https://traefik." + stackDomain + "/dashboard/":                http.StatusUnauthorized,
		"https://traefik." + stackDomain + "/api/rawdata":               http.StatusUnauthorized,
		"https://nothing." + containerDomain + "/api/rawdata":           http.StatusNotFound,
		"https://" + ide.NewID() + "-web." + containerDomain + "/api/x": http.StatusNotFound,
	} {
		a := s.open(url)
		if a.status != want || a.header.Get("Strict-Transport-Security") != "max-age=31536000" || a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: got %d %v, want %d, HSTS and nosniff", url, a.status, a.header, want)
		}
		plain := strings.Replace(url, "https:", "http:", 1)
		if a := s.open(plain); a.status != http.StatusMovedPermanently || strings.TrimSuffix(a.header.Get("Location"), "/") != strings.TrimSuffix(url, "/") {
			t.Errorf("%s: got %d %v, want to be sent to %s", plain, a.status, a.header, url)
		}
	}
	if a := s.open("https://nothing." + containerDomain); !strings.Contains(string(a.body), "There is no container at this address") {
		t.Errorf("an unknown host: got %.300s", a.body)
	}
	for _, who := range []string{"", "admin", "root"} {
		if a := s.dashboard("/api/overview", who, "wrong"); a.status != http.StatusUnauthorized {
			t.Errorf("dashboard as %q: got %d", who, a.status)
		}
	}
	if a := s.dashboard("/api/overview", "admin", "dashboard-password"); a.status != http.StatusOK || !strings.Contains(string(a.body), `"routers"`) {
		t.Errorf("dashboard: got %s", a)
	}
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		conn, err := tls.Dial("tcp", s.https, &tls.Config{RootCAs: s.ca, ServerName: "api." + stackDomain, MinVersion: version, MaxVersion: version})
		if err == nil {
			conn.Close()
		}
		if ok := version >= tls.VersionTLS12; ok != (err == nil) {
			t.Errorf("%s: got %v", tls.VersionName(version), err)
		}
	}
}

// dashboard asks Traefik's own API.
func (s *stack) dashboard(path, user, password string) answer {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodGet, "https://traefik."+stackDomain+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.SetBasicAuth(user, password)
	res, err := s.edge.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, b}
}

// realAddress sees that the limit of requests is that of a client's own
// address: what a client says of itself does not help it, and another client is
// not refused.
func (s *stack) realAddress(t *testing.T) {
	t.Helper()
	ask := func(c *http.Client, forwarded string) int {
		req, err := http.NewRequest(http.MethodGet, "https://api."+stackDomain+"/api/containers", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-For", forwarded)
		req.Header.Set("X-Real-Ip", forwarded)
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	var refused atomic.Bool
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for k := range 1500 {
				if refused.Load() {
					return
				}
				if ask(s.edge, fmt.Sprintf("203.%d.%d.%d", i, k/256, k%256)) == http.StatusTooManyRequests {
					refused.Store(true)
				}
			}
		})
	}
	all.Wait()
	if !refused.Load() {
		t.Error("12,000 requests without a key were not refused: each was another client's, or none was")
	}
	// A process in the node's own network calls from the node's address.
	node := s.lab.Nodes[0]
	dial := dialFrom(node.NetNS)
	other := &http.Client{Timeout: 90 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: s.ca}, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dial(ctx, network, s.https)
		},
	}}
	if got := ask(other, "203.0.113.1"); got != http.StatusUnauthorized {
		t.Errorf("another client: got %d, want 401", got)
	}
}
