package swarmtest

import (
	"bytes"
	"io"
	"maps"
	"slices"
	"strings"

	"berth/internal/ide"
)

func (b *bench) node() ide.Node {
	b.Helper()
	nodes, err := b.c.Nodes(b.ctx)
	b.must(err)
	i := slices.IndexFunc(nodes, func(n ide.Node) bool { return n.ID == b.env.Node })
	if i < 0 {
		b.Fatalf("node %s is not in %+v", b.env.Node, nodes)
	}
	return nodes[i]
}

// labels leaves the node as it was.
func (b *bench) labels() {
	was := b.node().Labels
	label := "exercise-" + ide.NewID()
	with := maps.Clone(was)
	if with == nil {
		with = map[string]string{}
	}
	with[label] = "yes"
	b.Cleanup(func() {
		if err := b.c.SetLabels(b.ctx, b.env.Node, was); err != nil {
			b.Error(err)
		}
	})
	b.must(b.c.SetLabels(b.ctx, b.env.Node, with))
	n := b.node()
	if n.Labels[label] != "yes" || n.OS != "linux" || n.Arch == "" {
		b.Errorf("got %+v, want the label and its platform", n)
	}
	for text, holds := range map[string]bool{"node.labels." + label + "==YES": true, "node.labels." + label + "!=yes": false, "node.role==manager": true} {
		if c, ok := ide.ParseConstraint(text); !ok || c.Holds(n) != holds {
			b.Errorf("%s holds: %t, want %t", text, !holds, holds)
		}
	}
	b.must(b.c.SetAvailability(b.ctx, b.env.Node, "active"))
	b.want("a node that is not there", b.c.SetAvailability(b.ctx, "nothing", "active"), ide.NotFound, true)
	b.must(b.c.RemoveNode(b.ctx, "nothing"))
}

func (b *bench) lastManager() {
	nodes, err := b.c.Nodes(b.ctx)
	b.must(err)
	managers := slices.DeleteFunc(nodes, func(n ide.Node) bool { return n.Role != "manager" })
	if len(managers) != 1 {
		b.Skipf("the Swarm has %d managers", len(managers))
	}
	b.want("demotion of the last manager", b.c.Demote(b.ctx, managers[0].ID), ide.Conflict, true)
	j, err := b.c.JoinTokens(b.ctx)
	b.must(err)
	if !strings.HasPrefix(j.Worker, "SWMTKN-") || !strings.HasPrefix(j.Manager, "SWMTKN-") || j.Worker == j.Manager || !strings.Contains(j.Address, ":") {
		b.Error("the join tokens are not complete") // they are not shown
	}
}

func (b *bench) images() {
	tar, err := b.c.SaveImage(b.ctx, b.env.Image)
	b.must(err)
	text, err := io.ReadAll(tar)
	b.must(err)
	tar.Close()
	b.must(b.c.LoadImage(b.ctx, bytes.NewReader(text)))
	if err := b.c.LoadImage(b.ctx, strings.NewReader("no tar stream, and not a short one: "+strings.Repeat("x", 2048))); err == nil {
		b.Error("what is no image was loaded")
	}
	if _, err := b.c.SaveImage(b.ctx, b.env.Missing); !ide.HasCode(err, ide.NotFound) {
		b.Errorf("an image that is missing: got %v", err)
	}
	if err := b.c.PullImage(b.ctx, b.env.Missing); err == nil {
		b.Error("an image that no registry has was pulled")
	}
}
