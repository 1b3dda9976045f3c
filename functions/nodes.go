package functions

import (
	"context"
	"fmt"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/internal/swarm"
)

// NodeInput names a node in a request.
type NodeInput struct {
	Request
	ID string `json:"id" path:"id" maxLength:"64" example:"x8vlm0vmpo1jg5yk4zo2dgpyh" doc:"Engine ID of the node, or its name where no other has it"`
}

// Node returns a node by its engine ID, or by its host name where no other node
// has it; otherwise it is NOT_FOUND.
func (d *Deps) node(ctx context.Context, ref string) (ide.Node, error) {
	nodes, err := d.Store.Nodes(ctx)
	if err != nil {
		return ide.Node{}, err
	}
	var named []ide.Node
	for _, n := range nodes {
		if n.ID == ref {
			return n, nil
		}
		if n.Hostname == ref {
			named = append(named, n)
		}
	}
	switch len(named) {
	case 1:
		return named[0], nil
	case 0:
		return ide.Node{}, ide.Errorf(ide.NotFound, "There is no node %q.", ref)
	}
	return ide.Node{}, ide.Errorf(ide.NotFound, "%d nodes are called %q: name it by its engine ID.", len(named), ref)
}

// Node is a node of the Swarm, for admins.
func Node(ctx context.Context, d *Deps, ref string) (ide.Node, error) { return d.node(ctx, ref) }

// admitNode admits a job about a node, for admins, if may agrees.
func admitNode(ctx context.Context, d *Deps, p ide.Principal, id *string, may func(ide.Node) error) (store.Admission, error) {
	if p.Role != ide.Admin {
		return store.Admission{}, ide.Errorf(ide.Forbidden, "This needs an admin's key.")
	}
	n, err := d.node(ctx, *id)
	if err != nil {
		return store.Admission{}, err
	}
	if err := may(n); err != nil {
		return store.Admission{}, err
	}
	*id = n.ID
	return store.Admission{Node: n.ID}, nil
}

func anyNode(ide.Node) error { return nil }

// onNode returns the containers that have a place on a node, or files there that
// no bucket has.
func (d *Deps) onNode(ctx context.Context, node string) (live, unsaved []ide.Container, err error) {
	all, err := d.Store.Census(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range all {
		switch c := s.Container; {
		case c.Node != node:
		case c.Status.Live():
			live = append(live, c)
		case c.Unsaved:
			unsaved = append(unsaved, c)
		}
	}
	return live, unsaved, nil
}

// TellJoin has the API know what lets machines join the Swarm.
func TellJoin(ctx context.Context, d *Deps) error {
	j, err := d.Swarm.JoinTokens(ctx)
	if err != nil {
		return err
	}
	sealed, err := d.Box.Seal(joinContext, j)
	if err != nil {
		return err
	}
	return d.Store.PublishJoin(ctx, sealed)
}

const joinContext = "join"

// JoinTokens returns what lets machines join, as a manager's worker last told.
func JoinTokens(ctx context.Context, d *Deps) (j swarm.Join, err error) {
	sealed, err := d.Store.Join(ctx)
	if err == nil && sealed == "" {
		e := ide.Transient(ide.QueueUnavailable, nil, "No worker on a manager has told the tokens lately.")
		e.RetryAfter = 5 * time.Second
		err = e
	}
	if err != nil {
		return j, err
	}
	return j, d.Box.Open(joinContext, sealed, &j)
}

// FadeOut forgets what is known of nodes that have left the Swarm: their queues,
// their workers, what was to be done there. nodes are those that are there.
func FadeOut(ctx context.Context, d *Deps, nodes []ide.Node) error {
	ids := make([]string, len(nodes))
	for i, n := range nodes {
		ids[i] = n.ID
	}
	if err := d.Queue.KeepNodes(ctx, ids); err != nil {
		return err
	}
	if err := d.Store.KeepNodes(ctx, ids); err != nil {
		return fmt.Errorf("forget nodes: %w", err)
	}
	return nil
}
