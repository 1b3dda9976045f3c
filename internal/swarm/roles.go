package swarm

import (
	"context"
	"fmt"
	"time"

	"berth/internal/ide"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
)

// Availabilities of a node: what Swarm does there.
const (
	Active = "active" // takes tasks
	Pause  = "pause"  // keeps those it has, takes no other
	Drain  = "drain"  // ends those it has
)

// SetAvailability sets what Swarm does on a node. A node that is not there is
// NOT_FOUND.
func (c *Client) SetAvailability(ctx context.Context, id, availability string) error {
	return c.updateNode(ctx, id, func(s *swarm.NodeSpec) bool {
		changed := string(s.Availability) != availability
		s.Availability = swarm.NodeAvailability(availability)
		return changed
	})
}

// SetLabels replaces a node's labels.
func (c *Client) SetLabels(ctx context.Context, id string, labels map[string]string) error {
	return c.updateNode(ctx, id, func(s *swarm.NodeSpec) bool { s.Labels = labels; return true })
}

// Demote makes a manager a worker. The last manager cannot be made one: Swarm
// refuses, and the error is CONFLICT.
func (c *Client) Demote(ctx context.Context, id string) error {
	return c.updateNode(ctx, id, func(s *swarm.NodeSpec) bool {
		changed := s.Role != swarm.NodeRoleWorker
		s.Role = swarm.NodeRoleWorker
		return changed
	})
}

// updateNode changes a node, if change says that there is something to change.
func (c *Client) updateNode(ctx context.Context, id string, change func(*swarm.NodeSpec) bool) error {
	for range readAttempts {
		n, _, err := c.docker.NodeInspectWithRaw(ctx, id)
		if err != nil {
			return nodeError("read node", id, err)
		}
		if !change(&n.Spec) {
			return nil
		}
		err = c.docker.NodeUpdate(ctx, id, n.Version, n.Spec)
		switch {
		case outOfSequence(err):
			continue
		case lastManager(err):
			return conflict(err, "It is the last manager, without which there is no Swarm.")
		case err != nil:
			return nodeError("update node", id, err)
		}
		return nil
	}
	return ide.Transient(ide.Conflict, nil, "Something else changes the node at the same time.")
}

// RemoveNode takes a node off the Swarm's list, also one that is ready: its
// engine is told nothing. No node is no error.
func (c *Client) RemoveNode(ctx context.Context, id string) error {
	err := c.docker.NodeRemove(ctx, id, swarm.NodeRemoveOptions{Force: true})
	if err == nil || errdefs.IsNotFound(err) {
		return nil
	}
	return nodeError("remove node", id, err)
}

func nodeError(doing, id string, err error) error {
	if errdefs.IsNotFound(err) {
		e := ide.Errorf(ide.NotFound, "There is no node %q.", id)
		e.Err = fmt.Errorf("%s: %w", doing, err)
		return e
	}
	return classify(doing, err)
}

// WaitDemoted returns when a node is no manager any more; Swarm takes some
// seconds to tell its engine.
func (c *Client) WaitDemoted(ctx context.Context, id string) error {
	for {
		n, _, err := c.docker.NodeInspectWithRaw(ctx, id)
		switch {
		case errdefs.IsNotFound(err):
			return nil
		case err != nil:
			return classify("read node", err)
		case n.ManagerStatus == nil:
			return nil
		}
		select {
		case <-ctx.Done():
			return classify("wait for demotion", ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Join is what a machine needs to become a node. The tokens are secrets: each
// lets any machine in.
type Join struct {
	Worker  string `json:"worker"` // tokens
	Manager string `json:"manager"`
	Address string `json:"address"` // host:port of a manager
}

// JoinTokens reads what lets machines join.
func (c *Client) JoinTokens(ctx context.Context) (Join, error) {
	s, err := c.docker.SwarmInspect(ctx)
	if err != nil {
		return Join{}, classify("inspect swarm", err)
	}
	nodes, err := c.docker.NodeList(ctx, swarm.NodeListOptions{})
	if err != nil {
		return Join{}, classify("list nodes", err)
	}
	j := Join{Worker: s.JoinTokens.Worker, Manager: s.JoinTokens.Manager}
	for _, n := range nodes {
		if m := n.ManagerStatus; m != nil && (m.Leader || j.Address == "") {
			j.Address = m.Addr
		}
	}
	return j, nil
}

// Stranded names the services of others with tasks on a node that could run on
// no other one, by their placement: draining the node would end them. Those that
// run on every node are not among them.
func (c *Client) Stranded(ctx context.Context, node string) ([]string, error) {
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	tasks, err := c.docker.TaskList(ctx, swarm.TaskListOptions{Filters: filters.NewArgs(
		filters.Arg("node", node), filters.Arg("desired-state", "running"))})
	if err != nil {
		return nil, classify("list tasks", err)
	}
	var names []string
	for _, t := range tasks {
		if c.owns(t) || canGo(t, node, nodes) {
			continue
		}
		s, _, err := c.docker.ServiceInspectWithRaw(ctx, t.ServiceID, swarm.ServiceInspectOptions{})
		switch {
		case errdefs.IsNotFound(err):
		case err != nil:
			return nil, classify("inspect service", err)
		case s.Spec.Mode.Replicated != nil:
			names = append(names, s.Spec.Name)
		}
	}
	return names, nil
}

// canGo says whether a task of a service could be placed on another node that
// takes tasks.
func canGo(t swarm.Task, from string, nodes []ide.Node) bool {
	var as ide.Container
	if p := t.Spec.Placement; p != nil {
		as.Placement = p.Constraints
	}
	for _, n := range nodes {
		if n.ID != from && n.State == "ready" && n.Availability == Active && as.Never(n) == "" {
			return true
		}
	}
	return false
}
