package swarmtest

import (
	"fmt"
	"strings"

	"berth/internal/ide"

	"github.com/docker/docker/api/types/swarm"
)

func (s *Server) schedule(t *task) {
	node, why := s.place(t)
	if node == nil {
		if t.Status.Err != why {
			s.set(t, swarm.TaskStatePending, "pending task scheduling", why)
		}
		s.walk(t, s.schedule)
		return
	}
	t.NodeID = node.ID
	s.set(t, swarm.TaskStateAssigned, "scheduler assigned task to node", "")
	s.walk(t, s.prepare)
}

func (s *Server) place(t *task) (*swarm.Node, string) {
	var away, constrained, full int
	for _, n := range sorted(s.nodes) {
		switch {
		case n.Status.State != swarm.NodeStateReady || n.Spec.Availability != swarm.NodeAvailabilityActive:
			away++
		case !satisfies(n, t.Spec.Placement):
			constrained++
		case !s.fits(n, t):
			full++
		default:
			return n, ""
		}
	}
	var reasons []string
	say := func(n int, format string) {
		if n > 0 {
			reasons = append(reasons, fmt.Sprintf(format, n))
		}
	}
	say(full, "insufficient resources on %d node")
	say(constrained, "scheduling constraints not satisfied on %d node")
	say(away, "%d node not available for new tasks")
	return nil, "no suitable node (" + strings.Join(reasons, "; ") + ")"
}

func satisfies(n *swarm.Node, p *swarm.Placement) bool {
	if p == nil {
		return true
	}
	known := ide.Node{ID: n.ID, Hostname: n.Description.Hostname, Role: string(n.Spec.Role), Labels: n.Spec.Labels,
		OS: n.Description.Platform.OS, Arch: n.Description.Platform.Architecture, EngineLabels: n.Description.Engine.Labels}
	for _, text := range p.Constraints {
		if c, ok := ide.ParseConstraint(text); ok && !c.Holds(known) {
			return false
		}
	}
	return true
}

func (s *Server) fits(n *swarm.Node, t *task) bool {
	free := n.Description.Resources
	others := map[string]int64{}
	for _, g := range free.GenericResources {
		if d := g.DiscreteResourceSpec; d != nil {
			others[d.Kind] += d.Value
		}
	}
	use := func(spec swarm.TaskSpec) {
		if r := spec.Resources; r != nil && r.Reservations != nil {
			free.NanoCPUs -= r.Reservations.NanoCPUs
			free.MemoryBytes -= r.Reservations.MemoryBytes
			for _, g := range r.Reservations.GenericResources {
				others[g.DiscreteResourceSpec.Kind] -= g.DiscreteResourceSpec.Value
			}
		}
	}
	for _, o := range s.tasks {
		if o.NodeID == n.ID && o.phase() == placed {
			use(o.Spec)
		}
	}
	use(t.Spec)
	for _, left := range others {
		if left < 0 {
			return false
		}
	}
	return free.NanoCPUs >= 0 && free.MemoryBytes >= 0
}
