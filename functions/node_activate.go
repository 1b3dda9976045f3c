package functions

import (
	"context"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/internal/swarm"
	"berth/queue"
)

// ActivateNodeArgs is the job of letting a node take containers again.
type ActivateNodeArgs struct{ NodeInput }

// ActivateNode lets a node take containers again. A drain of it that is under way
// ends at its next container.
var ActivateNode = define(Function[ActivateNodeArgs]{
	Name: "node-activate", Doc: "Let a node take containers again", Route: "POST /api/nodes/{id}/activate",
	Queue: queue.Critical, Attempts: 5, Timeout: time.Minute,
	Admit: func(ctx context.Context, d *Deps, p ide.Principal, a *ActivateNodeArgs) (store.Admission, error) {
		return admitNode(ctx, d, p, &a.ID, anyNode)
	},
	Run: func(ctx context.Context, d *Deps, a ActivateNodeArgs) error {
		return Step(ctx, "activate", func(ctx context.Context) error {
			return d.Swarm.SetAvailability(ctx, a.ID, swarm.Active)
		})
	},
})
