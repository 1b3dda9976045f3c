package swarm_test

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
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

// TestProcessStaysInItsNamespace: whichever threads look into the node's
// namespace, the process's first one included, come back. The engine puts what
// it executes in a container where that one is.
func TestProcessStaysInItsNamespace(t *testing.T) {
	root := t.TempDir()
	namespace(t, root, "node")
	e := swarm.NewEgress(filepath.Join(root, "netns", "node"), "main")
	before, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 500 {
		all.Go(func() {
			if _, err := e.Standing(); !errors.Is(err, swarm.ErrNotTheNode) {
				t.Errorf("got %v", err)
			}
		})
	}
	all.Wait()
	threads, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	away := 0
	for _, thread := range append(threads, "/proc/self/ns/net") {
		if now, err := os.Readlink(thread); err == nil && now != before { // a thread may have ended
			away++
		}
	}
	if away > 0 {
		t.Errorf("%d threads are not in %s any more", away, before)
	}
}
