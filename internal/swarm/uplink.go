package swarm

import (
	"context"
	"net/netip"
	"slices"

	"berth/internal/ide"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
)

// meshSandbox is how the engine calls its own end of the routing mesh among the
// containers of the uplink.
const meshSandbox = "ingress-sbox"

// Exempt returns the uplink addresses, on this engine's node, of what is known
// to be no container of this instance: edges, other people's services, the
// routing mesh. One that is not known yet is left out.
func (c *Client) Exempt(ctx context.Context) ([]netip.Addr, error) {
	n, err := c.docker.NetworkInspect(ctx, Uplink, network.InspectOptions{})
	if errdefs.IsNotFound(err) {
		return nil, ide.Transient(ide.Docker, err, "The network %s is not on this node.", Uplink)
	}
	if err != nil {
		return nil, classify("inspect uplink", err)
	}
	// Asked for afterwards, so that each on the network is in the list, also those that do not run yet.
	list, err := c.docker.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return nil, classify("list containers", err)
	}
	others := map[string]bool{meshSandbox: true}
	for _, one := range list {
		others[one.ID] = one.Labels[LabelInstance] != c.cfg.Instance
	}
	var out []netip.Addr
	for id, end := range n.Containers {
		if !others[id] {
			continue
		}
		for _, a := range []string{end.IPv4Address, end.IPv6Address} {
			if p, err := netip.ParsePrefix(a); err == nil {
				out = append(out, p.Addr())
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out, nil
}

// NodeAddresses returns the addresses of the nodes that this engine knows: the
// managers, the nodes on which the containers' network is, and on a manager all.
func (c *Client) NodeAddresses(ctx context.Context) ([]netip.Addr, error) {
	i, err := c.docker.Info(ctx)
	if err != nil {
		return nil, classify("read engine info", err)
	}
	var out []netip.Addr
	add := func(s string) {
		if a, err := netip.ParseAddr(s); err == nil && !a.IsUnspecified() {
			out = append(out, a.Unmap())
		}
	}
	add(i.Swarm.NodeAddr)
	for _, m := range i.Swarm.RemoteManagers {
		if a, err := netip.ParseAddrPort(m.Addr); err == nil {
			add(a.Addr().String())
		}
	}
	n, err := c.docker.NetworkInspect(ctx, c.cfg.Network, network.InspectOptions{})
	if err != nil && !errdefs.IsNotFound(err) {
		return nil, classify("inspect network", err)
	}
	for _, p := range n.Peers {
		add(p.IP)
	}
	if i.Swarm.ControlAvailable {
		nodes, err := c.Nodes(ctx)
		if err != nil {
			return nil, err
		}
		for _, n := range nodes {
			add(n.Address)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out), nil
}

// Comings tells of each container, whoever's, that starts or ends on this
// engine's node, until ctx ends or the engine does; then the channel is closed.
func (c *Client) Comings(ctx context.Context) <-chan struct{} {
	out := make(chan struct{}, 1)
	go func() {
		defer close(out)
		if _, err := c.docker.Info(ctx); err != nil { // as in Events
			return
		}
		messages, errs := c.docker.Events(ctx, events.ListOptions{Filters: filters.NewArgs(
			filters.Arg("type", string(events.ContainerEventType)),
			filters.Arg("event", string(events.ActionStart)), filters.Arg("event", string(events.ActionDie)))})
		for {
			select {
			case <-messages:
				select {
				case out <- struct{}{}:
				default: // one is waiting already
				}
			case <-errs:
				return
			}
		}
	}()
	return out
}
