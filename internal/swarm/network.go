package swarm

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"berth/internal/ide"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
)

// allocation is how long Swarm may take to give a network addresses.
const allocation = 200 * time.Millisecond

// EnsureNetwork makes the shared overlay where it is missing, and adopts it
// where it exists, whoever made it. Two callers at once are fine: Swarm refuses
// the second network of one name.
func (c *Client) EnsureNetwork(ctx context.Context) error {
	for range readAttempts {
		n, err := c.docker.NetworkInspect(ctx, c.cfg.Network, network.InspectOptions{})
		switch {
		case err == nil && n.Driver == "overlay" && n.Attachable:
			return nil
		case err == nil && n.Driver == "": // it was made a moment ago: Swarm shows its driver once it has addresses (seen on 20.10)
			select {
			case <-ctx.Done():
				return classify("inspect network", ctx.Err())
			case <-time.After(allocation):
			}
			continue
		case err == nil:
			return ide.Errorf(ide.Docker, "The network %s exists but is not an attachable overlay.", c.cfg.Network)
		case !errdefs.IsNotFound(err):
			return classify("inspect network", err)
		}
		opts := network.CreateOptions{
			Driver:     "overlay",
			Scope:      "swarm",
			Attachable: true,
			Labels:     map[string]string{LabelInstance: c.cfg.Instance},
		}
		if c.cfg.Encrypted {
			opts.Options = map[string]string{"encrypted": ""}
		}
		if c.cfg.Subnet != "" {
			opts.IPAM = &network.IPAM{Config: []network.IPAMConfig{{Subnet: c.cfg.Subnet}}}
		}
		if _, err := c.docker.NetworkCreate(ctx, c.cfg.Network, opts); err == nil {
			return nil
		} else if !nameTaken(err) {
			return classify("create network", err)
		}
	}
	return ide.Transient(ide.Conflict, nil, "The network %s is being made and removed at the same time.", c.cfg.Network)
}

// NetworkID returns the engine's ID of the shared overlay. On a worker's
// engine the network is there only while a task on it is.
func (c *Client) NetworkID(ctx context.Context) (string, error) {
	n, err := c.docker.NetworkInspect(ctx, c.cfg.Network, network.InspectOptions{})
	if errdefs.IsNotFound(err) {
		return "", ide.Transient(ide.Docker, errors.Join(ErrNoNamespace, err), "The network %s is not on this node.", c.cfg.Network)
	}
	if err != nil {
		return "", classify("inspect network", err)
	}
	return n.ID, nil
}

// Subnets returns the address ranges of the shared overlay. On a worker's engine
// the network is there only while a task on it is.
func (c *Client) Subnets(ctx context.Context) ([]netip.Prefix, error) {
	n, err := c.docker.NetworkInspect(ctx, c.cfg.Network, network.InspectOptions{})
	if err != nil {
		return nil, classify("inspect network", err)
	}
	var list []netip.Prefix
	for _, cfg := range n.IPAM.Config {
		if p, err := netip.ParsePrefix(cfg.Subnet); err == nil {
			list = append(list, p)
		}
	}
	return list, nil
}

// Edges returns the overlay addresses, over all nodes, of the tasks that may
// call containers: those of services labelled berth.edge=true.
func (c *Client) Edges(ctx context.Context) ([]netip.Addr, error) {
	tasks, err := c.docker.TaskList(ctx, swarm.TaskListOptions{Filters: filters.NewArgs(
		filters.Arg("label", LabelEdge+"=true"),
		filters.Arg("desired-state", "running"),
	)})
	if err != nil {
		return nil, classify("list tasks", err)
	}
	var edges []netip.Addr
	for _, t := range tasks {
		if a, ok := c.address(t); ok {
			edges = append(edges, a)
		}
	}
	return edges, nil
}

// address returns a task's IP on the shared overlay. Swarm gives it as
// "10.64.0.5/16", before the task has a node.
func (c *Client) address(t swarm.Task) (netip.Addr, bool) {
	for _, att := range t.NetworksAttachments {
		if att.Network.Spec.Name != c.cfg.Network {
			continue
		}
		for _, a := range att.Addresses {
			if p, err := netip.ParsePrefix(a); err == nil {
				return p.Addr(), true
			}
		}
	}
	return netip.Addr{}, false
}
