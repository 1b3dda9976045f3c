package functions

import (
	"context"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"
)

// SweepJobsArgs is empty: the sweep is about all jobs.
type SweepJobsArgs struct{}

// SweepJobs drops the records of jobs that ended longer ago than they are
// kept.
var SweepJobs = define(Function[SweepJobsArgs]{
	Name: "sweep-jobs", Doc: "Drop jobs past their retention", Cron: "17 * * * *",
	Queue: queue.Low, Attempts: 3, Timeout: 5 * time.Minute,
	Admit: func(context.Context, *Deps, ide.Principal, *SweepJobsArgs) (store.Admission, error) {
		return store.Admission{}, nil
	},
	Run: func(ctx context.Context, d *Deps, _ SweepJobsArgs) error {
		return Step(ctx, "prune", func(ctx context.Context) error {
			n, err := d.Store.Prune(ctx)
			SetResult(ctx, "dropped", n)
			return err
		})
	},
})
