package ide

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The two ways to choose among the nodes that have room.
const (
	Spread = "spread" // the one with the largest free share
	Pack   = "pack"   // the one with the smallest
)

// Constraint is a condition on a node, in Swarm's words: node.labels.gpu==true.
// A label that is missing is one that is empty.
type Constraint struct {
	Key   string // node.labels.gpu
	Not   bool   // != instead of ==
	Value string
}

// constraintForm is that of docker service create --constraint, so far as it
// is about what is known here of a node.
var constraintForm = regexp.MustCompile(
	`^(node\.(?:id|hostname|role|platform\.os|platform\.arch|labels\.[A-Za-z0-9._/-]+)|engine\.labels\.[A-Za-z0-9._/-]+) ?(==|!=) ?([A-Za-z0-9._:/-]+)$`)

// ParseConstraint reads a constraint; ok is false for what is none.
func ParseConstraint(text string) (c Constraint, ok bool) {
	m := constraintForm.FindStringSubmatch(text)
	if m == nil {
		return c, false
	}
	return Constraint{Key: m[1], Not: m[2] == "!=", Value: m[3]}, true
}

// OfLabel says whether it is about a label of the node, which is what whoever
// starts a container may choose by.
func (c Constraint) OfLabel() bool { return strings.HasPrefix(c.Key, "node.labels.") }

// String is the constraint as Swarm takes it.
func (c Constraint) String() string {
	if c.Not {
		return c.Key + "!=" + c.Value
	}
	return c.Key + "==" + c.Value
}

// Holds says whether a node meets it. Values are compared as Swarm does,
// without regard to case.
func (c Constraint) Holds(n Node) bool {
	var is string
	switch c.Key {
	case "node.id":
		is = n.ID
	case "node.hostname":
		is = n.Hostname
	case "node.role":
		is = n.Role
	case "node.platform.os":
		is = n.OS
	case "node.platform.arch":
		is = n.Arch
	default:
		if label, ok := strings.CutPrefix(c.Key, "node.labels."); ok {
			is = n.Labels[label]
		} else {
			is = n.EngineLabels[strings.TrimPrefix(c.Key, "engine.labels.")]
		}
	}
	return strings.EqualFold(is, c.Value) != c.Not
}

// genericForm is that of docker service create --generic-resource.
var genericForm = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]{0,62})=([0-9]{1,6})$`)

// ParseGeneric reads what is reserved of a resource that nodes announce by name,
// "gpu=1"; ok is false for what is no such text.
func ParseGeneric(text string) (kind string, n int64, ok bool) {
	m := genericForm.FindStringSubmatch(text)
	if m == nil {
		return "", 0, false
	}
	n, err := strconv.ParseInt(m[2], 10, 64)
	return m[1], n, err == nil
}

// Never says in a sentence why a container can never be on a node as it is: a
// constraint that does not hold, or more of something than all there is. It is
// empty where it can be there in time.
func (c Container) Never(n Node) string {
	for _, text := range c.Placement {
		if con, ok := ParseConstraint(text); ok && !con.Holds(n) {
			return fmt.Sprintf("%s does not hold there.", con)
		}
	}
	r := c.Resources
	switch {
	case n.CPU < r.CPUReservation:
		return fmt.Sprintf("%.2f CPU is needed, and it has %.2f in all.", float64(r.CPUReservation)/1e9, float64(n.CPU)/1e9)
	case n.Memory < r.MemoryReservation:
		return fmt.Sprintf("%d MiB of memory is needed, and it has %d MiB in all.", r.MemoryReservation>>20, n.Memory>>20)
	}
	for _, kind := range slices.Sorted(maps.Keys(c.Generic)) {
		if n.Generic[kind] < c.Generic[kind] {
			return fmt.Sprintf("%d %s is needed, and it has %d in all.", c.Generic[kind], kind, n.Generic[kind])
		}
	}
	return ""
}
