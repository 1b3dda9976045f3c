package functions

import (
	"context"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"
)

// StartContainerArgs is the job of a further run.
type StartContainerArgs struct {
	Request
	ID  string `json:"id" path:"id" maxLength:"64" doc:"Container"`
	Run int    `json:"run"`
}

// StartContainer starts a stopped or failed container again: same bucket,
// same URLs, same passwords, a new run.
var StartContainer = define(Function[StartContainerArgs]{
	Name: "container-start", Doc: "Start a stopped or failed container again", Route: "POST /api/containers/{id}/start",
	Queue: queue.Default, Attempts: 12, Timeout: 5 * time.Minute, Cancelable: true,
	Expect: []ide.Status{ide.Starting, ide.Running},
	Admit: func(ctx context.Context, d *Deps, p ide.Principal, a *StartContainerArgs) (store.Admission, error) {
		if _, err := own(ctx, d, p, a.ID); err != nil {
			return store.Admission{}, err
		}
		return store.Admission{
			Container: a.ID, Reserve: true, MaxPerKey: d.maxPerKey(p), Pack: d.Pack, Message: "Another start was asked for.",
			Edit: func(c *ide.Container) error {
				if c.Status != ide.Stopped && c.Status != ide.Failed {
					return state(*c, "Only a stopped or failed container can be started again.")
				}
				c.Run++
				c.Status, c.Probe, c.Address, c.StartedAt, c.Error, c.Health = ide.Starting, ide.NewID(), "", nil, nil, nil
				a.Run = c.Run
				return nil
			},
		}, nil
	},
	Run: func(ctx context.Context, d *Deps, a StartContainerArgs) error {
		return start(ctx, d, a.ID, a.Run, "container-start")
	},
	Fail: func(ctx context.Context, d *Deps, a StartContainerArgs, cause *ide.Error) error {
		return failStart(ctx, d, a.ID, a.Run, "container-start", cause)
	},
})

// own returns a container that p may know of; to anybody else it does not
// exist.
func own(ctx context.Context, d *Deps, p ide.Principal, id string) (ide.Container, error) {
	c, err := d.Store.Container(ctx, id)
	if err == nil && !p.MaySee(c.Owner) {
		err = ide.Errorf(ide.ContainerNotFound, "There is no container %q.", id)
	}
	return c, err
}

// state is the error of a request that a container's state does not allow.
func state(c ide.Container, why string) *ide.Error {
	e := ide.Errorf(ide.Conflict, "The container is %s. %s", c.Status, why)
	e.Details = map[string]any{"status": c.Status}
	return e
}
