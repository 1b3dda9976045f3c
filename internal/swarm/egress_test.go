package swarm_test

import (
	"errors"
	"net/netip"
	"os/exec"
	"path/filepath"
	"testing"

	"berth/internal/swarm"
)

func TestEgressIsProgrammed(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	namespace(t, root, "node")
	file := filepath.Join(root, "netns", "node")
	e, other := swarm.NewEgress(file, "main"), swarm.NewEgress(file, "other")
	if err := e.Apply(swarm.EgressRules{}); !errors.Is(err, swarm.ErrNotTheNode) {
		t.Errorf("a namespace without an engine: got %v", err)
	}
	if out, err := exec.Command("nsenter", "--net="+file, "ip", "link", "add", swarm.Uplink, "type", "bridge").CombinedOutput(); err != nil {
		t.Skipf("no bridge can be made here: %v %s", err, out)
	}
	standing := func(e *swarm.Egress, want bool) {
		t.Helper()
		if got, err := e.Standing(); err != nil || got != want {
			t.Fatalf("standing: %t, %v, want %t", got, err, want)
		}
	}
	standing(e, false)
	ip := netip.MustParseAddr
	for name, r := range map[string]swarm.EgressRules{
		"nothing": {},
		"addresses that touch, nest and come twice": {
			Exempt:  []netip.Addr{ip("172.18.0.3"), ip("172.18.0.4"), ip("172.18.0.3"), ip("fd00::2"), ip("255.255.255.255")},
			Nodes:   []netip.Addr{ip("10.0.0.1"), ip("203.0.113.9"), ip("11.0.0.0"), ip("2001:db8::1")},
			Allowed: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("10.1.2.0/24"), netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
			Stores:  []netip.AddrPort{netip.MustParseAddrPort("172.18.0.1:7070"), netip.MustParseAddrPort("[fd00::9]:443")},
		},
	} {
		if err := e.Apply(r); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		standing(e, true)
	}
	if err := errors.Join(other.Apply(swarm.EgressRules{}), e.Remove(), e.Remove()); err != nil {
		t.Fatal(err)
	}
	standing(e, false)
	standing(other, true)
}
