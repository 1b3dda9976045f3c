package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/internal/doctor"
	"berth/internal/lab"
	"berth/internal/swarm"
)

// metadata gives the nodes what a cloud would: an address, here on the client,
// that serves secrets.
func (c *cluster) metadata() string {
	c.t.Helper()
	const addr = "169.254.169.254"
	alone(c.t, c.lab, "metadata")
	ip := func(args ...string) {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			c.t.Errorf("%v: %v %s", args, err, out)
		}
	}
	ip("ip", "addr", "add", addr+"/32", "dev", "lo")
	c.t.Cleanup(func() { ip("ip", "addr", "del", addr+"/32", "dev", "lo") })
	for _, n := range c.lab.Nodes {
		ip("nsenter", "--net="+n.NetNS, "ip", "route", "add", addr, "via", c.lab.ClientAddr)
		c.t.Cleanup(func() { ip("nsenter", "--net="+n.NetNS, "ip", "route", "del", addr) })
	}
	l, err := net.Listen("tcp", addr+":80")
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func egress(n lab.Node, c *cluster) *swarm.Egress { return swarm.NewEgress(n.NetNS, c.instance) }

// TestEgress looks out of a container at what is private: refused, but for the
// store, DNS and what is allowed. Without the rules the same looks succeed.
func TestEgress(t *testing.T) {
	l := lab.Open(t)
	private, err := net.Listen("tcp", l.ClientAddr+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { private.Close() })
	store, err := net.Listen("tcp", l.ClientAddr+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	c := newCluster(t)
	n := c.lab.Nodes[0]
	w := c.worker("n1")
	one := c.create()
	c.succeed("container-create:" + one.ID + ":1")
	refused := map[string]string{
		"a private address":    private.Addr().String(),
		"the cloud's metadata": c.metadata(),
		"Swarm's own port":     n.Addr + ":2377",
		"the gossip":           n.Addr + ":7946",
		"the node, by uplink":  c.uplink(n) + ":7946",
	}
	if len(c.lab.Nodes) > 1 {
		refused["another node"] = c.lab.Nodes[1].Addr + ":7946"
	}
	for what, addr := range refused {
		if err := c.look(one.ID, addr); err == nil {
			t.Errorf("a container reaches %s at %s", what, addr)
		}
	}
	c.eventually("a container reaches DNS over TCP", patience, func() error {
		if err := c.look(one.ID, n.Addr+":53"); !errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
		return nil
	})
	if conn, err := dialIn(c.net)(t.Context(), "tcp", private.Addr().String()); err != nil {
		t.Errorf("an edge does not reach the private address: %v", err)
	} else {
		conn.Close()
	}

	// the exceptions
	c.end(w, syscall.SIGTERM)
	w = c.worker("n1", "S3_ENDPOINT=http://"+store.Addr().String())
	c.eventually("the store answers", patience, func() error { return c.look(one.ID, store.Addr().String()) })
	if err := c.look(one.ID, private.Addr().String()); err == nil {
		t.Error("the store's exception is for all ports of its address")
	}
	c.end(w, syscall.SIGTERM)
	w = c.worker("n1", "EGRESS_ALLOW="+l.ClientAddr)
	c.eventually("what is allowed answers", patience, func() error { return c.look(one.ID, private.Addr().String()) })
	if err := c.look(one.ID, n.Addr+":2377"); err == nil {
		t.Error("what is not allowed answers")
	}

	// the rules outlive their worker, come back under one, and go when it is told to take them away
	c.end(w, syscall.SIGKILL)
	if err := c.look(one.ID, n.Addr+":2377"); err == nil {
		t.Error("without a worker the rules are gone")
	}
	c.worker("n1")
	if err := egress(n, c).Remove(); err != nil {
		t.Fatal(err)
	}
	c.eventually("the rules stand again", patience, func() error {
		standing, err := egress(n, c).Standing()
		if !standing {
			return errors.Join(err, errors.New("they do not"))
		}
		return err
	})
	for _, w := range c.workers {
		c.end(w, syscall.SIGTERM)
	}
	c.worker("n1", "EGRESS=off")
	for what, addr := range refused {
		c.eventually("with EGRESS=off "+what+" is reached", patience, func() error { return c.look(one.ID, addr) })
	}
}

// uplink is the node's own address on the uplink.
func (c *cluster) uplink(n lab.Node) string {
	c.t.Helper()
	out, err := exec.Command("nsenter", "--net="+n.NetNS, "ip", "-4", "-o", "addr", "show", "dev", swarm.Uplink).Output()
	fields := strings.Fields(string(out))
	if err != nil || len(fields) < 4 {
		c.t.Fatalf("no address of %s: %v %s", swarm.Uplink, err, out)
	}
	addr, _, _ := strings.Cut(fields[3], "/")
	return addr
}

// isolationTest runs berth doctor isolation in the network of n1's edge.
func (c *cluster) isolationTest(env ...string) map[string]doctor.Finding {
	c.t.Helper()
	n := c.lab.Nodes[0]
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := c.lab.EdgeCommand(ctx, "n1", os.Getenv("BERTH_BIN"), "doctor", "isolation", "-o", "json")
	cmd.Env = append(append(append(cmd.Env, c.env...), "DOCKER_HOST="+n.Sock, fmt.Sprintf("LISTEN=:%d", c.apiPort)), env...)
	out, err := cmd.Output()
	var list []doctor.Finding
	if jerr := json.Unmarshal(out, &list); jerr != nil {
		c.t.Fatalf("doctor isolation: %v, %v\n%s", err, jerr, out)
	}
	var exit *exec.ExitError
	if failed := doctor.Failed(list); failed != (errors.As(err, &exit) && exit.ExitCode() == 4) {
		c.t.Errorf("failed is %t, and it ended with %v", failed, err)
	}
	found := map[string]doctor.Finding{}
	for _, f := range list {
		found[f.Check] = f
	}
	return found
}

// TestDoctorIsolation runs the self-test on a lab that is whole, and then with
// each protection taken away.
func TestDoctorIsolation(t *testing.T) {
	c := newCluster(t)
	c.worker("n1")
	if len(c.lab.Nodes) > 1 {
		c.worker("n2")
	}
	one := c.create()
	c.succeed("container-create:" + one.ID + ":1")
	c.metadata()
	want := func(when string, found map[string]doctor.Finding, failing ...string) {
		t.Helper()
		for check, f := range found {
			should := false
			for _, x := range failing {
				should = should || x == check
			}
			if should != (f.Status == doctor.Fail) {
				t.Errorf("%s: %s is %s: %s", when, check, f.Status, f.Found)
			}
		}
		if len(found) < 15 {
			t.Errorf("%s: %d findings: %+v", when, len(found), found)
		}
	}
	found := c.isolationTest()
	want("whole", found)
	for _, f := range found {
		t.Logf("%-4s %s: %s", f.Status, f.Check, f.Found)
	}
	for _, w := range c.workers {
		c.end(w, syscall.SIGTERM)
	}
	for _, n := range c.lab.Nodes {
		if err := egress(n, c).Remove(); err != nil {
			t.Fatal(err)
		}
	}
	want("without egress rules", c.isolationTest(), "ports of nodes", "metadata")
	c.worker("n1")
	if len(c.lab.Nodes) > 1 {
		c.worker("n2")
	}
	for _, n := range c.lab.Nodes {
		c.eventually("egress rules stand on "+n.Name, patience, func() error {
			if standing, err := egress(n, c).Standing(); err != nil || !standing {
				return fmt.Errorf("they stand: %t, %v", standing, err)
			}
			return nil
		})
	}
	c.unfilter()
	want("without the filter", c.isolationTest(), "neighbour by name", "neighbour by address", "agents of others", "API and gateway", "Redis")
	if m := c.made(); len(m.services) != 1 {
		t.Errorf("the test left services behind: %v", m.services)
	}
	c.worker("n1") // it removes what the cluster has
}
