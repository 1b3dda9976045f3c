package functions

import (
	"context"
	"fmt"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"
)

// SweepPurgeArgs is empty: the sweep is about all containers.
type SweepPurgeArgs struct{}

// SweepPurge drops what is past its retention: records of stopped and failed
// containers with their configs and histories, each by a stop of its own that
// purges, and old events. What could not be saved is never dropped. Jobs have a
// sweep of their own.
var SweepPurge = define(Function[SweepPurgeArgs]{
	Name: "sweep-purge", Doc: "Drop records and events past their retention", Cron: "23 3 * * *",
	Queue: queue.Low, Attempts: 3, Timeout: 10 * time.Minute,
	Admit: func(context.Context, *Deps, ide.Principal, *SweepPurgeArgs) (store.Admission, error) {
		return store.Admission{}, nil
	},
	Run: func(ctx context.Context, d *Deps, _ SweepPurgeArgs) error {
		now, err := d.Store.Clock(ctx)
		if err != nil {
			return err
		}
		if err := Step(ctx, "containers", func(ctx context.Context) error { return d.purgeContainers(ctx, now) }); err != nil {
			return err
		}
		return Step(ctx, "events", func(ctx context.Context) error {
			if d.EventRetention == 0 {
				return nil
			}
			n, err := d.Store.TrimEvents(ctx, now.Add(-d.EventRetention))
			SetResult(ctx, "events", n)
			return err
		})
	},
})

func (d *Deps) purgeContainers(ctx context.Context, now time.Time) error {
	if d.RecordRetention == 0 {
		return nil
	}
	all, err := d.Store.ByStatus(ctx, ide.Stopped, ide.Failed)
	if err != nil {
		return err
	}
	purged := 0
	for _, c := range all {
		down := c.CreatedAt
		if c.StoppedAt != nil {
			down = *c.StoppedAt
		}
		if c.Unsaved || now.Sub(down) < d.RecordRetention {
			continue
		}
		_, err := StopContainer.Enqueue(ctx, d, ide.Principal{Name: "sweep-purge", Role: ide.Admin},
			&StopContainerArgs{ID: c.ID, Purge: true, Aged: true, Reason: c.ShutdownReason})
		if unlessGone(err) != nil {
			return fmt.Errorf("purge %s: %w", c.ID, err)
		}
		if err == nil {
			purged++
		}
	}
	SetResult(ctx, "containers", purged)
	return nil
}
