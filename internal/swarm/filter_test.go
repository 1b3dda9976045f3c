package swarm_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"testing"

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
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), path, "", unix.MS_BIND, "")
		}
		made <- err
	}()
	if err := <-made; err != nil {
		t.Skipf("network namespaces cannot be made here: %v", err)
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

// TestFilterIsolates proves the filter on a real engine, on a network of its
// own: two containers (on two nodes, where the lab has more than one) and an
// edge.
// place is a container on an engine, found by a label.
// run runs the agent's command in the container and says whether it ended
// with 0.
// attach starts an exec and reads until it has ended.
// startEdge runs a service that serves on the network, and returns its address.
// removeNetwork removes a network as soon as Swarm lets it go.
