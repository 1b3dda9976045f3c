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
	ID    string `json:"id" path:"id" maxLength:"64" doc:"Container"`
	Force bool   `json:"force,omitempty" query:"force" doc:"Start it also if its last save is missing in the bucket, with what the bucket has"`
	Run   int    `json:"run"`
}

// StartContainer starts a stopped or failed container again: same bucket,
// same URLs, same passwords, a new run.
var StartContainer = define(Function[StartContainerArgs]{
	Name: "container-start", Doc: "Start a stopped or failed container again", Route: "POST /api/containers/{id}/start",
	Queue: queue.Default, Attempts: 12, Timeout: 5 * time.Minute, Cancelable: true, Moves: true,
	Expect: []ide.Status{ide.Starting, ide.Running},
	Admit: func(ctx context.Context, d *Deps, p ide.Principal, a *StartContainerArgs) (store.Admission, error) {
		c, err := own(ctx, d, p, a.ID)
		if err != nil {
			return store.Admission{}, err
		}
		lost, err := d.lost(ctx, c)
		if err != nil {
			return store.Admission{}, err
		}
		return anotherRun(d, p, c, lost, &a.Run, down), nil
	},
	Run: func(ctx context.Context, d *Deps, a StartContainerArgs) error {
		return start(ctx, d, a.ID, "container-start", a.Force)
	},
	Fail: func(ctx context.Context, d *Deps, a StartContainerArgs, cause *ide.Error) error {
		return failStart(ctx, d, a.ID, runOf(ctx), "container-start", cause)
	},
})

// down agrees to a further run of a container that is down.
func down(c *ide.Container) error {
	if c.Status != ide.Stopped && c.Status != ide.Failed {
		return state(*c, "Only a stopped or failed container can be started again.")
	}
	return nil
}

// anotherRun admits a further run of a container, if may, which sees
// the record last, agrees. Files that could not be saved are on one node only;
// where that is lost, it goes on elsewhere from its last save.
func anotherRun(d *Deps, p ide.Principal, c ide.Container, lost bool, run *int, may func(*ide.Container) error) store.Admission {
	only := ""
	if c.Unsaved && !lost {
		only = c.Node
	}
	return store.Admission{
		Container: c.ID, Reserve: true, Place: d.S3.Place(c) != nil, Only: only,
		MaxPerKey: d.maxPerKey(p), Pack: d.Pack, Message: "Another start was asked for.",
		Edit: func(c *ide.Container) error {
			if err := may(c); err != nil {
				return err
			}
			if c.Unsaved && lost {
				c.Unsaved, c.Tries, c.NextTry, c.Kept = false, 0, nil, append(c.Kept, c.Node)
			}
			if c.NoAgent && d.EdgeUnseen { // since ROUTING was changed
				c.IdleTimeout = 0
			}
			c.Run++
			c.Status, c.Probe, c.Address, c.StartedAt, c.Error, c.Health = ide.Starting, ide.NewID(), "", nil, nil, nil
			*run = c.Run
			return nil
		},
	}
}

// lost says whether a container's unsaved files are on a node that is not up.
func (d *Deps) lost(ctx context.Context, c ide.Container) (bool, error) {
	if !c.Unsaved {
		return false, nil
	}
	nodes, err := d.Store.Nodes(ctx)
	return ide.FateOf(nodes, c.Node) != ide.NodeUp, err
}

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
