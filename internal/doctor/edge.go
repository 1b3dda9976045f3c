package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"berth/internal/ide"
)

// someHost is the name of a container that nobody has: only a wildcard record
// answers it.
func (e *examination) someHost() string { return ide.NewID() + "-code." + host(e.cfg.ContainerDomain) }

// local says whether browsers resolve a name to their own machine by
// themselves (RFC 6761).
func local(name string) bool { return name == "localhost" || strings.HasSuffix(name, ".localhost") }

func (e *examination) lookNames(ctx context.Context) []Finding {
	if local(host(e.cfg.ContainerDomain)) {
		return skip("%s is each browser's own machine.", host(e.cfg.ContainerDomain))
	}
	name := host(e.cfg.Domain)
	api, err := e.cfg.Resolve(ctx, name)
	if err != nil || len(api) == 0 {
		return fail("Make an A record (and AAAA, if you have IPv6) for "+name+" to the machine that Traefik is on; wait for the old answer's TTL.", "%s has no address.", name)
	}
	wild, err := e.cfg.Resolve(ctx, e.someHost())
	if err != nil || len(wild) == 0 {
		return fail("Make a wildcard record: *."+host(e.cfg.ContainerDomain)+" A "+api[0].String()+".", "A random host under %s has no address: containers cannot be opened.", host(e.cfg.ContainerDomain))
	}
	sort := func(list []netip.Addr) []netip.Addr {
		list = slices.Clone(list)
		slices.SortFunc(list, netip.Addr.Compare)
		return slices.Compact(list)
	}
	if !slices.Equal(sort(api), sort(wild)) {
		return warn("Let both records name the machine that Traefik is on, unless you have two entries on purpose.", "%s is %v, a random host under %s is %v.", name, sort(api), host(e.cfg.ContainerDomain), sort(wild))
	}
	return ok("%s and random hosts under %s are %v.", name, host(e.cfg.ContainerDomain), sort(api))
}

// soon is when a certificate that has not been renewed is a fault: Let's
// Encrypt's are of 90 days and renewed 30 before their end.
const soon = 14 * 24 * time.Hour

func (e *examination) lookCertificates(ctx context.Context) []Finding {
	if !e.cfg.TLS {
		return skip("URL_SCHEME is http.")
	}
	first := time.Time{}
	for _, name := range []string{host(e.cfg.Domain), e.someHost()} {
		addresses, err := e.cfg.Resolve(ctx, name)
		if err != nil || len(addresses) == 0 {
			return skip("%s has no address.", name)
		}
		state, err := e.handshake(ctx, net.JoinHostPort(addresses[0].String(), port(e.cfg.Domain, true)), name)
		if err != nil {
			return []Finding{badCertificate(name, err)}
		}
		if end := state.PeerCertificates[0].NotAfter; first.IsZero() || end.Before(first) {
			first = end
		}
	}
	if left := time.Until(first); left < soon {
		return warn("See why it is not renewed: docker service logs berth_traefik.", "A certificate ends in %d days.", int(left.Hours()/24))
	}
	return ok("Those of %s and of a random host are valid until %s.", host(e.cfg.Domain), first.Format(time.DateOnly))
}

// badCertificate says what is wrong, and what that is mostly due to.
func badCertificate(name string, err error) Finding {
	f := Finding{Status: Fail, Found: name + ": " + err.Error()}
	var unknown x509.UnknownAuthorityError
	var wrong x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		f.Found = name + " has a certificate of an authority that is not known: most likely Traefik's own, which stands in until it has one."
		f.Do = "See docker service logs berth_traefik for what the certificate authority has said: the DNS provider's token, a wrong ACME_DNS_PROVIDER, or a rate limit."
	case errors.As(err, &wrong):
		f.Found = "The certificate is not for " + name + "."
		f.Do = "Containers need a wildcard certificate for their domain (DNS-01), or one per host (HTTP-01)."
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		f.Found = "The certificate of " + name + " is out of date, or this machine's clock is wrong."
		f.Do = "See why it is not renewed: docker service logs berth_traefik; and date."
	default:
		f.Do = "See that Traefik runs and that port 443 is its."
	}
	return f
}

func (e *examination) lookS3(ctx context.Context) []Finding {
	if e.cfg.S3.Off() {
		return warn("Set S3_ENDPOINT to a store, or leave it out for AWS.", "S3_ENDPOINT is none: no workspace is kept.")
	}
	at, err := e.cfg.S3.Reach(ctx)
	if err != nil {
		return fail("See S3_ENDPOINT and S3_CA, that the store runs, and that this machine may reach it.", "%s", ide.AsError(err).Message)
	}
	if d := at.Sub(e.now).Round(time.Second); !at.IsZero() && d.Abs() > time.Minute {
		return fail("Set the clocks (timedatectl set-ntp true): S3 refuses requests that are 15 minutes off.", "The store's clock is off by %v.", d)
	}
	if e.cfg.S3.SingleWriter() {
		return warn("Use a store with conditional writes (If-None-Match) where you can.", "The store answers; S3_SINGLE_WRITER is set: nothing guards against two writers.")
	}
	return ok("The store answers. Whether it takes writes is seen for each bucket when a container starts.")
}
