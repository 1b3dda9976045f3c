package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/lab"

	"github.com/google/nftables"
	"github.com/vishvananda/netns"
)

// TestFourContainersOnTwoNodes starts four containers at once, spread over two
// nodes, and looks out from inside each: it can reach neither the container
// beside it, nor one on the other node, nor an edge, nor the Redis beside the
// edge. Without the filter the same looks see them.
func TestFourContainersOnTwoNodes(t *testing.T) {
	c := newCluster(t)
	c.lab.Need(2)
	c.worker("n1")
	other := c.worker("n2")
	var ids []string
	for range 4 {
		ids = append(ids, c.create().ID)
	}
	beside := map[string]int{}
	addresses := map[string]string{}
	for _, id := range ids {
		if c.succeed("container-create:" + id + ":1"); strings.Contains(other.log.String(), "container-create:"+id) {
			t.Errorf("a worker that is no manager took it: %s", tail(other.log.String()))
		}
		beside[c.get(id).Node]++
		one, err := c.store.Container(context.Background(), id)
		if err != nil {
			t.Fatal(err)
		}
		addresses[id] = one.Address
		c.opens(id, one.URLs)
	}
	if len(beside) != 2 || beside[c.get(ids[0]).Node] != 2 {
		t.Errorf("four containers stand on %v, want two on each node", beside)
	}

	edge := c.edgeAddress()
	targets := map[string]string{
		"the gateway": fmt.Sprintf("%s:%d", edge, c.edgePort),
		"the API":     fmt.Sprintf("%s:%d", edge, c.apiPort),
		"Redis":       fmt.Sprintf("%s:%d", edge, c.redisPort),
	}
	for _, id := range ids {
		for _, p := range []uint16{ide.PortVNC.Number, ide.PortCode.Number, ide.PortWeb.Number, ide.AgentPort} {
			targets[fmt.Sprintf("port %d of %s", p, id)] = fmt.Sprintf("%s:%d", addresses[id], p)
		}
	}
	looks := 0
	var wg sync.WaitGroup
	for _, from := range ids {
		for what, addr := range targets {
			if strings.HasPrefix(addr, addresses[from]+":") {
				continue
			}
			looks++
			wg.Go(func() {
				if err := c.look(from, addr); err == nil {
					t.Errorf("%s reaches %s at %s", from, what, addr)
				}
			})
		}
	}
	wg.Wait()
	if want := 4 * (3 + 3*4); looks != want {
		t.Errorf("looked %d times, want %d", looks, want)
	}

	// without the protection the same looks succeed, so they prove something
	c.unfilter()
	var seen int
	for what, addr := range targets {
		if strings.HasPrefix(addr, addresses[ids[0]]+":") {
			continue
		}
		c.eventually("with the filter taken away "+what+" is reached", patience, func() error { return c.look(ids[0], addr) })
		seen++
	}
	t.Logf("with the filter taken away %d of %d targets answer", seen, len(targets)-4)
	c.worker("n1")
	for _, id := range ids {
		c.stop(id)
	}
	for _, id := range ids {
		c.succeed("container-stop:" + id + ":1")
	}
	if m := c.made(); len(m.services)+len(m.secrets) > 0 {
		t.Errorf("left behind: %+v", m)
	}
}

// look tries to connect from inside a container.
func (c *cluster) look(id, addr string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 1500*time.Millisecond)
	defer cancel()
	conn, err := dialIn(c.pid(id))(ctx, "tcp", addr)
	if err == nil {
		conn.Close()
	}
	return err
}

// unfilter ends the workers, who would put it back, and takes the filter away
// on every node.
func (c *cluster) unfilter() {
	c.t.Helper()
	for _, w := range c.workers {
		c.end(w, syscall.SIGTERM)
	}
	for _, n := range c.lab.Nodes {
		c.unfilterNode(n)
	}
}

func (c *cluster) unfilterNode(n lab.Node) {
	c.t.Helper()
	network, err := c.engine.NetworkInspect(context.Background(), "ide-network", networkOptions)
	if err != nil {
		c.t.Fatal(err)
	}
	ns, err := netns.GetFromPath(filepath.Join(n.ExecRoot, "netns", "1-"+network.ID[:10]))
	if err != nil {
		c.t.Fatal(err)
	}
	defer ns.Close()
	conn, err := nftables.New(nftables.WithNetNSFd(int(ns)))
	if err != nil {
		c.t.Fatal(err)
	}
	conn.DelTable(&nftables.Table{Name: "berth", Family: nftables.TableFamilyBridge})
	if err := conn.Flush(); err != nil {
		c.t.Fatalf("take the filter away on %s: %v", n.Name, err)
	}
}

// TestFilterComesBack takes the filter away under a running worker.
func TestFilterComesBack(t *testing.T) {
	c := newCluster(t)
	w := c.worker("n1")
	c.unfilterNode(c.lab.Nodes[0])
	c.eventually("the filter stands again", patience, func() error {
		if n := strings.Count(w.log.String(), "isolation filter stands"); n < 2 {
			return fmt.Errorf("it was programmed %d times", n)
		}
		return nil
	})
}
