package openapi

import (
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"berth/internal/ide"
)

// allow counts a request against the limit of a caller, puts the limit into
// the answer's headers (IETF draft-ietf-httpapi-ratelimit-headers, the three
// fields of its first versions, which clients know), and answers 429 itself
// when the limit is reached. Without Redis it lets pass: what the request
// needs Redis for will say so.
func (s *server) allow(w http.ResponseWriter, r *http.Request, who string, perMinute int) bool {
	if perMinute <= 0 {
		return true
	}
	rate, err := s.deps.Store.Allow(r.Context(), who, perMinute)
	if err != nil {
		return true
	}
	h := w.Header()
	h.Set("RateLimit-Limit", strconv.Itoa(rate.Limit))
	h.Set("RateLimit-Remaining", strconv.Itoa(rate.Remaining))
	h.Set("RateLimit-Reset", strconv.Itoa(int(math.Ceil(rate.Reset.Seconds()))))
	if rate.OK {
		return true
	}
	e := ide.Errorf(ide.RateLimited, "More than %d requests a minute.", rate.Limit)
	e.RetryAfter = rate.RetryAfter
	s.write(w, r, e)
	return false
}

// address is where a request comes from: the peer, or, behind a proxy that
// the operator trusts, the last address that no trusted proxy has.
func (s *server) address(r *http.Request) string {
	host := peer(r)
	if !s.trusted(host) {
		return host
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop := strings.TrimSpace(hops[i])
		if _, err := netip.ParseAddr(hop); err != nil {
			break
		}
		if host = hop; !s.trusted(host) {
			break
		}
	}
	return host
}

// peer is the address of who holds the other end of the connection.
func peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func (s *server) trusted(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	for _, p := range s.cfg.TrustedProxies {
		if p.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}

// ParsePrefixes reads TRUSTED_PROXIES and WEBHOOK_ALLOW: addresses and
// networks.
func ParsePrefixes(list []string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, text := range list {
		text = strings.TrimSpace(text)
		p, err := netip.ParsePrefix(text)
		if a, aerr := netip.ParseAddr(text); aerr == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a network", text)
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}
