package e2e

import (
	"net/netip"
	"strings"

	"github.com/docker/docker/api/types/network"
)

var networkOptions network.InspectOptions

// within says whether a subnet holds an address.
func within(subnet, addr string) bool {
	p, err := netip.ParsePrefix(subnet)
	a, aerr := netip.ParseAddr(addr)
	return err == nil && aerr == nil && p.Contains(a)
}

// cutPrefix splits "10.0.0.5/16".
func cutPrefix(s string) (addr, bits string, ok bool) { return strings.Cut(s, "/") }
