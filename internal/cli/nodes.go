package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/url"

	"berth/functions"
	"berth/openapi"
)

// Nodes looks after the machines of the Swarm.
type Nodes struct {
	List      NodesList      `cmd:"" default:"1" help:"List nodes."`
	Drain     NodesDrain     `cmd:"" help:"Move all containers of a node elsewhere, each with its workspace saved, and place nothing there any more."`
	Activate  NodesActivate  `cmd:"" help:"Let a node take containers again."`
	Label     NodesLabel     `cmd:"" help:"Replace the labels of a node."`
	Remove    NodesRemove    `cmd:"" help:"Take a drained or lost node out of the Swarm."`
	JoinToken NodesJoinToken `cmd:"" name:"join-token" help:"Print the command with which a machine joins the Swarm; it holds a secret."`
}

// NodesList lists nodes.
type NodesList struct{}

// Run implements the command.
func (NodesList) Run(g *Globals) error {
	var l openapi.NodeList
	if err := g.call(http.MethodGet, "/api/dashboard/nodes", nil, nil, &l); err != nil {
		return err
	}
	return g.show(l, func(w io.Writer) {
		rows(w, "NAME\tID\tROLE\tSTATE\tAVAILABILITY\tCONTAINERS\tFREE CPU\tFREE MEMORY\tWHY NOT", func(row func(...any)) {
			for _, n := range l.Nodes {
				row(n.Hostname, n.ID, n.Role, n.State, n.Availability, n.Containers, fmt.Sprintf("%.2f", n.FreeCPU), fmt.Sprintf("%d MiB", n.FreeMemory>>20), n.Why)
			}
		})
	})
}

// node names one.
type node struct {
	Node string `arg:"" help:"Node, by its engine ID, or by its name where no other has it."`
}

func (n node) path() string { return "/api/nodes/" + url.PathEscape(n.Node) }

// NodesDrain empties a node.
type NodesDrain struct {
	Node   node `embed:""`
	NoWait bool `help:"Do not wait until it is empty."`
}

// Run implements the command.
func (c NodesDrain) Run(g *Globals) error {
	return g.job(http.MethodPost, c.Node.path()+"/drain", nil, c.NoWait)
}

// NodesActivate opens a node again.
type NodesActivate struct {
	Node node `embed:""`
}

// Run implements the command.
func (c NodesActivate) Run(g *Globals) error {
	return g.job(http.MethodPost, c.Node.path()+"/activate", nil, false)
}

// NodesLabel sets a node's labels.
type NodesLabel struct {
	Node  node              `embed:""`
	Label map[string]string `help:"A label, name=value; all others go." required:""`
}

// Run implements the command.
func (c NodesLabel) Run(g *Globals) error {
	return g.jobWith(http.MethodPut, c.Node.path()+"/labels", nil, functions.NodeLabels{Labels: c.Label}, false)
}

// NodesRemove takes a node out of the Swarm.
type NodesRemove struct {
	Node node `embed:""`
}

// Run implements the command.
func (c NodesRemove) Run(g *Globals) error {
	return g.job(http.MethodDelete, c.Node.path(), nil, false)
}

// NodesJoinToken tells how a machine joins.
type NodesJoinToken struct {
	Role string `enum:"worker,manager" default:"worker" help:"What the machine is to become."`
}

// Run implements the command.
func (c NodesJoinToken) Run(g *Globals) error {
	var a openapi.JoinAnswer
	if err := g.call(http.MethodGet, "/api/nodes/join-token", url.Values{"role": {c.Role}}, nil, &a); err != nil {
		return err
	}
	return g.show(a, func(w io.Writer) { fmt.Fprintln(w, a.Command) })
}

// Move moves a container.
type Move struct {
	ID
	To     string `help:"Node, by its engine ID or name; another one with room if missing."`
	NoWait bool   `help:"Do not wait until it runs there."`
}

// Run implements the command.
func (c Move) Run(g *Globals) error {
	var body any
	if c.To != "" {
		body = functions.MoveRequest{Node: c.To}
	}
	return g.jobWith(http.MethodPost, "/api/containers/"+url.PathEscape(c.ID.ID)+"/move", nil, body, c.NoWait)
}
