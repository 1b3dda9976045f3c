package swarm_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"berth/internal/swarm"

	"golang.org/x/sys/unix"
)

const networkID = "abcdefghijklmnopqrstuvwxy"

// namespace makes a network namespace and gives it the name that an engine
// with that exec root would.
func namespace(t *testing.T, execRoot, name string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: the filter enters network namespaces")
	}
	path := filepath.Join(execRoot, "netns", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("unshare", "--net="+path, "true").CombinedOutput(); err != nil { // a process of its own: ours stays where it is
		t.Skipf("network namespaces cannot be made here: %v %s", err, out)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

func TestFilterIsProgrammed(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	namespace(t, root, "1-abcdefghij")
	f := swarm.NewFilter(root, networkID)
	standing := func(want bool) {
		t.Helper()
		if got, err := f.Standing(); err != nil || got != want {
			t.Fatalf("standing: %t, %v, want %t", got, err, want)
		}
	}
	standing(false)
	for _, edges := range [][]netip.Addr{
		nil,
		{netip.MustParseAddr("10.64.0.2"), netip.MustParseAddr("10.64.0.3"), netip.MustParseAddr("10.64.0.2"), netip.MustParseAddr("fd00::1")},
		{netip.MustParseAddr("10.64.0.9")},
	} {
		if err := f.Apply(edges); err != nil {
			t.Fatalf("apply %v: %v", edges, err)
		}
		standing(true)
	}
	if err := errors.Join(f.Remove(), f.Remove()); err != nil {
		t.Fatal(err)
	}
	standing(false)
}

func TestFilterNeedsTheNamespace(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "netns"), 0o755); err != nil {
		t.Fatal(err)
	}
	// What an engine leaves behind, and what is not ours: another network's,
	// a load balancer's, a container's.
	for _, name := range []string{"1-abcdefghij", "1-zyxwvutsrq", "lb_abcdefghi", "0123456789ab", "default"} {
		if err := os.WriteFile(filepath.Join(root, "netns", name), nil, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	for name, f := range map[string]*swarm.Filter{
		"the engine's leftover": swarm.NewFilter(root, networkID),
		"no file":               swarm.NewFilter(root, "other"),
		"no engine":             swarm.NewFilter(filepath.Join(root, "nowhere"), networkID),
	} {
		if err := f.Apply(nil); !errors.Is(err, swarm.ErrNoNamespace) {
			t.Errorf("%s: apply: %v", name, err)
		}
		if got, err := f.Standing(); got || !errors.Is(err, swarm.ErrNoNamespace) {
			t.Errorf("%s: standing: %t, %v", name, got, err)
		}
	}
}

func TestFilterFollowsANamespaceThatIsMadeAnew(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	namespace(t, root, "1-abcdefghij")
	f := swarm.NewFilter(root, networkID)
	if err := f.Apply(nil); err != nil {
		t.Fatal(err)
	}
	namespace(t, root, "12-abcdefghi")
	if got, err := f.Standing(); got || err != nil {
		t.Errorf("the new namespace has no filter, yet standing is %t, %v", got, err)
	}
	if err := f.Apply(nil); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Standing(); !got || err != nil {
		t.Errorf("standing: %t, %v", got, err)
	}
}

// TestFilterComesBeforeBrNetfilter: the kernel's br_netfilter joins a namespace
// with its first bridge, and takes packets away from what stands at its own
// priority. The worker may have the filter there first, or second.
func TestFilterComesBeforeBrNetfilter(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"filter, bridge", "bridge, filter"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			in := func(name string) string { return filepath.Join(root, "netns", name) }
			ip := func(name, args string) {
				t.Helper()
				if out, err := exec.Command("nsenter", append([]string{"--net=" + in(name), "ip"}, strings.Fields(args)...)...).CombinedOutput(); err != nil {
					t.Fatalf("ip %s: %v: %s", args, err, out)
				}
			}
			namespace(t, root, "1-abcdefghij")
			f := swarm.NewFilter(root, networkID)
			edge, other := netip.MustParseAddr("10.64.0.2"), netip.MustParseAddr("10.64.0.3")
			for step := range strings.SplitSeq(order, ", ") {
				switch step {
				case "filter":
					must(t, f.Apply([]netip.Addr{edge}))
				case "bridge":
					ip("1-abcdefghij", "link add br0 type bridge")
				}
			}
			ip("1-abcdefghij", "link set br0 up")
			for name, addr := range map[string]netip.Addr{"edge": edge, "other": other} {
				namespace(t, root, name)
				ip("1-abcdefghij", "link add "+name+" type veth peer name eth0 netns "+in(name))
				ip("1-abcdefghij", "link set "+name+" master br0 up")
				ip(name, "link set eth0 up")
				ip(name, "addr add "+addr.String()+"/24 dev eth0")
			}
			must(t, within(in("edge"), serve(t, edge)))
			must(t, within(in("other"), serve(t, other)))
			if err := within(in("edge"), dial(other, time.Minute)); err != nil {
				t.Errorf("the edge is kept out: %v", err)
			}
			if err := within(in("other"), dial(edge, 500*time.Millisecond)); err == nil || !strings.HasSuffix(err.Error(), "i/o timeout") {
				t.Errorf("a container that is no edge gets through, or fails otherwise: %v", err)
			}
			must(t, f.Remove())
			if err := within(in("other"), dial(edge, time.Minute)); err != nil {
				t.Errorf("without the filter: %v", err)
			}
		})
	}
}

// within calls do on a thread in a network namespace.
func within(path string, do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // as in namespace
		ns, err := os.Open(path)
		if err == nil {
			defer ns.Close()
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			err = do()
		}
		done <- err
	}()
	return <-done
}

// serve listens until the test ends; the kernel accepts.
func serve(t *testing.T, addr netip.Addr) func() error {
	return func() error {
		l, err := net.Listen("tcp", netip.AddrPortFrom(addr, 9000).String())
		if err == nil {
			t.Cleanup(func() { l.Close() })
		}
		return err
	}
}

func dial(addr netip.Addr, within time.Duration) func() error {
	return func() error {
		conn, err := net.DialTimeout("tcp", netip.AddrPortFrom(addr, 9000).String(), within)
		if err == nil {
			conn.Close()
		}
		return err
	}
}
