package swarm

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
)

// Survey is how an engine and its Swarm are set up: what nothing but looking
// for faults needs.
type Survey struct {
	Info
	Storage  string    // the storage driver
	Security []string  // "seccomp", "no-new-privileges" …: what every container of this engine gets
	Clock    time.Time // the engine's; zero if it does not say
	Locked   bool      // the Swarm waits to be unlocked

	// Of a manager only.
	Pools    []netip.Prefix // overlays without a subnet of their own take one from here
	PoolBits int            // length of its mask
	Taken    []netip.Prefix // subnets of all overlays
	Network  *NetworkUse    // nil: the containers' network is not there
}

// NetworkUse is the containers' network and how full it is.
type NetworkUse struct {
	Driver     string
	Attachable bool
	Encrypted  bool
	Subnet     netip.Prefix
	Size       int // addresses that tasks can have
	Used       int // of them, as far as a manager can tell
}

// Survey asks the engine for all of it.
func (c *Client) Survey(ctx context.Context) (Survey, error) {
	i, err := c.docker.Info(ctx)
	if err != nil {
		return Survey{}, classify("read engine info", err)
	}
	s := Survey{Info: makeInfo(i, c.docker.ClientVersion()), Storage: i.Driver, Locked: i.Swarm.LocalNodeState == swarm.LocalNodeStateLocked}
	s.Clock, _ = time.Parse(time.RFC3339Nano, i.SystemTime) // an engine that does not say leaves it zero
	for _, o := range i.SecurityOptions {                   // "name=seccomp,profile=default"
		for field := range strings.SplitSeq(o, ",") {
			if name, ok := strings.CutPrefix(field, "name="); ok {
				s.Security = append(s.Security, name)
			}
		}
	}
	if !s.Manager {
		return s, nil
	}
	sw, err := c.docker.SwarmInspect(ctx)
	if err != nil {
		return s, classify("read swarm", err)
	}
	s.PoolBits = int(sw.SubnetSize)
	for _, p := range sw.DefaultAddrPool {
		if prefix, err := netip.ParsePrefix(p); err == nil {
			s.Pools = append(s.Pools, prefix)
		}
	}
	return s, c.surveyNetworks(ctx, &s)
}

func (c *Client) surveyNetworks(ctx context.Context, s *Survey) error {
	list, err := c.docker.NetworkList(ctx, network.ListOptions{})
	if err != nil {
		return classify("list networks", err)
	}
	for _, n := range list {
		if n.Scope == "swarm" {
			s.Taken = append(s.Taken, subnets(n)...)
		}
	}
	n, err := c.docker.NetworkInspect(ctx, c.cfg.Network, network.InspectOptions{})
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return classify("inspect network", err)
	}
	_, encrypted := n.Options["encrypted"]
	s.Network = &NetworkUse{Driver: n.Driver, Attachable: n.Attachable, Encrypted: encrypted}
	if list := subnets(n); len(list) > 0 {
		s.Network.Subnet = list[0]
		s.Network.Size = max(0, 1<<(list[0].Addr().BitLen()-list[0].Bits())-3) // less network, broadcast and gateway
	}
	s.Network.Used, err = c.addressesUsed(ctx, n.ID)
	return err
}

// addressesUsed counts what swarmkit's allocator has given: an address to each
// task that has not ended, to each service with a virtual one, and to each node
// on which a task of the network runs, for its load balancer.
func (c *Client) addressesUsed(ctx context.Context, id string) (int, error) {
	tasks, err := c.docker.TaskList(ctx, swarm.TaskListOptions{})
	if err != nil {
		return 0, classify("list tasks", err)
	}
	used, nodes := 0, map[string]bool{}
	for _, t := range tasks {
		on := slices.ContainsFunc(t.NetworksAttachments, func(a swarm.NetworkAttachment) bool {
			return a.Network.ID == id && len(a.Addresses) > 0
		})
		if on && phaseOf(t.Status.State) != phaseEnded {
			used++
			nodes[t.NodeID] = true
		}
	}
	services, err := c.docker.ServiceList(ctx, swarm.ServiceListOptions{})
	if err != nil {
		return 0, classify("list services", err)
	}
	for _, s := range services {
		for _, v := range s.Endpoint.VirtualIPs {
			if v.NetworkID == id && v.Addr != "" {
				used++
			}
		}
	}
	return used + len(nodes), nil
}

func subnets(n network.Inspect) []netip.Prefix {
	var list []netip.Prefix
	for _, c := range n.IPAM.Config {
		if p, err := netip.ParsePrefix(c.Subnet); err == nil {
			list = append(list, p)
		}
	}
	return list
}

// HasImage says whether this engine's node has an image.
func (c *Client) HasImage(ctx context.Context, image string) (bool, error) {
	_, err := c.docker.ImageInspect(ctx, image)
	switch {
	case errdefs.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, classify("inspect image", err)
	}
	return true, nil
}
