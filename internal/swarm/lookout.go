package swarm

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"berth/internal/ide"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
)

// LabelLookout marks the throw-away containers of berth doctor isolation. They
// carry the instance, so that filter and egress take them for containers, and
// no container's ID, so that nothing else does.
const LabelLookout = "berth.lookout"

// Lookout is one of them.
type Lookout struct {
	Name    string     // of its service, which Swarm's DNS knows
	Address netip.Addr // on the overlay
	Uplink  netip.Addr // on the uplink, where it is on this engine's node
	service string
	task    string
}

// StartLookout starts a container of that image on a node, as confined as every
// container is, whose program is the agent's LookCommand with these arguments.
// It waits until the program runs, and with toEnd until it has ended.
func (c *Client) StartLookout(ctx context.Context, image, node string, h ide.Hardening, args []string, toEnd bool) (Lookout, error) {
	rec := ide.Container{ID: ide.NewID(), Image: image, Node: node, Hardening: h, NoAgent: true,
		Resources: ide.Resources{CPULimit: 5e8, MemoryLimit: ide.LeastMemory, PIDs: 100}}
	cfg := c.cfg
	cfg.Routing, cfg.StopGrace = RoutingGateway, time.Second
	spec := Spec(cfg, rec, "")
	if c.docker.NewVersionError(ctx, modernAPI, "no new privileges") == nil {
		modernize(&spec, rec)
	}
	labels := map[string]string{LabelInstance: c.cfg.Instance, LabelLookout: "true"}
	l := Lookout{Name: "berth-lookout-" + rec.ID}
	spec.Name, spec.Labels = l.Name, labels
	spec.TaskTemplate.RestartPolicy = &swarm.RestartPolicy{Condition: swarm.RestartPolicyConditionNone}
	in := spec.TaskTemplate.ContainerSpec
	in.Labels, in.Secrets, in.Mounts, in.Env = labels, nil, tmpfs(h), nil
	in.Args = append([]string{ide.LookCommand}, args...)
	made, err := c.docker.ServiceCreate(ctx, spec, swarm.ServiceCreateOptions{})
	if err != nil {
		return l, classify("create service", err)
	}
	l.service = made.ID
	for {
		done, err := c.lookoutState(ctx, &l, toEnd)
		if err != nil || done {
			return l, err
		}
		select {
		case <-ctx.Done():
			return l, ide.Transient(ide.ContainerStartFailed, ctx.Err(), "The container did not start in time.")
		case <-time.After(rereadFirst):
		}
	}
}

func (c *Client) lookoutState(ctx context.Context, l *Lookout, toEnd bool) (done bool, err error) {
	tasks, err := c.docker.TaskList(ctx, swarm.TaskListOptions{Filters: filters.NewArgs(filters.Arg("service", l.service))})
	if err != nil {
		return false, classify("list tasks", err)
	}
	for _, t := range tasks {
		l.task = t.ID
		l.Address, _ = c.address(t)
		switch {
		case t.Status.State == swarm.TaskStateComplete:
			return true, nil
		case phaseOf(t.Status.State) == phaseEnded:
			return false, ide.Errorf(ide.ContainerStartFailed, "The container does not run: %s", t.Status.Err)
		case t.Status.State == swarm.TaskStateRunning && !toEnd:
			return true, c.findUplink(ctx, t, l)
		}
	}
	return false, nil
}

// findUplink finds the address that only the node's own engine knows.
func (c *Client) findUplink(ctx context.Context, t swarm.Task, l *Lookout) error {
	n, err := c.docker.NetworkInspect(ctx, Uplink, network.InspectOptions{})
	if errdefs.IsNotFound(err) || t.Status.ContainerStatus == nil {
		return nil
	}
	if err != nil {
		return classify("inspect uplink", err)
	}
	if p, err := netip.ParsePrefix(n.Containers[t.Status.ContainerStatus.ContainerID].IPv4Address); err == nil {
		l.Uplink = p.Addr()
	}
	return nil
}

// Words returns what its program has printed.
func (c *Client) Words(ctx context.Context, l Lookout) ([]string, error) {
	return c.LastLines(ctx, l.task, 500)
}

// RemoveLookouts removes all of this instance's, also those that an earlier
// caller has left behind.
func (c *Client) RemoveLookouts(ctx context.Context) error {
	f := c.ours()
	f.Add("label", LabelLookout)
	list, err := c.docker.ServiceList(ctx, swarm.ServiceListOptions{Filters: f})
	if err != nil {
		return classify("list services", err)
	}
	var errs []error
	for _, s := range list {
		if err := c.docker.ServiceRemove(ctx, s.ID); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("%s: %w", s.Spec.Name, classify("remove service", err)))
		}
	}
	return errors.Join(errs...)
}

// UsualNodes are nodes that take containers: this engine's own first.
func (c *Client) UsualNodes(ctx context.Context) ([]string, error) {
	info, err := c.Info(ctx)
	if err != nil {
		return nil, err
	}
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	ids := []string{info.NodeID}
	for _, n := range nodes {
		if n.State == "ready" && n.Availability == "active" && !slices.Contains(ids, n.ID) {
			ids = append(ids, n.ID)
		}
	}
	return ids, nil
}
