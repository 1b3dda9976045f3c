package functions

import (
	"cmp"
	"slices"

	"berth/internal/ide"
)

// place sets where a container may run: what its template says, and what the
// request asks for. The request may choose by the nodes' labels only: names and
// roles of nodes are the operator's business.
func place(c *ide.Container, of ide.Placement, asked *ide.Placement) error {
	if asked == nil {
		asked = &ide.Placement{}
	}
	for _, text := range asked.Constraints {
		if con, ok := ide.ParseConstraint(text); !ok || !con.OfLabel() {
			return invalid("body.placement.constraints", "a constraint must be node.labels.NAME==VALUE or node.labels.NAME!=VALUE")
		}
	}
	for _, text := range slices.Concat(of.Constraints, asked.Constraints) {
		if con, ok := ide.ParseConstraint(text); ok && !slices.Contains(c.Placement, con.String()) {
			c.Placement = append(c.Placement, con.String())
		}
	}
	c.Strategy = cmp.Or(asked.Strategy, of.Strategy)
	for _, text := range slices.Concat(of.Generic, asked.Generic) { // the later one counts
		kind, n, ok := ide.ParseGeneric(text)
		switch {
		case !ok:
			return invalid("body.placement.generic", "a resource must be KIND=NUMBER, as gpu=1")
		case n == 0:
			delete(c.Generic, kind)
			continue
		case c.Generic == nil:
			c.Generic = map[string]int64{}
		}
		c.Generic[kind] = n
	}
	return nil
}
