package functions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/internal/swarm"
	"berth/queue"
)

// How long the sweep waits before it tries again to save parked files: twice
// as long each time.
const (
	firstRetry = 5 * time.Minute
	lastRetry  = 6 * time.Hour
)

// park keeps what could not be saved where it is: no task runs, the volume
// stays on its node, CPU and memory are free for others when the container has
// ended, or its node is down. Only force or purge removes it; the sweep goes on
// trying.
func park(ctx context.Context, d *Deps, a StopContainerArgs, cause *ide.Error) error {
	c, err := d.Store.Container(ctx, a.ID)
	if err != nil {
		return unlessGone(err)
	}
	err = Step(ctx, "park", func(ctx context.Context) error {
		if err := d.Swarm.Park(ctx, a.ID, a.Run); err != nil {
			return err
		}
		if err := d.waitGone(ctx, ide.Container{ID: a.ID, Run: a.Run}); !errors.Is(err, swarm.ErrNodeDown) {
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	now := d.Store.Time(ctx)
	c, err = d.Store.Move(ctx, a.ID, a.Run, ide.Failed, "container-stop",
		cause.Message+" Its files are kept on its node, and are tried to be saved again.", func(c *ide.Container) {
			wait := min(firstRetry<<min(c.Tries, 10), lastRetry)
			next := now.Add(wait)
			c.Error, c.Address, c.Health = public(cause), "", nil
			c.Unsaved, c.NextTry, c.Tries = true, &next, c.Tries+1
			if c.StoppedAt == nil || c.ShutdownReason == "" {
				c.StoppedAt, c.ShutdownReason = &now, a.Reason
			}
		})
	if err != nil {
		return unlessGone(err)
	}
	if err := d.Store.Release(ctx, c.ID, a.Run); err != nil {
		return err
	}
	return record(ctx, d, c)
}

// SweepUnsavedArgs is empty: the sweep is about all containers.
type SweepUnsavedArgs struct{}

// SweepUnsaved tries again to save what stops had to leave on its node. One
// that succeeds ends as stopped, as the stop would have.
var SweepUnsaved = define(Function[SweepUnsavedArgs]{
	Name: "sweep-unsaved", Doc: "Try again to save parked workspaces", Cron: "* * * * *",
	Queue: queue.Low, Attempts: 3, Timeout: 5 * time.Minute, Keep: time.Hour,
	Admit: func(context.Context, *Deps, ide.Principal, *SweepUnsavedArgs) (store.Admission, error) {
		return store.Admission{}, nil
	},
	Run: func(ctx context.Context, d *Deps, _ SweepUnsavedArgs) error {
		return Step(ctx, "retry", func(ctx context.Context) error {
			now, err := d.Store.Clock(ctx)
			if err != nil {
				return err
			}
			failed, err := d.Store.ByStatus(ctx, ide.Failed)
			if err != nil {
				return err
			}
			tried := 0
			for _, c := range failed {
				if !c.Unsaved || c.NextTry == nil || now.Before(*c.NextTry) {
					continue
				}
				_, err := StopContainer.Enqueue(ctx, d, ide.Principal{Name: "sweep-unsaved", Role: ide.Admin},
					&StopContainerArgs{ID: c.ID, Parked: true, Reason: c.ShutdownReason})
				if unlessGone(err) != nil {
					return fmt.Errorf("retry %s: %w", c.ID, err)
				}
				tried++
			}
			SetResult(ctx, "tried", tried)
			return nil
		})
	},
})
