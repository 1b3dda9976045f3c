package functions

import (
	"context"
	"errors"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"

	"golang.org/x/sync/errgroup"
)

// SweepProbeArgs is empty: the sweep is about all containers.
type SweepProbeArgs struct{}

// lookers is how many containers are looked at at once: so many that do not
// answer delay nobody.
const lookers = 128

// SweepProbe looks at every running container. It does so itself and opens no
// job for each, which would cost more than the look. A look that takes longer
// than the interval makes the next sweep wait and no other look.
var SweepProbe = define(Function[SweepProbeArgs]{
	Name: "sweep-probe", Doc: "Probe all running containers", Cron: "@every 15s",
	Queue: queue.Low, Attempts: 1, Timeout: 5 * time.Minute, Keep: time.Hour,
	Admit: func(context.Context, *Deps, ide.Principal, *SweepProbeArgs) (store.Admission, error) {
		return store.Admission{}, nil
	},
	Run: func(ctx context.Context, d *Deps, _ SweepProbeArgs) error {
		return Step(ctx, "probe", func(ctx context.Context) error {
			all, err := d.Store.ByStatus(ctx, ide.Running)
			if err != nil {
				return err
			}
			var group errgroup.Group
			group.SetLimit(lookers)
			probed, ill := make([]bool, len(all)), make([]bool, len(all))
			for i, c := range all {
				group.Go(func() error {
					if ctx.Err() != nil {
						return ctx.Err()
					}
					seen, err := d.noteSight(ctx, c, d.look(ctx, c))
					if errors.Is(err, errMoved) || ide.HasCode(err, ide.ContainerNotFound) {
						return nil
					}
					probed[i], ill[i] = err == nil, err == nil && seen.Health.Status == "unhealthy"
					return err
				})
			}
			err = group.Wait()
			SetResult(ctx, "probed", count(probed))
			SetResult(ctx, "unhealthy", count(ill))
			return err
		})
	},
})
