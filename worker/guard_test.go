package worker

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStoreAddresses(t *testing.T) {
	t.Parallel()
	for store, want := range map[string]string{
		"":                       "",
		"none":                   "",
		"http://10.1.2.3:7070":   "10.1.2.3:7070",
		"http://10.1.2.3/x":      "10.1.2.3:80",
		"https://192.168.7.1":    "192.168.7.1:443",
		"https://[fd00::1]:9000": "[fd00::1]:9000",
	} {
		got, err := storeAddresses(t.Context(), store)
		var list []netip.AddrPort
		if want != "" {
			list = []netip.AddrPort{netip.MustParseAddrPort(want)}
		}
		if diff := cmp.Diff(list, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", store, err, diff)
		}
	}
	for _, bad := range []string{"http://10.0.0.1:99999", "http://%zz"} {
		if got, err := storeAddresses(t.Context(), bad); err == nil {
			t.Errorf("%s: got %v, want an error", bad, got)
		}
	}
}

// TestANodeWithoutEgressRulesTakesNothing: where HOST_NETNS is no node's the
// rules cannot stand, and that is told.
func TestANodeWithoutEgressRulesTakesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.engine.AddNetwork("docker_gwbridge", "bridge", false)
	w := b.worker(Config{Guard: b.guard(GuardConfig{Egress: true, HostNetNS: t.TempDir() + "/none"})})
	wantError(t, "no namespace", w.cfg.Guard.refuse(t.Context()), "it is not the node's")
	b.must(w.report(t.Context()))
	if list := b.workers(); len(list) != 1 || list[0].Egress {
		t.Errorf("got %+v, want it told that private addresses are open", list)
	}
	nodes, err := b.st.Nodes(t.Context())
	b.must(err)
	if len(nodes) != 1 || nodes[0].Placeable() {
		t.Errorf("got %+v, want a node that takes nothing", nodes)
	}
}
