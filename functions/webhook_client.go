package functions

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
)

// guard refuses addresses that are not public: private, loopback, link-local
// (the clouds' metadata among them), multicast, and the rest of IANA's special
// purpose registries, but for the networks that the operator allows.
func guard(allow []netip.Prefix) *ssrf.Guardian {
	var v4, v6 []netip.Prefix
	for _, p := range allow {
		if p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	return ssrf.New(ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...))
}

// WebhookClient calls webhooks: each address is checked when it is dialled, so
// that a name whose answer changes does not get through; no proxy, which would
// dial in our place; no redirect.
func WebhookClient(allow []netip.Prefix) *http.Client { return webhookClient(allow, nil) }

// webhookClient is WebhookClient with a resolver of the caller's.
func webhookClient(allow []netip.Prefix, resolver *net.Resolver) *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second, Control: guard(allow).Safe, Resolver: resolver}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, ForceAttemptHTTP2: true, DisableCompression: true, TLSHandshakeTimeout: 10 * time.Second,
			MaxResponseHeaderBytes: 16 << 10, MaxIdleConns: 100, MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second,
		},
	}
}

// hostName is the form of a host in a webhook's URL that is no address: ASCII,
// so that what is shown is what is resolved.
var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?$`)

// badWebhookURL says what is wrong with a webhook's URL, or nothing. Names are
// resolved when they are dialled, and checked then.
func badWebhookURL(raw string, allow []netip.Prefix) string {
	if len(raw) > 2048 || strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "url must have at most 2048 characters, all of them ASCII, and must not have blanks"
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Opaque != "", u.Hostname() == "":
		return "url must be an absolute https or http URL"
	case u.User != nil:
		return "url must not have a user name or password: deliveries are signed instead"
	case strings.Contains(raw, "#"):
		return "url must not have a fragment (#…)"
	}
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "url must have a port from 1 to 65535, or none"
		}
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		if !hostName.MatchString(u.Hostname()) || strings.Contains(u.Hostname(), "..") {
			return "url must have an address, or a host name of letters, digits, dots and hyphens"
		}
		return ""
	}
	if guard(allow).SafeAddr(addr.Unmap()) != nil {
		return "url must not lead to an address that is not public, unless WEBHOOK_ALLOW names its network"
	}
	return ""
}

// unreachable says in our own words why a call got no answer.
func unreachable(err error) string {
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.Is(err, ssrf.ErrProhibitedIP), errors.Is(err, ssrf.ErrProhibitedNetwork), errors.Is(err, ssrf.ErrInvalidHostPort):
		return "Its address is not public, and WEBHOOK_ALLOW does not name its network."
	case errors.Is(err, context.DeadlineExceeded):
		return "It did not answer within 15 s."
	case errors.As(err, &dns):
		return "Its host name cannot be resolved."
	case errors.As(err, &cert):
		return "Its TLS certificate is not valid."
	case errors.Is(err, syscall.ECONNREFUSED):
		return "It refused the connection."
	}
	return "It cannot be reached, or does not speak HTTP."
}
