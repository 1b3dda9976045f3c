package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"berth/internal/ide"
)

// encodeGeneric is what a container reserves beside CPU and memory, as the
// scripts take it; empty is nothing.
func encodeGeneric(c ide.Container) string {
	if len(c.Generic) == 0 {
		return ""
	}
	return encode(c.Generic)
}

// candidates returns the nodes among which the script may choose, by blanks,
// where not all will do, and what they have of the other resources that are
// wanted, as JSON. Where none will ever do, that is the error. Nothing is asked of
// Redis for a container that may be anywhere.
func (s *Store) candidates(ctx context.Context, a Admission, c ide.Container) (only, has string, err error) {
	if a.Only == "" && len(a.Not) == 0 && len(c.Placement) == 0 && len(c.Generic) == 0 {
		return "", "", nil
	}
	nodes, err := s.Nodes(ctx)
	if err != nil {
		return "", "", err
	}
	if len(nodes) == 0 {
		return "", "", refusal([]string{"nodata"}, c)
	}
	var ids []string
	free := map[string]map[string]int64{}
	for _, n := range nodes {
		if a.may(n) && c.Never(n) == "" {
			ids, free[n.ID] = append(ids, n.ID), freeGeneric(n)
		}
	}
	if len(ids) == 0 {
		return "", "", never(a, c, nodes)
	}
	return strings.Join(ids, " "), encode(free), nil
}

// may says whether an admission lets a container be on a node.
func (a Admission) may(n ide.Node) bool {
	return (a.Only == "" || a.Only == n.ID) && !slices.Contains(a.Not, n.ID)
}

// freeGeneric is what a node has of other resources for containers.
func freeGeneric(n ide.Node) map[string]int64 {
	free := maps.Clone(n.Generic)
	if free == nil {
		free = map[string]int64{}
	}
	for kind, used := range n.ForeignUse {
		free[kind] -= used
	}
	return free
}

// never is the error of a container that no node can ever take, as the nodes
// are.
func never(a Admission, c ide.Container, nodes []ide.Node) *ide.Error {
	var why []string
	for _, n := range nodes {
		text := c.Never(n)
		if a.By.SeesNodes() {
			text = n.Hostname + ": " + text
		}
		if a.may(n) && !slices.Contains(why, text) {
			why = append(why, text)
		}
	}
	const shown = 3
	if more := len(why) - shown; more > 0 {
		why = append(why[:shown], fmt.Sprintf("So it is with %d more.", more))
	}
	if len(why) == 0 {
		why = []string{"there is no other node."}
	}
	return refusal([]string{"never", strings.Join(why, " ")}, c)
}

// full makes the refusal for want of room more exact: no node can ever take it,
// or the one that was wanted cannot now.
func (s *Store) full(ctx context.Context, a Admission, c ide.Container, e *ide.Error) error {
	rooms, err := s.Room(ctx)
	if err != nil {
		return e
	}
	rooms = slices.DeleteFunc(rooms, func(r Room) bool { return !a.may(r.Node) })
	if !slices.ContainsFunc(rooms, func(r Room) bool { return c.Never(r.Node) == "" }) {
		nodes := make([]ide.Node, len(rooms))
		for i, r := range rooms {
			nodes[i] = r.Node
		}
		return never(a, c, nodes)
	}
	if len(rooms) == 1 && (a.Only != "" || len(a.Not) > 0) {
		if why := rooms[0].Why(c); why != "" {
			e.Message = "The node cannot take it now. " + why
			if a.By.SeesNodes() {
				e.Message = fmt.Sprintf("The node %s cannot take it now. %s", rooms[0].Node.Hostname, why)
			}
		}
	}
	return e
}

// Why says in a sentence why a container cannot be put on a node now; empty is
// that it can.
func (r Room) Why(c ide.Container) string {
	if !r.Fresh {
		return "It has not reported lately."
	}
	if why := r.Node.Unfit(); why != "" {
		return why
	}
	if why := c.Never(r.Node); why != "" {
		return why
	}
	switch {
	case r.FreeCPU < c.Resources.CPUReservation:
		return fmt.Sprintf("%.2f CPU is needed.", float64(c.Resources.CPUReservation)/1e9)
	case r.FreeMemory < c.Resources.MemoryReservation:
		return fmt.Sprintf("%d MiB of memory is needed.", c.Resources.MemoryReservation>>20)
	}
	for _, kind := range slices.Sorted(maps.Keys(c.Generic)) {
		if r.FreeGeneric[kind] < c.Generic[kind] {
			return fmt.Sprintf("%d %s is needed.", c.Generic[kind], kind)
		}
	}
	if high := r.Above(); len(high) > 0 {
		return fmt.Sprintf("It takes nothing while its %s.", ide.Marks(high))
	}
	return ""
}

// FitsElsewhere says whether a container has room on a node, or, if that is
// empty, on any but those named first. The error is that of an admission.
func (s *Store) FitsElsewhere(ctx context.Context, p ide.Principal, c ide.Container, not []string, to string) error {
	a := Admission{By: p, Only: to, Not: not}
	if _, _, err := s.candidates(ctx, a, c); err != nil {
		return err
	}
	rooms, err := s.Room(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(rooms, func(r Room) bool { return a.may(r.Node) && r.Why(c) == "" }) {
		return nil
	}
	e := ide.Errorf(ide.ResourceLimitExceeded, "No other node has room for it.")
	e.RetryAfter = 15 * time.Second
	return s.full(ctx, a, c, e)
}

// heldGeneric takes what containers have reserved of other resources off what
// their nodes have free.
func heldGeneric(rooms []Room, held map[string]string) {
	for _, h := range held {
		node, text, _ := strings.Cut(h, " ")
		var generic map[string]int64
		if json.Unmarshal([]byte(text), &generic) != nil {
			continue
		}
		for i := range rooms {
			if rooms[i].Node.ID != node {
				continue
			}
			for kind, n := range generic {
				rooms[i].FreeGeneric[kind] -= n
			}
		}
	}
}
