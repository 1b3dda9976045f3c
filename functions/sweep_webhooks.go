package functions

import (
	"context"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"
)

// SweepWebhooksArgs is empty: the sweep is about all webhooks.
type SweepWebhooksArgs struct{}

// SweepWebhooks drops deliveries that are done as long ago as jobs are kept,
// and the endpoints of containers that are gone.
var SweepWebhooks = define(Function[SweepWebhooksArgs]{
	Name: "sweep-webhooks", Doc: "Drop webhook deliveries past their retention", Cron: "37 * * * *",
	Queue: queue.Low, Attempts: 3, Timeout: 5 * time.Minute,
	Admit: func(context.Context, *Deps, ide.Principal, *SweepWebhooksArgs) (store.Admission, error) {
		return store.Admission{}, nil
	},
	Run: func(ctx context.Context, d *Deps, _ SweepWebhooksArgs) error {
		return Step(ctx, "prune", func(ctx context.Context) error {
			n, err := d.Store.PruneWebhooks(ctx)
			SetResult(ctx, "dropped", n)
			return err
		})
	},
})
