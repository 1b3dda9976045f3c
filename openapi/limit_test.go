package openapi

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/redistest"
	"berth/internal/store"
	"log/slog"
)

func TestRateLimitIsPerKeyAndSharedByReplicas(t *testing.T) {
	t.Parallel()
	st := store.New(redistest.New(t), store.Config{})
	replica := func() http.Handler {
		return New(&functions.Deps{Store: st, Log: slog.New(slog.DiscardHandler)}, Config{RateLimit: 6,
			Keys: []Key{{"alice", ide.Client, streamAlice}, {"root", ide.Admin, streamAdmin}}})
	}
	replicas := []http.Handler{replica(), replica()}
	call := func(i int, key string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/api/containers", nil)
		if key != "" {
			r.Header.Set("Authorization", "Bearer "+key)
		}
		w := httptest.NewRecorder()
		replicas[i%2].ServeHTTP(w, r)
		return w
	}
	for i := range 6 {
		if w := call(i, streamAlice); w.Code != http.StatusOK || w.Header().Get("RateLimit-Limit") != "6" {
			t.Fatalf("call %d: got %d, %v", i, w.Code, w.Header())
		}
	}
	w := call(0, streamAlice)
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" || w.Header().Get("RateLimit-Remaining") != "0" {
		t.Errorf("got %d, %v, want 429 with Retry-After", w.Code, w.Header())
	}
	if w := call(0, streamAdmin); w.Code != http.StatusOK {
		t.Errorf("another key: got %d", w.Code)
	}
	for i := range 7 {
		w = call(i, "")
	}
	if w.Code != http.StatusTooManyRequests {
		t.Errorf("guessing keys: got %d, want 429", w.Code)
	}
}

func TestAddressBehindProxies(t *testing.T) {
	t.Parallel()
	proxies, err := ParsePrefixes([]string{"10.0.0.0/8", "192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{cfg: Config{TrustedProxies: proxies}, start: time.Now()}
	for _, tc := range []struct{ name, peer, forwarded, want string }{
		{"a stranger's header is not believed", "203.0.113.9:1", "198.51.100.7", "203.0.113.9"},
		{"a proxy's header is", "10.1.1.1:1", "198.51.100.7", "198.51.100.7"},
		{"what a client wrote before the proxy is not", "10.1.1.1:1", "1.1.1.1, 198.51.100.7", "198.51.100.7"},
		{"several proxies", "192.0.2.1:1", "198.51.100.7, 10.2.2.2", "198.51.100.7"},
		{"nonsense", "10.1.1.1:1", "unknown", "10.1.1.1"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = tc.peer
		r.Header.Set("X-Forwarded-For", tc.forwarded)
		if got := s.address(r); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
	if _, err := ParsePrefixes([]string{"everywhere"}); err == nil {
		t.Error("nonsense was accepted")
	}
}

// FuzzParsePrefixes: what TRUSTED_PROXIES takes is a network and nothing else.
func FuzzParsePrefixes(f *testing.F) {
	for _, s := range []string{"10.0.0.0/8", "192.0.2.1", "::1", "fd00::/8", "10.0.0.0/33", "", " 10.1.1.1 ", "localhost", "fe80::1%eth0", "::ffff:10.0.0.1", "10.0.0.1/08"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParsePrefixes([]string{text})
		if err == nil && (len(list) != 1 || !list[0].IsValid()) {
			t.Errorf("%q: got %v", text, list)
		}
		if err != nil && list != nil {
			t.Errorf("%q: got %v and %v", text, list, err)
		}
	})
}

// FuzzAddress: whatever a client writes into X-Forwarded-For, it is limited by
// an address, and without a trusted proxy by its own.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"", "198.51.100.7", "1.1.1.1, 198.51.100.7", "unknown", ",,", "fe80::1%a:b", "10.1.1.1,10.2.2.2", "[::1]:80", "198.51.100.7\x00"} {
		f.Add(s)
	}
	s := &server{cfg: Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
	f.Fuzz(func(t *testing.T, forwarded string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["X-Forwarded-For"] = []string{forwarded}
		for _, peer := range []string{"10.1.1.1", "203.0.113.9"} {
			r.RemoteAddr = peer + ":1"
			got := s.address(r)
			if _, err := netip.ParseAddr(got); err != nil || peer == "203.0.113.9" && got != peer {
				t.Errorf("from %s with %q: got %q", peer, forwarded, got)
			}
		}
	})
}
