package doctor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"berth/internal/ide"
)

// Ports that the nodes of a Swarm need among each other
// (docs.docker.com/engine/swarm/swarm-tutorial), besides 7946 and 4789 over UDP,
// which do not answer: that they are open shows in containers of other nodes
// that can be reached.
const (
	portManagers = 2377
	portGossip   = 7946
)

// portAgent is the agent's, in each container.
const portAgent = 9000

func (e *examination) lookSwarmPorts(ctx context.Context) []Finding {
	if len(e.nodes) < 2 {
		return skip("There is one node only.")
	}
	var shut []string
	for _, n := range e.nodes {
		if n.State != "ready" {
			continue
		}
		ports := []int{portGossip}
		if n.Role == "manager" {
			ports = append(ports, portManagers)
		}
		for _, p := range ports {
			if e.probe(ctx, net.JoinHostPort(n.Address, fmt.Sprint(p))) != nil {
				shut = append(shut, fmt.Sprintf("%s port %d", n.Hostname, p))
			}
		}
	}
	if len(shut) > 0 {
		return warn("Open TCP 2377 (managers), TCP and UDP 7946 and UDP 4789 between all nodes, in their firewalls and in the provider's.", "From here these do not answer: %s.", strings.Join(shut, ", "))
	}
	return ok("TCP 2377 and 7946 answer on every node that needs them.")
}

// lookOverlay calls the agent of one container on each other node, as every
// save does: that takes UDP 4789.
func (e *examination) lookOverlay(ctx context.Context) []Finding {
	if e.store == nil || len(e.nodes) < 2 {
		return skip("There is one node only, or Redis does not answer.")
	}
	running, err := e.store.ByStatus(ctx, ide.Running)
	if err != nil {
		return skip("Redis does not answer.")
	}
	var reached, lost []string
	seen := map[string]bool{e.survey.NodeID: true}
	for _, c := range running {
		if seen[c.Node] || c.NoAgent || c.Address == "" {
			continue
		}
		seen[c.Node] = true
		if e.probe(ctx, net.JoinHostPort(c.Address, fmt.Sprint(portAgent))) != nil {
			lost = append(lost, e.hostname(c.Node))
		} else {
			reached = append(reached, e.hostname(c.Node))
		}
	}
	switch {
	case len(lost) > 0:
		return fail("Open UDP 4789 and UDP and TCP 7946 between all nodes; with an encrypted network ESP (IP protocol 50), too. Run this inside a worker: nobody else is on the overlay.",
			"Containers on these nodes cannot be reached over the overlay: %s.", strings.Join(lost, ", "))
	case len(reached) == 0:
		return skip("No container runs on another node.")
	}
	return ok("Containers on %s can be reached.", strings.Join(reached, ", "))
}

func (e *examination) hostname(id string) string {
	for _, n := range e.nodes {
		if n.ID == id {
			return n.Hostname
		}
	}
	return id
}

// lookClosedPorts calls what must not answer at a node's own address: the
// engine without TLS, and Redis.
func (e *examination) lookClosedPorts(ctx context.Context) []Finding {
	if len(e.nodes) == 0 {
		return skip("No manager tells of nodes.")
	}
	var open []string
	for _, n := range e.nodes {
		for _, p := range []struct {
			port int
			what string
		}{{2375, "the engine, without a login"}, {6379, "Redis"}} {
			if n.State == "ready" && e.probe(ctx, net.JoinHostPort(n.Address, fmt.Sprint(p.port))) == nil {
				open = append(open, fmt.Sprintf("%s port %d (%s)", n.Hostname, p.port, p.what))
			}
		}
	}
	if len(open) > 0 {
		return fail("Take -H tcp:// out of the engine's settings, and let Redis listen on a private network only: whoever reaches the first is root on the node.",
			"These answer and must not: %s.", strings.Join(open, ", "))
	}
	return ok("No engine (2375) and no Redis (6379) answers at a node's address.")
}

// lookEntry calls the ports that users come in by.
func (e *examination) lookEntry(ctx context.Context) []Finding {
	name := host(e.cfg.Domain)
	addresses, err := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, error(nil)
	if !local(name) {
		addresses, err = e.cfg.Resolve(ctx, name)
	}
	if err != nil || len(addresses) == 0 {
		return skip("%s has no address.", name)
	}
	ports := []string{port(e.cfg.Domain, e.cfg.TLS)}
	if e.cfg.TLS && ports[0] == "443" {
		ports = append(ports, "80") // for the redirect, and for HTTP-01
	}
	var shut []string
	for _, p := range ports {
		if !e.anyAnswers(ctx, addresses, p) {
			shut = append(shut, p)
		}
	}
	if len(shut) > 0 {
		return fail("See that Traefik (or berth up) runs, that nothing else has the port, and that firewalls let it through.", "%s does not answer on port %s.", name, strings.Join(shut, " and "))
	}
	return ok("%s answers on port %s.", name, strings.Join(ports, " and "))
}

func (e *examination) anyAnswers(ctx context.Context, addresses []netip.Addr, port string) bool {
	for _, a := range addresses {
		if e.probe(ctx, net.JoinHostPort(a.String(), port)) == nil {
			return true
		}
	}
	return false
}
