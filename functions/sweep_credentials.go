package functions

import (
	"context"
	"time"

	"berth/internal/ide"
	"berth/internal/s3"
	"berth/internal/store"
	"berth/queue"

	"golang.org/x/sync/errgroup"
)

// SweepCredentialsArgs is empty: the sweep is about all containers.
type SweepCredentialsArgs struct{}

// renewers is how many agents are given credentials at once.
const renewers = 16

// SweepCredentials gives running containers whose S3 credentials are minted new
// ones long before the old ones run out. One agent that does not answer delays
// no other; it is asked again the next time.
var SweepCredentials = define(Function[SweepCredentialsArgs]{
	Name: "sweep-credentials", Doc: "Renew short-lived S3 credentials", Cron: "*/5 * * * *",
	Queue: queue.Low, Attempts: 2, Timeout: 4 * time.Minute,
	Admit: func(context.Context, *Deps, ide.Principal, *SweepCredentialsArgs) (store.Admission, error) {
		return store.Admission{}, nil
	},
	Run: func(ctx context.Context, d *Deps, _ SweepCredentialsArgs) error {
		if !d.S3.HasRole() {
			return nil
		}
		return Step(ctx, "renew", func(ctx context.Context) error {
			all, err := d.Store.ByStatus(ctx, ide.Running)
			if err != nil {
				return err
			}
			var group errgroup.Group
			group.SetLimit(renewers)
			given, failed := make([]bool, len(all)), make([]bool, len(all))
			for i, c := range all {
				if c.Credential != s3.Role {
					continue
				}
				group.Go(func() error {
					if err := RenewCredentials(ctx, d, c); err != nil {
						d.Log.Warn("credentials are not renewed", "container", c.ID, "err", err)
						failed[i] = true
					} else {
						given[i] = true
					}
					return nil
				})
			}
			err = group.Wait()
			SetResult(ctx, "renewed", count(given))
			SetResult(ctx, "failed", count(failed))
			return err
		})
	},
})

// RenewCredentials gives the agent of a container new minted credentials; one
// that has its own is left alone.
func RenewCredentials(ctx context.Context, d *Deps, c ide.Container) error {
	if p := d.S3.Place(c); p == nil || !p.Role {
		return nil
	}
	secrets, _, err := d.secrets(c)
	if err != nil {
		return err
	}
	return d.giveCredentials(ctx, c, d.agentAt(c.Address, secrets.AgentToken))
}

func count(flags []bool) (n int) {
	for _, f := range flags {
		if f {
			n++
		}
	}
	return n
}
