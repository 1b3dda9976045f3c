package functions

import (
	"context"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"
)

// StopContainerArgs is the job of a stop.
type StopContainerArgs struct {
	Request
	ID     string             `json:"id" path:"id" maxLength:"64" doc:"Container"`
	Force  bool               `json:"force,omitempty" query:"force" doc:"Do not wait for a node that does not answer; also for a stop already under way"`
	Purge  bool               `json:"purge,omitempty" query:"purge" doc:"Drop the record as well, once it is stopped"`
	Run    int                `json:"run"`
	Reason ide.ShutdownReason `json:"reason,omitempty"` // manual if missing
}

// StopContainer removes a container's service and secret; the record stays,
// and the container can be started again, unless it is purged.
var StopContainer = define(Function[StopContainerArgs]{
	Name: "container-stop", Doc: "Stop a container", Route: "DELETE /api/containers/{id}",
	Queue: queue.Critical, Attempts: 12, Timeout: 5 * time.Minute,
	Expect: []ide.Status{ide.Stopping, ide.Stopped},
	Admit:  admitStop,
	Run:    stop,
	Fail: func(ctx context.Context, d *Deps, a StopContainerArgs, cause *ide.Error) error {
		_, err := d.Store.Move(ctx, a.ID, a.Run, ide.Failed, "container-stop", cause.Message, func(c *ide.Container) {
			c.Error = &ide.Error{Code: ide.ContainerStopFailed, Message: "The container could not be stopped. " + cause.Message}
		})
		if ide.HasCode(err, ide.Conflict) || ide.HasCode(err, ide.ContainerNotFound) {
			return nil
		}
		return err
	},
})

func admitStop(ctx context.Context, d *Deps, p ide.Principal, a *StopContainerArgs) (store.Admission, error) {
	c, err := own(ctx, d, p, a.ID)
	if err != nil {
		return store.Admission{}, err
	}
	if a.Purge && c.Status == ide.Stopping {
		return store.Admission{}, state(c, "Purge it when it is stopped.")
	}
	if a.Reason == "" {
		a.Reason = ide.Manual
	}
	return store.Admission{
		Container: a.ID, Force: a.Force, Message: "A stop was asked for.",
		Edit: func(c *ide.Container) error {
			a.Run = c.Run
			if c.Status == ide.Stopped && a.Purge {
				return nil
			}
			if !ide.CanMove(c.Status, ide.Stopping) {
				return state(*c, "It is down already; purge=true drops its record.")
			}
			c.Status = ide.Stopping
			return nil
		},
	}, nil
}

func stop(ctx context.Context, d *Deps, a StopContainerArgs) error {
	c, err := d.Store.Container(ctx, a.ID)
	if ide.HasCode(err, ide.ContainerNotFound) {
		return nil // an earlier attempt dropped it
	}
	if err != nil {
		return err
	}
	if err := remove(ctx, d, c); err != nil {
		return err
	}
	now := time.Now().UTC()
	c, err = d.Store.Move(ctx, a.ID, a.Run, ide.Stopped, "container-stop", "Its service and secret are gone.", func(c *ide.Container) {
		c.Address, c.Health = "", nil
		if c.StoppedAt == nil || c.ShutdownReason == "" {
			c.StoppedAt, c.ShutdownReason = &now, a.Reason
		}
	})
	if err != nil {
		return err
	}
	if !a.Purge {
		Settle(ctx)
		return record(ctx, d, c)
	}
	return Step(ctx, "purge", func(ctx context.Context) error {
		if err := d.Swarm.RemoveConfig(ctx, a.ID); err != nil {
			return err
		}
		return d.Store.Drop(ctx, a.ID, names())
	})
}
