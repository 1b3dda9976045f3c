package swarm

import (
	"context"
	"time"

	"berth/internal/ide"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
)

// Nodes lists the machines of the Swarm with their size and what services
// that are not our containers have reserved there. Filtered is left false: a
// manager does not know it. A node that lacks a part of its description still
// has its row.
func (c *Client) Nodes(ctx context.Context) ([]ide.Node, error) {
	list, err := c.docker.NodeList(ctx, swarm.NodeListOptions{})
	if err != nil {
		return nil, classify("list nodes", err)
	}
	tasks, err := c.docker.TaskList(ctx, swarm.TaskListOptions{Filters: filters.NewArgs(
		filters.Arg("desired-state", "running"),
		filters.Arg("desired-state", "ready"),
		filters.Arg("desired-state", "accepted"),
	)})
	if err != nil {
		return nil, classify("list tasks", err)
	}
	now := time.Now()
	nodes := make([]ide.Node, 0, len(list))
	for _, n := range list {
		node := makeNode(n)
		node.At = now
		for _, t := range tasks {
			if t.NodeID != n.ID || !holdsReservation(t) || c.owns(t) {
				continue
			}
			if r := t.Spec.Resources; r != nil && r.Reservations != nil {
				node.ForeignCPU += r.Reservations.NanoCPUs
				node.ForeignMemory += r.Reservations.MemoryBytes
				node.ForeignUse = count(node.ForeignUse, r.Reservations.GenericResources)
			}
		}
		nodes = append(nodes, node)
	}
	return nodes, nil
}

// owns says whether a task is one of this instance's containers.
func (c *Client) owns(t swarm.Task) bool {
	l := taskLabels(t)
	return l[LabelInstance] == c.cfg.Instance && l[LabelID] != ""
}

// count adds up generic resources by kind: a named one is one of its kind.
func count(sum map[string]int64, list []swarm.GenericResource) map[string]int64 {
	for _, g := range list {
		if sum == nil {
			sum = map[string]int64{}
		}
		if d := g.DiscreteResourceSpec; d != nil {
			sum[d.Kind] += d.Value
		} else if n := g.NamedResourceSpec; n != nil {
			sum[n.Kind]++
		}
	}
	return sum
}

func makeNode(n swarm.Node) ide.Node {
	node := ide.Node{
		ID:           n.ID,
		Hostname:     n.Description.Hostname,
		Address:      n.Status.Addr,
		Role:         string(n.Spec.Role),
		State:        string(n.Status.State),
		Availability: string(n.Spec.Availability),
		Engine:       n.Description.Engine.EngineVersion,
		OS:           n.Description.Platform.OS,
		Arch:         n.Description.Platform.Architecture,
		Labels:       n.Spec.Labels,
		EngineLabels: n.Description.Engine.Labels,
		Generic:      count(nil, n.Description.Resources.GenericResources),
		CPU:          n.Description.Resources.NanoCPUs,
		Memory:       n.Description.Resources.MemoryBytes,
	}
	if node.State == "" {
		node.State = string(swarm.NodeStateUnknown)
	}
	return node
}
