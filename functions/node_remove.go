package functions

import (
	"context"
	"slices"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/internal/swarm"
	"berth/queue"
)

// RemoveNodeArgs is the job of taking a node out of the Swarm.
type RemoveNodeArgs struct{ NodeInput }

// RemoveNode takes a node out of the Swarm: a drained one, or one that is down,
// on which no container has its place and no files that could not be saved. A
// manager is made a worker first; the last one stays. The engine of the machine is
// told nothing: `docker swarm leave` there makes it forget.
var RemoveNode = define(Function[RemoveNodeArgs]{
	Name: "node-remove", Doc: "Take a drained or lost node out of the Swarm", Route: "DELETE /api/nodes/{id}",
	Queue: queue.Default, Attempts: 12, Timeout: 2 * time.Minute, Cancelable: true,
	Admit: func(ctx context.Context, d *Deps, p ide.Principal, a *RemoveNodeArgs) (store.Admission, error) {
		return admitNode(ctx, d, p, &a.ID, func(n ide.Node) error {
			nodes, err := d.Store.Nodes(ctx)
			if err != nil {
				return err
			}
			return d.removable(ctx, n, nodes)
		})
	},
	Run: func(ctx context.Context, d *Deps, a RemoveNodeArgs) error {
		var n ide.Node
		err := Step(ctx, "check", func(ctx context.Context) error {
			nodes, err := d.Swarm.Nodes(ctx)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(nodes, func(n ide.Node) bool { return n.ID == a.ID })
			if i < 0 {
				return nil // an earlier attempt has removed it
			}
			n = nodes[i]
			return d.removable(ctx, n, nodes)
		})
		if err != nil || n.ID == "" {
			return err
		}
		if n.Role == "manager" {
			err := Step(ctx, "demote", func(ctx context.Context) error {
				if err := d.Swarm.Demote(ctx, a.ID); err != nil {
					return err
				}
				return d.Swarm.WaitDemoted(ctx, a.ID)
			})
			if err != nil {
				return err
			}
		}
		if err := Step(ctx, "remove", func(ctx context.Context) error { return d.Swarm.RemoveNode(ctx, a.ID) }); err != nil {
			return err
		}
		return Step(ctx, "published", func(ctx context.Context) error {
			return d.nodeShows(ctx, a.ID, func(ide.Node) bool { return false })
		})
	},
})

// removable says why a node may not be removed, or nothing.
func (d *Deps) removable(ctx context.Context, n ide.Node, nodes []ide.Node) error {
	managers := 0
	for _, o := range nodes {
		if o.Role == "manager" && o.ID != n.ID && o.State == "ready" {
			managers++
		}
	}
	live, unsaved, err := d.onNode(ctx, n.ID)
	switch {
	case err != nil:
		return err
	case n.Role == "manager" && managers == 0:
		return ide.Errorf(ide.Conflict, "It is the last manager that answers, without which there is no Swarm.")
	case ide.FateOf(nodes, n.ID) == ide.NodeUp && n.Availability != swarm.Drain:
		return ide.Errorf(ide.Conflict, "Its availability is %s: drain it first.", n.Availability)
	case len(live) > 0:
		return onIt(live, "%d containers have their place there: drain it first.")
	case len(unsaved) > 0:
		return onIt(unsaved, "%d containers have files there that could not be saved: start or stop them until they are, or give the files up with force=true.")
	}
	return nil
}

func onIt(list []ide.Container, why string) *ide.Error {
	e := ide.Errorf(ide.Conflict, why, len(list))
	var ids []string
	for _, c := range list {
		ids = append(ids, c.ID)
	}
	e.Details = map[string]any{"containers": ids[:min(len(ids), 100)]}
	return e
}
